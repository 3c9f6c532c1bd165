// The numbers of one row, whose classes lie side by side: step by step, and added up in fixed places and order.

#pragma once

#include <algorithm>

#include "launch.h"

// Where a step of classes is in its row. The classes that fill no whole step are the last places of a step of their own.
struct Whole {
    static constexpr bool is_last = false;
    int64_t start;
};
struct Last {
    static constexpr bool is_last = true;
    int64_t start, count;
};

// The place in memory of each lane of a step.
template <class Element> INLINE StepOf<Element> places() {
    typedef Computed<Element> Number;
    constexpr int COUNT = Lanes<Number>::COUNT;
    Number a[COUNT], b[COUNT];
    for (int i = 0; i < COUNT; i++) {
        a[i] = i;
        b[i] = i + COUNT;
    }
    return {lanes_at<Number>(a), lanes_at<Number>(b)};
}

// The last places of a step, with another number in those before.
template <class Element> INLINE StepOf<Element> only_last(StepOf<Element> x, int64_t count, StepOf<Element> other) {
    typedef Computed<Element> Number;
    auto first = all((Number)(STEP<Element> - count));
    auto at = places<Element>();
    return {chosen(at.a < first, other.a, x.a), chosen(at.b < first, other.b, x.b)};
}

// Loads elements before them too, which costs less than moving them; but none from before the tensor.
template <class Element> INLINE StepOf<Element> load_last(const Element *tensor, const Element *end, int64_t count) {
    if (end - tensor >= STEP<Element>) return load_step(end - STEP<Element>);
    Element copy[STEP<Element>] = {};
    std::memcpy(copy + STEP<Element> - count, end - count, count * sizeof(Element));
    return load_step(copy);
}

template <class Element> struct Row {
    typedef Computed<Element> Number;

    const Element *x;
    int64_t classes, whole;  // classes in whole steps
    StepOf<Element> end;     // the step of the last classes, with others before

    ALWAYS_INLINE Row(const Element *tensor, int64_t offset, int64_t classes)
        : x(tensor + offset), classes(classes), whole(classes - classes % STEP<Element>) {
        if (rest()) end = load_last(tensor, x + classes, rest());
    }

    ALWAYS_INLINE int64_t rest() const { return classes - whole; }
    ALWAYS_INLINE Last last() const { return {whole, rest()}; }
    ALWAYS_INLINE StepOf<Element> operator[](Whole at) const { return load_step(x + at.start); }
    ALWAYS_INLINE StepOf<Element> operator[](Last) const { return end; }
};

// But for NaNs, which are left to the sum.
template <class Element> static Computed<Element> largest_of(const Row<Element> &row) {
    constexpr int AT_ONCE = 2;
    StepOf<Element> nothing = both<Computed<Element>>(-INFINITY);
    StepOf<Element> even = row.rest() ? only_last<Element>(row.end, row.rest(), nothing) : nothing, odd = nothing;
    int64_t i = 0;
    for (; i + AT_ONCE * STEP<Element> <= row.whole; i += AT_ONCE * STEP<Element>) {
        even = larger(row[Whole{i}], even);
        odd = larger(row[Whole{i + STEP<Element>}], odd);
    }
    if (i < row.whole) even = larger(row[Whole{i}], even);
    return largest_of(larger(larger(even.a, even.b), larger(odd.a, odd.b)));
}

// Adds up a term of each class: of each step, and where it is. Of the last step, what comes of other elements is left out.
template <class Element, class Term> INLINE double sum_of(const Row<Element> &row, Term term) {
    StepOf<Element> sum = {};
    if (row.rest()) sum = only_last<Element>(term(row.end, row.last()), row.rest(), {});
    double total = 0;
    int64_t i = 0;
    do {
        int64_t end = std::min(i + SEGMENT, row.whole);
        for (; i < end; i += STEP<Element>) sum = sum + term(row[Whole{i}], Whole{i});
        total += sum_of(sum.a + sum.b);
        sum = {};
    } while (i < row.whole);
    return total;
}

template <class Element> static bool has_nan(const Element *x, int64_t classes) {
    bool found = false;
    for (int64_t i = 0; i < classes; i++) found |= std::isnan(widened_one(x[i]));
    return found;
}

// Whether a function of lanes is true of any number of some whole steps.
template <class Element, class Matches> static bool any(const Element *x, int64_t count, Matches matches) {
    Lanes<Word<Computed<Element>>> found = {};
    for (int64_t i = 0; i < count; i += STEP<Element>) {
        StepOf<Element> step = load_step(x + i);
        auto a = matches(step.a), b = matches(step.b);
        found = EACH(found.part[i] | (decltype(found.part[0] | found.part[0]))(a.part[i] | b.part[i]));
    }
    return any_of(found);
}

// The first class of which a function is true, of lanes and of a number; the number of classes if there is none.
template <class Element, class Matches> static int64_t first_of(const Element *x, int64_t classes, Matches matches) {
    constexpr int64_t BLOCK = 8 * STEP<Element>;
    int64_t start = 0;
    while (start + BLOCK <= classes && !any(x + start, BLOCK, matches)) start += BLOCK;
    while (start < classes && !matches(all(widened_one(x[start]))).part[0][0]) start++;
    return start;
}

// The first class with the largest number; NaN is larger than all others.
template <class Element>
static int64_t argmax_of(const Element *x, int64_t classes, Computed<Element> largest, bool may_have_nan = true) {
    typedef Lanes<Computed<Element>> Numbers;
    if (may_have_nan) {
        int64_t nan = first_of(x, classes, [](Numbers x) ALWAYS_INLINE_LAMBDA { return EACH(x.part[i] != x.part[i]); });
        if (nan < classes) return nan;
    }
    return first_of(x, classes, [=](Numbers x) ALWAYS_INLINE_LAMBDA { return x == all(largest); });
}
