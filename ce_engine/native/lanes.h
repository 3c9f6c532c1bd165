// Sixteen float32 lanes, in the compilers' portable notation: one register of AVX-512, two of AVX2, four of NEON, SSE.
//
// All arithmetic is float32. A step is the two vectors that are loaded at a time. Of half precision these are the even
// and the odd elements of one vector of memory, which takes a shift and a mask where the order of memory would take
// shuffles; no sum or maximum here depends on the order of lanes, and a store undoes it.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define INLINE static ALWAYS_INLINE

constexpr int LANES = 16;
constexpr int STEP = 2 * LANES;

// Vectors of as many numbers as another one.
template <class Vector> struct Like {
    typedef float Floats __attribute__((vector_size(sizeof(Vector))));
    typedef uint32_t Words __attribute__((vector_size(sizeof(Vector))));
};

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));

struct Step {
    Floats a, b;
};

// Elements as they lie in memory.
struct Float32 { uint32_t bits; };
struct Float16 { uint16_t bits; };
struct BFloat16 { uint16_t bits; };

INLINE Floats all(float x) { return x - Floats{}; }
template <class Vector> INLINE Vector larger(Vector a, Vector b) { return a > b ? a : b; }
INLINE Step larger(Step x, Step y) { return {larger(x.a, y.a), larger(x.b, y.b)}; }
INLINE Step operator*(Step x, float factor) { return {x.a * factor, x.b * factor}; }
INLINE void operator+=(Step &x, Step y) { x.a += y.a, x.b += y.b; }

