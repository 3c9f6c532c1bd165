// Softmax cross-entropy of rows of logits against one class each, and its gradient.
//
// A row comes from memory once, for its largest logit, and then from the cache for its exponentials, which are kept for
// the gradient. What it gives depends on its logits and their number alone: not on its address, other rows or threads.

#include <omp.h>

#include <algorithm>
#include <type_traits>

#include "columns.h"
#include "launch.h"

constexpr int64_t PIECE = 1 << 18;           // logits that a thread takes at a time
constexpr int64_t LEAST_PARALLEL = 1 << 15;  // logits that are worth a second thread, as for PyTorch's own operators

// In bytes of a row. Shorter rows the CPU fetches ahead by itself; longer ones would drive each other from its caches.
constexpr int64_t LEAST_AHEAD = 1 << 11, MOST_AHEAD = 1 << 18;
// In bytes of a row's gradient and of all, from which it goes past the caches: they would not hold it until it is read.
constexpr int64_t LEAST_STREAM = 1 << 16, LEAST_STREAM_ALL = 1 << 23;

constexpr Step ZERO = {Floats{}, Floats{}};
constexpr Step NOTHING = {Floats{} - INFINITY, Floats{} - INFINITY};

template <class Element> struct Row {
    const Element *x;
    int64_t whole;  // classes in whole steps
    Step last;      // the others in its last places, -inf before them
};

// Loads elements before them too, which costs less than moving them; but none from before the first row.
template <class Element> INLINE Step load_last(const Element *end, int64_t count, bool is_first) {
    Element copy[STEP];
    if (is_first) {
        std::memcpy(copy + STEP - count, end - count, count * sizeof(Element));
        end = copy + STEP;
    }
    Step x = load_step(end - STEP), at = places<Element>();
    float first = STEP - count;
    return {at.a < first ? NOTHING.a : x.a, at.b < first ? NOTHING.b : x.b};
}

template <class Element> INLINE Row<Element> row_at(const Launch &launch, int64_t i) {
    int64_t offset = i * launch.strides.position, rest = launch.classes % STEP;
    const Element *x = (const Element *)launch.logits + offset;
    bool is_first = offset + launch.classes < STEP;
    return {x, launch.classes - rest, rest ? load_last(x + launch.classes, rest, is_first) : NOTHING};
}

// But for NaNs, which are left to the sum.
template <class Element> INLINE float largest_of(const Row<Element> &row) {
    Step even = row.last, odd = NOTHING;
    int64_t i = 0;
    for (; i + 2 * STEP <= row.whole; i += 2 * STEP) {
        even = larger(load_step(row.x + i), even);
        odd = larger(load_step(row.x + i + STEP), odd);
    }
    if (i < row.whole) even = larger(load_step(row.x + i), even);
    return largest_lane(larger(larger(even.a, even.b), larger(odd.a, odd.b)));
}

template <bool KEEP> INLINE Step exponentials(Step x, float origin, Float32 *kept) {
    Step e = {exponential(x.a - origin), exponential(x.b - origin)};
    if (KEEP) store_step(kept, e);
    return e;
}

// Meanwhile, memory brings the next row.
template <class Element> INLINE void fetch(const Element *x) {
    for (size_t at = 0; at < 2 * STEP * sizeof(Element); at += 64) __builtin_prefetch((const char *)x + at, 0, 2);
}

template <bool KEEP, class Element>
INLINE double sum_of_exponentials(const Row<Element> &row, float origin, Float32 *kept, const Element *next) {
    double total = 0;
    Step even = exponentials<KEEP>(row.last, origin, kept + row.whole), odd = ZERO;
    int64_t i = 0;
    do {
        int64_t end = std::min(i + SEGMENT, row.whole);
        for (; i + 2 * STEP <= end; i += 2 * STEP) {
            if (next) fetch(next + i);
            even += exponentials<KEEP>(load_step(row.x + i), origin, kept + i);
            odd += exponentials<KEEP>(load_step(row.x + i + STEP), origin, kept + i + STEP);
        }
        for (; i < end; i += STEP) even += exponentials<KEEP>(load_step(row.x + i), origin, kept + i);
        total += sum_of_lanes((even.a + even.b) + (odd.a + odd.b));
        even = odd = ZERO;
    } while (i < row.whole);
    return total;
}

template <bool KEEP, class Element>
INLINE Softmax softmax_of(const Row<Element> &row, int64_t stride, Float32 *kept) {
    int64_t bytes = stride * sizeof(Element);
    const Element *next = LEAST_AHEAD <= bytes && bytes <= MOST_AHEAD ? row.x + stride : nullptr;
    float largest = largest_of(row);
    return {largest, sum_of_exponentials<KEEP>(row, largest, kept, next)};
}

template <bool STREAM, class Element, class Out> INLINE void store_grad(Out *to, Step x) {
    if constexpr (std::is_same_v<Element, Out>)
        store_step<STREAM>(to, x);
    else
        store_step<STREAM>(to, in_order(x));
}

template <bool STREAM, class Element, class Out>
INLINE void write_scaled(Out *to, const Float32 *kept, int64_t count, float factor) {
    int64_t i = 0;
    for (; i + STEP <= count; i += STEP) store_grad<STREAM, Element>(to + i, load_step(kept + i) * factor);
    if (STREAM) publish();
    if (i < count) {
        Out last[STEP];
        store_grad<false, Element>(last, load_step(kept + i) * factor);
        std::memcpy(to + i, last + STEP - (count - i), (count - i) * sizeof(Out));
    }
}

