// How many numbers are at most each of some bounds. NaN is at most nothing.

#pragma once

#include <algorithm>
#include <cstdint>

constexpr int64_t TALLIED_ROWS = 1024; // stay in the first cache while they are compared with each bound

template <class Number> static int64_t at_most(Number bound, const Number *x, int64_t count) {
    int32_t found = 0;
#pragma omp simd reduction(+ : found)
    for (int64_t i = 0; i < count; i++) found += x[i] <= bound;
    return found;
}

template <class Number>
static void tally(int64_t *counts, const Number *x, int64_t rows, const Number *bounds, int64_t bound_count) {
    for (int64_t first = 0; first < rows; first += TALLIED_ROWS)
        for (int64_t i = 0; i < bound_count; i++)
            counts[i] += at_most(bounds[i], x + first, std::min(TALLIED_ROWS, rows - first));
}
