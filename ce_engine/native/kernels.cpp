// The kernels that ce_engine.cpu calls, for one kind of CPU.

#include "binary.h"
#include "classes.h"
#include "divergences.h"
#include "nll_rows.h"
#include "pieces.h"
#include "products/product.h"
#include "softmax/softmax_columns.h"
#include "softmax/softmax_rows.h"
#include "sums/exact_sums.h"
#include "sums/row_sums.h"
#include "sums/tally.h"

enum Dtype { FLOAT64, FLOAT32, FLOAT16, BFLOAT16 };

template <class Element> static Outcome evaluate_rows(const Launch &launch, const Share &share) {
    typedef SoftmaxRows<Element> Rows;
    typedef SoftmaxColumns<Element> Columns;
    if (launch.is_log && !launch.has_outputs())
        return evaluate_pieces(share, {launch.rows, launch.grad ? launch.classes : 1, 0},
                               [&](int64_t first, int64_t last, void *) {
                                   return NllRows<Element>(launch).evaluate(first, last);
                               });
    if (!launch.by_columns)
        return evaluate_pieces(share, {launch.rows, launch.classes, Rows::scratch_bytes(launch)},
                               [&](int64_t first, int64_t last, void *kept) {
                                   return Rows(launch, kept).evaluate(first, last);
                               });
    int64_t blocks = launch.rows / launch.positions * Columns::blocks_of_sample(launch);
    return evaluate_pieces(share, {blocks, launch.classes * Columns::rows(launch), Columns::scratch_bytes(launch)},
                           [&](int64_t first, int64_t last, void *kept) {
                               return Columns::evaluate(launch, first, last, kept);
                           });
}

template <class Element> static Outcome evaluate_elements(const BinaryLaunch &launch, const Share &share) {
    return evaluate_pieces(share, {launch.elements, 1, 0}, [&](int64_t first, int64_t last, void *) {
        return BinaryElements<Element>::evaluate(launch, first, last);
    });
}

template <class Element> static Outcome evaluate_divergences(const DivergenceLaunch &launch, const Share &share) {
    typedef Divergences<Element> Rows;
    return evaluate_pieces(share, {launch.rows, 2 * launch.classes, Rows::scratch_bytes(launch)},
                           [&](int64_t first, int64_t last, void *scratch) {
                               return Rows(launch, scratch).evaluate(first, last);
                           });
}

extern "C" Outcome softmax(const Launch *launch, Dtype dtype, int threads, std::atomic<int64_t> *taken, int64_t most) {
    Share share = {threads, taken, most};
    switch (dtype) {
    case FLOAT64: return evaluate_rows<Float64>(*launch, share);
    case FLOAT32: return evaluate_rows<Float32>(*launch, share);
    case FLOAT16: return evaluate_rows<Float16>(*launch, share);
    case BFLOAT16: return evaluate_rows<BFloat16>(*launch, share);
    }
    return WRONG_TARGET;
}

extern "C" Outcome binary(const BinaryLaunch *launch, Dtype dtype, int threads, std::atomic<int64_t> *taken,
                          int64_t most) {
    Share share = {threads, taken, most};
    switch (dtype) {
    case FLOAT64: return evaluate_elements<Float64>(*launch, share);
    case FLOAT32: return evaluate_elements<Float32>(*launch, share);
    case FLOAT16: return evaluate_elements<Float16>(*launch, share);
    case BFLOAT16: return evaluate_elements<BFloat16>(*launch, share);
    }
    return WRONG_TARGET;
}

extern "C" Outcome divergence(const DivergenceLaunch *launch, Dtype dtype, int threads, std::atomic<int64_t> *taken,
                              int64_t most) {
    Share share = {threads, taken, most};
    switch (dtype) {
    case FLOAT64: return evaluate_divergences<Float64>(*launch, share);
    case FLOAT32: return evaluate_divergences<Float32>(*launch, share);
    case FLOAT16: return evaluate_divergences<Float16>(*launch, share);
    case BFLOAT16: return evaluate_divergences<BFloat16>(*launch, share);
    }
    return WRONG_TARGET;
}

// A product of rows with a matrix.
extern "C" void multiply_float64(const Product *product, int threads) { RowProducts<double>(*product).compute(threads); }
extern "C" void multiply_float32(const Product *product, int threads) { RowProducts<float>(*product).compute(threads); }

// Whether all of them are in [0, classes).
extern "C" bool are_classes(const int64_t *target, int64_t count, int64_t classes) {
    return are_all_classes(target, count, classes);
}

// The sum of rows, after a sum of others.
extern "C" double sum_float64(const double *x, int64_t rows, double start) { return row_order_sum(start, x, rows); }
extern "C" double sum_float32(const float *x, int64_t rows, double start) { return row_order_sum(start, x, rows); }

// Adds rows to the sum of each of some requests, which have as many each.
template <class Number> static void add_rows(double *sums, const Number *x, int64_t requests, int64_t rows) {
    for (int64_t i = 0; i < requests; i++) sums[i] = row_order_sum(sums[i], x + i * rows, rows);
}

extern "C" void add_float64(double *sums, const double *x, int64_t requests, int64_t rows) {
    add_rows(sums, x, requests, rows);
}
extern "C" void add_float32(double *sums, const float *x, int64_t requests, int64_t rows) {
    add_rows(sums, x, requests, rows);
}

// Adds to the count of each bound the rows that are at most that.
extern "C" void tally_float64(int64_t *counts, const double *x, int64_t rows, const double *bounds, int64_t bound_count) {
    tally(counts, x, rows, bounds, bound_count);
}
extern "C" void tally_float32(int64_t *counts, const float *x, int64_t rows, const float *bounds, int64_t bound_count) {
    tally(counts, x, rows, bounds, bound_count);
}

// Exact sums of rows: of losses and their squares; with weights also of products with these, of weights and their squares.
extern "C" void exact_float64(ExactDigits *to, const double *losses, const double *weights, const int64_t *places,
                              int64_t count) {
    exact_sums(to, losses, weights, places, count);
}
extern "C" void exact_float32(ExactDigits *to, const float *losses, const double *weights, const int64_t *places,
                              int64_t count) {
    exact_sums(to, losses, weights, places, count);
}

// Places of rows by class.
extern "C" void group(int64_t *places, int64_t *ends, const int64_t *classes, int64_t rows, int64_t class_count) {
    group_rows(places, ends, classes, rows, class_count);
}
