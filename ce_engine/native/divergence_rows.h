// Divergences of two rows of logits.
//
// A row's numbers come from memory once for the largest, and then from the cache: for the sums, and for the gradient.
// What a row gives depends on its own numbers and their count alone. With x and y the logits of q and p, and t = log p -
// log q of a class, differences y - x are made before anything is rounded: where models are alike, t is near 0. Where
// their largest logits are far apart, y - x would round the smaller ones off: each model's largest is subtracted first.

#pragma once

#include <array>

#include "divergence_launch.h"

// Sums of several terms of each class, each added up as `sum_of` of rows.h does one.
template <int COUNT, class Element, class Terms>
static std::array<double, COUNT> sums_of(const Row<Element> &row, Terms terms) {
    std::array<StepOf<Element>, COUNT> sums = {};
    if (row.rest()) {
        auto last = terms(row.end, row.last());
        for (int k = 0; k < COUNT; k++) sums[k] = only_last<Element>(last[k], row.rest(), {});
    }
    std::array<double, COUNT> totals = {};
    int64_t i = 0;
    do {
        int64_t end = std::min(i + SEGMENT, row.whole);
        for (; i < end; i += STEP<Element>) {
            auto more = terms(row[Whole{i}], Whole{i});
            for (int k = 0; k < COUNT; k++) sums[k] = sums[k] + more[k];
        }
        for (int k = 0; k < COUNT; k++) totals[k] += sum_of(sums[k].a + sums[k].b);
        sums = {};
    } while (i < row.whole);
    return totals;
}

// A term of a class, which is 0 where the class's probability is, whatever its logarithm.
template <class T> INLINE Step<T> term(Step<T> probability, Step<T> factor) {
    return chosen(probability == both((T)0), both((T)0), probability * factor);
}

template <class T> INLINE Step<T> absolute(Step<T> x) { return larger(both((T)0) - x, x); }
template <class T> INLINE Step<T> not_above_zero(Step<T> x) { return both((T)0) - larger(both((T)0) - x, both((T)0)); }

constexpr int FAR = 16;  // between the largest logits: as most logits are below their largest

