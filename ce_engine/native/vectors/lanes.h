// Lanes: 64 bytes of numbers, whatever the CPU: one register of AVX-512, two of AVX2, four of SSE2 and NEON.
//
// So every CPU adds up the same numbers in the same places and order. With a fused multiply-add, which all but the
// baseline of x86-64 have, results have the same bits on all CPUs.

#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "registers.h"

constexpr int LANE_BYTES = 64, REGISTERS = LANE_BYTES / REGISTER_BYTES;

template <class T> struct Lanes {
    static constexpr int COUNT = LANE_BYTES / sizeof(T);
    typedef T Number;
    typedef typename VectorOf<T>::type Register;

    Register part[REGISTERS];
};

// What is loaded and computed at a time.
template <class T> struct Step {
    static constexpr int COUNT = 2 * Lanes<T>::COUNT;

    Lanes<T> a, b;
};

template <class Number> using Word = std::conditional_t<sizeof(Number) == 4, uint32_t, uint64_t>;
template <class Register> using NumberOf = std::remove_cvref_t<decltype(Register()[0])>;

// A function of registers, applied to all registers of some lanes. The indices are constants, since only then do all
// compilers keep the registers out of memory.
template <class Function> INLINE auto each(Function function) {
    typedef Lanes<NumberOf<decltype(function(std::integral_constant<int, 0>()))>> Result;
    return [&]<int... I>(std::integer_sequence<int, I...>) ALWAYS_INLINE_LAMBDA {
        return Result{{function(std::integral_constant<int, I>())...}};
    }(std::make_integer_sequence<int, REGISTERS>());
}

template <class Function> INLINE void each_do(Function function) {
    [&]<int... I>(std::integer_sequence<int, I...>) ALWAYS_INLINE_LAMBDA {
        (function(std::integral_constant<int, I>()), ...);
    }(std::make_integer_sequence<int, REGISTERS>());
}

#define EACH(...) each([&]([[maybe_unused]] auto i) ALWAYS_INLINE_LAMBDA { return __VA_ARGS__; })

template <class T> INLINE Lanes<T> all(T x) { return EACH(x - typename Lanes<T>::Register{}); }
template <class T> INLINE Step<T> both(T x) { return {all(x), all(x)}; }

template <class T> INLINE Lanes<T> operator+(Lanes<T> x, Lanes<T> y) { return EACH(x.part[i] + y.part[i]); }
template <class T> INLINE Lanes<T> operator-(Lanes<T> x, Lanes<T> y) { return EACH(x.part[i] - y.part[i]); }
template <class T> INLINE Lanes<T> operator*(Lanes<T> x, Lanes<T> y) { return EACH(x.part[i] * y.part[i]); }
template <class T> INLINE Lanes<T> operator/(Lanes<T> x, Lanes<T> y) { return EACH(x.part[i] / y.part[i]); }
template <class T> INLINE Lanes<T> negated(Lanes<T> x) { return EACH(-x.part[i]); }
template <class T> INLINE Lanes<T> fused(Lanes<T> x, Lanes<T> y, Lanes<T> z) {
    return EACH(fused(x.part[i], y.part[i], z.part[i]));
}
template <class T> INLINE Lanes<T> larger(Lanes<T> x, Lanes<T> y) { return EACH(larger(x.part[i], y.part[i])); }

// Of each lane x or y.
template <class T, class Mask> INLINE Lanes<T> chosen(Lanes<Mask> mask, Lanes<T> x, Lanes<T> y) {
    return EACH(mask.part[i] ? x.part[i] : y.part[i]);
}
template <class T> INLINE auto operator<(Lanes<T> x, Lanes<T> y) { return EACH(x.part[i] < y.part[i]); }
template <class T> INLINE Lanes<T> operator|(Lanes<T> x, Lanes<T> y) { return EACH(x.part[i] | y.part[i]); }
template <class T> INLINE auto operator==(Lanes<T> x, Lanes<T> y) { return EACH(x.part[i] == y.part[i]); }

#define ON_BOTH(OPERATOR)                                                                                           \
    template <class T> INLINE Step<T> operator OPERATOR(Step<T> x, Step<T> y) {                                     \
        return {x.a OPERATOR y.a, x.b OPERATOR y.b};                                                                \
    }
