// The softmax of eight rows at a time, each in a lane of its own: of rows whose logits lie side by side, class by
// class, as those of an image's pixels, which thus need not be transposed; and of so few classes that a vector would be
// mostly empty.
//
// A row has the bits that it has by itself in softmax.cpp: its exponentials are added up in the same places and order.

#pragma once

#include <algorithm>

#include "launch.h"

constexpr int ROWS = 8;  // one register of AVX2

typedef float RowFloats __attribute__((vector_size(4 * ROWS)));
typedef uint32_t RowWords __attribute__((vector_size(4 * ROWS)));
typedef uint16_t RowHalves __attribute__((vector_size(2 * ROWS)));

INLINE RowFloats widened_rows(const Float32 *from) { return load<RowFloats>(from); }
template <class Half> INLINE RowFloats widened_rows(const Half *from) {
    return widened(Half(), __builtin_convertvector(load<RowHalves>(from), RowWords));
}

INLINE void narrow_rows(Float32 *to, RowFloats x) { store(to, x); }
template <class Half> INLINE void narrow_rows(Half *to, RowFloats x) {
    store(to, __builtin_convertvector(narrowed(Half(), x), RowHalves));
}

// One class of some rows.
template <class Element> INLINE RowFloats load_rows(const Element *x, int64_t stride, int count) {
    if (stride == 1 && count == ROWS) return widened_rows(x);
    Element rows[ROWS] = {};
    for (int i = 0; i < count; i++) rows[i] = x[i * stride];
    return widened_rows(rows);
}

template <class Out> INLINE void store_rows(Out *to, int64_t stride, int count, RowFloats x) {
    if (stride == 1 && count == ROWS) return narrow_rows(to, x);
    Out rows[ROWS];
    narrow_rows(rows, x);
    for (int i = 0; i < count; i++) to[i * stride] = rows[i];
}

// Some consecutive rows of one sample.
template <class Element> struct Columns {
    const Element *x;
    Strides strides;
    int64_t classes;
    int count;

    ALWAYS_INLINE RowFloats operator[](int64_t i) const {
        return load_rows(x + i * strides.classes, strides.position, count);
    }
};

// Where the exponentials of some rows are added up, as softmax.cpp does it: of few classes in an even step's last
// places, else in an even and in an odd step. The others are never read: as zeros they would change no sum.
template <class Element> struct Places {
    Float32 sums[2 * STEP * ROWS];
    int64_t first, last;

    ALWAYS_INLINE explicit Places(int64_t classes)
        : first(std::max<int64_t>(0, STEP - classes)), last(classes <= STEP ? STEP : 2 * STEP) {
        clear();
    }

    ALWAYS_INLINE void clear() { std::memset(sums + first * ROWS, 0, (last - first) * ROWS * sizeof(Float32)); }

    ALWAYS_INLINE void add(int64_t place, RowFloats x) { store(sums + place * ROWS, (*this)[place] + x); }

    ALWAYS_INLINE RowFloats operator[](int64_t place) const { return load<RowFloats>(sums + place * ROWS); }

    // One of the sixteen lanes in which a step's two vectors are added.
    ALWAYS_INLINE RowFloats lane(int64_t i) const {
        constexpr bool half = sizeof(Element) == 2;  // as `places` of lanes.h
        int64_t a = half ? 2 * i : i, b = half ? a + 1 : a + LANES;
        RowFloats even = a < first ? (*this)[b] : (*this)[a] + (*this)[b];
        return last == STEP ? even : even + ((*this)[STEP + a] + (*this)[STEP + b]);
    }

    // As sum_of_lanes adds them.
    ALWAYS_INLINE void add_to(double *totals) const {
        double lanes[LANES][ROWS];
        int64_t start = sizeof(Element) == 2 ? first / 2 : std::max<int64_t>(0, first - LANES);
        for (int64_t i = start; i < LANES; i++) {
            RowFloats sum = lane(i);
            for (int row = 0; row < ROWS; row++) lanes[i][row] = sum[row];
        }
        for (int64_t width = LANES / 2; width; width /= 2) {
            for (int64_t i = std::max(start, width); i < 2 * width; i++)
                for (int row = 0; row < ROWS; row++)
                    lanes[i - width][row] = lanes[i][row] + (i - width < start ? 0 : lanes[i - width][row]);
            start = std::max<int64_t>(0, start - width);
        }
        for (int row = 0; row < ROWS; row++) totals[row] += lanes[0][row];
    }
};

