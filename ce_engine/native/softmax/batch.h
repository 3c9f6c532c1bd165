// What is known of some rows whose classes are added up.

#pragma once

#include <cmath>

#include "vectors/elements.h"
#include "vectors/functions.h"

// They wait for their logarithms: those of many cost less at once.
struct Batch {
    static constexpr int ROWS = 64;

    double largest[ROWS], total[ROWS], log_total[ROWS];  // total is of exp(x - largest)
    double target_sum[ROWS];  // of a row's targets
    double known[ROWS];       // of targets times (x - largest)
    double weighted[ROWS];    // of (x - largest) times exp(x - largest)
    double at_target[ROWS];   // the target's (x - largest), or log-probability
    bool has_nan[ROWS];       // beside an infinite largest number, where the log-sum-exp is wanted

    ALWAYS_INLINE void set(int at, double x, double sum) { largest[at] = x, total[at] = sum; }
    ALWAYS_INLINE void set_targets(int at, double sum, double product) { target_sum[at] = sum, known[at] = product; }

    ALWAYS_INLINE void take_logarithms(int count) {
        for (int i = 0; i < count; i += Lanes<double>::COUNT)
            put_lanes(log_total + i, logarithm(lanes_at<double>(total + i)));
    }

    // Given the logarithm of its total, which is NaN where the largest number is infinite.
    double log_sum_exp(int at, double log_of_total) const {
        if (!std::isinf(largest[at])) return largest[at] + log_of_total;
        return has_nan[at] ? NAN : largest[at];
    }
};
