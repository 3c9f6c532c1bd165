// Panels: 256 bytes of columns of a matrix, times a tile of rows. Sums stay in registers.

#pragma once

#include <utility>

#include "vectors/transpose.h"

constexpr int TILE_ROWS = 6;  // with AVX-512: 24 sums, 4 vectors of the matrix and a number fill the 32 registers

// Rows of a matrix in memory.
template <class Number> struct MatrixRows {
    Number *first;
    int64_t stride;

    ALWAYS_INLINE Number *operator[](int64_t row) const { return first + row * stride; }
};

template <class Number> struct Panel {
    typedef typename VectorOf<Number>::type Register;
    typedef MatrixRows<const Number> Given;

    static constexpr int64_t COLUMNS = 256 / sizeof(Number);

    // Memory brings rows that come so much later.
    static void pack(Number *to, const Number *from, int64_t stride, int64_t count) {
        constexpr int64_t AHEAD = 16;
        for (int64_t k = 0; k < count; k++, from += stride, to += COLUMNS) {
            for (int64_t at = 0; at < COLUMNS; at += LINE) __builtin_prefetch(from + AHEAD * stride + at, 0, 2);
            std::memcpy(to, from, sizeof(Number) * COLUMNS);
        }
    }

    // Line by line of all columns, so that what is written stays in the first cache until its lines are whole.
    static void pack_transposed(Number *to, const Number *from, int64_t stride, int64_t count) {
        constexpr int64_t AHEAD = 4 * LINE;
        for (int64_t k = 0; k < count; k += LINE)
            for (int64_t c = 0; c < COLUMNS; c += TILE) {
                for (int64_t row = c; row < c + TILE; row++)
                    __builtin_prefetch(from + row * stride + k + AHEAD, 0, 2);
                for (int64_t i = k; i < k + LINE; i += TILE)
                    transpose_tile((const Word *)from + c * stride + i, stride, (Word *)to + i * COLUMNS + c, COLUMNS);
            }
    }

    // Adds the product with a packed panel to what is there, or puts it there.
    template <int ROWS>
    NOT_INLINE static void multiply(Given x, const Number *packed, int64_t count, MatrixRows<Number> to, bool adds) {
        for (int64_t at = 0; at < COLUMNS; at += WIDTH) {
            Sums<ROWS> sums = {};
            for (int64_t k = 0; k < count; k++) sums.add(x, k, packed + k * COLUMNS + at);
            sums.each([&](Register &sum, int row, int64_t lane) ALWAYS_INLINE_LAMBDA {
                Number *place = to[row] + at + lane;
                store(place, adds ? load<Register>(place) + sum : sum);
            });
        }
    }

    // Goes on with sums in memory, by a few rows of a matrix. Meanwhile, memory brings the next ones.
    template <int ROWS, int64_t COUNT> ALWAYS_INLINE static void add_step(Given x, Given matrix, MatrixRows<Number> to) {
        for (int64_t at = 0; at < COLUMNS; at += WIDTH) {
            Sums<ROWS> sums;
            sums.each([&](Register &sum, int row, int64_t lane) ALWAYS_INLINE_LAMBDA {
                sum = load<Register>(to[row] + at + lane);
            });
#pragma GCC unroll 4
            for (int64_t k = 0; k < COUNT; k++) {
                for (int64_t line = at; line < at + WIDTH; line += LINE)
                    __builtin_prefetch(matrix[k + COUNT] + line, 0, 2);
                sums.add(x, k, matrix[k] + at);
            }
            sums.each([&](Register &sum, int row, int64_t lane) ALWAYS_INLINE_LAMBDA {
                store(to[row] + at + lane, sum);
            });
        }
    }

  private:
    typedef Bits<sizeof(Number)> Word;
    static constexpr int64_t LINE = 64 / sizeof(Number);
    static constexpr int VECTORS = REGISTER_BYTES == 64 ? 4 : 2;
    static constexpr int64_t LANES = REGISTER_BYTES / sizeof(Number), WIDTH = VECTORS * LANES;

    template <int ROWS> struct Sums {
        Register of[ROWS][VECTORS];

        // With one row of the matrix.
        ALWAYS_INLINE void add(Given x, int64_t k, const Number *matrix) {
            Register columns[VECTORS];
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) columns[v] = load<Register>(matrix + v * LANES);
#pragma GCC unroll 6
            for (int row = 0; row < ROWS; row++) {
                Register everywhere = x[row][k] - Register{};
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++) of[row][v] = fused(everywhere, columns[v], of[row][v]);
            }
        }

        template <class Function> ALWAYS_INLINE void each(Function function) {
#pragma GCC unroll 6
            for (int row = 0; row < ROWS; row++)
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++) function(of[row][v], row, v * LANES);
        }
    };
};