template <class Element>
INLINE void add_exponentials(const Columns<Element> &x, RowFloats origin, Float32 *kept, double *totals) {
    Places<Element> places(x.classes);
    auto add = [&](int64_t i, int64_t place) __attribute__((always_inline)) {
        RowFloats e = exponential(x[i] - origin);
        if (kept) store(kept + i * ROWS, e);
        places.add(place, e);
    };
    int64_t whole = x.classes - x.classes % STEP, i = 0;
    for (int64_t last = whole; last < x.classes; last++) add(last, STEP - (x.classes - last));
    do {
        int64_t end = std::min(i + SEGMENT, whole);
        for (; i < end; i++) add(i, i % (2 * STEP));
        places.add_to(totals);
        places.clear();
    } while (i < whole);
}

template <class Element> INLINE RowFloats largest_of(const Columns<Element> &x) {
    RowFloats largest = RowFloats{} - INFINITY;
    for (int64_t i = 0; i < x.classes; i++) largest = larger(x[i], largest);
    return largest;
}

// What is asked of each row.
struct Asked {
    int64_t target[ROWS];
    bool ignored[ROWS];
    bool valid = true;  // whether all targets are classes

    ALWAYS_INLINE Asked(const Launch &launch, int64_t first, int count) {
        for (int row = 0; row < count; row++) {
            target[row] = launch.target[first + row];
            ignored[row] = launch.ignored && launch.ignored[first + row];
            if (target[row] >= 0 && target[row] < launch.classes) continue;
            target[row] = 0;
            valid = false;
        }
    }
};

template <class Out>
INLINE void write_grads(const Launch &launch, int64_t first, int count, Out *to, const Asked &asked,
                        const double *totals, const Float32 *kept) {
    const Strides &strides = launch.grad_strides;
    float scale[ROWS] = {}, factor[ROWS] = {};
    RowWords counts = {};
    for (int row = 0; row < count; row++) {
        if (asked.ignored[row]) continue;
        scale[row] = weight_of(launch, first + row) * launch.scale[(first + row) * launch.scale_stride];
        factor[row] = scale[row] / totals[row];
        counts[row] = ~0u;
    }
    for (int64_t i = 0; i < launch.classes; i++) {
        RowFloats grad = load<RowFloats>(kept + i * ROWS) * load<RowFloats>(factor);
        store_rows(to + i * strides.classes, strides.position, count, (RowFloats)((RowWords)grad & counts));
    }
    for (int row = 0; row < count; row++) {
        float at_target = widened_one(kept[asked.target[row] * ROWS + row]) * factor[row] - scale[row];
        if (!asked.ignored[row])
            narrow_one(to + row * strides.position + asked.target[row] * strides.classes, at_target);
    }
}

// Some consecutive rows of one sample. Whether their targets are classes.
template <class Element>
INLINE bool evaluate_columns(const Launch &launch, int64_t sample, int64_t position, Float32 *kept) {
    int64_t first = sample * launch.positions + position;
    int count = std::min<int64_t>(ROWS, launch.positions - position);
    const Strides &strides = launch.strides, &to = launch.grad_strides;
    const Element *x = (const Element *)launch.logits + sample * strides.sample + position * strides.position;
    Columns<Element> columns = {x, strides, launch.classes, count};
    Asked asked(launch, first, count);
    RowFloats largest = largest_of(columns);
    double totals[ROWS] = {};
    add_exponentials(columns, largest, kept, totals);
    for (int row = 0; row < count; row++) {
        Softmax softmax = {largest[row], totals[row]};
        const Element *logits = x + row * strides.position;
        float at_target = widened_one(logits[asked.target[row] * strides.classes]);
        launch.losses[first + row] =
            asked.ignored[row] ? 0 : weight_of(launch, first + row) * -(float)softmax.log_p(at_target);
        if (launch.lse) launch.lse[first + row] = log_sum_exp(logits, strides.classes, launch.classes, softmax);
    }
    int64_t offset = sample * to.sample + position * to.position;
    if (launch.grad && launch.wide)
        write_grads(launch, first, count, (Float32 *)launch.grad + offset, asked, totals, kept);
    else if (launch.grad)
        write_grads(launch, first, count, (Element *)launch.grad + offset, asked, totals, kept);
    return asked.valid;
}

// Groups of rows of one sample.
INLINE int64_t groups_of(const Launch &launch) { return (launch.positions + ROWS - 1) / ROWS; }

template <class Element>
INLINE bool evaluate_groups(const Launch &launch, int64_t first, int64_t last, Float32 *kept) {
    bool done = true;
    for (int64_t i = first; i < last; i++) {
        int64_t sample = i / groups_of(launch), position = i % groups_of(launch) * ROWS;
        done &= evaluate_columns<Element>(launch, sample, position, launch.grad ? kept : nullptr);
    }
    return done;
}
