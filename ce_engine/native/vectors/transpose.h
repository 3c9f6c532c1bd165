// Copies a matrix to where its rows are columns.

#pragma once

#include <algorithm>
#include <cstdint>

#include "registers.h"

// Unsigned integers of some bytes, which stand for elements.
template <int BYTES>
using Bits = std::conditional_t<BYTES == 2, uint16_t, std::conditional_t<BYTES == 4, uint32_t, uint64_t>>;

constexpr int TILE = 4;  // rows and columns that are moved at a time

template <class Word> INLINE void transpose_tile(const Word *from, int64_t from_stride, Word *to, int64_t to_stride) {
    typedef typename VectorOf<Word, TILE * sizeof(Word)>::type Four;
    Four a = load<Four>(from), b = load<Four>(from + from_stride);
    Four c = load<Four>(from + 2 * from_stride), d = load<Four>(from + 3 * from_stride);
    Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store(to, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
    store(to + to_stride, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
    store(to + 2 * to_stride, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
    store(to + 3 * to_stride, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

// The last tiles overlap those before.
template <class Element>
static void transpose(const Element *elements, int64_t from_stride, int rows, int columns, Element *results,
                      int64_t to_stride) {
    typedef Bits<sizeof(Element)> Word;
    auto from = (const Word *)elements;
    auto to = (Word *)results;
    if (rows < TILE || columns < TILE) {
        for (int i = 0; i < columns; i++)
            for (int row = 0; row < rows; row++) to[i * to_stride + row] = from[row * from_stride + i];
        return;
    }
    for (int next_row = 0; next_row < rows; next_row += TILE)
        for (int next = 0; next < columns; next += TILE) {
            int row = std::min(next_row, rows - TILE), i = std::min(next, columns - TILE);
            transpose_tile(from + row * from_stride + i, from_stride, to + i * to_stride + row, to_stride);
        }
}
