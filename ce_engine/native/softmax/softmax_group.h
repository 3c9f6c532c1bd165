// A group of rows, each row in a lane of its own: what softmax_rows.h computes of one row.

#pragma once

#include "softmax/group_places.h"

// First `read` for all classes; then `add_up`, `take_logarithms` and `evaluate`; then `write` for all classes. The three
// in between have long chains of arithmetic: those of several groups overlap if each is called for all groups in turn.
template <class Element> class SoftmaxGroup : GroupPlaces<Element> {
    typedef GroupPlaces<Element> Base;
    typedef typename Base::Number Number;
    typedef typename Base::Wide Wide;
    typedef typename Base::Numbers Numbers;
    typedef typename Base::OfRows OfRows;
    static constexpr int ROWS = GROUP<Element>;
    using Base::launch;
    using Base::x;
    using Base::e;
    using Base::count;
    using Base::target;
    using Base::largest;
    using Base::total;
    using Base::log_total;
    using Base::weighted;
    using Base::factor_of;
    using Base::put_numbers;
    using Base::put_unless_ignored;
    using Base::unless_ignored;
    using Base::weight;
    using Base::scales;
    using Base::is_target;
    using Base::has_nan;
    using Base::taken;
    using Base::at_target;
    using Base::predict;
    using Base::write_places;

    bool has_more;
    OfRows log_sum_exp;           // where it is wanted
    Numbers factor, scale, hard;  // of the gradient: of exponentials, of targets and of the target class

  public:
    using Base::read;
    using Base::read_rows;
    using Base::valid;

    SoftmaxGroup() {}

    SoftmaxGroup(const Launch &launch, Wide *kept, int64_t sample, int64_t position, bool has_more)
        : Base(launch, kept, sample, position), has_more(has_more) {}

    void add_up() {
        if (launch->has_softmax()) add_up_exponentials();
    }

    void take_logarithms() {
        if (launch->has_softmax()) log_total = logarithm(total);
    }

    void evaluate() {
        if (launch->lse || has_more) set_log_sum_exps();
        if (launch->lse) put_numbers(launch->lse, rounded(log_sum_exp));
        if (launch->entropy) put_numbers(launch->entropy, rounded(log_total - weighted / total));
        if (launch->predictions) predict();
        if (has_more) write_places();
        if (launch->is_log)
            take_one();
        else if (!launch->distribution)
            launch->smooth ? with_smoothing() : with_class();
        else
            launch->is_distribution_wide ? with_distribution<Wide>() : with_distribution<Element>();
    }

    ALWAYS_INLINE void write(int64_t i) const {
        if (launch->grad) {
            bool is_bounded = has_more && launch->softcap_inverse != 0;
            Numbers grad = unless_ignored(is_bounded ? grad_at(i) * cap_slope(i) : grad_at(i));
            launch->is_grad_wide ? this->template put<Wide>(launch->grad, i, grad)
                                 : this->template put<Element>(launch->grad, i, grad);
        }
        if (launch->probabilities) this->template put<Wide>(launch->probabilities, i, probability_at(i));
        if (launch->log_probabilities) this->template put<Wide>(launch->log_probabilities, i, log_probability_at(i));
    }

    // Writes few classes, which lie side by side.
    void write_rows() const {
        if (launch->grad) launch->is_grad_wide ? put_grad<Wide>() : put_grad<Element>();
        if (launch->probabilities)
            this->template put_rows<Wide>(
                launch->probabilities, [&](int64_t i) ALWAYS_INLINE_LAMBDA { return probability_at(i); });
        if (launch->log_probabilities)
            this->template put_rows<Wide>(
                launch->log_probabilities, [&](int64_t i) ALWAYS_INLINE_LAMBDA { return log_probability_at(i); });
    }

  private:
    void add_up_exponentials() {
        Columns<Element> x = this->x, e = this->e;
        Numbers origin = largest_of<Element>(x, launch->classes);
        bool keep = launch->grad || launch->probabilities;
        largest = origin;
        total = sum_of_columns<Element>(launch->classes, [&](int64_t i) ALWAYS_INLINE_LAMBDA {
            Numbers numbers = exponential(x[i] - origin);
            if (keep) e.put(i, numbers);
            return numbers;
        });
        if (!launch->entropy) return;
        weighted = sum_of_columns<Element>(launch->classes, [&](int64_t i) ALWAYS_INLINE_LAMBDA {
            Numbers size = larger(all(Constants<Number>::LEAST_EXPONENT), x[i] - largest);
            return size * exponential(size);
        });
    }

    // The loss of log-probabilities.
    void take_one() {
        if (launch->grad) scale = weight() * scales();
        write_losses(of_all_rows<Element>(0) - in_double(weight()) * in_double(taken()));
    }

    void with_class() {
        OfRows weights = in_double(weight());
        write_losses(weights * log_total - weights * at_target());
        if (!launch->grad) return;
        scale = weight() * scales();
        OfRows sum = in_double(scale);
        if (has_more && launch->z_loss != 0) sum = sum * (of_all_rows<Element>(1) + lse_slope());
        factor = rounded(sum / total);
    }

    void with_smoothing() {
        OfRows smooth_sum = of_all_rows<Element>(launch->smooth_sum), sum = smooth_sum;
        OfRows known = known_of([&](int64_t i) ALWAYS_INLINE_LAMBDA { return smooth_at(i); }, sum);
        hard = weight() * all((Number)launch->hard);
        OfRows hards = in_double(hard);
        write_losses((sum + hards) * log_total - (known + hards * at_target()));
        set_factors(hards + smooth_sum);
    }

    template <class Given> void with_distribution() {
        auto targets = [&](int64_t i) ALWAYS_INLINE_LAMBDA { return given_at<Given>(i); };
        OfRows target_sum = sum_of_columns<Element>(launch->classes, targets), sum = target_sum;
        OfRows known = known_of(targets, sum);
        write_losses(sum * log_total - known);
        set_factors(target_sum);
    }

    void set_factors(OfRows target_sum) {
        if (!launch->grad) return;
        scale = scales();
        if (has_more && launch->z_loss != 0) target_sum = target_sum + in_double(weight()) * lse_slope();
        factor = rounded(target_sum * in_double(scale) / total);
    }

    // What z_loss adds to gradients, in units of a row's weight and of probabilities.
    ALWAYS_INLINE OfRows lse_slope() const { return of_all_rows<Element>(2 * launch->z_loss) * log_sum_exp; }

    // As `set_targets` of softmax_rows.h: what the targets' products with (x - largest) add up to. The targets add up to
    // `sum`.
    template <class Targets> OfRows known_of(Targets targets, OfRows &sum) const {
        OfRows known = sum_of_products(targets, {}), nothing = (sum - sum) + (known - known);  // NaN unless both are finite
        if (sum_of(nothing) == 0) return known;
        OfRows losses = sum_of_products(targets, rounded(log_total));
        auto is_finite = nothing == OfRows{};
        sum = chosen(is_finite, sum, OfRows{});
        return chosen(is_finite, known, losses);
    }

    template <class Targets> OfRows sum_of_products(Targets targets, Numbers log_totals) const {
        return sum_of_columns<Element>(launch->classes, [&](int64_t i) ALWAYS_INLINE_LAMBDA {
            return targets(i) * (x[i] - largest - log_totals);
        });
    }

    ALWAYS_INLINE Numbers smooth_at(int64_t i) const {
        return all(launch->smooth_of_class ? ((const Number *)launch->smooth_of_class)[i] : (Number)launch->smooth);
    }

    template <class Given> ALWAYS_INLINE Numbers given_at(int64_t i) const {
        Number hard = launch->hard_of_class ? ((const Number *)launch->hard_of_class)[i] : (Number)launch->hard;
        return fused(this->template strided<Given>(launch->distribution, launch->distribution_strides)[i], all(hard), smooth_at(i));
    }

    // The derivative of bounded logits.
    ALWAYS_INLINE Numbers cap_slope(int64_t i) const {
        Numbers part = x[i] * all((Number)launch->softcap_inverse);
        return all((Number)1) - part * part;
    }

    // But for ignored rows and bounds.
    ALWAYS_INLINE Numbers grad_at(int64_t i) const {
        if (launch->is_log) return chosen(is_target(i), negated(scale), Numbers{});
        Numbers grad = e[i] * factor;
        if (launch->distribution)
            return fused(launch->is_distribution_wide ? given_at<Wide>(i) : given_at<Element>(i), negated(scale), grad);
        if (!launch->smooth) return chosen(is_target(i), grad - scale, grad);
        Numbers smooth = smooth_at(i);
        return chosen(is_target(i), grad - (smooth + hard) * scale, fused(smooth, negated(scale), grad));
    }

    ALWAYS_INLINE Numbers probability_at(int64_t i) const { return e[i] * rounded(of_all_rows<Element>(1) / total); }

    ALWAYS_INLINE Numbers log_probability_at(int64_t i) const { return x[i] - largest - rounded(log_total); }

    template <class Out> ALWAYS_INLINE void put_grad() const {
        auto bounded = [&](int64_t i) ALWAYS_INLINE_LAMBDA { return unless_ignored(grad_at(i) * cap_slope(i)); };
        auto plain = [&](int64_t i) ALWAYS_INLINE_LAMBDA { return unless_ignored(grad_at(i)); };
        bool is_bounded = has_more && launch->softcap_inverse != 0;
        is_bounded ? this->template put_rows<Out>(launch->grad, bounded)
                   : this->template put_rows<Out>(launch->grad, plain);
    }

    ALWAYS_INLINE void write_losses(OfRows losses) const {
        if (has_more && launch->z_loss != 0) {
            OfRows z_losses = of_all_rows<Element>(launch->z_loss) * in_double(weight()) * log_sum_exp * log_sum_exp;
            losses = losses + z_losses;
            if (launch->z_losses) put_losses(launch->z_losses, z_losses);
        }
        put_losses(launch->losses, losses);
    }

    // Numbers that are 0 for ignored rows, still without the sample's weight.
    ALWAYS_INLINE void put_losses(void *to, OfRows losses) const {
        put_unless_ignored(to, rounded(in_double(factor_of(launch->sample_weight)) * losses));
    }

    NOT_INLINE void set_log_sum_exps() {
        if (!launch->has_lse()) return;
        double sums[ROWS];
        store(sums, in_double(largest) + log_total);
        for (int row = 0; row < count; row++) {
            Number number = load<Number>((const Number *)&largest + row);
            if (std::isinf(number)) sums[row] = has_nan(row) ? NAN : number;
        }
        log_sum_exp = load<OfRows>(sums);
    }
};
