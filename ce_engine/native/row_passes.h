// The passes over a row that the softmax makes: over its exponentials, and over what is written of them.

#pragma once

#include "rows.h"

// In bytes of a row. Shorter rows the CPU fetches ahead by itself; longer ones would drive each other from its caches.
constexpr int64_t LEAST_AHEAD = 1 << 11, MOST_AHEAD = 1 << 18;

// What a row's exponentials add up to.
template <class Number> struct Softmax {
    Number largest;
    double total;  // of exp(x - largest)
};

// Meanwhile, memory brings the next row.
template <class Element> INLINE void fetch(const Element *x) {
    for (size_t at = 0; at < STEP<Element> * sizeof(Element); at += 64) __builtin_prefetch((const char *)x + at, 0, 2);
}

template <class Element>
INLINE double sum_of_exponentials(const Row<Element> &row, Computed<Element> origin, Wide<Element> *kept,
                                  const Element *next) {
    return sum_of(row, [&](StepOf<Element> x, auto at) ALWAYS_INLINE_LAMBDA {
        if (next && !at.is_last) fetch(next + at.start);
        StepOf<Element> e = exponential(x - both(origin));
        if (kept) store_step(kept + at.start, e);
        return e;
    });
}

// Of x - largest, weighted by the exponentials; below the least exponent these are 0.
template <class Element> static double sum_of_weighted(const Row<Element> &row, Computed<Element> origin) {
    typedef Computed<Element> Number;
    return sum_of(row, [&](StepOf<Element> x, auto) ALWAYS_INLINE_LAMBDA {
        StepOf<Element> size = larger(both(Constants<Number>::LEAST_EXPONENT), x - both(origin));
        return size * exponential(size);
    });
}

// Writes a number for each class: what `make` makes of a place.
template <bool STREAM, class Element, class Out, class Make>
static void write_row(Out *to, const Row<Element> &row, Make make) {
    for (int64_t i = 0; i < row.whole; i += STEP<Element>) store_step<STREAM>(to + i, make(Whole{i}));
    if (STREAM) publish();
    if (!row.rest()) return;
    if (row.whole) {  // once more for some of the classes before
        store_step(to + row.classes - STEP<Element>, make(row.last()));
        return;
    }
    Out last[STEP<Element>];
    store_step(last, make(row.last()));
    std::memcpy(to, last + STEP<Element> - row.rest(), row.rest() * sizeof(Out));
}
