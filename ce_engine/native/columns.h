// The numbers of a group of rows of one sample, each row in a lane of its own: of rows whose numbers lie side by side
// class by class, as those of an image's pixels, which so need not be transposed; and of rows of less than a
// step of classes, whatever their layout.
//
// A row of more classes has the bits that it has by itself: they are added up in the same places and order as in rows.h.

#pragma once

#include "classes.h"
#include "rows.h"

template <class Element> constexpr int GROUP = Lanes<Computed<Element>>::COUNT;  // rows

// One class of some rows.
template <class Element> INLINE Lanes<Computed<Element>> load_column(const Element *x, int64_t stride, int count) {
    if (stride == 1 && count == GROUP<Element>) return load_lanes(x);
    Element rows[GROUP<Element>] = {};
    for (int i = 0; i < count; i++) rows[i] = x[i * stride];
    return load_lanes(rows);
}

template <class Out> INLINE void store_column(Out *to, int64_t stride, int count, Lanes<Computed<Out>> x) {
    if (stride == 1 && count == GROUP<Out>) return store_lanes(to, x);
    Out rows[GROUP<Out>];
    store_lanes(rows, x);
    for (int i = 0; i < count; i++) to[i * stride] = rows[i];
}

// Targets of a group of rows.
template <class Element> INLINE auto load_targets(const int64_t *from) {
    constexpr int HALF = Lanes<int64_t>::COUNT;
    if constexpr (GROUP<Element> == HALF)
        return lanes_at<int64_t>(from);
    else
        return Step<int64_t>{lanes_at<int64_t>(from), lanes_at<int64_t>(from + HALF)};
}

// Flags of some rows, 0 or 1.
template <class Element> INLINE auto load_flags(const bool *from, int count) {
    Word<Computed<Element>> flags[GROUP<Element>] = {};
    std::copy_n(from, count, flags);
    return lanes_at<Word<Computed<Element>>>(flags);
}

// The numbers of a group as they lie in a tensor.
template <class Element> struct Strided {
    const Element *x;  // of the first row
    Strides strides;
    int count;

    ALWAYS_INLINE auto operator[](int64_t i) const {
        return load_column(x + i * strides.classes, strides.position, count);
    }
};

// Numbers of a group, class by class.
template <class Element> struct Columns {
    Wide<Element> *x;

    ALWAYS_INLINE auto operator[](int64_t i) const { return load_lanes(x + i * GROUP<Element>); }
    ALWAYS_INLINE void put(int64_t i, Lanes<Computed<Element>> numbers) const { store_lanes(x + i * GROUP<Element>, numbers); }
    ALWAYS_INLINE Computed<Element> one(int64_t i, int row) const { return widened_one(x[i * GROUP<Element> + row]); }
};

// A double of each row.
template <class Element> using OfRows = decltype(in_double(Lanes<Computed<Element>>()));
template <class Element> INLINE OfRows<Element> of_all_rows(double x) {
    if constexpr (sizeof(Computed<Element>) == sizeof x)
        return all(x);
    else
        return both(x);
}

// Where terms of a group are added up.
template <class Element> struct Places {
    static constexpr int COUNT = GROUP<Element>;

    Lanes<Computed<Element>> sums[STEP<Element>] = {};

    // As `sum_of` adds the lanes of a step.
    ALWAYS_INLINE OfRows<Element> total() const {
        OfRows<Element> lanes[COUNT];
        for (int i = 0; i < COUNT; i++) lanes[i] = in_double(sums[i] + sums[i + COUNT]);
        for (int width = COUNT / 2; width; width /= 2)
            for (int i = 0; i < width; i++) lanes[i] = lanes[i] + lanes[i + width];
        return lanes[0];
    }
};

// Adds up a term of each class, as `sum_of` of rows.h.
template <class Element, class Term> INLINE OfRows<Element> sum_of_many(int64_t classes, Term term) {
    OfRows<Element> total = {};
    Places<Element> places;
    int64_t whole = classes - classes % STEP<Element>, i = 0;
    auto add = [&](int64_t i, int64_t place) ALWAYS_INLINE_LAMBDA { places.sums[place] = places.sums[place] + term(i); };
    for (int64_t last = whole; last < classes; last++) add(last, STEP<Element> - (classes - last));
    do {
        int64_t end = std::min(i + SEGMENT, whole);
        for (; i < end; i++) add(i, i % STEP<Element>);
        total = total + places.total();
        places = {};
    } while (i < whole);
    return total;
}

// Rows of less than a step are always computed here, and need no places.
template <class Element, class Term> INLINE OfRows<Element> sum_of_columns(int64_t classes, Term term) {
    if (classes >= STEP<Element>) return sum_of_many<Element>(classes, term);
    OfRows<Element> total = {};
    for (int64_t i = 0; i < classes; i++) total = total + in_double(term(i));
    return total;
}

// But for NaNs, which are left to the sum.
template <class Element, class Numbers> static Lanes<Computed<Element>> largest_of(const Numbers &x, int64_t classes) {
    auto largest = all((Computed<Element>)-INFINITY);
    for (int64_t i = 0; i < classes; i++) largest = larger(x[i], largest);
    return largest;
}

// The first class with the largest number, of each row; NaN is larger than all others.
template <class Element, class Numbers>
static auto argmax_of(const Numbers &x, int64_t classes, Lanes<Computed<Element>> largest) {
    typedef Word<Computed<Element>> Index;
    Lanes<Index> found = {}, nan = all((Index)-1);
    for (int64_t i = classes - 1; i >= 0; i--) {
        auto numbers = x[i];
        found = chosen(numbers == largest, all((Index)i), found);
        nan = chosen(numbers == numbers, nan, all((Index)i));
    }
    return chosen(nan == all((Index)-1), found, nan);
}