template <class Vector> INLINE Vector load(const void *from) {
    Vector x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

template <class Vector> INLINE void store(void *to, Vector x) { std::memcpy(to, &x, sizeof x); }

// From bits in the low half of each word, as in https://fgiesen.wordpress.com/2012/03/28/half-to-float-done-quic/.
template <class Words> INLINE typename Like<Words>::Floats widened(Float16, Words low) {
    typedef typename Like<Words>::Floats Floats;
    Words size = low & 0x7fff;
    Words finite = (Words)((Floats)(size << 13) * 0x1p112f);
    return (Floats)(finite | ((low & 0x8000) << 16) | (size < 0x7c00 ? Words{} : Words{} + 0x7f800000));
}

template <class Words> INLINE typename Like<Words>::Floats widened(BFloat16, Words low) {
    return (typename Like<Words>::Floats)(low << 16);
}

// To the nearest, of two the even one; bits in the low half of each word.
template <class Floats> INLINE typename Like<Floats>::Words narrowed(Float16, Floats x) {
    typedef typename Like<Floats>::Words Words;
    Words bits = (Words)x, size = bits & 0x7fffffff;
    Words normal = (size + 0xc8000fff + ((size >> 13) & 1)) >> 13;
    Words subnormal = (Words)((Floats)size + 0.5f) - 0x3f000000;  // the adder rounds at the last bit that is left
    Words infinite = size > 0x7f800000 ? Words{} + 0x7e00 : Words{} + 0x7c00;
    Words rounded = size < 0x38800000 ? subnormal : size < 0x47800000 ? normal : infinite;
    return rounded | ((bits & 0x80000000) >> 16);
}

template <class Floats> INLINE typename Like<Floats>::Words narrowed(BFloat16, Floats x) {
    typedef typename Like<Floats>::Words Words;
    Words bits = (Words)x;
    return (x == x ? bits + 0x7fff + ((bits >> 16) & 1) : Words{} + 0x7fc00000) >> 16;
}

// A store that passes by the caches, for more than they hold; `to` is a multiple of 16 bytes, a whole line comes of it
// only together with others, and `publish` comes before anyone reads it.
INLINE void stream(void *to, Words x) {
#if defined(__x86_64__)
    typedef long long Quarter __attribute__((vector_size(16)));
    Quarter *quarters = (Quarter *)to;
    __builtin_ia32_movntdq(quarters, (Quarter)__builtin_shufflevector(x, x, 0, 1, 2, 3));
    __builtin_ia32_movntdq(quarters + 1, (Quarter)__builtin_shufflevector(x, x, 4, 5, 6, 7));
    __builtin_ia32_movntdq(quarters + 2, (Quarter)__builtin_shufflevector(x, x, 8, 9, 10, 11));
    __builtin_ia32_movntdq(quarters + 3, (Quarter)__builtin_shufflevector(x, x, 12, 13, 14, 15));
#else
    store(to, x);
#endif
}

INLINE void publish() {
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}

INLINE Step load_step(const Float32 *from) { return {load<Floats>(from), load<Floats>(from + LANES)}; }

template <class Half> INLINE Step load_step(const Half *from) {
    Words pairs = load<Words>(from);
    return {widened(Half(), pairs & 0xffff), widened(Half(), pairs >> 16)};
}

template <bool STREAM> INLINE void put(void *to, Words x) { STREAM ? stream(to, x) : store(to, x); }

// Whole structures would go by way of the stack.
template <bool STREAM = false> INLINE void store_step(Float32 *to, Step x) {
    put<STREAM>(to, (Words)x.a);
    put<STREAM>(to + LANES, (Words)x.b);
}

template <bool STREAM = false, class Half> INLINE void store_step(Half *to, Step x) {
    put<STREAM>(to, narrowed(Half(), x.a) | (narrowed(Half(), x.b) << 16));
}

// From even and odd elements to the order of memory.
INLINE Step in_order(Step x) {
    return {__builtin_shufflevector(x.a, x.b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
            __builtin_shufflevector(x.a, x.b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)};
}

// Which element of memory each lane of a step holds.
template <class Element> INLINE Step places() {
    constexpr bool half = sizeof(Element) == 2;
    Step at;
    for (int i = 0; i < LANES; i++) {
        at.a[i] = half ? 2 * i : i;
        at.b[i] = half ? 2 * i + 1 : i + LANES;
    }
    return at;
}

INLINE float widened_one(Float32 x) { return load<float>(&x); }
template <class Half> INLINE float widened_one(Half x) { return widened(x, Words{} + x.bits)[0]; }
INLINE void narrow_one(Float32 *to, float x) { store(to, x); }
template <class Half> INLINE void narrow_one(Half *to, float x) { to->bits = narrowed(Half(), all(x))[0]; }

// In halves: the same order whatever the registers.
INLINE float largest_lane(Floats x) {
    x = larger(x, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    x = larger(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    x = larger(x, __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    x = larger(x, __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    return x[0];
}

INLINE double sum_of_lanes(Floats x) {
    typedef double Doubles __attribute__((vector_size(8 * LANES / 2)));
    Doubles a = __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7), Doubles);
    Doubles b = __builtin_convertvector(__builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15), Doubles);
    a += b;
    a += __builtin_shufflevector(a, a, 4, 5, 6, 7, 0, 1, 2, 3);
    a += __builtin_shufflevector(a, a, 2, 3, 0, 1, 6, 7, 4, 5);
    return a[0] + a[1];
}

// The exponential of x <= 0 to one unit in the last place, 0 where it would be subnormal: x = n ln 2 + r with |r| <=
// ln 2 / 2, and e^r by a minimax polynomial, fitted for the least relative error. Adding 1.5 * 2^23 rounds to integers;
// with the exponent's bias added too, n + 127 stands in the lowest bits, and is 0 at -88.
template <class Floats> INLINE Floats exponential(Floats x) {
    typedef typename Like<Floats>::Words Words;
    constexpr float ROUNDER = 0x1.8p23f + 127;
    x = larger(Floats{} - 88.0f, x);  // this way round, NaN stays
    Floats biased = x * 1.44269504f + ROUNDER;
    Floats n = biased - ROUNDER;
    Floats r = x - n * 0.693147182f;
    Floats p = r * 0x1.6a23d0p-10f + 0x1.123a20p-7f;
    p = p * r + 0x1.5558f2p-5f;
    p = p * r + 0x1.555492p-3f;
    p = p * r + 0x1.fffffcp-2f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * (Floats)((Words)biased << 23);
}
