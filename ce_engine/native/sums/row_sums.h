// Sums of the numbers of rows, in float64 and in an order that depends on their count alone: within groups, and then of
// the groups from first to last.

#pragma once

#include <algorithm>

#include "vectors/elements.h"

constexpr int64_t GROUP_ROWS = 1024;

INLINE Step<double> wide_step(const double *from) {
    return {lanes_at<double>(from), lanes_at<double>(from + Lanes<double>::COUNT)};
}
INLINE Step<double> wide_step(const float *from) { return in_double(lanes_at<float>(from)); }

// The sums of even and of odd halves of lanes are added at the end.
template <class Number> static double sum_of_group(const Number *x, int64_t count) {
    constexpr int COUNT = Step<double>::COUNT;
    Step<double> sum = {};
    int64_t i = 0;
    for (; i + COUNT <= count; i += COUNT) sum = sum + wide_step(x + i);
    Number rest[COUNT] = {};
    std::copy(x + i, x + count, rest);
    return sum_of(sum + wide_step(rest));
}

// `count` rows after a sum of others.
template <class Number> static double row_order_sum(double sum, const Number *x, int64_t count) {
    for (int64_t i = 0; i < count; i += GROUP_ROWS) sum += sum_of_group(x + i, std::min(GROUP_ROWS, count - i));
    return sum;
}
