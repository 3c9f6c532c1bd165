// The classes with the largest numbers of a row, in descending order: of equal numbers the first class comes first, and
// NaN is larger than all others.

#pragma once

#include "top/orders.h"
#include "top/ranks.h"
#include "top/sorting.h"

constexpr int64_t MOST_TOP = 256;  // as in ce_engine/_plans/options.py

// Candidates are collected, and whenever there is no more room, all but the largest are dropped. A key has the order of
// a number in its upper half, and in its lower half that of the class: the larger, the earlier.
template <class Number, class Key> class TopClasses {
    static constexpr int64_t LEAST_ROOM = 64;
    static constexpr int HALF_BITS = 4 * sizeof(Key);
    typedef std::conditional_t<sizeof(Key) == 8, uint32_t, uint64_t> Half;

    alignas(LANE_BYTES) Key keys[2 * MOST_TOP];  // else stores and loads of whole registers would wait for each other
    int64_t wanted, room, count = 0;

  public:
    Number least;  // numbers that are at most this are no candidates; if NaN, all are

    TopClasses(int64_t wanted, Number least) : wanted(wanted), room(std::max(2 * wanted, LEAST_ROOM)), least(least) {}

    // Classes come in ascending order.
    ALWAYS_INLINE void add(Number x, int64_t i) {
        if (x <= least) return;
        keys[count++] = (Key)order_of(x) << HALF_BITS | (Half)~i;
        if (count == room) drop();
    }

    // Afterwards `operator[]` gives the classes in their order.
    void finish() { put_largest_first(keys, count, wanted); }

    int64_t operator[](int64_t place) const { return (Half) ~(Half)keys[place]; }

  private:
    NOT_INLINE void drop() {
        std::nth_element(keys, keys + wanted - 1, keys + count, std::greater<Key>());
        count = wanted;
        auto order = (Word<Number>)(keys[wanted - 1] >> HALF_BITS);
        least = number_of<Number>(order);
    }
};

// The largest numbers of some parts of a row: those that lie so many classes apart.
template <class Element> class PartsLargest {
    typedef Computed<Element> Number;
    static constexpr int64_t MOST = 2 * MOST_TOP;
    static constexpr int64_t STRIP = 2 * STEP<Element>;  // parts that are computed at a time

    alignas(LANE_BYTES) Number parts[MOST];
    int64_t count;

  public:
    // How many parts are worth their time; 0 for none.
    static int64_t count_for(int64_t classes, int64_t top_k) {
        int64_t count = STRIP;
        while (count < 2 * top_k) count *= 2;
        return classes >= 4 * count ? count : 0;
    }

    // Leaves out some of the last classes.
    PartsLargest(const Element *x, int64_t classes, int64_t count) : count(count) {
        auto places = (::Wide<Element> *)parts;
        for (int64_t at = 0; at < count; at += STRIP) {
            StepOf<Element> even = both((Number)-INFINITY), odd = even;
            for (int64_t i = at; i + STRIP <= classes; i += count) {
                even = larger(load_step(x + i), even);
                odd = larger(load_step(x + i + STEP<Element>), odd);
            }
            store_step(places + at, even);
            store_step(places + at + STEP<Element>, odd);
        }
    }

    // A number that at least so many numbers of the row reach, and few more.
    Number reached_by(int64_t top_k, Number largest) {
        if (top_k <= FEW) return after_rounds(top_k);
        return number_reached_by(Row<::Wide<Element>>((const ::Wide<Element> *)parts, 0, count), top_k, largest);
    }

  private:
    static constexpr int64_t FEW = 8;  // that are found one after the other

    // Equal numbers go together.
    Number after_rounds(int64_t rounds) {
        auto places = (::Wide<Element> *)parts;
        Number found = 0;
        while (rounds--) {
            Lanes<Number> largest = all((Number)-INFINITY);
            for (int64_t at = 0; at < count; at += Lanes<Number>::COUNT)
                largest = larger(load_lanes(places + at), largest);
            found = largest_of(largest);
            for (int64_t at = 0; rounds && at < count; at += Lanes<Number>::COUNT) {
                Lanes<Number> x = load_lanes(places + at);
                store_lanes(places + at, chosen(x == all(found), all((Number)-INFINITY), x));
            }
        }
        return found;
    }
};

