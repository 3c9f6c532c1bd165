// Where the numbers of a group of rows lie, each row in a lane of its own: in tensors, and in memory class by class.

#pragma once

#include "columns.h"
#include "vectors/transpose.h"

template <class Element> class GroupTensors {
  protected:
    typedef Computed<Element> Number;
    typedef ::Wide<Element> Wide;
    typedef Lanes<Number> Numbers;
    static constexpr int ROWS = GROUP<Element>;

    const Launch *launch;
    Columns<Element> x, e;  // input and exponentials
    int64_t sample, position, first;
    int count;

    Lanes<Word<Number>> target, ignored;  // the latter is 0 or 1
    bool is_valid = true;                 // whether all targets are classes

    GroupTensors() {}

    GroupTensors(const Launch &launch, Wide *kept, int64_t sample, int64_t position)
        : launch(&launch), x{kept}, e{kept + launch.classes * ROWS}, sample(sample), position(position),
          first(sample * launch.positions + position), count(std::min<int64_t>(ROWS, launch.positions - position)) {
        read_targets();
    }

  public:
    // Whether all targets are classes; if not, nothing else may be called.
    bool valid() const { return is_valid; }

    // Meanwhile, memory brings what lies so many rows further on.
    ALWAYS_INLINE void read(int64_t i, int64_t ahead) const {
        auto from = strided<Element>(launch->input, launch->strides);
        __builtin_prefetch(from.x + i * launch->strides.classes + ahead * launch->strides.position, 0, 2);
        x.put(i, from[i]);
    }

    // Reads few classes, which lie side by side.
    void read_rows() const {
        auto from = strided<Element>(launch->input, launch->strides);
        Element copy[STEP<Element> * ROWS];
        if (count < ROWS) std::fill_n(copy, launch->classes * ROWS, Element());
        transpose(from.x, launch->strides.position, count, launch->classes, copy, ROWS);
        for (int64_t i = 0; i < launch->classes; i++) x.put(i, load_lanes(copy + i * ROWS));
    }

  protected:
    ALWAYS_INLINE void read_targets() {
        ignored = launch->ignored ? load_flags<Element>(launch->ignored + first, count) : Lanes<Word<Number>>{};
        if (!launch->target) return;
        if (count == ROWS) return set_targets(launch->target + first);
        int64_t copy[ROWS] = {};
        std::copy_n(launch->target + first, count, copy);
        set_targets(copy);
    }

    // Reads them once: a caller may change them meanwhile.
    ALWAYS_INLINE void set_targets(const int64_t *from) {
        auto targets = load_targets<Element>(from);
        is_valid = are_classes(targets, launch->classes);
        target = in_words(targets);
    }

    template <class Tensor> ALWAYS_INLINE Strided<Tensor> strided(const void *tensor, const Strides &strides) const {
        return {(const Tensor *)tensor + sample * strides.sample + position * strides.position, strides, count};
    }

    // A number of each row, or 1.
    ALWAYS_INLINE Numbers factor_of(const void *factors, int64_t stride = 1) const {
        if (!factors) return all((Number)1);
        if (!stride) return all(*(const Number *)factors);
        return load_column((const Wide *)factors + first * stride, stride, count);
    }

    ALWAYS_INLINE void put_numbers(void *to, Numbers numbers) const { store_some((Wide *)to + first, count, numbers); }

    ALWAYS_INLINE void put_unless_ignored(void *to, Numbers numbers) const {
        put_numbers(to, unless_ignored(numbers));
    }

    ALWAYS_INLINE Numbers unless_ignored(Numbers x) const { return launch->ignored ? chosen(ignored, Numbers{}, x) : x; }

    template <class Out> ALWAYS_INLINE void put(void *results, int64_t i, Numbers numbers) const {
        auto to = strided<Out>(results, launch->out_strides);
        store_column((Out *)to.x + i * to.strides.classes, to.strides.position, count, numbers);
    }

    template <class Out, class Make> ALWAYS_INLINE void put_rows(void *results, Make make) const {
        Out columns[STEP<Element> * ROWS];
        for (int64_t i = 0; i < launch->classes; i++) store_lanes(columns + i * ROWS, make(i));
        auto to = strided<Out>(results, launch->out_strides);
        transpose(columns, ROWS, launch->classes, count, (Out *)to.x, to.strides.position);
    }

    ALWAYS_INLINE Numbers weight() const { return factor_of(launch->weight); }

    // As `scale_at`.
    ALWAYS_INLINE Numbers scales() const {
        return factor_of(launch->sample_weight) * factor_of(launch->scale, launch->scale_stride);
    }

    ALWAYS_INLINE auto is_target(int64_t i) const { return target == all((Word<Number>)i); }

    bool has_nan(int row) const {
        bool found = false;
        for (int64_t i = 0; i < launch->classes; i++) found |= std::isnan(x.one(i, row));
        return found;
    }
};
