// What is asked of one launch, and what becomes of a row once its logits are added up.

#pragma once

#include <cmath>
#include <cstdint>

#include "lanes.h"

constexpr int64_t SEGMENT = 1 << 14;  // classes that are added up in float32; their sums are added in double

// How far apart numbers of a tensor (samples, positions, classes) are, in elements.
struct Strides {
    int64_t sample, position, classes;
};

// What is there or wanted for some launches only may be null. A row is a position of a sample.
struct Launch {
    const void *logits;       // (samples, positions, classes)
    Strides strides;          // of the logits; unless by_columns that of positions alone, of all samples
    int64_t rows, classes;
    int64_t positions;        // of each sample
    bool by_columns;          // whether as in columns.h; else rows are contiguous, and of logits equally far apart
    const int64_t *target;    // (rows), in [0, classes); looked at once, since a caller may change it meanwhile
    const bool *ignored;      // (rows), whether loss and gradient are 0; may be null
    const float *weight;      // (rows), factor of the loss and of the gradient; may be null
    const float *scale;       // (rows), another of the gradient; may be null
    int64_t scale_stride;     // 0 where all rows share one
    float *losses;            // (rows)
    float *lse;               // (rows), logarithm of the sum of exponentials; may be null
    void *grad;               // (samples, positions, classes); null without scale
    Strides grad_strides;
    bool wide;                // whether the gradient is float32 whatever the logits are
    Float32 *kept;            // to work in, for each thread; null without grad
    int64_t kept_size;        // of one thread, in numbers
    int threads;
};

INLINE float weight_of(const Launch &launch, int64_t i) { return launch.weight ? launch.weight[i] : 1; }

struct Softmax {
    float largest;
    double total;  // of exp(x - largest)

    // In double: a small loss is a difference of large numbers.
    double log_p(float x) const { return ((double)x - largest) - std::log(total); }
};

template <class Element>
INLINE float log_sum_exp(const Element *x, int64_t stride, int64_t classes, const Softmax &softmax) {
    if (!std::isinf(softmax.largest)) return softmax.largest + std::log(softmax.total);
    for (int64_t i = 0; i < classes; i++)
        if (std::isnan(widened_one(x[i * stride]))) return NAN;
    return softmax.largest;
}