template <class Element, class Given, DivergenceKind KIND> class DivergenceOfRow {
    typedef Computed<Element> Number;
    typedef StepOf<Element> Numbers;

    const DivergenceLaunch &launch;
    const int64_t i;
    const Row<Element> x;
    const Row<Given> y;
    const Number largest_x, largest_y;
    const Number apart, base_x, base_y;  // t is ((y - base_y) - (x - base_x) - apart) / temperature + shift
    double total_q, total_p;             // of exponentials, less the largest
    double shift;
    double sums[2] = {};                       // of what q's and p's probabilities are multiplied by

  public:
    DivergenceOfRow(const DivergenceLaunch &launch, int64_t i)
        : launch(launch), i(i), x((const Element *)launch.input, i * launch.stride, launch.classes),
          y((const Given *)launch.distribution, i * launch.distribution_stride, launch.classes),
          largest_x(largest_of(x)), largest_y(largest_of(y)), apart(are_far() ? 0 : largest_y - largest_x),
          base_x(are_far() ? largest_x : 0), base_y(are_far() ? largest_y : 0) {}

    double loss() {
        add_up();
        if constexpr (KIND == FORWARD) return sums[1] / total_p + shift;
        if constexpr (KIND == REVERSE) return sums[0] / total_q - shift;
        add_up_mixture();
        return launch.beta * sums[1] / total_p + (1 - launch.beta) * sums[0] / total_q;
    }

    // After the loss.
    void write_gradient(Number factor) const {
        factor *= (Number)launch.inverse_temperature;
        if constexpr (KIND == FORWARD) return write_difference(factor);
        Number of_q = factor / total_q, mean = sums[0] / total_q, share = KIND == REVERSE ? 1 : 1 - launch.beta;
        write_grad(launch, x, i, [=, this](auto at) ALWAYS_INLINE_LAMBDA {
            Numbers e = e_q(x[at]), slope = KIND == REVERSE ? both((Number)0) - difference(at) : of_mixture(at).of_q;
            return term(e * both(share * of_q), slope - both(mean));
        });
    }

    // The label's log q less its log p: 0 where both are -infinity, if the row has distributions.
    double change(int64_t label) const {
        double of_x = (double)widened_one(x.x[label]) - largest_x, of_y = (double)widened_one(y.x[label]) - largest_y;
        if (of_x == -INFINITY && of_y == -INFINITY && total_q > 0 && total_p > 0) return 0;
        return launch.inverse_temperature * (of_x - of_y) - logarithm_one(total_q) + logarithm_one(total_p);
    }

    int64_t prediction() const { return argmax_of(x.x, launch.classes, largest_x); }
    int64_t most_probable() const { return argmax_of(y.x, launch.classes, largest_y); }

  private:
    bool are_far() const { return std::abs(largest_y - largest_x) > FAR; }
    ALWAYS_INLINE Numbers tempered(Numbers x) const { return x * both((Number)launch.inverse_temperature); }
    ALWAYS_INLINE Numbers e_q(Numbers x) const { return exponential(tempered(x - both(largest_x))); }
    template <class Place> ALWAYS_INLINE Numbers e_p(Place at) const {
        return exponential(tempered(y[at] - both(largest_y)));
    }
    template <class Place> ALWAYS_INLINE Numbers difference(Place at) const {
        return tempered((y[at] - both(base_y)) - (x[at] - both(base_x)) - both(apart));
    }

    void add_up() {
        auto totals = sums_of<KIND == JENSEN_SHANNON ? 2 : 3>(x, [this](Numbers x, auto at) ALWAYS_INLINE_LAMBDA {
            Numbers q = e_q(x), p = e_p(at);
            if constexpr (KIND == FORWARD) return std::array{q, p, term(p, difference(at))};
            else if constexpr (KIND == REVERSE) return std::array{q, p, term(q, both((Number)0) - difference(at))};
            else return std::array{q, p};
        });
        total_q = totals[0], total_p = totals[1];
        if constexpr (KIND == FORWARD) sums[1] = totals[2];
        if constexpr (KIND == REVERSE) sums[0] = totals[2];
        double rounded_off = are_far() ? 0 : (double)apart - ((double)largest_y - largest_x);
        shift = logarithm_one(total_q) - logarithm_one(total_p) + launch.inverse_temperature * rounded_off;
    }

    // The logarithms of q and of p less that of the mixture.
    struct OfMixture {
        Numbers of_q, of_p;
    };

    // The larger of both is 1 in units of itself, and the other one exp(-|t|).
    template <class Place> ALWAYS_INLINE OfMixture of_mixture(Place at) const {
        Number beta = launch.beta, rest = 1 - launch.beta;
        Numbers t = difference(at) + both((Number)shift), e = exponential(both((Number)0) - absolute(t));
        Numbers below = not_above_zero(t), above = not_above_zero(both((Number)0) - t);
        auto q_is_larger = t.a < all((Number)0);
        auto q_is_larger_too = t.b < all((Number)0);
        Numbers of_larger = {chosen(q_is_larger, all(rest), all(beta)), chosen(q_is_larger_too, all(rest), all(beta))};
        Numbers of_smaller = {chosen(q_is_larger, all(beta), all(rest)), chosen(q_is_larger_too, all(beta), all(rest))};
        Numbers log_mixture = logarithm(fused(of_smaller, e, of_larger));
        return {above - log_mixture, below - log_mixture};
    }

    void add_up_mixture() {
        auto totals = sums_of<2>(x, [this](Numbers x, auto at) ALWAYS_INLINE_LAMBDA {
            OfMixture logarithms = of_mixture(at);
            return std::array{term(e_q(x), logarithms.of_q), term(e_p(at), logarithms.of_p)};
        });
        sums[0] = totals[0], sums[1] = totals[1];
    }

    void write_difference(Number factor) const {
        Number of_q = factor / total_q, of_p = factor / total_p;
        write_grad(launch, x, i, [=, this](auto at) ALWAYS_INLINE_LAMBDA {
            return fused(e_p(at), both(-of_p), e_q(x[at]) * both(of_q));
        });
    }
};
