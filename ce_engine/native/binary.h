// Binary losses, whose rows are single elements: of probabilities or of logits.
//
// With q the weight of positive targets, the loss of logits is (1 - t) x - (1 + (q - 1) t) log sigmoid(x); that of
// probabilities is -t log x - (1 - t) log(1 - x), with logarithms of at least -100.

#pragma once

#include <algorithm>

#include "launch.h"

constexpr double LEAST_LOG = -100, LEAST_VARIANCE = 1e-12f;  // as PyTorch's, which are float32

template <class T> INLINE Lanes<T> smaller(Lanes<T> x, Lanes<T> y) { return negated(larger(negated(x), negated(y))); }

// Of logits. With a = |x| and e = exp(-a), nothing overflows: log sigmoid(x) = min(x, 0) - log(1 + e).
template <class T> struct Logits {
    Lanes<T> x, size, e, tail;

    static constexpr T boundary = 0;  // inputs above it are predicted to be positive

    ALWAYS_INLINE explicit Logits(Lanes<T> x)
        : x(x), size(larger(negated(x), x)), e(exponential(negated(size))), tail(logarithm_1p(e)) {}

    ALWAYS_INLINE Lanes<T> probability() const { return chosen(x < all((T)0), e, all((T)1)) / (e + all((T)1)); }
    ALWAYS_INLINE Lanes<T> log_probability() const { return smaller(x, all((T)0)) - tail; }
    ALWAYS_INLINE Lanes<T> entropy() const {
        return tail + smaller(size, all(-Constants<T>::LEAST_EXPONENT)) * e / (e + all((T)1));
    }
    ALWAYS_INLINE Lanes<T> loss(Lanes<T> t) const { return (all((T)1) - t) * x - log_probability(); }
    ALWAYS_INLINE Lanes<T> slope(Lanes<T> t) const { return probability() - t; }
    ALWAYS_INLINE Lanes<T> weighted_loss(Lanes<T> t, Lanes<T> positive) const {
        return (all((T)1) - t) * x - (all((T)1) + (positive - all((T)1)) * t) * log_probability();
    }
    ALWAYS_INLINE Lanes<T> weighted_slope(Lanes<T> t, Lanes<T> positive) const {
        Lanes<T> weighted = positive * t;
        return probability() * (weighted - t + all((T)1)) - weighted;
    }
};

// Of probabilities.
template <class T> struct Probabilities {
    Lanes<T> x, log_x, log_rest;

    static constexpr T boundary = 0.5;

    ALWAYS_INLINE explicit Probabilities(Lanes<T> x)
        : x(x), log_x(larger(all((T)LEAST_LOG), logarithm(x))),
          log_rest(larger(all((T)LEAST_LOG), logarithm_1p(negated(x)))) {}

    ALWAYS_INLINE Lanes<T> probability() const { return x; }
    ALWAYS_INLINE Lanes<T> log_probability() const { return log_x; }
    ALWAYS_INLINE Lanes<T> entropy() const { return (x - all((T)1)) * log_rest - x * log_x; }
    ALWAYS_INLINE Lanes<T> loss(Lanes<T> t) const { return (t - all((T)1)) * log_rest - t * log_x; }
    ALWAYS_INLINE Lanes<T> slope(Lanes<T> t) const {
        return (x - t) / larger(all((T)LEAST_VARIANCE), (all((T)1) - x) * x);
    }
    // They have no weights of positive targets.
    ALWAYS_INLINE Lanes<T> weighted_loss(Lanes<T> t, Lanes<T>) const { return loss(t); }
    ALWAYS_INLINE Lanes<T> weighted_slope(Lanes<T> t, Lanes<T>) const { return slope(t); }
};

template <class Element> class BinaryElements {
    typedef Computed<Element> Number;
    typedef ::Wide<Element> Wide;
    typedef Lanes<Number> Numbers;

    const BinaryLaunch &launch;
    int64_t i;  // the first of the elements that are computed at once
    int count;

  public:
    static bool evaluate(const BinaryLaunch &launch, int64_t first, int64_t last) {
        launch.is_probability ? evaluate_as<Probabilities<Number>>(launch, first, last)
                              : evaluate_as<Logits<Number>>(launch, first, last);
        return true;
    }

  private:
    template <class Inputs> static void evaluate_as(const BinaryLaunch &launch, int64_t first, int64_t last) {
        int64_t i = first;
        for (; i + Numbers::COUNT <= last; i += Numbers::COUNT)
            BinaryElements(launch, i, Numbers::COUNT).template evaluate_lanes<Inputs>();
        if (i < last) BinaryElements(launch, i, last - i).template evaluate_lanes<Inputs>();
    }

    ALWAYS_INLINE BinaryElements(const BinaryLaunch &launch, int64_t i, int count) : launch(launch), i(i), count(count) {}

    template <class Inputs> ALWAYS_INLINE void evaluate_lanes() const {
        Numbers input = load_some((const Element *)launch.input + i, count);
        Numbers target = launch.is_distribution_wide ? load_some((const Wide *)launch.distribution + i, count)
                                               : load_some((const Element *)launch.distribution + i, count);
        Numbers weight = factor(launch.weight), positive = factor(launch.pos_weight);
        Inputs inputs(input);
        put(launch.losses, weight * (launch.pos_weight ? inputs.weighted_loss(target, positive) : inputs.loss(target)));
        if (launch.grad)
            put_grad(scale() * weight *
                     (launch.pos_weight ? inputs.weighted_slope(target, positive) : inputs.slope(target)));
        if (launch.probabilities) put(launch.probabilities, inputs.probability());
        if (launch.log_probabilities) put(launch.log_probabilities, inputs.log_probability());
        if (launch.entropy) put(launch.entropy, inputs.entropy());
        if (launch.predictions) predict(input, target, Inputs::boundary);
    }

    ALWAYS_INLINE Numbers factor(const void *factors) const {
        return factors ? load_some((const Wide *)factors + i, count) : all((Number)1);
    }

    ALWAYS_INLINE Numbers scale() const {
        return launch.scale_stride ? factor(launch.scale) : all(*(const Number *)launch.scale);
    }

    ALWAYS_INLINE void put(void *results, Numbers x) const { store_some((Wide *)results + i, count, x); }

    ALWAYS_INLINE void put_grad(Numbers x) const {
        launch.is_grad_wide ? put(launch.grad, x) : store_some((Element *)launch.grad + i, count, x);
    }

    ALWAYS_INLINE void predict(Numbers input, Numbers target, Number boundary) const {
        Number inputs[Numbers::COUNT], targets[Numbers::COUNT];
        put_lanes(inputs, input);
        put_lanes(targets, target);
        for (int k = 0; k < count; k++) {
            launch.predictions[i + k] = inputs[k] > boundary;
            launch.correct[i + k] = (inputs[k] > boundary) == (targets[k] > (Number)0.5);
        }
    }
};
