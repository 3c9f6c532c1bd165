// Products with a bfloat16 matrix, accumulated in float32, for CPUs with AVX512_BF16.
//
// A matrix (n, k) is packed as panels of 64 columns of the result, and in a panel as pairs along k: (n / 64, k / 2, 64, 2).
// The other operand is one bfloat16 tensor, or a float32 tensor cut into up to three whose sum it is. Of two parts, the
// second one may have but the rounding of large numbers: then what is left of a row adds up to `rest`, times `mean`.

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
    const uint16_t *pairs;            // (tiles, k / 2): of the last part, those of a tile and DEPTH that are not all 0
    const int64_t *counts;            // (tiles, k / DEPTH rounded up), of these pairs; 0 if the last part is like others
    const float *rest;                // (rows), likewise
    const float *mean;                // (n, up to whole panels), likewise
    int64_t parts, rows, k, n;        // k is even; the matrix is packed with zeros up to whole panels
    int64_t out_stride;               // of rows
};

static int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Adds the products with one pair of k.
template <int ROWS>
INLINE void add_pair(__m512 (&sums)[ROWS][VECTORS], const BFloat16 *x, int64_t stride, const BFloat16 *panel, int64_t i) {
    __m512bh columns[VECTORS];
    for (int v = 0; v < VECTORS; v++)
        columns[v] = (__m512bh)_mm512_loadu_si512(panel + 2 * (i * PANEL + v * LANES));
    for (int r = 0; r < ROWS; r++) {
        int32_t pair;
        __builtin_memcpy(&pair, x + r * stride + 2 * i, sizeof pair);
        __m512bh everywhere = (__m512bh)_mm512_set1_epi32(pair);
        for (int v = 0; v < VECTORS; v++) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], everywhere, columns[v]);
    }
}

// What is in the result before any product. Never -0, so that adding pairs that are 0 in this row changes no bit.
INLINE __m512 at_first(const Product &p, int64_t row, int64_t column) {
    __m512 zero = _mm512_setzero_ps();
    return p.counts ? _mm512_fmadd_ps(_mm512_set1_ps(p.rest[row]), _mm512_loadu_ps(p.mean + column), zero) : zero;
}

// Adds rows of a panel's product over `pairs` of k to the result, or puts them there. A row's bits depend on that row
// alone: it has its own sums, in the order of k.
template <int ROWS>
INLINE void multiply_tile(const Product &p, int64_t row, const BFloat16 *panel, int64_t column, int64_t from,
                          int64_t pairs) {
    __m512 sums[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++) sums[r][v] = _mm512_setzero_ps();
    int64_t part = p.parts - 1;
    if (p.counts) {
        const uint16_t *listed = p.pairs + row / TILE * (p.k / 2) + from / 2;
        int64_t count = p.counts[row / TILE * ceiling(p.k, DEPTH) + from / DEPTH];
        const BFloat16 *x = p.x + (part-- * p.rows + row) * p.k + from;
        for (int64_t i = 0; i < count; i++) add_pair<ROWS>(sums, x, p.k, panel, listed[i]);
    }
    for (; part >= 0; part--) {
        const BFloat16 *x = p.x + (part * p.rows + row) * p.k + from;
        for (int64_t i = 0; i < pairs; i++) add_pair<ROWS>(sums, x, p.k, panel, i);
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++) {
            int64_t left = std::clamp<int64_t>(p.n - column - v * LANES, 0, LANES);
            __mmask16 mask = (1u << left) - 1;
            float *to = p.out + (row + r) * p.out_stride + column + v * LANES;
            __m512 before = from ? _mm512_maskz_loadu_ps(mask, to) : at_first(p, row + r, column + v * LANES);
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

// Writes 16 numbers, or as many as there is place for.
INLINE void store(BFloat16 *to, __mmask16 place, __m512 x) {
    _mm256_mask_storeu_epi16(to, place, _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(x), 16)));
}

// What is left of numbers beside a part of them; nothing beside what is not finite.
INLINE __m512 left_of(__m512 x, __m512 part) {
    constexpr int NOT_FINITE = 0x99;
    __mmask16 finite = ~_mm512_fpclass_ps_mask(part, NOT_FINITE);
    return _mm512_maskz_sub_ps(finite, x, part);
}

// The first `count` numbers of 16, if there are so many.
INLINE __mmask16 first_of(int64_t count) { return (1u << std::clamp<int64_t>(count, 0, LANES)) - 1; }

