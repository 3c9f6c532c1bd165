// The place of a row's target among its classes, in descending order of their numbers: of equal numbers the first class
// comes first, and NaN is larger than all others.

#pragma once

#include "rows.h"
#include "top/orders.h"

// Of how many elements, fewer than a step, a function of lanes is true.
template <class Element, class Matches> static int64_t count_of_rest(const Element *x, int64_t count, Matches matches) {
    typedef Word<Computed<Element>> Count;
    if (!count) return 0;
    Element copy[STEP<Element>] = {};
    std::copy_n(x, count, copy);
    Count lanes[STEP<Element>];
    put_lanes(lanes, matches(load_lanes(copy)));
    put_lanes(lanes + STEP<Element> / 2, matches(load_lanes(copy + STEP<Element> / 2)));
    return std::count_if(lanes, lanes + count, [](Count flag) { return flag != 0; });
}

template <class Count> INLINE int64_t total_of(Lanes<Count> counts) {
    return folded_lanes([](auto a, auto b) ALWAYS_INLINE_LAMBDA { return a + b; }, counts);
}

// Of any number of elements.
template <class Element, class Matches> static int64_t count_of(const Element *x, int64_t count, Matches matches) {
    typedef Word<Computed<Element>> Count;
    typedef typename Lanes<Count>::Register Counts;
    Lanes<Count> found = {};
    auto add = [&](auto mask) ALWAYS_INLINE_LAMBDA { found = EACH(found.part[i] - (Counts)mask.part[i]); };
    int64_t i = 0;
    for (; i + STEP<Element> <= count; i += STEP<Element>) {
        StepOf<Element> step = load_step(x + i);
        add(matches(step.a));
        add(matches(step.b));
    }
    return total_of(found) + count_of_rest(x + i, count - i, matches);
}

// From 1 on.
template <class Element> static int64_t rank_of(const Element *x, int64_t classes, int64_t target) {
    typedef Lanes<Computed<Element>> Numbers;
    Numbers at_target = all(widened_one(x[target]));
    if (std::isnan(widened_one(x[target])))
        return 1 + count_of(x, target, [](Numbers x) ALWAYS_INLINE_LAMBDA { return EACH(x.part[i] != x.part[i]); });
    auto is_no_less = [=](Numbers x) ALWAYS_INLINE_LAMBDA { return EACH(~(x.part[i] < at_target.part[i])); };
    auto is_larger = [=](Numbers x) ALWAYS_INLINE_LAMBDA { return EACH(~(x.part[i] <= at_target.part[i])); };
    return 1 + count_of(x, target, is_no_less) + count_of(x + target + 1, classes - target - 1, is_larger);
}

// A number that at least so many of a row reach, and few more; given the largest that is not NaN.
template <class Element>
static Computed<Element> number_reached_by(const Row<Element> &row, int64_t wanted, Computed<Element> largest) {
    typedef Computed<Element> Number;
    typedef typename Lanes<Word<Number>>::Register Counts;
    auto nothing = both((Number)-INFINITY);
    auto last = row.rest() ? only_last<Element>(row.end, row.rest(), nothing) : nothing;
    auto no_less = [&](Word<Number> order) {
        Lanes<Number> least = all(number_of<Number>(order));
        Lanes<Word<Number>> found = {};
        auto add = [&](Lanes<Number> x) ALWAYS_INLINE_LAMBDA {
            found = EACH(found.part[i] - (Counts)~(x.part[i] < least.part[i]));
        };
        add(last.a), add(last.b);
        for (int64_t at = 0; at < row.whole; at += STEP<Element>) {
            StepOf<Element> step = row[Whole{at}];
            add(step.a), add(step.b);
        }
        return total_of(found);
    };
    auto least = order_of((Number)-INFINITY), most = order_of(largest);
    return number_of<Number>(order_reached_by(wanted, least, most, no_less, MiddleNumber<Number>()));
}
