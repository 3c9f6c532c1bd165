// Elements as they lie in memory, and the lanes that they are computed in. Half precision is computed in float32.

#pragma once

#include <algorithm>

#include "lanes.h"

struct Float64 {
    typedef double Computed;
    uint64_t bits;
};
struct Float32 {
    typedef float Computed;
    uint32_t bits;
};
struct Float16 {
    typedef float Computed;
    uint16_t bits;
};
struct BFloat16 {
    typedef float Computed;
    uint16_t bits;
};

template <class Element> using Computed = typename Element::Computed;
template <class Element> using StepOf = Step<Computed<Element>>;
template <class Element> constexpr int STEP = StepOf<Element>::COUNT;
// The element with the dtype that an element is computed in.
template <class Element> using Wide = std::conditional_t<sizeof(Computed<Element>) == 8, Float64, Float32>;

constexpr int FLOATS = REGISTER_BYTES / sizeof(float);
typedef VectorOf<uint32_t>::type WordRegister;
typedef VectorOf<int32_t>::type IntegerRegister;
typedef VectorOf<uint16_t, REGISTER_BYTES / 2>::type Halves;  // as many as floats in a register

INLINE FloatRegister widened(BFloat16, Halves x) {
    return (FloatRegister)(__builtin_convertvector(x, WordRegister) << 16);
}

// To the nearest, of two the even one.
INLINE Halves narrowed(BFloat16, FloatRegister x) {
    WordRegister bits = (WordRegister)x;
    WordRegister rounded = x == x ? bits + 0x7fff + ((bits >> 16) & 1) : WordRegister{} + 0x7fc00000;
    return __builtin_convertvector(rounded >> 16, Halves);
}

#if defined(__AVX512F__)
INLINE FloatRegister widened(Float16, Halves x) { return _mm512_cvtph_ps((__m256i)x); }
INLINE Halves narrowed(Float16, FloatRegister x) { return (Halves)_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }
#elif defined(__AVX2__)
INLINE FloatRegister widened(Float16, Halves x) { return _mm256_cvtph_ps((__m128i)x); }
INLINE Halves narrowed(Float16, FloatRegister x) { return (Halves)_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT); }
#elif defined(__aarch64__)
INLINE FloatRegister widened(Float16, Halves x) { return vcvt_f32_f16((float16x4_t)x); }
INLINE Halves narrowed(Float16, FloatRegister x) { return (Halves)vcvt_f16_f32(x); }
#else
// Which words are less than a number, if none is 2^31 or more: few CPUs compare words without a sign.
INLINE IntegerRegister less(WordRegister x, int32_t limit) { return (IntegerRegister)x < limit; }

// As in https://fgiesen.wordpress.com/2012/03/28/half-to-float-done-quic/.
INLINE FloatRegister widened(Float16, Halves x) {
    WordRegister low = __builtin_convertvector(x, WordRegister), size = low & 0x7fff;
    WordRegister finite = (WordRegister)((FloatRegister)(size << 13) * 0x1p112f);
    WordRegister exponent = less(size, 0x7c00) ? WordRegister{} : WordRegister{} + 0x7f800000;
    return (FloatRegister)(finite | exponent | ((low & 0x8000) << 16));
}

INLINE Halves narrowed(Float16, FloatRegister x) {
    WordRegister bits = (WordRegister)x, size = bits & 0x7fffffff;
    WordRegister normal = (size + 0xc8000fff + ((size >> 13) & 1)) >> 13;
    WordRegister subnormal = (WordRegister)((FloatRegister)size + 0.5f) - 0x3f000000;  // rounded at the last bit left
    WordRegister infinite = less(size, 0x7f800001) ? WordRegister{} + 0x7c00 : WordRegister{} + 0x7e00;
    WordRegister rounded = less(size, 0x38800000) ? subnormal : less(size, 0x47800000) ? normal : infinite;
    return __builtin_convertvector(rounded | ((bits & 0x80000000) >> 16), Halves);
}
#endif

// Lanes in the order of memory.
template <class T> INLINE Lanes<T> lanes_at(const void *from) {
    return EACH(load<typename Lanes<T>::Register>((const char *)from + i * REGISTER_BYTES));
}

template <bool STREAM = false, class T> INLINE void put_lanes(void *to, Lanes<T> x) {
    each_do([&](auto i) ALWAYS_INLINE_LAMBDA {
        char *place = (char *)to + i * REGISTER_BYTES;
        STREAM ? stream(place, x.part[i]) : store(place, x.part[i]);
    });
}

INLINE Lanes<double> load_lanes(const Float64 *from) { return lanes_at<double>(from); }
INLINE Lanes<float> load_lanes(const Float32 *from) { return lanes_at<float>(from); }
template <class Half> INLINE Lanes<float> load_lanes(const Half *from) {
    return EACH(widened(Half(), load<Halves>(from + i * FLOATS)));
}

template <bool STREAM = false> INLINE void store_lanes(Float64 *to, Lanes<double> x) { put_lanes<STREAM>(to, x); }
template <bool STREAM = false> INLINE void store_lanes(Float32 *to, Lanes<float> x) { put_lanes<STREAM>(to, x); }
template <bool STREAM = false, class Half> INLINE void store_lanes(Half *to, Lanes<float> x) {
    each_do([&](auto i) ALWAYS_INLINE_LAMBDA {
        Halves halves = narrowed(Half(), x.part[i]);
        STREAM ? stream(to + i * FLOATS, halves) : store(to + i * FLOATS, halves);
    });
}

// Lanes of elements, of which the first `count` are loaded, or stored.
template <class Element> INLINE Lanes<Computed<Element>> load_some(const Element *from, int count) {
    constexpr int COUNT = Lanes<Computed<Element>>::COUNT;
    if (count == COUNT) return load_lanes(from);
    Element copy[COUNT] = {};
    std::copy_n(from, count, copy);
    return load_lanes(copy);
}

template <class Out> INLINE void store_some(Out *to, int count, Lanes<Computed<Out>> x) {
    constexpr int COUNT = Lanes<Computed<Out>>::COUNT;
    if (count == COUNT) return store_lanes(to, x);
    Out copy[COUNT];
    store_lanes(copy, x);
    std::copy_n(copy, count, to);
}

// Steps, whose second half comes after the first in memory.
template <class Element> INLINE StepOf<Element> load_step(const Element *from) {
    return {load_lanes(from), load_lanes(from + STEP<Element> / 2)};
}
template <bool STREAM = false, class Element> INLINE void store_step(Element *to, StepOf<Element> x) {
    store_lanes<STREAM>(to, x.a);
    store_lanes<STREAM>(to + STEP<Element> / 2, x.b);
}

// Single elements.
INLINE double widened_one(Float64 x) { return load<double>(&x); }
INLINE float widened_one(Float32 x) { return load<float>(&x); }
template <class Half> INLINE float widened_one(Half x) { return widened(x, Halves{} + x.bits)[0]; }
INLINE void narrow_one(Float64 *to, double x) { store(to, x); }
INLINE void narrow_one(Float32 *to, float x) { store(to, x); }
template <class Half> INLINE void narrow_one(Half *to, float x) { to->bits = narrowed(Half(), FloatRegister{} + x)[0]; }
