// The NLL loss: of each row it takes one log-probability, wherever it lies.

#pragma once

#include <algorithm>

#include "launch.h"

template <class Element> class NllRows {
    typedef Computed<Element> Number;
    typedef ::Wide<Element> Wide;

    const Launch &launch;

  public:
    explicit NllRows(const Launch &launch) : launch(launch) {}

    // Whether all rows were evaluated: whether all targets are classes.
    bool evaluate(int64_t first, int64_t last) const {
        if (launch.grad) write_zeros(first, last);
        bool done = true;
        while (first < last) {
            int64_t sample = first / launch.positions, position = first % launch.positions;
            int64_t end = std::min(last, (sample + 1) * launch.positions);
            for (; first < end; first++, position++) {
                if (first + AHEAD < end) fetch_at(first + AHEAD, sample, position + AHEAD);
                done &= evaluate_row(first, sample, position);
            }
        }
        return done;
    }

  private:
    static constexpr int64_t AHEAD = 16;  // rows whose numbers memory brings meanwhile: each lies in a page of its own

    // A target that is no class does no harm here.
    ALWAYS_INLINE void fetch_at(int64_t i, int64_t sample, int64_t position) const {
        uint64_t at = place(launch.strides, sample, position, launch.target[i]);
        __builtin_prefetch((const void *)((uintptr_t)launch.input + at * sizeof(Element)));
    }

    ALWAYS_INLINE static int64_t place(const Strides &strides, int64_t sample, int64_t position, int64_t i) {
        return sample * strides.sample + position * strides.position + i * strides.classes;
    }

    ALWAYS_INLINE bool evaluate_row(int64_t i, int64_t sample, int64_t position) const {
        int64_t target = launch.target[i];
        if (target < 0 || target >= launch.classes) return false;
        Number weight = factor_at<Number>(launch.weight, i);
        Number x = widened_one(((const Element *)launch.input)[place(launch.strides, sample, position, target)]);
        ((Number *)launch.losses)[i] = is_ignored(launch, i) ? 0 : -weight * x;
        if (launch.grad && !is_ignored(launch, i))
            write_grad(place(launch.out_strides, sample, position, target), -weight * scale_at<Number>(launch, i));
        return true;
    }

    void write_grad(int64_t place, Number grad) const {
        if (launch.is_grad_wide)
            narrow_one((Wide *)launch.grad + place, grad);
        else
            narrow_one((Element *)launch.grad + place, grad);
    }

    // Numbers that lie side by side are those of a class, or of a row.
    void write_zeros(int64_t first, int64_t last) const {
        if (launch.out_strides.classes == 1) return clear(first * launch.classes, (last - first) * launch.classes);
        for (; first < last; first += std::min(last - first, launch.positions - first % launch.positions)) {
            int64_t sample = first / launch.positions, position = first % launch.positions;
            int64_t count = std::min(last - first, launch.positions - position);
            for (int64_t i = 0; i < launch.classes; i++) clear(place(launch.out_strides, sample, position, i), count);
        }
    }

    void clear(int64_t place, int64_t count) const {
        int64_t size = launch.is_grad_wide ? sizeof(Wide) : sizeof(Element), bytes = count * size;
        char *to = (char *)launch.grad + place * size;
        if (passes_caches(bytes, launch.rows * launch.classes * size))
            stream_zeros(to, bytes);
        else
            std::memset(to, 0, bytes);
    }
};
