// Exact sums of the numbers of rows: of losses and their squares; with weights also of products with these, of weights and
// of their squares.

#pragma once

#include "sums/exact_digits.h"

INLINE void add_numbers(ExactSum *sums, double loss_of_row) {
    Dissected loss(loss_of_row);
    sums[0].add(loss);
    sums[1].add_product(loss, loss);
}

INLINE void add_weight(ExactSum *sums, double loss_of_row, double weight_of_row) {
    Dissected loss(loss_of_row), weight(weight_of_row);
    sums[2].add_product(loss, weight);
    sums[3].add(weight);
    sums[4].add_product(weight, weight);
}

// Of losses and of their squares.
template <class Number> struct LossSums {
    static constexpr int COUNT = 2;
    const Number *losses;
    ExactSum sums[COUNT] = {};

    ALWAYS_INLINE void add(int64_t i) { add_numbers(sums, losses[i]); }
    void settle() {}
};

// The same, and of products of loss and weight, of weights, and of their squares.
template <class Number> struct WeightedSums {
    static constexpr int COUNT = 5;
    const Number *losses;
    const double *weights;
    ExactSum sums[COUNT] = {};

    ALWAYS_INLINE void add(int64_t i) {
        add_numbers(sums, losses[i]);
        add_weight(sums, losses[i], weights[i]);
    }

    void settle() {}
};

// A finite float32 is significand * 2^(exponent - 150).
struct Narrow {
    int64_t significand;
    int exponent;

    ALWAYS_INLINE explicit Narrow(float x) {
        uint32_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        int biased = bits >> 23 & 0xff;
        int64_t sign = (int32_t)bits >> 31, size = (bits & 0x7fffff) | (biased != 0) << 23;
        significand = (size ^ sign) - sign;
        exponent = biased + (biased == 0);
    }

    ALWAYS_INLINE bool is_finite() const { return exponent != 0xff; }
};

// Sums of significands of float32, or of products of two of 24 bits each, by their exponents: faster than digits. They
// are moved to a sum before they can overflow.
template <int COUNT> class Bins {
    int64_t bins[COUNT] = {};

  public:
    ALWAYS_INLINE void add(int exponent, int64_t significand) { bins[exponent] += significand; }

    // An exponent more is `step` places more.
    void move_to(ExactSum &sum, int first_place, int step) {
        for (int i = 0; i < COUNT; i++)
            if (bins[i]) sum.add(std::exchange(bins[i], 0), first_place + step * i);
    }
};

constexpr int SETTLED_ROWS = 1 << 14;                       // whose products, of less than 2^48, fit a bin
constexpr int FIRST_PLACE = 2176 - 150, FIRST_OF_PRODUCTS = 2176 - 2 * 150;

template <> struct LossSums<float> {
    static constexpr int COUNT = 2;
    const float *losses;
    ExactSum sums[COUNT] = {};
    Bins<256> loss_bins = {}, square_bins = {};

    ALWAYS_INLINE void add(int64_t i) {
        Narrow loss(losses[i]);
        if (__builtin_expect(!loss.is_finite(), 0)) return add_any(i);
        loss_bins.add(loss.exponent, loss.significand);
        square_bins.add(loss.exponent, loss.significand * loss.significand);
    }

    void settle() {
        loss_bins.move_to(sums[0], FIRST_PLACE, 1);
        square_bins.move_to(sums[1], FIRST_OF_PRODUCTS, 2);
    }

  private:
    __attribute__((noinline)) void add_any(int64_t i) { add_numbers(sums, losses[i]); }
};

template <> struct WeightedSums<float> {
    static constexpr int COUNT = 5;
    const float *losses;
    const double *weights;
    ExactSum sums[COUNT] = {};
    Bins<256> loss_bins = {}, square_bins = {};
    Bins<512> product_bins = {};
    Bins<256> weight_bins = {}, weight_square_bins = {};

    ALWAYS_INLINE void add(int64_t i) {
        Narrow loss(losses[i]), weight((float)weights[i]);
        if (__builtin_expect(!loss.is_finite(), 0)) return add_any(i);
        loss_bins.add(loss.exponent, loss.significand);
        square_bins.add(loss.exponent, loss.significand * loss.significand);
        bool is_narrow = weight.is_finite() && (float)weights[i] == weights[i]; // as those that were given in float32
        if (!is_narrow) return add_weight(sums, losses[i], weights[i]);
        product_bins.add(loss.exponent + weight.exponent, loss.significand * weight.significand);
        weight_bins.add(weight.exponent, weight.significand);
        weight_square_bins.add(weight.exponent, weight.significand * weight.significand);
    }

    void settle() {
        loss_bins.move_to(sums[0], FIRST_PLACE, 1);
        square_bins.move_to(sums[1], FIRST_OF_PRODUCTS, 2);
        product_bins.move_to(sums[2], FIRST_OF_PRODUCTS, 1);
        weight_bins.move_to(sums[3], FIRST_PLACE, 1);
        weight_square_bins.move_to(sums[4], FIRST_OF_PRODUCTS, 2);
    }

  private:
    __attribute__((noinline)) void add_any(int64_t i) {
        add_numbers(sums, losses[i]);
        add_weight(sums, losses[i], weights[i]);
    }
};

// Adds up `count` rows: those at the places, or the first ones.
template <class Sums> static void add_up(ExactDigits *to, Sums &&sums, const int64_t *places, int64_t count) {
    for (int64_t first = 0; first < count; first += CARRIED_ROWS) {
        int64_t last = std::min(count, first + CARRIED_ROWS);
        for (int64_t i = first; i < last; i++) sums.add(places ? places[i] : i);
        if (last % SETTLED_ROWS == 0 || last == count) sums.settle();
        for (ExactSum &sum : sums.sums) sum.shorten();
    }
    for (int i = 0; i < sums.COUNT; i++) {
        sums.sums[i].carry();
        sums.sums[i].write(to[i]);
    }
}

// Without weights, two sums are written, else five.
template <class Number>
static void exact_sums(ExactDigits *to, const Number *losses, const double *weights, const int64_t *places, int64_t count) {
    if (weights)
        add_up(to, WeightedSums<Number>{.losses = losses, .weights = weights}, places, count);
    else
        add_up(to, LossSums<Number>{.losses = losses}, places, count);
}

// Places of rows, those of class 0 first; `ends`, of as many zeros as classes, gets the end of each class.
static void group_rows(int64_t *places, int64_t *ends, const int64_t *classes, int64_t rows, int64_t class_count) {
    for (int64_t i = 0; i < rows; i++) ends[classes[i]]++;
    for (int64_t c = 0, start = 0; c < class_count; c++) start += std::exchange(ends[c], start);
    for (int64_t i = 0; i < rows; i++) places[ends[classes[i]]++] = i;
}
