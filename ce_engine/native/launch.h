// What is asked of one launch, and what all its rows share.
//
// Numbers are float64 for float64 input, else float32. "Wide" tensors have that dtype too, others the input's. Pointers
// may be null where it says so.

#pragma once

#include <cmath>
#include <cstdint>

#include "elements.h"
#include "functions.h"

constexpr int64_t SEGMENT = 1 << 12;  // classes that are added up as they are computed; their sums are added in double

// How far apart numbers of a tensor (samples, positions, classes) are, in elements.
struct Strides {
    int64_t sample, position, classes;
};

// Rows of classes: a row is a position of a sample. With label smoothing e, class weights w and a distribution y, the
// target t of a class is w ((1 - e) y + e / C); y is 1 at a row's target class, or given.
struct Launch {
    const void *input;         // (samples, positions, classes)
    Strides strides;           // of the input; unless by_columns, rows are contiguous, and all equally far apart
    int64_t rows, classes;
    int64_t positions;         // of each sample
    bool by_columns;           // whether several rows are computed at a time, as in columns.h
    bool is_log;               // whether the input is log-probabilities, of which the loss takes one: the NLL loss

    const int64_t *target;     // (rows), in [0, classes); read once, since a caller may change it meanwhile. Or null
    const void *distribution;  // as the input, instead of target; or null
    Strides distribution_strides;
    bool is_distribution_wide;
    double hard, smooth;       // 1 - e and e / C, without the weights of classes
    double smooth_sum;         // of all classes, weighted
    const void *hard_of_class, *smooth_of_class;  // (classes), weighted, with room for a step before; or null

    const bool *ignored;       // (rows), whether loss and gradient are 0; or null
    const void *weight;        // (rows), of the target's class; or null
    const void *sample_weight; // (rows), another factor of all; or null
    const void *scale;         // (rows), a further factor of the gradient; or null
    int64_t scale_stride;      // 0 where all rows share one

    void *losses;              // (rows)
    void *lse, *entropy;       // (rows), or null
    int64_t *predictions;      // (rows), or null
    bool *correct;             // (rows), whether the prediction is the target; null without predictions
    void *grad;                // (samples, positions, classes), or null
    void *probabilities, *log_probabilities;  // likewise; wide
    Strides out_strides;       // of these three
    bool is_grad_wide;

    // Whether ignored rows have results too, besides their loss and gradient.
    bool has_outputs() const { return lse || entropy || predictions || probabilities || log_probabilities; }
    bool has_softmax() const { return !is_log || lse || entropy; }
};

// Binary losses, whose rows are elements. All tensors are contiguous.
struct BinaryLaunch {
    const void *input, *target;        // (elements)
    bool is_target_wide;
    bool is_probability;               // whether the input is, and not logits
    int64_t elements;
    const void *weight, *pos_weight;   // (elements), or null
    const void *scale;                 // as above
    int64_t scale_stride;
    void *losses;                      // (elements), like those below
    void *grad;                        // or null, like those below
    bool is_grad_wide;
    void *probabilities, *log_probabilities, *entropy;
    int64_t *predictions;
    bool *correct;                     // null without predictions
};

// A number of a row, or 1.
template <class Number> INLINE Number factor_at(const void *factors, int64_t i) {
    return factors ? ((const Number *)factors)[i] : 1;
}

INLINE bool is_ignored(const Launch &launch, int64_t i) { return launch.ignored && launch.ignored[i]; }

// The factor of a row's gradient, but for the weight of its target's class.
template <class Number> INLINE Number scale_at(const Launch &launch, int64_t i) {
    return factor_at<Number>(launch.sample_weight, i) * ((const Number *)launch.scale)[i * launch.scale_stride];
}
