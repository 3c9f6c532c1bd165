// What the compilers' portable vectors leave open: how wide a register is, and three instructions.
//
// Each CPU's build defines by its flags what there is; a build without any takes what all CPUs of the kind have.

#pragma once

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define INLINE static ALWAYS_INLINE
#define ALWAYS_INLINE_LAMBDA __attribute__((always_inline))

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
