// What the compilers' portable vectors leave open: how wide a register is, and some instructions.
//
// Each CPU's build defines by its flags what there is; a build without any takes what all CPUs of the kind have.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define INLINE static ALWAYS_INLINE
#define ALWAYS_INLINE_LAMBDA __attribute__((always_inline))
#define NOT_INLINE __attribute__((noinline))

#if defined(__AVX512F__)
#define REGISTER_BYTES 64
#elif defined(__AVX2__)
#define REGISTER_BYTES 32
#else
#define REGISTER_BYTES 16
#endif

// So many numbers of a register, or a register's worth of numbers of another size.
template <class T, int BYTES = REGISTER_BYTES> struct VectorOf {
    typedef T type __attribute__((vector_size(BYTES)));
};
typedef VectorOf<float>::type FloatRegister;
typedef VectorOf<double>::type DoubleRegister;

// a * b + c, rounded once where the CPU can; and the larger number, of a NaN and another number the second argument.
#if defined(__AVX512F__)
INLINE FloatRegister fused(FloatRegister a, FloatRegister b, FloatRegister c) { return _mm512_fmadd_ps(a, b, c); }
INLINE DoubleRegister fused(DoubleRegister a, DoubleRegister b, DoubleRegister c) { return _mm512_fmadd_pd(a, b, c); }
INLINE FloatRegister larger(FloatRegister a, FloatRegister b) { return _mm512_max_ps(a, b); }
INLINE DoubleRegister larger(DoubleRegister a, DoubleRegister b) { return _mm512_max_pd(a, b); }
#elif defined(__AVX2__)
INLINE FloatRegister fused(FloatRegister a, FloatRegister b, FloatRegister c) { return _mm256_fmadd_ps(a, b, c); }
INLINE DoubleRegister fused(DoubleRegister a, DoubleRegister b, DoubleRegister c) { return _mm256_fmadd_pd(a, b, c); }
INLINE FloatRegister larger(FloatRegister a, FloatRegister b) { return _mm256_max_ps(a, b); }
INLINE DoubleRegister larger(DoubleRegister a, DoubleRegister b) { return _mm256_max_pd(a, b); }
#elif defined(__aarch64__)
INLINE FloatRegister fused(FloatRegister a, FloatRegister b, FloatRegister c) { return vfmaq_f32(c, a, b); }
INLINE DoubleRegister fused(DoubleRegister a, DoubleRegister b, DoubleRegister c) { return vfmaq_f64(c, a, b); }
template <class Register> INLINE Register larger(Register a, Register b) { return a > b ? a : b; }
#else
template <class Register> INLINE Register fused(Register a, Register b, Register c) { return a * b + c; }
#if defined(__x86_64__)
INLINE FloatRegister larger(FloatRegister a, FloatRegister b) { return _mm_max_ps(a, b); }
INLINE DoubleRegister larger(DoubleRegister a, DoubleRegister b) { return _mm_max_pd(a, b); }
#else
template <class Register> INLINE Register larger(Register a, Register b) { return a > b ? a : b; }
#endif
#endif

// Halves of a register's floats as doubles, and back. The portable conversion takes them apart.
#if defined(__AVX512F__)
INLINE DoubleRegister lower_doubles(FloatRegister x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
INLINE DoubleRegister upper_doubles(FloatRegister x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }
INLINE FloatRegister rounded(DoubleRegister lower, DoubleRegister upper) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lower)), _mm512_cvtpd_ps(upper), 1);
}
#elif defined(__AVX2__)
INLINE DoubleRegister lower_doubles(FloatRegister x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
INLINE DoubleRegister upper_doubles(FloatRegister x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }
INLINE FloatRegister rounded(DoubleRegister lower, DoubleRegister upper) {
    return _mm256_set_m128(_mm256_cvtpd_ps(upper), _mm256_cvtpd_ps(lower));
}
#elif defined(__x86_64__)
INLINE DoubleRegister lower_doubles(FloatRegister x) { return _mm_cvtps_pd(x); }
INLINE DoubleRegister upper_doubles(FloatRegister x) { return _mm_cvtps_pd(_mm_movehl_ps(x, x)); }
INLINE FloatRegister rounded(DoubleRegister lower, DoubleRegister upper) {
    return _mm_movelh_ps(_mm_cvtpd_ps(lower), _mm_cvtpd_ps(upper));
}
#elif defined(__aarch64__)
INLINE DoubleRegister lower_doubles(FloatRegister x) { return vcvt_f64_f32(vget_low_f32(x)); }
INLINE DoubleRegister upper_doubles(FloatRegister x) { return vcvt_high_f64_f32(x); }
INLINE FloatRegister rounded(DoubleRegister lower, DoubleRegister upper) {
    return vcvt_high_f32_f64(vcvt_f32_f64(lower), upper);
}
#else
INLINE DoubleRegister lower_doubles(FloatRegister x) { return DoubleRegister{x[0], x[1]}; }
INLINE DoubleRegister upper_doubles(FloatRegister x) { return DoubleRegister{x[2], x[3]}; }
INLINE FloatRegister rounded(DoubleRegister lower, DoubleRegister upper) {
    return FloatRegister{(float)lower[0], (float)lower[1], (float)upper[0], (float)upper[1]};
}
#endif

// The bits of numbers, each of which is 0 or has all bits set.
template <class Mask> INLINE uint32_t bits_of(Mask x) {
    constexpr bool IS_DOUBLE = sizeof x[0] == 8;
#if defined(__AVX512F__)
    return IS_DOUBLE ? _mm512_movepi64_mask((__m512i)x) : _mm512_movepi32_mask((__m512i)x);
#elif defined(__AVX2__)
    return IS_DOUBLE ? _mm256_movemask_pd((__m256d)x) : _mm256_movemask_ps((__m256)x);
#elif defined(__x86_64__)
    return IS_DOUBLE ? _mm_movemask_pd((__m128d)x) : _mm_movemask_ps((__m128)x);
#else
    uint32_t bits = 0;
    for (int i = 0; i < REGISTER_BYTES / (int)sizeof x[0]; i++) bits |= (x[i] ? 1u : 0u) << i;
    return bits;
#endif
}

template <class Vector> INLINE Vector load(const void *from) {
    Vector x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

template <class Vector> INLINE void store(void *to, Vector x) { std::memcpy(to, &x, sizeof x); }

// A store that passes by the caches, for more than they hold. `to` is a multiple of the vector's bytes, and `publish`
// comes before anyone reads it.
template <class Vector> INLINE void stream(void *to, Vector x) {
#if defined(__AVX512F__)
    if constexpr (sizeof x == 64) return _mm512_stream_si512((__m512i *)to, (__m512i)x);
#endif
#if defined(__AVX2__)
    if constexpr (sizeof x == 32) return _mm256_stream_si256((__m256i *)to, (__m256i)x);
#endif
#if defined(__x86_64__)
    if constexpr (sizeof x == 16) return _mm_stream_si128((__m128i *)to, (__m128i)x);
#endif
    store(to, x);
}

INLINE void publish() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

INLINE void stream_zeros(char *to, int64_t bytes) {
    int64_t i = std::min<int64_t>(bytes, -(uintptr_t)to % REGISTER_BYTES);
    std::memset(to, 0, i);
    for (; i + REGISTER_BYTES <= bytes; i += REGISTER_BYTES) stream(to + i, FloatRegister{});
    std::memset(to + i, 0, bytes - i);
    publish();
}
