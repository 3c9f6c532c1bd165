// Exact sums of doubles and of products of two, by the small superaccumulator of Radford M. Neal, "Fast exact summation
// using small and large superaccumulators", 2015: integers in which each number is added at its exponent.
//
// A sum is of units of 2^-2176, in which all these numbers are whole. Its digits have 32 bits; each is kept in 64, and
// is carried on only once in so many rows as cannot overflow it.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "vectors/lanes.h"

constexpr int DIGITS = 136;            // for 2^63 products of the largest double, and the sign
constexpr int64_t CARRIED_ROWS = 1024; // each adds less than 2^52 to a digit
constexpr int INFINITE_EXPONENT = 0x7ff;

// What Python reads: two's complement, and how many numbers are not finite.
struct ExactDigits {
    uint32_t digits[DIGITS];
    int64_t nan, positive_infinity, negative_infinity;
};

// A finite double is significand * 2^(exponent - 1075), negated if `sign` is -1 and not 0.
struct Dissected {
    double number;
    uint64_t significand;
    int64_t sign;
    int exponent;

    ALWAYS_INLINE explicit Dissected(double x) : number(x) {
        uint64_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        int biased = bits >> 52 & INFINITE_EXPONENT;
        sign = (int64_t)bits >> 63;
        significand = (bits & ((1ull << 52) - 1)) | (uint64_t)(biased != 0) << 52;
        exponent = biased + (biased == 0);
    }

    ALWAYS_INLINE bool is_finite() const { return exponent != INFINITE_EXPONENT; }
};

class ExactSum {
    int64_t digits[DIGITS] = {};
    int64_t nan = 0, positive_infinity = 0, negative_infinity = 0;

  public:
    ALWAYS_INLINE void add(const Dissected &x) {
        if (__builtin_expect(!x.is_finite(), 0)) return count(x.number);
        int place = x.exponent + 2176 - 1075, shift = place & 31;
        int64_t *at = digits + (place >> 5);
        add_to(at[0], (uint32_t)(x.significand << shift), x.sign);
        add_to(at[1], x.significand >> (32 - shift), x.sign);
    }

    ALWAYS_INLINE void add_product(const Dissected &x, const Dissected &y) {
        if (__builtin_expect(!x.is_finite() || !y.is_finite(), 0)) return count(x.number * y.number);
        int place = x.exponent + y.exponent + 2176 - 2 * 1075, shift = place & 31;
        unsigned __int128 product = (unsigned __int128)x.significand * y.significand, rest = product >> (32 - shift);
        int64_t *at = digits + (place >> 5), sign = x.sign ^ y.sign;
        add_to(at[0], (uint32_t)((uint64_t)product << shift), sign);
        add_to(at[1], (uint32_t)rest, sign);
        add_to(at[2], (uint32_t)(rest >> 32), sign);
        add_to(at[3], (uint64_t)(rest >> 64), sign);
    }

    // An integer of so many units of 2^(place - 2176).
    void add(int64_t x, int place) {
        uint64_t size = x < 0 ? 0 - (uint64_t)x : x, rest = size >> (32 - (place & 31));
        int64_t *at = digits + (place >> 5), sign = x >> 63;
        add_to(at[0], (uint32_t)(size << (place & 31)), sign);
        add_to(at[1], (uint32_t)rest, sign);
        add_to(at[2], rest >> 32, sign);
    }

    // Leaves digits of less than 2^33, in steps that do not wait for each other.
    void shorten() {
        int64_t carried = 0;
        for (int i = 0; i < DIGITS - 1; i++) {
            int64_t digit = digits[i];
            digits[i] = (digit & 0xffffffff) + carried;
            carried = digit >> 32;
        }
        digits[DIGITS - 1] += carried;
    }

    // Leaves digits from 0 to 2^32 - 1; the last one has the sign.
    void carry() {
        int64_t carried = 0;
        for (int i = 0; i < DIGITS - 1; i++) {
            int64_t digit = digits[i] + carried;
            carried = digit >> 32;
            digits[i] = digit & 0xffffffff;
        }
        digits[DIGITS - 1] += carried;
    }

    void write(ExactDigits &to) const {
        std::copy(digits, digits + DIGITS, to.digits);
        to.nan = nan, to.positive_infinity = positive_infinity, to.negative_infinity = negative_infinity;
    }

  private:
    ALWAYS_INLINE static void add_to(int64_t &digit, uint64_t part, int64_t sign) { digit += ((int64_t)part ^ sign) - sign; }

    __attribute__((noinline)) void count(double x) {
        if (std::isnan(x))
            nan++;
        else
            x > 0 ? positive_infinity++ : negative_infinity++;
    }
};