ON_BOTH(+) ON_BOTH(-) ON_BOTH(*) ON_BOTH(/)
#undef ON_BOTH
template <class T> INLINE Step<T> fused(Step<T> x, Step<T> y, Step<T> z) {
    return {fused(x.a, y.a, z.a), fused(x.b, y.b, z.b)};
}
template <class T> INLINE Step<T> larger(Step<T> x, Step<T> y) { return {larger(x.a, y.a), larger(x.b, y.b)}; }
template <class T> INLINE auto operator==(Step<T> x, Step<T> y) {
    auto a = x.a == y.a;
    return Step<typename decltype(a)::Number>{a, x.b == y.b};
}
template <class T, class Mask> INLINE Step<T> chosen(Step<Mask> mask, Step<T> x, Step<T> y) {
    return {chosen(mask.a, x.a, y.a), chosen(mask.b, x.b, y.b)};
}

// Neighbouring halves are folded onto each other, until one number is left.
template <class Function, class Vector> INLINE auto folded(Function function, Vector x) {
    constexpr int COUNT = sizeof x / sizeof x[0];
    if constexpr (COUNT == 1) {
        return x[0];
    } else if constexpr (COUNT == 2) {
        return function(x[0], x[1]);
    } else {
        return [&]<int... I>(std::integer_sequence<int, I...>) ALWAYS_INLINE_LAMBDA {
            return folded(function, function(__builtin_shufflevector(x, x, I...),
                                             __builtin_shufflevector(x, x, (I + COUNT / 2)...)));
        }(std::make_integer_sequence<int, COUNT / 2>());
    }
}

template <class Function, class T> INLINE T folded_lanes(Function function, Lanes<T> x) {
#pragma GCC unroll 4
    for (int width = REGISTERS / 2; width; width /= 2)
#pragma GCC unroll 4
        for (int i = 0; i < width; i++) x.part[i] = function(x.part[i], x.part[i + width]);
    return folded(function, x.part[0]);
}

template <class Mask> INLINE bool any_of(Lanes<Mask> x) {
    return folded_lanes([](auto a, auto b) ALWAYS_INLINE_LAMBDA { return a | b; }, x);
}
template <class Mask> INLINE bool any_of(Step<Mask> x) { return any_of(x.a | x.b); }
// The bits of lanes, each of which is 0 or has all bits set: the first lane's is the lowest.
template <class Mask> INLINE uint32_t bits_of(Lanes<Mask> x) {
    uint32_t bits = 0;
    each_do([&](auto i) ALWAYS_INLINE_LAMBDA {
        bits |= bits_of(x.part[i]) << (i * (REGISTER_BYTES / (int)sizeof(Mask)));
    });
    return bits;
}
template <class T> INLINE T largest_of(Lanes<T> x) {
    return folded_lanes([](auto a, auto b) ALWAYS_INLINE_LAMBDA { return a > b ? a : b; }, x);
}
INLINE double sum_of(Lanes<double> x) {
    return folded_lanes([](auto a, auto b) ALWAYS_INLINE_LAMBDA { return a + b; }, x);
}

// Halves of the lanes, or all, in double.
template <int HALF> INLINE Lanes<double> doubles(Lanes<float> x) {
    return each([&](auto i) ALWAYS_INLINE_LAMBDA {
        constexpr int HALVES = HALF * REGISTERS + i;
        return HALVES % 2 ? upper_doubles(x.part[HALVES / 2]) : lower_doubles(x.part[HALVES / 2]);
    });
}
INLINE Step<double> in_double(Lanes<float> x) { return {doubles<0>(x), doubles<1>(x)}; }
INLINE Lanes<double> in_double(Lanes<double> x) { return x; }

INLINE double sum_of(Step<double> x) { return sum_of(x.a + x.b); }
INLINE double sum_of(Lanes<float> x) { return sum_of(in_double(x)); }

// A register of some lanes, where those of a step follow each other.
template <int I, class T> INLINE auto register_of(const Step<T> &x) {
    return I < REGISTERS ? x.a.part[I % REGISTERS] : x.b.part[I % REGISTERS];
}

INLINE Lanes<float> rounded(Step<double> x) { return EACH(rounded(register_of<2 * i>(x), register_of<2 * i + 1>(x))); }
INLINE Lanes<double> rounded(Lanes<double> x) { return x; }

// The lower halves of integers.
INLINE Lanes<uint32_t> in_words(Step<int64_t> x) {
    typedef VectorOf<uint32_t>::type Words;
    return each([&](auto i) ALWAYS_INLINE_LAMBDA {
        return [&]<int... K>(std::integer_sequence<int, K...>) ALWAYS_INLINE_LAMBDA {
            return __builtin_shufflevector((Words)register_of<2 * i>(x), (Words)register_of<2 * i + 1>(x), 2 * K...);
        }(std::make_integer_sequence<int, REGISTER_BYTES / sizeof(uint32_t)>());
    });
}
INLINE Lanes<uint64_t> in_words(Lanes<int64_t> x) { return EACH((VectorOf<uint64_t>::type)x.part[i]); }
