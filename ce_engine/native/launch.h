// What is asked of one launch, and what all its rows share.
//
// Numbers are float64 for float64 input, else float32. "Wide" tensors have that dtype too, others the input's. Pointers
// may be null where it says so.

#pragma once

#include <cmath>
#include <cstdint>

#include "vectors/elements.h"
#include "vectors/functions.h"

constexpr int64_t SEGMENT = 1 << 12;  // classes that are added up as they are computed; their sums are added in double

// Whether a result goes past the caches, by the bytes of a part that lies side by side and of all: they would not hold
// it until it is read.
INLINE bool passes_caches(int64_t part, int64_t all) { return part >= 1 << 16 && all >= 1 << 22; }

// How far apart numbers of a tensor (samples, positions, classes) are, in elements.
struct Strides {
    int64_t sample, position, classes;
};

// The tensors of a launch. Most may be null.
struct Tensors {
    const void *input;
    const void *distribution;      // as the input: targets that are probabilities
    const int64_t *target;         // (rows), in [0, classes); read once, since a caller may change it meanwhile
    const bool *ignored;           // (rows), whether loss and gradient are 0
    const void *weight;            // (rows), of the loss; of the target's class, or of the element
    const void *pos_weight;        // (rows), of binary losses
    const void *sample_weight;     // (rows), another factor of all, for label smoothing and distributions
    const void *scale;             // (rows), a further factor of the gradient
    const int64_t *named_classes;  // (rows, named), of divergences from some classes

    void *losses;                  // (rows), never null
    void *lse, *entropy;           // (rows)
    int64_t *predictions;          // (rows)
    bool *correct;                 // (rows), whether the prediction is the target; null without predictions
    void *target_log_probabilities;  // (rows)
    int64_t *target_ranks;         // (rows), from 1 on
    void *z_losses;                // (rows), what z_loss adds to losses
    void *top_log_probabilities;   // (rows, top_k), the largest first
    int64_t *top_classes;          // (rows, top_k)
    void *grad;                    // as the input
    void *probabilities, *log_probabilities;  // likewise; wide
    void *changes;                 // (rows), of divergences with labels
};

// Rows of classes, (samples, positions, classes): a row is a position of a sample. With label smoothing e, class weights
// w and a distribution y, the target t of a class is w ((1 - e) y + e / C); y is 1 at a row's target class, or given.
struct Launch : Tensors {
    // The form, which Python keeps for launches of the same form.
    Strides strides;               // of the input; unless by_columns, rows are contiguous, and all equally far apart
    Strides distribution_strides;
    Strides out_strides;           // of gradient and probabilities
    int64_t scale_stride;          // 0 where all rows share one
    int64_t rows, classes;
    int64_t positions;             // of each sample
    bool by_columns;               // whether several rows are computed at a time, as in columns.h
    bool is_log;                   // whether the input is log-probabilities, of which the loss takes one: the NLL loss
    bool is_distribution_wide, is_grad_wide;

    // Of label smoothing and distributions.
    double hard, smooth;           // 1 - e and e / C, without the weights of classes
    double smooth_sum;             // of all classes, weighted
    double z_loss;                 // factor of the square of the log-sum-exp
    double softcap_inverse;        // of logits z that were bounded: gradients are times 1 - (z softcap_inverse)^2; or 0
    const void *hard_of_class, *smooth_of_class;  // (classes), weighted, with room for a step before; or null
    int64_t top_k;

    // Whether rows have results besides their loss and gradient; and whether ignored rows have some that are not 0.
    bool has_outputs() const { return has_outputs_of_all() || has_target_outputs(); }
    bool has_target_outputs() const { return target_log_probabilities || target_ranks; }
    bool has_outputs_of_all() const {
        return lse || entropy || predictions || top_classes || probabilities || log_probabilities;
    }
    bool has_softmax() const { return !is_log || lse || entropy; }
    bool has_lse() const { return lse || z_loss != 0; }
    // Whether there is anything that few launches want: rows look at this alone, since each look costs them.
    bool has_more() const { return has_target_outputs() || top_classes || z_loss != 0 || softcap_inverse != 0; }
};

// Binary losses, whose rows are elements. All tensors are contiguous, and have a number for each.
struct BinaryLaunch : Tensors {
    int64_t elements;
    int64_t scale_stride;
    bool is_probability;           // whether the input is, and not logits
    bool is_distribution_wide, is_grad_wide;
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
