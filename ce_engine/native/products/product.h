// A product of rows with a matrix, in their own dtype.
//
// Numbers of a row are added up in the order of k: in blocks of `DEPTH`, whose sums are added. So a row has the same bits
// whatever rows are beside it, on any number of threads, and on all CPUs that have a fused multiply-add.

#pragma once

#include "products/panels.h"

struct Product {
    const void *x;                // (rows, depth)
    const void *matrix;           // (depth, columns), or its transpose: (columns, depth)
    void *out;                    // (rows, columns)
    int64_t rows, depth, columns; // the last two multiples of 64
    bool is_transposed;
};

template <class Number> class RowProducts {
    typedef ::Panel<Number> Panel;
    static constexpr int64_t DEPTH = 256;
    static constexpr int64_t STRIP = 4096 / sizeof(Number);  // columns of few rows: as much of a row as a page holds
    static constexpr int64_t STEP = 4;                       // of k, of few rows
    static constexpr int64_t UNITS = 4;                      // of work for each thread, at least, if rows are enough

    const Product &p;
    const Number *const x, *const matrix;
    Number *const out;

  public:
    RowProducts(const Product &p)
        : p(p), x((const Number *)p.x), matrix((const Number *)p.matrix), out((Number *)p.out) {}

    void compute(int threads) const {
        if (p.rows <= TILE_ROWS && !p.is_transposed) return compute_few(threads);
        int64_t panels = p.columns / Panel::COLUMNS, tiles = ceiling(p.rows, TILE_ROWS);
        int64_t groups = std::clamp<int64_t>(ceiling(UNITS * threads, panels), 1, threads == 1 ? 1 : tiles);
        int64_t group = ceiling(tiles, groups) * TILE_ROWS;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
        for (int64_t unit = 0; unit < panels * groups; unit++) {
            int64_t first = unit % groups * group;
            multiply_panel(first, std::min(first + group, p.rows), unit / groups * Panel::COLUMNS);
        }
    }

  private:
    static int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

    // A panel's columns are put side by side first, since all rows read them.
    void multiply_panel(int64_t first, int64_t last, int64_t column) const {
        alignas(64) Number packed[DEPTH * Panel::COLUMNS];
        for (int64_t k = 0; k < p.depth; k += DEPTH) {
            int64_t count = std::min(DEPTH, p.depth - k);
            if (p.is_transposed)
                Panel::pack_transposed(packed, matrix + column * p.depth + k, p.depth, count);
            else
                Panel::pack(packed, matrix + k * p.columns + column, p.columns, count);
            for (int64_t row = first; row < last; row += TILE_ROWS)
                of_rows(std::min<int64_t>(TILE_ROWS, last - row), [&](auto rows) ALWAYS_INLINE_LAMBDA {
                    Panel::template multiply<rows>({x + row * p.depth + k, p.depth}, packed, count,
                                                   {out + row * p.columns + column, p.columns}, k > 0);
                });
        }
    }

    // Reads the matrix where it is, since each number is read once: row by row, as memory gives it fastest.
    void compute_few(int threads) const {
        int64_t share = ceiling(ceiling(p.columns, threads), Panel::COLUMNS) * Panel::COLUMNS;
        int64_t strip = std::min(share, STRIP);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
        for (int64_t column = 0; column < p.columns; column += strip)
            of_rows(p.rows, [&](auto rows) ALWAYS_INLINE_LAMBDA {
                multiply_strip<rows>(column, std::min(strip, p.columns - column));
            });
    }

    template <int ROWS> NOT_INLINE void multiply_strip(int64_t column, int64_t width) const {
        alignas(64) Number sums[ROWS * STRIP];
        for (int64_t k = 0; k < p.depth; k += DEPTH) {
            std::fill_n(sums, ROWS * STRIP, Number());
            for (int64_t end = std::min(k + DEPTH, p.depth), i = k; i < end; i += STEP)
                for (int64_t c = 0; c < width; c += Panel::COLUMNS)
                    Panel::template add_step<ROWS, STEP>(
                        {x + i, p.depth}, {matrix + i * p.columns + column + c, p.columns}, {sums + c, STRIP});
            for (int row = 0; row < ROWS; row++)
                for (int64_t c = 0; c < width; c++) {
                    Number &to = out[row * p.columns + column + c];
                    to = k ? to + sums[row * STRIP + c] : sums[row * STRIP + c];
                }
        }
    }

    // Calls a function with a number of rows that is known when it is compiled.
    template <class Function> static void of_rows(int64_t rows, Function function) {
        [&]<int... I>(std::integer_sequence<int, I...>) ALWAYS_INLINE_LAMBDA {
            ((rows == I + 1 ? function(std::integral_constant<int, I + 1>()) : void()), ...);
        }(std::make_integer_sequence<int, TILE_ROWS>());
    }
};
