// Groups of rows, which are computed together.

#pragma once

#include <new>

#include "softmax/softmax_group.h"

// Several groups, whose numbers of a class lie side by side: memory gives and takes more of them at a time.
template <class Element> class SoftmaxColumns {
    static constexpr int MOST = 8;  // groups
    static constexpr int64_t KEPT_BYTES = 1 << 18;  // of their input: what a cache holds

    SoftmaxGroup<Element> groups[MOST];
    int count = 0;

  public:
    // Rows that are computed together.
    static int64_t rows(const Launch &launch) {
        int64_t bytes = launch.classes * LANE_BYTES;
        return std::clamp<int64_t>(KEPT_BYTES / bytes, 1, MOST) * GROUP<Element>;
    }

    static int64_t blocks_of_sample(const Launch &launch) {
        return (launch.positions + rows(launch) - 1) / rows(launch);
    }

    // Of a row: for the input and its exponentials; where the largest classes are wanted, for the input once more or for
    // keys of twice its size.
    static int64_t numbers(const Launch &launch) {
        int64_t of_top = launch.classes <= TopNetwork::MOST_CLASSES ? 2 : 1;
        return (2 + (launch.top_classes ? of_top : 0)) * launch.classes;
    }
    static int64_t scratch_bytes(const Launch &launch) { return rows(launch) * numbers(launch) * sizeof(Wide<Element>); }

    // Whether all rows of some blocks were evaluated.
    static bool evaluate(const Launch &launch, int64_t first, int64_t last, void *kept) {
        bool done = true, has_more = launch.has_more();
        for (int64_t i = first; i < last; i++) {
            int64_t position = i % blocks_of_sample(launch) * rows(launch);
            SoftmaxColumns columns(launch, (Wide<Element> *)kept, i / blocks_of_sample(launch), position, has_more);
            done &= columns.evaluate(launch);
        }
        return done;
    }

  private:
    SoftmaxColumns(const Launch &launch, Wide<Element> *kept, int64_t sample, int64_t position, bool has_more) {
        int64_t end = std::min(position + rows(launch), launch.positions);
        for (; position < end; position += GROUP<Element>, count++)
            new (groups + count)
                SoftmaxGroup<Element>(launch, kept + count * numbers(launch) * GROUP<Element>, sample, position,
                                      has_more);
    }

    // Whether rows of a tensor lie side by side, with less than a step of classes each.
    static bool are_short_rows(const Launch &launch, const Strides &strides) {
        return strides.classes == 1 && launch.classes < STEP<Element>;
    }

    void read(const Launch &launch) const {
        if (are_short_rows(launch, launch.strides)) {
            for (int group = 0; group < count; group++) groups[group].read_rows();
            return;
        }
        for (int64_t i = 0; i < launch.classes; i++)
            for (int group = 0; group < count; group++) groups[group].read(i, count * GROUP<Element>);
    }

    void write(const Launch &launch) const {
        if (are_short_rows(launch, launch.out_strides)) {
            for (int group = 0; group < count; group++) groups[group].write_rows();
            return;
        }
        for (int64_t i = 0; i < launch.classes; i++)
            for (int group = 0; group < count; group++) groups[group].write(i);
    }

    bool evaluate(const Launch &launch) {
        for (int group = 0; group < count; group++)
            if (!groups[group].valid()) return false;
        read(launch);
        for (int group = 0; group < count; group++) groups[group].add_up();
        for (int group = 0; group < count; group++) groups[group].take_logarithms();
        for (int group = 0; group < count; group++) groups[group].evaluate();
        if (launch.grad || launch.probabilities || launch.log_probabilities) write(launch);
        return true;
    }
};