// scale * (p - 1) at the target and scale * p elsewhere.
template <class Element, class Out>
INLINE void write_grad(const Launch &launch, int64_t i, int64_t target, float x, const Softmax &softmax,
                       const Float32 *kept) {
    int64_t classes = launch.classes, bytes = classes * sizeof(Out);
    float scale = weight_of(launch, i) * launch.scale[i * launch.scale_stride], factor = scale / softmax.total;
    float at_target = exponential(all(x - softmax.largest))[0] * factor - scale;
    Out *to = (Out *)launch.grad + i * classes;
    if (bytes >= LEAST_STREAM && bytes * launch.rows >= LEAST_STREAM_ALL && (uintptr_t)to % 16 == 0)
        write_scaled<true, Element>(to, kept, classes, factor);
    else
        write_scaled<false, Element>(to, kept, classes, factor);
    narrow_one(to + target, at_target);
}

template <class Element> INLINE void write_zeros(const Launch &launch, int64_t i) {
    launch.losses[i] = 0;
    size_t bytes = launch.classes * (launch.wide ? sizeof(Float32) : sizeof(Element));
    if (launch.grad) std::memset((char *)launch.grad + i * bytes, 0, bytes);
}

// Whether the row could be evaluated: whether its target is a class.
template <bool GRAD, class Element> INLINE bool evaluate_row(const Launch &launch, int64_t i, Float32 *kept) {
    int64_t target = launch.target[i];
    bool ignored = launch.ignored && launch.ignored[i];
    if (target < 0 || target >= launch.classes) return false;
    if (ignored) {
        write_zeros<Element>(launch, i);
        if (!launch.lse) return true;
    }
    Row<Element> row = row_at<Element>(launch, i);
    Softmax softmax = softmax_of<GRAD>(row, launch.strides.position, kept);
    if (launch.lse) launch.lse[i] = log_sum_exp(row.x, 1, launch.classes, softmax);
    if (ignored) return true;
    float x = widened_one(row.x[target]);
    launch.losses[i] = weight_of(launch, i) * -(float)softmax.log_p(x);
    if (GRAD) {
        if (launch.wide)
            write_grad<Element, Float32>(launch, i, target, x, softmax, kept);
        else
            write_grad<Element, Element>(launch, i, target, x, softmax, kept);
    }
    return true;
}

template <class Element> INLINE bool evaluate_rows(const Launch &launch, int64_t first, int64_t last, Float32 *kept) {
    bool done = true;
    for (int64_t i = first; i < last; i++)
        done &= launch.grad ? evaluate_row<true, Element>(launch, i, kept)
                            : evaluate_row<false, Element>(launch, i, kept);
    return done;
}

// Compiled for each generation of CPUs, and the loader takes the one that this machine can run.
#if defined(__x86_64__) && defined(__gnu_linux__)
#define FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_CPU
#endif

FOR_EACH_CPU bool float32_rows(const Launch &launch, int64_t first, int64_t last, Float32 *kept) {
    return evaluate_rows<Float32>(launch, first, last, kept);
}

FOR_EACH_CPU bool float16_rows(const Launch &launch, int64_t first, int64_t last, Float32 *kept) {
    return evaluate_rows<Float16>(launch, first, last, kept);
}

FOR_EACH_CPU bool bfloat16_rows(const Launch &launch, int64_t first, int64_t last, Float32 *kept) {
    return evaluate_rows<BFloat16>(launch, first, last, kept);
}

FOR_EACH_CPU bool float32_columns(const Launch &launch, int64_t first, int64_t last, Float32 *kept) {
    return evaluate_groups<Float32>(launch, first, last, kept);
}

FOR_EACH_CPU bool float16_columns(const Launch &launch, int64_t first, int64_t last, Float32 *kept) {
    return evaluate_groups<Float16>(launch, first, last, kept);
}

FOR_EACH_CPU bool bfloat16_columns(const Launch &launch, int64_t first, int64_t last, Float32 *kept) {
    return evaluate_groups<BFloat16>(launch, first, last, kept);
}

// So many rows, or groups of rows, of so many logits each.
template <class Part> static bool evaluate(Part part, const Launch &launch, int64_t count, int64_t logits) {
    int64_t piece = PIECE / logits + 1;
    bool parallel = launch.rows * launch.classes >= LEAST_PARALLEL;
    bool done = true;
#pragma omp parallel for schedule(dynamic) num_threads(parallel ? launch.threads : 1) reduction(&& : done)
    for (int64_t first = 0; first < count; first += piece)
        done &= part(launch, first, std::min(first + piece, count),
                     launch.kept + omp_get_thread_num() * launch.kept_size);
    return done;
}

template <class Rows, class Columns> static bool evaluate(Rows rows, Columns columns, const Launch &launch) {
    if (!launch.by_columns) return evaluate(rows, launch, launch.rows, launch.classes);
    int64_t groups = launch.rows / launch.positions * groups_of(launch);
    return evaluate(columns, launch, groups, launch.classes * ROWS);
}

// Whether all rows were evaluated.
extern "C" {
bool softmax_float32(const Launch *launch) { return evaluate(float32_rows, float32_columns, *launch); }
bool softmax_float16(const Launch *launch) { return evaluate(float16_rows, float16_columns, *launch); }
bool softmax_bfloat16(const Launch *launch) { return evaluate(bfloat16_rows, bfloat16_columns, *launch); }
}
