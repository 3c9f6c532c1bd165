// What is asked of a launch of divergences, of a target's distribution p and the input's distribution q.

#pragma once

#include "softmax/softmax_rows.h"

enum DivergenceKind : int64_t { FORWARD, REVERSE, JENSEN_SHANNON };
enum Tail : int64_t { RENORMALIZE, ONE_BIN, DROP };

// `distribution` has the target's logits, or log-probabilities of the classes in `named_classes`. The classes of a row lie
// side by side. The gradient may be written over the input.
struct DivergenceLaunch : Tensors {
    int64_t stride, distribution_stride, grad_stride;  // of rows, in elements
    int64_t scale_stride;           // 0 where all rows share one
    int64_t rows, classes;
    int64_t named;                  // classes that each row of the target names; -1 where it has all
    DivergenceKind kind;
    Tail tail;                      // where it names some
    double beta;                    // the target's share of the mixture
    double inverse_temperature;
    bool is_distribution_wide, is_grad_wide;

    bool is_ignored(int64_t i) const { return ignored && ignored[i]; }

    // What the gradient of a row's divergence is multiplied by.
    template <class Number> Number grad_factor(int64_t i) const {
        return factor_at<Number>(weight, i) * ((const Number *)scale)[i * scale_stride];
    }

    // A row's place in the gradient.
    template <class Out> Out *grad_at(int64_t i) const { return (Out *)grad + i * grad_stride; }
};

template <class Element> static void write_zeros(const DivergenceLaunch &launch, int64_t i) {
    if (launch.is_grad_wide)
        std::memset(launch.grad_at<Wide<Element>>(i), 0, launch.classes * sizeof(Wide<Element>));
    else
        std::memset(launch.grad_at<Element>(i), 0, launch.classes * sizeof(Element));
}

template <class Element>
static void write_one(const DivergenceLaunch &launch, int64_t i, int64_t at, Computed<Element> grad) {
    if (launch.is_grad_wide)
        narrow_one(launch.grad_at<Wide<Element>>(i) + at, grad);
    else
        narrow_one(launch.grad_at<Element>(i) + at, grad);
}

// Writes the gradient of a row: what `make` makes of each place.
template <class Element, class Make>
static void write_grad(const DivergenceLaunch &launch, const Row<Element> &row, int64_t i, Make make) {
    auto write = [&](auto *to) {
        int64_t bytes = launch.classes * sizeof *to;
        bool is_aligned = (uintptr_t)to % REGISTER_BYTES == 0;
        if (is_aligned && passes_caches(bytes, bytes * launch.rows))
            write_row<true>(to, row, make);
        else
            write_row<false>(to, row, make);
    };
    launch.is_grad_wide ? write(launch.grad_at<Wide<Element>>(i)) : write(launch.grad_at<Element>(i));
}
