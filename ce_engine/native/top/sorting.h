// The largest of some distinct keys, in descending order.

#pragma once

#include <functional>

#include "top/orders.h"

// Bitonic sorting: keys whose places differ by a pattern of bits are compared, and the larger takes the first place.
// All vectors are registers.
typedef VectorOf<uint64_t>::type KeyRegister;
constexpr int KEYS = REGISTER_BYTES / sizeof(uint64_t);

INLINE KeyRegister largest_keys(KeyRegister a, KeyRegister b) { return a > b ? a : b; }
INLINE KeyRegister least_keys(KeyRegister a, KeyRegister b) { return a > b ? b : a; }

// Moves each key to the place that differs by the bits of BITS.
template <int BITS> INLINE KeyRegister swapped(KeyRegister x) {
    return [&]<int... I>(std::integer_sequence<int, I...>) ALWAYS_INLINE_LAMBDA {
        return __builtin_shufflevector(x, x, (I ^ BITS)...);
    }(std::make_integer_sequence<int, KEYS>());
}

template <int BITS> INLINE KeyRegister exchanged(KeyRegister x) {
    return [&]<int... I>(std::integer_sequence<int, I...>) ALWAYS_INLINE_LAMBDA {
        KeyRegister other = swapped<BITS>(x);
        KeyRegister is_first = {(I < (I ^ BITS) ? ~0ull : 0ull)...};
        return is_first ? largest_keys(x, other) : least_keys(x, other);
    }(std::make_integer_sequence<int, KEYS>());
}

// From sequences whose halves are sorted apart; and from any.
template <int STRIDE> INLINE KeyRegister merged(KeyRegister x) {
    if constexpr (STRIDE == 0)
        return x;
    else
        return merged<STRIDE / 2>(exchanged<STRIDE>(x));
}
template <int SIZE> INLINE KeyRegister sorted(KeyRegister x) {
    if constexpr (SIZE == 1)
        return x;
    else
        return merged<SIZE / 4>(exchanged<SIZE - 1>(sorted<SIZE / 2>(x)));
}

// Compares the first half of each block with the second half from its end.
static void fold_blocks(uint64_t *keys, int64_t count, int64_t size) {
    for (int64_t start = 0; start < count; start += size)
        for (int64_t at = 0; at < size / 2; at += KEYS) {
            uint64_t *front = keys + start + at, *back = keys + start + size - KEYS - at;
            auto a = load<KeyRegister>(front), b = swapped<KEYS - 1>(load<KeyRegister>(back));
            store(front, largest_keys(a, b));
            store(back, swapped<KEYS - 1>(least_keys(a, b)));
        }
}

static void exchange_at(uint64_t *keys, int64_t count, int64_t stride) {
    for (int64_t start = 0; start < count; start += 2 * stride)
        for (int64_t at = start; at < start + stride; at += KEYS) {
            auto a = load<KeyRegister>(keys + at), b = load<KeyRegister>(keys + at + stride);
            store(keys + at, largest_keys(a, b));
            store(keys + at + stride, least_keys(a, b));
        }
}

INLINE int64_t sorted_count(int64_t count) {
    int64_t padded = KEYS;
    while (padded < count) padded *= 2;
    return padded;
}

// There is room for `sorted_count` keys.
static void sort_descending(uint64_t *keys, int64_t count) {
    int64_t padded = sorted_count(count);
    std::fill(keys + count, keys + padded, 0);
    for (int64_t at = 0; at < padded; at += KEYS) store(keys + at, sorted<KEYS>(load<KeyRegister>(keys + at)));
    for (int64_t size = 2 * KEYS; size <= padded; size *= 2) {
        fold_blocks(keys, padded, size);
        for (int64_t stride = size / 4; stride >= KEYS; stride /= 2) exchange_at(keys, padded, stride);
        for (int64_t at = 0; at < padded; at += KEYS)
            store(keys + at, merged<KEYS / 2>(load<KeyRegister>(keys + at)));
    }
}

static int64_t count_from(const uint64_t *keys, int64_t count, uint64_t least) {
    int64_t found = 0;
#pragma omp simd reduction(+ : found)
    for (int64_t i = 0; i < count; i++) found += keys[i] >= least;
    return found;
}

static uint64_t largest_key(const uint64_t *keys, int64_t count) {
    uint64_t largest = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < count; i++) largest = std::max(largest, keys[i]);
    return largest;
}

// Drops all but the largest, in any order.
static void keep_largest(uint64_t *keys, int64_t count, int64_t wanted) {
    auto no_less = [=](uint64_t key) { return count_from(keys, count, key); };
    uint64_t least = order_reached_by<uint64_t>(wanted, 0, largest_key(keys, count), no_less,
                                                middle_of<uint64_t>);
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        keys[kept] = keys[i];
        kept += keys[i] >= least;
    }
}

// Puts the largest first, in descending order.
static void put_largest_first(uint64_t *keys, int64_t count, int64_t wanted) {
    if (sorted_count(count) > sorted_count(wanted)) {
        keep_largest(keys, count, wanted);
        count = wanted;
    }
    sort_descending(keys, count);
}

template <class Key> static void put_largest_first(Key *keys, int64_t count, int64_t wanted) {
    std::partial_sort(keys, keys + wanted, keys + count, std::greater<Key>());
}
