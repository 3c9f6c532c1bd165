// The order of numbers, as unsigned integers: -0 is 0, and NaN is larger than all others.

#pragma once

#include <cmath>

#include "vectors/elements.h"

template <class Number> constexpr Word<Number> SIGN = (Word<Number>)1 << (8 * sizeof(Number) - 1);
template <class Number> constexpr Word<Number> ORDER_OF_NAN = ~(Word<Number>)0;

template <class Number> INLINE Word<Number> order_of(Number x) {
    if (std::isnan(x)) return ORDER_OF_NAN<Number>;
    x += (Number)0;
    auto bits = load<Word<Number>>(&x);
    return bits & SIGN<Number> ? ~bits : bits | SIGN<Number>;
}

template <class Number> INLINE Number number_of(Word<Number> order) {
    Word<Number> bits = order & SIGN<Number> ? order ^ SIGN<Number> : ~order;
    return load<Number>(&bits);
}

template <class Number> INLINE Lanes<Word<Number>> orders_of(Lanes<Number> x) {
    typedef typename Lanes<Word<Number>>::Register Words;
    Words sign = all(SIGN<Number>).part[0], nan = all(ORDER_OF_NAN<Number>).part[0];
    return each([&](auto i) ALWAYS_INLINE_LAMBDA {
        Words bits = (Words)(x.part[i] + (Number)0);
        Words order = (Words)(x.part[i] < 0) ? ~bits : bits | sign;
        return x.part[i] == x.part[i] ? order : nan;
    });
}

template <class Number> INLINE Lanes<Number> numbers_of(Lanes<Word<Number>> orders) {
    typedef typename Lanes<Number>::Register Numbers;
    auto sign = all(SIGN<Number>).part[0];
    return EACH((Numbers)(orders.part[i] >= sign ? orders.part[i] ^ sign : ~orders.part[i]));
}

// The largest order from `least` to `most` that at least `wanted` numbers reach, or one that so many reach exactly.
// `count` tells how many reach an order; enough of them reach `least`. `between` takes one above `least` up to `most`.
template <class Order, class Count, class Between>
static Order order_reached_by(int64_t wanted, Order least, Order most, Count count, Between between) {
    while (least < most) {
        Order middle = between(least, most);
        int64_t found = count(middle);
        if (found == wanted) return middle;
        if (found > wanted)
            least = middle;
        else
            most = middle - 1;
    }
    return least;
}

template <class Order> INLINE Order middle_of(Order least, Order most) { return least + (most - least) / 2 + 1; }

// Halves the distance of numbers at first: half of all orders are those of numbers near 0.
template <class Number> struct MiddleNumber {
    int turns = 16;

    Word<Number> operator()(Word<Number> least, Word<Number> most) {
        Number a = number_of<Number>(least), b = number_of<Number>(most), middle = a / 2 + b / 2;
        if (turns-- <= 0 || !(a < middle && middle < b)) return middle_of(least, most);
        return order_of(middle);
    }
};
