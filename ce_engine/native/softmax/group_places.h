// Of a group of rows: the input at targets, predictions, ranks and the largest classes.

#pragma once

#include "softmax/group_tensors.h"
#include "top/column_places.h"

template <class Element> class GroupPlaces : protected GroupTensors<Element> {
  protected:
    typedef GroupTensors<Element> Base;
    typedef typename Base::Number Number;
    typedef typename Base::Wide Wide;
    typedef typename Base::Numbers Numbers;
    typedef ::OfRows<Element> OfRows;
    static constexpr int ROWS = GROUP<Element>;
    using Base::launch;
    using Base::x;
    using Base::first;
    using Base::count;
    using Base::target;
    using Base::ignored;
    using Base::put_unless_ignored;
    using Base::is_target;

    Wide *moved;                        // room for as many numbers, if the largest classes are wanted
    Numbers largest;
    OfRows total, log_total, weighted;  // as in batch.h

    GroupPlaces() {}

    GroupPlaces(const Launch &launch, Wide *kept, int64_t sample, int64_t position)
        : Base(launch, kept, sample, position), moved(kept + 2 * launch.classes * ROWS) {}

    // The input at targets.
    ALWAYS_INLINE Numbers taken() const {
        Numbers taken = {};
        if (launch->classes < STEP<Element>) {
            for (int64_t i = 0; i < launch->classes; i++) taken = chosen(is_target(i), x[i], taken);
            return taken;
        }
        Word<Number> targets[ROWS];
        Number numbers[ROWS];
        put_lanes(targets, target);
        for (int row = 0; row < ROWS; row++) numbers[row] = x.one(targets[row], row);
        return lanes_at<Number>(numbers);
    }

    ALWAYS_INLINE OfRows at_target() const { return in_double(taken()) - in_double(largest); }

    NOT_INLINE void write_places() const {
        if (launch->target_ranks) write_ranks();
        if (launch->top_classes) write_top();
        if (!launch->target_log_probabilities) return;
        Numbers log_p = launch->is_log ? taken() : rounded(at_target() - log_total);
        put_unless_ignored(launch->target_log_probabilities, log_p);
    }

    void write_ranks() const {
        Word<Number> ranks[ROWS], is_ignored[ROWS];
        put_lanes(ranks, ranks_of(x, launch->classes, target, taken()));
        put_lanes(is_ignored, ignored);
        for (int row = 0; row < count; row++) launch->target_ranks[first + row] = is_ignored[row] ? 0 : ranks[row];
    }

    void write_top() const {
        double largests[ROWS] = {}, log_totals[ROWS] = {};
        if (!launch->is_log) {
            store(largests, in_double(largest));
            store(log_totals, log_total);
        }
        int64_t top_k = launch->top_k, *classes = launch->top_classes + first * top_k;
        auto numbers = (Number *)launch->top_log_probabilities + first * top_k;
        auto write = [&, x = x, top_k, classes, numbers](int row, int64_t place, int64_t top) ALWAYS_INLINE_LAMBDA {
            classes[row * top_k + place] = top;
            numbers[row * top_k + place] = x.one(top, row) - largests[row] - log_totals[row];
        };
        if (top_k == 1)
            write_first(write);
        else if (launch->classes <= TopNetwork::MOST_CLASSES)
            top_of_few(x, launch->classes, top_k, count, moved, write);
        else
            top_of_many(x, launch->classes, top_k, count, moved, write);
    }

    template <class Write> void write_first(Write write) const {
        Word<Number> classes[ROWS];
        auto most = launch->has_softmax() ? largest : largest_of<Element>(x, launch->classes);
        put_lanes(classes, argmax_of<Element>(x, launch->classes, most));
        for (int row = 0; row < count; row++) write(row, 0, classes[row]);
    }

    void predict() const {
        Word<Number> prediction[ROWS], right[ROWS], is_ignored[ROWS];
        auto most = launch->has_softmax() ? largest : largest_of<Element>(x, launch->classes);
        put_lanes(prediction, argmax_of<Element>(x, launch->classes, most));
        put_lanes(is_ignored, ignored);
        if (launch->distribution)
            put_lanes(right, launch->is_distribution_wide ? most_probable<Wide>() : most_probable<Element>());
        else
            put_lanes(right, target);
        for (int row = 0; row < count; row++) {
            launch->predictions[first + row] = prediction[row];
            launch->correct[first + row] = prediction[row] == right[row] && !is_ignored[row];
        }
    }

    template <class Given> auto most_probable() const {
        auto given = this->template strided<Given>(launch->distribution, launch->distribution_strides);
        return argmax_of<Given>(given, launch->classes, largest_of<Given>(given, launch->classes));
    }
};
