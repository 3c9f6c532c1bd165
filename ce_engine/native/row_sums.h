// Sums of the numbers of rows, in float64 and in an order that depends on their count alone: within groups, and then of
// the groups from first to last.

#pragma once

#include <algorithm>

#include "elements.h"

constexpr int64_t GROUP_ROWS = 1024;

INLINE Lanes<double> wide_at(const double *from) { return lanes_at<double>(from); }

// The sums of even and of odd halves of lanes are added at the end.
static double sum_of_group(const double *x, int64_t count) {
    constexpr int COUNT = Lanes<double>::COUNT;
    Lanes<double> a = {}, b = {};
    int64_t i = 0;
    for (; i + 2 * COUNT <= count; i += 2 * COUNT) a = a + wide_at(x + i), b = b + wide_at(x + i + COUNT);
    double rest[2 * COUNT] = {};
    std::copy(x + i, x + count, rest);
    return sum_of((a + wide_at(rest)) + (b + wide_at(rest + COUNT)));
}

static double sum_of_group(const float *x, int64_t count) {
    double wide[GROUP_ROWS];
    std::copy_n(x, count, wide);
    return sum_of_group(wide, count);
}

// `count` rows after a sum of others.
template <class Number> static double row_order_sum(double sum, const Number *x, int64_t count) {
    for (int64_t i = 0; i < count; i += GROUP_ROWS) sum += sum_of_group(x + i, std::min(GROUP_ROWS, count - i));
    return sum;
}
