// Divergences of a row of logits from the log-probabilities of some classes, in double: there are few of them.
//
// An entry of -infinity has no share: its class is one of the others. With h = q dL/dq of a class that counts, the gradient
// of each logit is h - q times the sum of all h.

#pragma once

#include "divergence_launch.h"

// A class that counts, or all others together as one.
struct Counted {
    double log_p, log_q, slope;  // slope: h
    int64_t at;
};

// What a class adds to the loss; sets its slope.
static double add_counted(Counted &entry, DivergenceKind kind, double beta) {
    double p = exponential_one(entry.log_p), q = exponential_one(entry.log_q), t = entry.log_p - entry.log_q;
    if (kind == FORWARD) {
        entry.slope = -p;
        return p == 0 ? 0 : p * t;
    }
    if (kind == REVERSE) {
        entry.slope = q == 0 ? 0 : q * (1 - t);
        return q == 0 ? 0 : q * -t;
    }
    double log_mixture = logarithm_one(t < 0 ? 1 - beta + beta * exponential_one(t) : beta + (1 - beta) * exponential_one(-t));
    double of_p = (t < 0 ? t : 0) - log_mixture, of_q = (t < 0 ? 0 : -t) - log_mixture;
    entry.slope = q == 0 ? 0 : (1 - beta) * q * of_q;
    return (p == 0 ? 0 : beta * p * of_p) + entry.slope;
}

template <class Element, class Given> class NamedClasses {
    typedef Computed<Element> Number;
    typedef ::Wide<Element> Wide;

    const DivergenceLaunch &launch;
    const int64_t i;
    const Row<Element> x;
    Counted *const entries;
    Wide *const others;  // the row, without the classes that count
    int64_t count = 0;
    double largest_x = 0, total = 1, total_others = 0;  // of exponentials, less the largest
    double slope = 0;                                   // the sum of all slopes
    Counted rest = {-INFINITY, -INFINITY, 0, 0};

  public:
    static int64_t scratch_bytes(const DivergenceLaunch &launch) {
        int64_t copied = launch.tail == ONE_BIN ? (launch.classes / STEP<Element> + 1) * STEP<Element> : 0;
        return launch.named * sizeof(Counted) + copied * sizeof(Wide);
    }

    NamedClasses(const DivergenceLaunch &launch, int64_t i, void *scratch)
        : launch(launch), i(i), x((const Element *)launch.input, i * launch.stride, launch.classes),
          entries((Counted *)scratch), others((Wide *)(entries + launch.named)) {}

    // Whether all entries that have a share name classes.
    bool find() {
        const Given *given = (const Given *)launch.distribution + i * launch.distribution_stride;
        for (int64_t k = 0; k < launch.named; k++) {
            double log_p = widened_one(given[k]);
            if (log_p == -INFINITY) continue;
            int64_t at = launch.named_classes[i * launch.named + k];
            if (at < 0 || at >= launch.classes) return false;
            entries[count++] = {log_p, widened_one(x.x[at]), 0, at};
        }
        return true;
    }

    double loss() {
        launch.tail == RENORMALIZE ? condition() : take_shares();
        double sum = 0;
        for (int64_t k = 0; k < count; k++) sum += add_counted(entries[k], launch.kind, launch.beta);
        for (int64_t k = 0; k < count; k++) slope += entries[k].slope;
        if (launch.tail != ONE_BIN) return sum;
        set_rest();
        sum += add_counted(rest, launch.kind, launch.beta);
        slope += rest.slope;
        return sum;
    }

    // After the loss.
    void write_gradient(Number factor) const {
        if (launch.tail == RENORMALIZE)
            write_zeros<Element>(launch, i);
        else
            write_others(factor);
        for (int64_t k = 0; k < count; k++) {
            double q = exponential_one(entries[k].log_q), grad = entries[k].slope - q * slope;
            write_one<Element>(launch, i, entries[k].at, factor * launch.inverse_temperature * grad);
        }
    }

    int64_t prediction() const { return argmax_of(x.x, launch.classes, largest_of(x)); }

    // Of equal ones the first class; no class if none has a share. NaN is larger than all others.
    int64_t most_probable() const {
        int64_t found = -1;
        double largest = -INFINITY;
        for (int64_t k = 0; k < count; k++) {
            double log_p = entries[k].log_p;
            bool is_same = log_p == largest || (std::isnan(log_p) && std::isnan(largest));
            bool is_larger = log_p > largest || (std::isnan(log_p) && !std::isnan(largest));
            if (!is_larger && !(is_same && entries[k].at < found)) continue;
            largest = log_p;
            found = entries[k].at;
        }
        return found;
    }

  private:
    // Scales both distributions to sum to 1 over the classes that count. Where q has nothing there, it stays 0 for
    // `forward`, which is then infinite; the others are NaN, since nothing scales it.
    void condition() {
        normalize(&Counted::log_p);
        normalize(&Counted::log_q);
    }

    void normalize(double Counted::*logit) {
        double largest = -INFINITY, sum = 0;
        for (int64_t k = 0; k < count; k++) largest = std::max(largest, entries[k].*logit);
        if (launch.kind == FORWARD && largest == -INFINITY) return;
        for (int64_t k = 0; k < count; k++) {
            entries[k].*logit = launch.inverse_temperature * (entries[k].*logit - largest);
            sum += exponential_one(entries[k].*logit);
        }
        double log_sum = logarithm_one(sum);
        for (int64_t k = 0; k < count; k++) entries[k].*logit -= log_sum;
    }

    void take_shares() {
        largest_x = largest_of(x);
        double named = 0;
        for (int64_t k = 0; k < count; k++) named += exponential_one(entries[k].log_q - largest_x);
        if (launch.tail == ONE_BIN) total_others = sum_of_others();
        total = launch.tail == ONE_BIN ? total_others + named : sum_of_exponentials<Element>(x, largest_x, nullptr, nullptr);
        double log_total = logarithm_one(total);
        for (int64_t k = 0; k < count; k++) entries[k].log_q -= largest_x + log_total;
    }

    // Of all of the row less what the named have it would be rounding errors, where these have nearly all.
    double sum_of_others() {
        for (int64_t at = 0; at < x.whole; at += STEP<Element>) store_step(others + at, x[Whole{at}]);
        for (int64_t at = x.whole; at < launch.classes; at++) narrow_one(others + at, widened_one(x.x[at]));
        for (int64_t k = 0; k < count; k++) narrow_one(others + entries[k].at, (Number)-INFINITY);
        return sum_of_exponentials<Wide>(Row<Wide>(others, 0, launch.classes), largest_x, nullptr, nullptr);
    }

    void set_rest() {
        double p = 1;
        for (int64_t k = 0; k < count; k++) p -= exponential_one(entries[k].log_p);
        bool names_all = count == launch.classes;  // then what is left of p is a rounding error
        rest.log_p = p <= 0 || names_all ? -INFINITY : logarithm_one(p);
        rest.log_q = total_others == 0 ? -INFINITY : logarithm_one(total_others) - logarithm_one(total);
    }

    // Of all classes; those that count are overwritten.
    void write_others(Number factor) const {
        double of_rest = total_others == 0 ? 0 : rest.slope / total_others;
        Number of_e = factor * (of_rest - slope / total), origin = largest_x;
        write_grad(launch, x, i, [=, this](auto at) ALWAYS_INLINE_LAMBDA {
            return exponential(x[at] - both(origin)) * both(of_e);
        });
    }
};