// What no class of the largest is at most; NaN if that is not known.
template <class Element>
static Computed<Element> no_candidates(const Row<Element> &row, int64_t top_k, Computed<Element> largest) {
    typedef Computed<Element> Number;
    int64_t parts = PartsLargest<Element>::count_for(row.classes, top_k);
    Number reached = parts ? PartsLargest<Element>(row.x, row.classes, parts).reached_by(top_k, largest)
                           : number_reached_by(row, top_k, largest);
    return reached == -INFINITY ? NAN : std::nextafter(reached, (Number)-INFINITY);
}

// Whether numbers are candidates.
template <class Number> INLINE auto are_above(Lanes<Number> least) {
    return [=](Lanes<Number> x) ALWAYS_INLINE_LAMBDA { return EACH(~(x.part[i] <= least.part[i])); };
}

// Which of some numbers, at most a lane's, are candidates: the lowest bit is the first one's.
template <class Element> INLINE uint32_t candidates_of(const Element *x, int64_t count, Computed<Element> least) {
    constexpr int64_t MOST = Lanes<Computed<Element>>::COUNT;
    auto numbers = count < MOST ? load_some(x, count) : load_lanes(x);
    uint32_t found = bits_of(are_above(all(least))(numbers));
    return count < MOST ? found & ((1u << count) - 1) : found;
}

// Lanes of a row with candidates. They are collected without branches, which no CPU could foresee.
struct Found {
    static constexpr int64_t MOST = 256;

    int64_t count = 0;
    int64_t starts[MOST];
    uint32_t candidates[MOST];

    ALWAYS_INLINE void add(int64_t start, uint32_t bits) {
        starts[count] = start;
        candidates[count] = bits;
        count += bits != 0;
    }

    template <class Element, class Top> void move_to(Top &top, const Element *x) {
        for (int64_t at = 0; at < count; at++)
            for (uint32_t bits = candidates[at]; bits; bits &= bits - 1) {
                int64_t i = starts[at] + __builtin_ctz(bits);
                top.add(widened_one(x[i]), i);
            }
        count = 0;
    }
};

// Adds the classes of a row. Of most blocks none is a candidate.
template <class Element, class Top> static void add_classes(Top &top, const Element *x, int64_t classes) {
    constexpr int64_t BLOCK = 4 * STEP<Element>, COUNT = Lanes<Computed<Element>>::COUNT;
    Found found;
    for (int64_t start = 0; start < classes; start += BLOCK) {
        int64_t end = std::min(start + BLOCK, classes);
        if (end - start == BLOCK && !any(x + start, BLOCK, are_above(all(top.least)))) continue;
        for (int64_t i = start; i < end; i += COUNT) found.add(i, candidates_of(x + i, end - i, top.least));
        if (found.count > Found::MOST - BLOCK / COUNT) found.move_to(top, x);
    }
    found.move_to(top, x);
}

template <class Element, class Key, class Write>
static void find_top_by(const Row<Element> &row, int64_t top_k, Computed<Element> largest, Write write) {
    TopClasses<Computed<Element>, Key> top(top_k, no_candidates(row, top_k, largest));
    add_classes(top, row.x, row.classes);
    top.finish();
    for (int64_t place = 0; place < top_k; place++) write(place, top[place]);
}

// Of a row with a known largest number; `write` is called with each place and class.
template <class Element, class Write>
static void find_top(const Row<Element> &row, int64_t top_k, Computed<Element> largest, bool may_have_nan, Write write) {
    if (top_k == 1) return write(0, argmax_of(row.x, row.classes, largest, may_have_nan));
    if (sizeof(largest) == 4 && row.classes <= UINT32_MAX)
        find_top_by<Element, uint64_t>(row, top_k, largest, write);
    else
        find_top_by<Element, unsigned __int128>(row, top_k, largest, write);
}
