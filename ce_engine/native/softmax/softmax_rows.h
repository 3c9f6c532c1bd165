// Rows whose classes lie side by side, one after the other.
//
// A row comes from memory once, for its largest number, and then from the cache for its exponentials, which are kept for
// what is made of them. What it gives depends on its own numbers and their count alone: not on its address, on other
// rows or threads.

#pragma once

#include "softmax/row_results.h"
#include "softmax/targets.h"
#include "top/ranks.h"
#include "top/top_classes.h"

template <class Element> class SoftmaxRows : RowResults<Element> {
    typedef RowResults<Element> Results;
    typedef Computed<Element> Number;
    typedef ::Wide<Element> Wide;
    using Results::launch;
    using Results::kept;
    using Results::has_more;
    using Results::clear_grad;
    using Results::kept_at;
    using Results::kept_at_class;
    using Results::cap_slope;
    using Results::write_grad;
    using Results::write_grad_at;
    using Results::write_probabilities;
    using Results::write_log_probabilities;

  public:
    // For the exponentials, if something is made of them.
    static int64_t scratch_bytes(const Launch &launch) {
        bool is_kept = launch.grad || launch.probabilities || launch.log_probabilities;
        return is_kept ? (launch.classes / STEP<Element> + 1) * STEP<Element> * sizeof(Wide) : 0;
    }

    SoftmaxRows(const Launch &launch, void *kept) : Results(launch, kept) {}

    // Whether all rows were evaluated: whether all targets are classes.
    bool evaluate(int64_t first, int64_t last) const {
        bool done = true;
        Batch batch = {};
        for (; first < last; first += Batch::ROWS) {
            int count = std::min<int64_t>(Batch::ROWS, last - first);
            for (int at = 0; at < count; at++) done &= evaluate_row(first + at, batch, at);
            batch.take_logarithms(count);
            for (int at = 0; at < count; at++) write_numbers(first + at, batch, at);
        }
        return done;
    }

  private:
    bool evaluate_row(int64_t i, Batch &batch, int at) const {
        int64_t target = launch.target ? launch.target[i] : 0;
        batch.set(at, 0, 1);
        if (target < 0 || target >= launch.classes) return false;
        if (is_ignored(launch, i) && !launch.has_outputs_of_all()) return write_zeros(i), true;
        Row<Element> row((const Element *)launch.input, i * launch.strides.position, launch.classes);
        if (launch.has_softmax()) add_up_exponentials(row, batch, at);
        if (launch.predictions) predict(row, i, target, batch, at);
        if (has_more) write_places(row, i, target, batch, at);
        if (launch.probabilities) write_probabilities(row, i, batch, at);
        if (launch.log_probabilities) write_log_probabilities(row, i, batch, at);
        // The gradient comes last: it may be written over the input.
        is_ignored(launch, i) ? write_zeros(i) : add_up_targets(row, i, target, batch, at);
        return true;
    }

    NOT_INLINE void write_places(const Row<Element> &row, int64_t i, int64_t target, Batch &batch, int at) const {
        if (launch.top_classes) write_top(row, i, batch, at);
        if (is_ignored(launch, i)) return;
        if (launch.target_ranks) launch.target_ranks[i] = rank_of(row.x, launch.classes, target);
        if (!launch.target_log_probabilities) return;
        batch.at_target[at] = (double)widened_one(row.x[target]) - (launch.is_log ? 0 : batch.largest[at]);
    }

    // With the input in place of log-probabilities, until logarithms are known.
    void write_top(const Row<Element> &row, int64_t i, const Batch &batch, int at) const {
        Number largest = launch.has_softmax() ? (Number)batch.largest[at] : largest_of(row);
        bool may_have_nan = !launch.has_softmax() || std::isnan(batch.total[at]);
        auto numbers = (Number *)launch.top_log_probabilities + i * launch.top_k;
        int64_t *classes = launch.top_classes + i * launch.top_k;
        const Element *x = row.x;
        find_top(row, launch.top_k, largest, may_have_nan, [=](int64_t place, int64_t top) {
            classes[place] = top;
            numbers[place] = widened_one(x[top]);
        });
    }

    void write_zeros(int64_t i) const {
        if (launch.target_ranks) launch.target_ranks[i] = 0;
        if (launch.grad) clear_grad(i);
    }

    void add_up_exponentials(const Row<Element> &row, Batch &batch, int at) const {
        int64_t bytes = launch.strides.position * sizeof(Element);
        const Element *next = LEAST_AHEAD <= bytes && bytes <= MOST_AHEAD ? row.x + launch.strides.position : nullptr;
        Number largest = largest_of(row);
        batch.set(at, largest, sum_of_exponentials(row, largest, kept, next));
        if (std::isinf(largest) && launch.has_lse()) batch.has_nan[at] = has_nan(row.x, row.classes);
        if (launch.entropy) batch.weighted[at] = sum_of_weighted(row, largest);
    }

    void add_up_targets(const Row<Element> &row, int64_t i, int64_t target, Batch &batch, int at) const {
        if (launch.is_log)
            take_one(row, i, target, batch, at);
        else if (!launch.distribution)
            launch.smooth ? with_smoothing(row, i, target, batch, at) : with_class(row, i, target, batch, at);
        else if (launch.is_distribution_wide)
            with_distribution<Wide>(row, i, batch, at);
        else
            with_distribution<Element>(row, i, batch, at);
    }

    // The loss of log-probabilities.
    void take_one(const Row<Element> &row, int64_t i, int64_t target, Batch &batch, int at) const {
        Number weight = factor_at<Number>(launch.weight, i);
        batch.set_targets(at, 0, weight * (double)widened_one(row.x[target]));
        if (!launch.grad) return;
        clear_grad(i);
        write_grad_at(i, target, -weight * scale_at<Number>(launch, i));
    }

    void with_class(const Row<Element> &row, int64_t i, int64_t target, Batch &batch, int at) const {
        Number weight = factor_at<Number>(launch.weight, i), largest = batch.largest[at];
        double x = (double)widened_one(row.x[target]) - largest;
        batch.set_targets(at, weight, weight * x);
        if (!launch.grad) return;
        Number scale = weight * scale_at<Number>(launch, i);
        Number factor = (has_more ? scale * (1 + lse_slope(batch, at)) : scale) / batch.total[at];
        Number at_target = kept_at_class(row, target) * factor - scale, slope = has_more ? cap_slope(row, target) : 1;
        write_grad(row, i, [&, this](auto place) ALWAYS_INLINE_LAMBDA { return this->kept_at(place) * both(factor); });
        write_grad_at(i, target, at_target * slope);
    }

    void with_smoothing(const Row<Element> &row, int64_t i, int64_t target, Batch &batch, int at) const {
        Number hard = factor_at<Number>(launch.weight, i) * (Number)launch.hard, largest = batch.largest[at];
        Smoothed<Element> targets = {(Number)launch.smooth, {(const Wide *)launch.smooth_of_class}};
        double x = (double)widened_one(row.x[target]) - largest, sum = hard + launch.smooth_sum;
        set_targets(row, targets, launch.smooth_sum, batch, at);
        batch.set_targets(at, batch.target_sum[at] + hard, batch.known[at] + hard * x);
        if (!launch.grad) return;
        Number scale = scale_at<Number>(launch, i), factor = with_lse(sum, i, batch, at) * scale / batch.total[at];
        Number smooth = targets.smooth_of_class.x ? widened_one(targets.smooth_of_class.x[target]) : targets.smooth;
        Number at_target = kept_at_class(row, target) * factor - (smooth + hard) * scale, slope = cap_slope(row, target);
        write_grad(row, i, less_targets(targets, factor, scale));
        write_grad_at(i, target, at_target * slope);
    }

    template <class Given>
    void with_distribution(const Row<Element> &row, int64_t i, Batch &batch, int at) const {
        Row<Given> given((const Given *)launch.distribution, i * launch.distribution_strides.position, launch.classes);
        Distribution<Element, Given> targets = {given,
                                                (Number)launch.hard,
                                                (Number)launch.smooth,
                                                {(const Wide *)launch.hard_of_class},
                                                {(const Wide *)launch.smooth_of_class}};
        double sum = sum_of(row, [&](StepOf<Element>, auto place) ALWAYS_INLINE_LAMBDA { return targets[place]; });
        set_targets(row, targets, sum, batch, at);
        if (!launch.grad) return;
        Number scale = scale_at<Number>(launch, i), factor = with_lse(sum, i, batch, at) * scale / batch.total[at];
        write_grad(row, i, less_targets(targets, factor, scale));
    }

    // What z_loss adds to a row's gradient, in units of its weight and of probabilities.
    double lse_slope(const Batch &batch, int at) const {
        return launch.z_loss == 0 ? 0 : 2 * launch.z_loss * batch.log_sum_exp(at, logarithm_one(batch.total[at]));
    }

    // The sum of a row's targets, which its probabilities are times in the gradient, with what z_loss adds.
    double with_lse(double sum, int64_t i, const Batch &batch, int at) const {
        return launch.z_loss == 0 ? sum : sum + factor_at<Number>(launch.weight, i) * lse_slope(batch, at);
    }

    template <class Targets>
    double sum_of_products(const Row<Element> &row, const Targets &targets, Number largest, Number log_total = 0) const {
        return sum_of(row, [&](StepOf<Element> x, auto place) ALWAYS_INLINE_LAMBDA {
            return targets[place] * (x - both(largest) - both(log_total));
        });
    }

    // Sums of a row's targets. If one is infinite, only products with log-probabilities tell the loss: those with other
    // numbers may be of infinity and 0.
    template <class Targets>
    void set_targets(const Row<Element> &row, const Targets &targets, double sum, Batch &batch, int at) const {
        batch.set_targets(at, sum, sum_of_products(row, targets, batch.largest[at]));
        if (!std::isfinite(sum) || !std::isfinite(batch.known[at]))
            batch.set_targets(at, 0, sum_of_products(row, targets, batch.largest[at], logarithm_one(batch.total[at])));
    }

    template <class Targets> auto less_targets(const Targets &targets, Number factor, Number scale) const {
        return [=, this](auto place) ALWAYS_INLINE_LAMBDA {
            return fused(targets[place], both(-scale), kept_at(place) * both(factor));
        };
    }

    void predict(const Row<Element> &row, int64_t i, int64_t target, const Batch &batch, int at) const {
        Number largest = launch.has_softmax() ? (Number)batch.largest[at] : largest_of(row);
        bool may_have_nan = !launch.has_softmax() || std::isnan(batch.total[at]);
        launch.predictions[i] = argmax_of(row.x, launch.classes, largest, may_have_nan);
        if (launch.distribution) target = most_probable(i);
        launch.correct[i] = launch.predictions[i] == target && !is_ignored(launch, i);
    }

    int64_t most_probable(int64_t i) const {
        int64_t offset = i * launch.distribution_strides.position;
        if (launch.is_distribution_wide) return argmax_at((const Wide *)launch.distribution, offset);
        return argmax_at((const Element *)launch.distribution, offset);
    }

    template <class Given> int64_t argmax_at(const Given *tensor, int64_t offset) const {
        Row<Given> row(tensor, offset, launch.classes);
        return argmax_of(row.x, launch.classes, largest_of(row));
    }

    void write_numbers(int64_t i, const Batch &batch, int at) const {
        double log_total = batch.log_total[at];
        double loss = (launch.is_log ? 0 : batch.target_sum[at] * log_total) - batch.known[at];
        Number sample = factor_at<Number>(launch.sample_weight, i);
        if (has_more) loss += write_more(i, sample, batch, at);
        ((Number *)launch.losses)[i] = is_ignored(launch, i) ? 0 : sample * loss;
        if (launch.lse) ((Number *)launch.lse)[i] = batch.log_sum_exp(at, log_total);
        if (launch.entropy) ((Number *)launch.entropy)[i] = log_total - batch.weighted[at] / batch.total[at];
    }

    // What z_loss adds to the loss before the sample's weight.
    NOT_INLINE double write_more(int64_t i, Number sample, const Batch &batch, int at) const {
        if (launch.target_log_probabilities) {
            double log_p = batch.at_target[at] - (launch.is_log ? 0 : batch.log_total[at]);
            ((Number *)launch.target_log_probabilities)[i] = is_ignored(launch, i) ? 0 : log_p;
        }
        if (launch.top_classes && !launch.is_log) normalize_top(i, batch.largest[at], batch.log_total[at]);
        if (launch.z_loss == 0) return 0;
        double lse = batch.log_sum_exp(at, batch.log_total[at]);
        double z_loss = launch.z_loss * factor_at<Number>(launch.weight, i) * lse * lse;
        if (launch.z_losses) ((Number *)launch.z_losses)[i] = is_ignored(launch, i) ? 0 : sample * z_loss;
        return z_loss;
    }

    void normalize_top(int64_t i, double largest, double log_total) const {
        auto numbers = (Number *)launch.top_log_probabilities + i * launch.top_k;
        int64_t count = launch.top_k;
#pragma omp simd
        for (int64_t place = 0; place < count; place++) numbers[place] = numbers[place] - largest - log_total;
    }
};
