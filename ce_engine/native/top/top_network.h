// The largest classes of rows of few classes, each row in a lane of its own: a network of comparisons, as in
// top_classes.h of equal numbers the first class comes first, and NaN is larger than all others.

#pragma once

#include "columns.h"
#include "top/orders.h"

// Which places are compared, one pair after the other: the larger key takes the first place. It is Knuth's merge
// exchange (The Art of Computer Programming, volume 3, algorithm 5.2.2M) without what the first `top_k` places do not
// hang on.
class TopNetwork {
  public:
    static constexpr int64_t MOST_CLASSES = 64;

    struct Pair {
        uint8_t first, second;
    };

    // That of this thread.
    static const TopNetwork &of(int64_t classes, int64_t top_k) {
        thread_local TopNetwork kept;
        if (kept.classes != classes || kept.top_k != top_k) kept.set(classes, top_k);
        return kept;
    }

    const Pair *begin() const { return pairs + start; }
    const Pair *end() const { return pairs + MOST_PAIRS; }

  private:
    static constexpr int64_t MOST_PAIRS = 543;  // of 64 classes

    int64_t classes = 0, top_k = 0, start = MOST_PAIRS;
    Pair pairs[MOST_PAIRS];

    void set(int64_t classes, int64_t top_k) {
        this->classes = classes;
        this->top_k = top_k;
        Pair all[MOST_PAIRS];
        keep_needed(all, merge_exchange(all));
    }

    int64_t merge_exchange(Pair *to) const {
        int64_t half = 1, count = 0;
        while (2 * half < classes) half *= 2;
        for (int64_t p = half; p; p /= 2)
            for (int64_t q = half, r = 0, distance = p;; distance = q - p, q /= 2, r = p) {
                for (int64_t i = 0; i + distance < classes; i++)
                    if ((i & p) == r) to[count++] = {(uint8_t)i, (uint8_t)(i + distance)};
                if (q == p) break;
            }
        return count;
    }

    void keep_needed(const Pair *all, int64_t count) {
        bool is_needed[MOST_CLASSES] = {};
        std::fill_n(is_needed, top_k, true);
        start = MOST_PAIRS;
        while (count--) {
            auto [first, second] = all[count];
            if (!is_needed[first] && !is_needed[second]) continue;
            is_needed[first] = is_needed[second] = true;
            pairs[--start] = all[count];
        }
    }
};

// Keys of some rows, class by class: in the upper half is the order of the number, in the lower half that of the class.
struct FloatKeys {
    static constexpr int ROWS = GROUP<Float32>;
    typedef VectorOf<uint64_t>::type Keys;

    uint64_t *keys;

    void put(int64_t i, Lanes<float> x) const {
        auto orders = orders_of(x);
        auto of_class = all((uint32_t)~i).part[0];
        each_do([&](auto part) ALWAYS_INLINE_LAMBDA {
            uint64_t *to = keys + i * ROWS + part * ROWS / REGISTERS;
            [&]<int... I>(std::integer_sequence<int, I...>) ALWAYS_INLINE_LAMBDA {
                constexpr int COUNT = sizeof...(I), HALF = COUNT / 2;
                auto order = orders.part[part];
                store(to, __builtin_shufflevector(of_class, order, (I / 2 + I % 2 * COUNT)...));
                store(to + HALF, __builtin_shufflevector(of_class, order, (I / 2 + HALF + I % 2 * COUNT)...));
            }(std::make_integer_sequence<int, FLOATS>());
        });
    }

    ALWAYS_INLINE void exchange(int64_t first, int64_t second) const {
        constexpr int COUNT = REGISTER_BYTES / sizeof(uint64_t);
        uint64_t *a = keys + first * ROWS, *b = keys + second * ROWS;
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; row += COUNT) {
            auto x = load<Keys>(a + row), y = load<Keys>(b + row);
            store(a + row, x > y ? x : y);
            store(b + row, x > y ? y : x);
        }
    }

    int64_t at(int64_t place, int row) const { return (uint32_t)~keys[place * ROWS + row]; }
};

// The order of a number and the class take a word each.
struct DoubleKeys {
    static constexpr int ROWS = GROUP<Float64>;
    typedef Lanes<uint64_t> Words;

    uint64_t *keys;

    void put(int64_t i, Lanes<double> x) const {
        put_lanes(keys + 2 * i * ROWS, orders_of(x));
        put_lanes(keys + (2 * i + 1) * ROWS, all((uint64_t)i));
    }

    ALWAYS_INLINE void exchange(int64_t first, int64_t second) const {
        uint64_t *a = keys + 2 * first * ROWS, *b = keys + 2 * second * ROWS;
        Words x = lanes_at<uint64_t>(a), y = lanes_at<uint64_t>(b);
        Words of_x = lanes_at<uint64_t>(a + ROWS), of_y = lanes_at<uint64_t>(b + ROWS);
        auto is_less = EACH((x.part[i] < y.part[i]) | ((x.part[i] == y.part[i]) & (of_y.part[i] < of_x.part[i])));
        put_lanes(a, chosen(is_less, y, x));
        put_lanes(b, chosen(is_less, x, y));
        put_lanes(a + ROWS, chosen(is_less, of_y, of_x));
        put_lanes(b + ROWS, chosen(is_less, of_x, of_y));
    }

    int64_t at(int64_t place, int row) const { return keys[(2 * place + 1) * ROWS + row]; }
};

template <class Element>
using ColumnKeys = std::conditional_t<sizeof(Computed<Element>) == 8, DoubleKeys, FloatKeys>;

// Sorts in `memory`, of twice the bytes of x; `write` is called with each row, place and class.
template <class Element, class Write>
static void top_of_few(const Columns<Element> &x, int64_t classes, int64_t top_k, int count, void *memory, Write write) {
    ColumnKeys<Element> keys = {(uint64_t *)memory};
    for (int64_t i = 0; i < classes; i++) keys.put(i, x[i]);
    for (auto [first, second] : TopNetwork::of(classes, top_k)) keys.exchange(first, second);
    for (int row = 0; row < count; row++)
        for (int64_t place = 0; place < top_k; place++) write(row, place, keys.at(place, row));
}
