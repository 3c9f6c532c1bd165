// The exponential and the logarithm, of registers and of lanes.

#pragma once

#include <type_traits>

#include "lanes.h"

template <class Number> struct Constants;

template <> struct Constants<float> {
    typedef uint32_t Word;
    static constexpr int MANTISSA_BITS = 23, BIAS = 127;
    // Of e^r with |r| <= ln 2 / 2, from the highest power down: minimax, fitted for the least relative error.
    static constexpr float EXPONENTIAL[] = {0x1.6a23d0p-10f, 0x1.123a20p-7f, 0x1.5558f2p-5f, 0x1.555492p-3f,
                                            0x1.fffffcp-2f,  1,              1};
    static constexpr float LEAST_EXPONENT = -88;  // where n + BIAS is 0
    static constexpr float LOG2_E = 0x1.715476p+0f, LN2_HIGH = 0x1.62e3p-1f, LN2_LOW = 0x1.2fefa2p-17f;
    // Of log((1 + s) / (1 - s)) - 2 s, in powers of s^2, as in FreeBSD's e_logf.c.
    static constexpr float LOGARITHM[] = {0x1.f13c4cp-3f, 0x1.23d3dcp-2f, 0x1.999c26p-2f, 0x1.555554p-1f};
    static constexpr int SUBNORMAL_BITS = 24;  // by which the logarithm's argument grows, so that it is normal
};

template <> struct Constants<double> {
    typedef uint64_t Word;
    static constexpr int MANTISSA_BITS = 52, BIAS = 1023;
    static constexpr double EXPONENTIAL[] = {1 / 6227020800., 1 / 479001600., 1 / 39916800., 1 / 3628800., 1 / 362880.,
                                             1 / 40320.,      1 / 5040.,      1 / 720.,      1 / 120.,     1 / 24.,
                                             1 / 6.,          1 / 2.,         1,             1};  // 1 / k!
    static constexpr double LEAST_EXPONENT = -709;
    static constexpr double LOG2_E = 0x1.71547652b82fep+0, LN2_HIGH = 0x1.62e42feep-1, LN2_LOW = 0x1.a39ef35793c76p-33;
    static constexpr double LOGARITHM[] = {0x1.2f112df3e5244p-3, 0x1.39a09d078c69fp-3, 0x1.7466496cb03dep-3,
                                           0x1.c71c51d8e78afp-3, 0x1.2492494229359p-2, 0x1.999999997fa04p-2,
                                           0x1.5555555555593p-1};  // as in FreeBSD's e_log.c
    static constexpr int SUBNORMAL_BITS = 0;  // nobody asks for logarithms below -700
};

template <class Register> using Of = Constants<NumberOf<Register>>;
template <class Register> using Words = typename VectorOf<typename Of<Register>::Word, sizeof(Register)>::type;

template <class Register, size_t COUNT>
INLINE Register polynomial(Register x, const NumberOf<Register> (&coefficients)[COUNT]) {
    Register sum = Register{} + coefficients[0];
#pragma GCC unroll 16
    for (size_t i = 1; i < COUNT; i++) sum = fused(sum, x, Register{} + coefficients[i]);
    return sum;
}

// The exponential of x <= 0 to one unit in the last place, 0 where it would be subnormal: x = n ln 2 + r with |r| <=
// ln 2 / 2, and a polynomial of r. Adding 1.5 times 2^MANTISSA_BITS rounds to integers; with the exponent's bias added
// too, n + BIAS stands in the lowest bits.
template <class Register> INLINE Register exponential_of(Register x) {
    typedef Of<Register> Constants;
    typedef NumberOf<Register> Number;
    constexpr Number ROUNDER = (Number)(3ull << (Constants::MANTISSA_BITS - 1)) + Constants::BIAS;
    x = larger(Register{} + Constants::LEAST_EXPONENT, x);  // this way round, NaN stays
    Register biased = fused(x, Register{} + Constants::LOG2_E, Register{} + ROUNDER);
    Register n = biased - ROUNDER;
    Register r = fused(n, Register{} - Constants::LN2_HIGH, x);
    r = fused(n, Register{} - Constants::LN2_LOW, r);
    return polynomial(r, Constants::EXPONENTIAL) * (Register)((Words<Register>)biased << Constants::MANTISSA_BITS);
}

// The logarithm of x + rest, where `rest` is what was rounded off x, to one unit in the last place. With x = 2^e m and m
// near 1 it is that of 1 + f, by s = f / (2 + f), as in FreeBSD's e_log.c.
template <class Register> INLINE Register logarithm_of(Register x, Register rest) {
    typedef Of<Register> Constants;
    typedef NumberOf<Register> Number;
    constexpr int BITS = Constants::MANTISSA_BITS, BIAS = Constants::BIAS;
    constexpr Number SCALE = 1 << Constants::SUBNORMAL_BITS, TWO_TO_BITS = (Number)(1ull << BITS);
    // Half the square root of 2 is where e grows by 1.
    Words<Register> half_root = (Words<Register>)(Register{} + (Number)0.70710678118654752440);
    Words<Register> one = (Words<Register>)(Register{} + 1), x_bits = (Words<Register>)(x * SCALE);
    Words<Register> biased = (x_bits + (one - half_root)) >> BITS;
    Register m = (Register)(x_bits - ((biased - BIAS) << BITS));
    Register scale = (Register)((2 * BIAS - biased) << BITS);  // 2^-e
    Register e = (Register)(biased | (Words<Register>)(Register{} + TWO_TO_BITS));
    e = e - (TWO_TO_BITS + BIAS + Constants::SUBNORMAL_BITS);
    Register f = fused(rest * SCALE, scale, m - 1), s = f / (f + 2), square = s * s, half = f * f * 0.5f;
    Register tail = fused(s, fused(polynomial(square, Constants::LOGARITHM), square, half), e * Constants::LN2_LOW);
    return fused(e, Register{} + Constants::LN2_HIGH, f - (half - tail));
}

template <class T> INLINE Lanes<T> exponential(Lanes<T> x) { return EACH(exponential_of(x.part[i])); }
template <class T> INLINE Step<T> exponential(Step<T> x) { return {exponential(x.a), exponential(x.b)}; }

// NaN of NaN: what is no number leaves no number.
template <class T> INLINE Lanes<T> logarithm(Lanes<T> x) { return EACH(logarithm_of(x.part[i], x.part[i] - x.part[i])); }

template <class T> INLINE Step<T> logarithm(Step<T> x) { return {logarithm(x.a), logarithm(x.b)}; }

// Of 1 + x.
template <class T> INLINE Lanes<T> logarithm_1p(Lanes<T> x) {
    return each([&](auto i) ALWAYS_INLINE_LAMBDA {
        auto sum = 1 + x.part[i];
        return logarithm_of(sum, x.part[i] - (sum - 1));
    });
}

// Of single numbers, by the same arithmetic.
template <class T> INLINE T exponential_one(T x) { return exponential_of(typename VectorOf<T>::type{} + x)[0]; }
INLINE double logarithm_one(double x) { return logarithm_of(DoubleRegister{} + x, DoubleRegister{} + (x - x))[0]; }
