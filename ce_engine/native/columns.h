// The numbers of a group of rows of one sample, each row in a lane of its own: of rows whose numbers lie side by side
// class by class, as those of an image's pixels, which so need not be transposed; and of rows of so few classes that a
// step would be mostly empty.
//
// A row has the bits that it has by itself: its classes are added up in the same places and order as in rows.h.

#pragma once

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

// A number of each row.
template <class Element> struct OfRows {
    double number[GROUP<Element>];

    ALWAYS_INLINE double &operator[](int row) { return number[row]; }
    ALWAYS_INLINE double operator[](int row) const { return number[row]; }
};

// Applies a function to the numbers of several rows at a time.
template <class Element, class Function> INLINE void update(OfRows<Element> &numbers, Function function) {
    constexpr int COUNT = Lanes<double>::COUNT;
    for (int i = 0; i < GROUP<Element>; i += COUNT)
        put_lanes(numbers.number + i, function(lanes_at<double>(numbers.number + i), i / COUNT));
}

// Where terms of a group are added up. Of few classes only a step's last places are used, and the others are left out:
// as zeros they would change no sum.
template <class Element> struct Places {
    typedef Computed<Element> Number;
    static constexpr int COUNT = Lanes<Number>::COUNT, PARTS = sizeof(double) / sizeof(Number);

    Lanes<Number> sums[STEP<Element>];
    int first;

    ALWAYS_INLINE explicit Places(int64_t classes) : first(std::max<int64_t>(0, STEP<Element> - classes)) { clear(); }

    ALWAYS_INLINE void clear() {
        for (int place = first; place < STEP<Element>; place++) sums[place] = {};
    }

    // As `sum_of` adds the lanes of a step.
    ALWAYS_INLINE void add_to(OfRows<Element> &totals) const {
        int start = std::max(0, first - COUNT);
        Lanes<double> lanes[COUNT][PARTS];
        for (int i = start; i < COUNT; i++) widen(i < first ? sums[i + COUNT] : sums[i] + sums[i + COUNT], lanes[i]);
        for (int width = COUNT / 2; width; width /= 2) {
            for (int i = std::max(start, width); i < 2 * width; i++)
                for (int part = 0; part < PARTS; part++) {
                    Lanes<double> &to = lanes[i - width][part];
                    to = i - width < start ? lanes[i][part] : to + lanes[i][part];
                }
            start = std::max(0, start - width);
        }
        update(totals, [&](Lanes<double> total, int part) ALWAYS_INLINE_LAMBDA { return total + lanes[0][part]; });
    }

  private:
    ALWAYS_INLINE static void widen(Lanes<double> x, Lanes<double> *to) { to[0] = x; }
    ALWAYS_INLINE static void widen(Lanes<float> x, Lanes<double> *to) { to[0] = doubles<0>(x), to[1] = doubles<1>(x); }
};

// Adds up a term of each class.
template <class Element, class Term> static OfRows<Element> sum_of_columns(int64_t classes, Term term) {
    OfRows<Element> totals = {};
    Places<Element> places(classes);
    int64_t whole = classes - classes % STEP<Element>, i = 0;
    auto add = [&](int64_t i, int64_t place) ALWAYS_INLINE_LAMBDA { places.sums[place] = places.sums[place] + term(i); };
    for (int64_t last = whole; last < classes; last++) add(last, STEP<Element> - (classes - last));
    do {
        int64_t end = std::min(i + SEGMENT, whole);
        for (; i < end; i++) add(i, i % STEP<Element>);
        places.add_to(totals);
        places.clear();
    } while (i < whole);
    return totals;
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
