// Products with a bfloat16 matrix, accumulated in float32, for CPUs with AVX512_BF16.
//
// A matrix (n, k) is packed as panels of 64 columns of the result, and in a panel as pairs along k: (n / 64, k / 2, 64, 2).
// The other operand is one bfloat16 tensor, or a float32 tensor cut into up to three whose sum it is.

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#define INLINE static inline __attribute__((always_inline))

typedef uint16_t BFloat16;

constexpr int LANES = 16;
constexpr int VECTORS = 4;
constexpr int64_t PANEL = LANES * VECTORS;
constexpr int TILE = 6;               // rows: 24 sums, 4 vectors of the matrix and a pair fill the 32 registers
constexpr int64_t DEPTH = 512;        // of k: 64 KiB of a panel, which stay in the second cache for all rows
constexpr int64_t ROUND = 1 << 22;    // numbers of x that all panels read in turn: they stay in the third cache
constexpr int64_t UNITS = 4;          // of work for each thread, at least, where there are rows enough

struct Product {
    const BFloat16 *x;                // (parts, rows, k), whose parts are added, the last one first
    const BFloat16 *matrix;           // packed
    float *out;                       // (rows, n)
    int64_t parts, rows, k, n;        // k is even; the matrix is packed with zeros up to whole panels
    int64_t out_stride;               // of rows
};

// Adds rows of a panel's product over `pairs` of k to the result, or puts them there. A row's bits depend on that row
// alone: it has its own sums, in the order of k.
template <int ROWS>
INLINE void multiply_tile(const Product &p, int64_t row, const BFloat16 *panel, int64_t column, int64_t from,
                          int64_t pairs) {
    __m512 sums[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++) sums[r][v] = _mm512_setzero_ps();
    for (int64_t part = p.parts - 1; part >= 0; part--) {
        const BFloat16 *x = p.x + (part * p.rows + row) * p.k + from;
        for (int64_t i = 0; i < pairs; i++) {
            __m512bh columns[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                columns[v] = (__m512bh)_mm512_loadu_si512(panel + 2 * (i * PANEL + v * LANES));
            for (int r = 0; r < ROWS; r++) {
                int32_t pair;
                __builtin_memcpy(&pair, x + r * p.k + 2 * i, sizeof pair);
                __m512bh everywhere = (__m512bh)_mm512_set1_epi32(pair);
                for (int v = 0; v < VECTORS; v++) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], everywhere, columns[v]);
            }
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++) {
            int64_t left = std::clamp<int64_t>(p.n - column - v * LANES, 0, LANES);
            __mmask16 mask = (1u << left) - 1;
            float *to = p.out + (row + r) * p.out_stride + column + v * LANES;
            __m512 before = from ? _mm512_maskz_loadu_ps(mask, to) : _mm512_setzero_ps();
            _mm512_mask_storeu_ps(to, mask, _mm512_add_ps(before, sums[r][v]));
        }
}

static void multiply_rows(const Product &p, int64_t row, int64_t count, const BFloat16 *panel, int64_t column,
                          int64_t from, int64_t pairs) {
    switch (count) {
    case 1: return multiply_tile<1>(p, row, panel, column, from, pairs);
    case 2: return multiply_tile<2>(p, row, panel, column, from, pairs);
    case 3: return multiply_tile<3>(p, row, panel, column, from, pairs);
    case 4: return multiply_tile<4>(p, row, panel, column, from, pairs);
    case 5: return multiply_tile<5>(p, row, panel, column, from, pairs);
    default: return multiply_tile<TILE>(p, row, panel, column, from, pairs);
    }
}

// Rows from `first` to `last` of a panel's product, over k from `from` to `to`.
static void multiply_panel(const Product &p, int64_t first, int64_t last, int64_t column, int64_t from, int64_t to) {
    for (int64_t k = from; k < to; k += DEPTH) {
        const BFloat16 *panel = p.matrix + column * p.k + k * PANEL;
        int64_t pairs = std::min(DEPTH, to - k) / 2;
        for (int64_t row = first; row < last; row += TILE)
            multiply_rows(p, row, std::min<int64_t>(TILE, last - row), panel, column, k, pairs);
    }
}

static int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

extern "C" void multiply_bfloat16(const Product *product, int threads) {
    const Product &p = *product;
    if (!p.rows) return;
    int64_t panels = ceiling(p.n, PANEL), tiles = ceiling(p.rows, TILE);
    int64_t groups = std::clamp<int64_t>(ceiling(UNITS * threads, panels), 1, tiles), group = ceiling(tiles, groups) * TILE;
    int64_t round = ceiling(ROUND, p.parts * p.rows * DEPTH) * DEPTH;
#pragma omp parallel num_threads(threads)
    for (int64_t from = 0; from < p.k; from += round) {
#pragma omp for schedule(dynamic)
        for (int64_t unit = 0; unit < panels * groups; unit++) {
            int64_t first = unit % groups * group, last = std::min(first + group, p.rows);
            multiply_panel(p, first, last, unit / groups * PANEL, from, std::min(from + round, p.k));
        }
    }
}

// The nearest bfloat16 numbers, but finite ones for finite numbers.
INLINE __m512 nearest(__m512 x) {
    __m512i rounded = _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)), 16);
    __m512i cut = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0xffff0000));
    constexpr int INFINITE = 0x18;
    __mmask16 overflows = _mm512_fpclass_ps_mask(_mm512_castsi512_ps(rounded), INFINITE);
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(rounded, overflows, cut));
}

// Cuts rows of float32 into `parts` whose sum they are, but for what is left after the last one: x = (rows, k), with zeros
// up to the width of the parts (parts, rows, width). What is not finite is all in the first part.
extern "C" void split_float32(BFloat16 *to, const float *x, int64_t parts, int64_t rows, int64_t k, int64_t width,
                              int threads) {
    constexpr int NOT_FINITE = 0x99;
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < width; i += LANES) {
            __mmask16 mask = (1u << std::clamp<int64_t>(k - i, 0, LANES)) - 1;
            __mmask16 place = (1u << std::min<int64_t>(width - i, LANES)) - 1;
            __m512 left = _mm512_maskz_loadu_ps(mask, x + row * k + i);
            for (int64_t part = 0; part < parts; part++) {
                __m512 high = nearest(left);
                __m256i halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(high), 16));
                _mm256_mask_storeu_epi16(to + (part * rows + row) * width + i, place, halves);
                __mmask16 finite = ~_mm512_fpclass_ps_mask(high, NOT_FINITE);
                left = _mm512_maskz_sub_ps(finite, left, high);
            }
        }
}