// Cuts rows of float32 into `parts` whose sum they are, but for what is left after the last one: x = (rows, k), with zeros
// up to the width of the parts (parts, rows, width). What is not finite is all in the first part.
extern "C" void split_float32(BFloat16 *to, const float *x, int64_t parts, int64_t rows, int64_t k, int64_t width,
                              int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < width; i += LANES) {
            __m512 left = _mm512_maskz_loadu_ps(first_of(k - i), x + row * k + i);
            for (int64_t part = 0; part < parts; part++) {
                __m512 high = nearest(left);
                store(to + (part * rows + row) * width + i, first_of(width - i), high);
                left = left_of(left, high);
            }
        }
}

// The arguments of `split_large`.
struct Split {
    BFloat16 *to;                     // (2, rows, width)
    uint16_t *pairs;                  // as those of Product, as the next two
    int64_t *counts;
    float *rest;
    const float *x;                   // (rows, k)
    int64_t rows, k, width;
};

constexpr float LARGE = 1.0f / 32;    // of a row's largest number: no rounding is more than 2^-13 of that

static float largest_size(const float *x, int64_t k) {
    __m512 largest = _mm512_setzero_ps();
    for (int64_t i = 0; i < k; i += LANES)
        largest = _mm512_max_ps(largest, _mm512_abs_ps(_mm512_maskz_loadu_ps(first_of(k - i), x + i)));
    return _mm512_reduce_max_ps(largest);
}

// Finite bfloat16 numbers, the ones above or below: which of them hangs on the column, so that equal numbers, or numbers
// of many columns that share something, are not all rounded up. Multiples of the golden ratio are spread evenly.
INLINE __m512 dithered(__m512 x, int64_t column) {
    __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i columns = _mm512_add_epi32(_mm512_set1_epi32(column), lanes);
    __m512i noise = _mm512_srli_epi32(_mm512_mullo_epi32(columns, _mm512_set1_epi32(0x9e3779b1)), 16);
    __m512i cut = _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(x), noise), _mm512_set1_epi32(0xffff0000));
    return _mm512_castsi512_ps(cut);
}

// Cuts a row in two, without the second part of numbers that are not large, and adds up what is left.
static float split_row(BFloat16 *first, BFloat16 *second, const float *x, int64_t k, int64_t width) {
    __m512 least = _mm512_set1_ps(largest_size(x, k) * LARGE), rest = _mm512_setzero_ps();
    for (int64_t i = 0; i < width; i += LANES) {
        __m512 numbers = _mm512_maskz_loadu_ps(first_of(k - i), x + i);
        __mmask16 large = _mm512_cmp_ps_mask(_mm512_abs_ps(numbers), least, _CMP_NLT_UQ);  // and what is NaN
        __m512 high = _mm512_mask_mov_ps(dithered(numbers, i), large, nearest(numbers));
        __m512 left = left_of(numbers, high), low = _mm512_maskz_mov_ps(large, nearest(left));
        store(first + i, first_of(width - i), high);
        store(second + i, first_of(width - i), low);
        rest = _mm512_add_ps(rest, left_of(left, low));
    }
    return _mm512_reduce_add_ps(rest);
}

// Lists the pairs of up to DEPTH numbers that are not 0 in all rows of a tile.
static int64_t list_pairs(uint16_t *to, const BFloat16 *x, int64_t rows, int64_t width, int64_t depth) {
    int64_t count = 0;
    for (int64_t i = 0; i < depth; i += 2 * LANES) {
        __mmask16 mask = first_of((depth - i) / 2);
        __m512i any = _mm512_setzero_si512();
        for (int64_t row = 0; row < rows; row++)
            any = _mm512_or_si512(any, _mm512_maskz_loadu_epi32(mask, x + row * width + i));
        for (unsigned found = _mm512_test_epi32_mask(any, any); found; found &= found - 1)
            to[count++] = i / 2 + __builtin_ctz(found);
    }
    return count;
}

// Cuts rows of float32 into one part, and a second one for the rounding of large numbers.
extern "C" void split_large(const Split *split, int threads) {
    const Split &s = *split;
    int64_t tiles = ceiling(s.rows, TILE), depths = ceiling(s.width, DEPTH);
#pragma omp parallel for num_threads(threads)
    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t start = tile * TILE, rows = std::min<int64_t>(TILE, s.rows - start);
        BFloat16 *first = s.to + start * s.width, *second = first + s.rows * s.width;
        for (int64_t r = 0; r < rows; r++)
            s.rest[start + r] = split_row(first + r * s.width, second + r * s.width, s.x + (start + r) * s.k, s.k, s.width);
        for (int64_t d = 0; d < depths; d++)
            s.counts[tile * depths + d] =
                list_pairs(s.pairs + tile * (s.width / 2) + d * DEPTH / 2, second + d * DEPTH, rows, s.width,
                           std::min(DEPTH, s.width - d * DEPTH));
    }
}
