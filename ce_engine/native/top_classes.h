// The classes with the largest numbers of a row, in descending order: of equal numbers the first class comes first, and
// NaN is larger than all others.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

#include "rows.h"

constexpr int64_t MOST_TOP = 256;  // as in ce_engine/_plans/options.py

// Candidates are collected, and whenever there is no more room, all but the largest are dropped.
template <class Number> class TopClasses {
    typedef unsigned __int128 Key;  // the larger, the earlier: the order of the number, and then of the class
    static constexpr int64_t LEAST_ROOM = 32;

    Key keys[2 * MOST_TOP];
    int64_t wanted, room, count = 0;

  public:
    Number least;  // numbers that are at most this are no candidates; if NaN, all are

    TopClasses(int64_t wanted, Number least) : wanted(wanted), room(std::max(2 * wanted, LEAST_ROOM)), least(least) {}

    // Classes come in ascending order.
    void add(Number x, int64_t i) {
        if (x <= least) return;
        keys[count++] = (Key)order_of(x) << 64 | (uint64_t)~i;
        if (count == room) drop();
    }

    // Afterwards `operator[]` gives the classes in their order.
    void finish() {
        if (count > wanted + LEAST_ROOM) drop();
        std::sort(keys, keys + count, std::greater<Key>());
    }

    int64_t operator[](int64_t place) const { return ~(uint64_t)keys[place]; }

  private:
    static constexpr uint64_t SIGN = 1ull << 63, NAN_ORDER = ~0ull;

    void drop() {
        std::nth_element(keys, keys + wanted - 1, keys + count, std::greater<Key>());
        count = wanted;
        least = number_of(keys[wanted - 1] >> 64);
    }

    static uint64_t order_of(double x) {
        if (std::isnan(x)) return NAN_ORDER;
        x += 0.0;  // -0 is 0
        uint64_t bits = load<uint64_t>(&x);
        return bits & SIGN ? ~bits : bits | SIGN;
    }

    static double number_of(uint64_t order) {
        if (order == NAN_ORDER) return NAN;
        uint64_t bits = order & SIGN ? order ^ SIGN : ~order;
        return load<double>(&bits);
    }
};

// The largest numbers of some parts of a row: those that lie so many steps apart.
template <class Element> class PartsLargest {
    typedef Computed<Element> Number;
    static constexpr int64_t MOST = 2 * MOST_TOP;

    Number parts[MOST];
    int64_t count;

  public:
    static constexpr int64_t FEW = 16;  // classes that are found one after the other

    // How many parts are worth their time: of a short row each number is a part; 0 for none.
    static int64_t count_for(int64_t classes, int64_t top_k) {
        int64_t count = 2 * STEP<Element>;
        while (count < 2 * top_k) count *= 2;
        if (classes >= 2 * count) return count;
        return top_k <= FEW ? (classes + STEP<Element> - 1) / STEP<Element> * STEP<Element> : 0;
    }

    PartsLargest(const Element *x, int64_t classes, int64_t count) : count(count) {
        std::fill_n(parts, count, -INFINITY);
        auto places = (::Wide<Element> *)parts;
        int64_t i = 0;
        for (; i + count <= classes; i += count)
            for (int64_t at = 0; at < count; at += STEP<Element>)
                store_step(places + at, larger(load_step(x + i + at), load_step(places + at)));
        for (; i + STEP<Element> <= classes; i += STEP<Element>)
            store_step(places + i % count, larger(load_step(x + i), load_step(places + i % count)));
        for (; i < classes; i++) parts[i % count] = std::max(parts[i % count], widened_one(x[i]));  // but for NaN
    }

    // A number that at least so many numbers of the row reach, and few more.
    Number reached_by(int64_t top_k) {
        if (top_k <= FEW) return after_rounds(top_k);
        std::nth_element(parts, parts + top_k - 1, parts + count, std::greater<Number>());
        return parts[top_k - 1];
    }

  private:
    // Equal numbers go together.
    Number after_rounds(int64_t rounds) {
        auto places = (::Wide<Element> *)parts;
        Number found = 0;
        while (rounds--) {
            Lanes<Number> largest = all((Number)-INFINITY);
            for (int64_t at = 0; at < count; at += Lanes<Number>::COUNT) largest = larger(load_lanes(places + at), largest);
            found = largest_of(largest);
            for (int64_t at = 0; rounds && at < count; at += Lanes<Number>::COUNT) {
                Lanes<Number> x = load_lanes(places + at);
                store_lanes(places + at, chosen(x == all(found), all((Number)-INFINITY), x));
            }
        }
        return found;
    }
};

// What no class of the largest is at most; NaN if that is not worth finding.
template <class Element> static Computed<Element> no_candidates(const Element *x, int64_t classes, int64_t top_k) {
    typedef Computed<Element> Number;
    int64_t parts = PartsLargest<Element>::count_for(classes, top_k);
    if (!parts) return NAN;
    Number reached = PartsLargest<Element>(x, classes, parts).reached_by(top_k);
    return reached == -INFINITY ? NAN : std::nextafter(reached, (Number)-INFINITY);
}

// Adds the classes of a row. Of most blocks none is a candidate.
template <class Element>
static void add_classes(TopClasses<Computed<Element>> &top, const Element *x, int64_t classes) {
    typedef Lanes<Computed<Element>> Numbers;
    constexpr int64_t BLOCK = 4 * STEP<Element>;
    auto add = [&](int64_t start, int64_t end) {
        for (int64_t i = start; i < end; i++) top.add(widened_one(x[i]), i);
    };
    int64_t start = 0;
    for (; start + BLOCK <= classes; start += BLOCK) {
        Numbers least = all(top.least);
        auto is_candidate = [=](Numbers x) ALWAYS_INLINE_LAMBDA { return EACH(~(x.part[i] <= least.part[i])); };
        if (!any(x + start, BLOCK, is_candidate)) continue;
        for (int64_t i = start; i < start + BLOCK; i += Numbers::COUNT)
            if (any_of(is_candidate(load_lanes(x + i)))) add(i, i + Numbers::COUNT);
    }
    add(start, classes);
}

// Of a row; `write` is called with each place and class.
template <class Element, class Write>
static void find_top(const Element *x, int64_t classes, int64_t top_k, Write write) {
    TopClasses<Computed<Element>> top(top_k, no_candidates(x, classes, top_k));
    add_classes(top, x, classes);
    top.finish();
    for (int64_t place = 0; place < top_k; place++) write(place, top[place]);
}
