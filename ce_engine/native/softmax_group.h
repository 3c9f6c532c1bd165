// A group of rows, each row in a lane of its own: what softmax_rows.h computes of one row.

#pragma once

#include "column_places.h"
#include "vectors/transpose.h"

// First `read` for all classes; then `add_up`, `take_logarithms` and `evaluate`; then `write` for all classes. The three
// in between have long chains of arithmetic: those of several groups overlap if each is called for all groups in turn.
template <class Element> class SoftmaxGroup {
    typedef Computed<Element> Number;
    typedef ::Wide<Element> Wide;
    typedef Lanes<Number> Numbers;
    typedef ::OfRows<Element> OfRows;
    static constexpr int ROWS = GROUP<Element>;

    const Launch *launch;
    Columns<Element> x, e;  // input and exponentials
    Wide *moved;            // room for as many numbers, if the largest classes are wanted
    int64_t sample, position, first;
    int count;
    bool has_more;

    Lanes<Word<Number>> target, ignored;  // the latter is 0 or 1
    bool is_valid = true;                 // whether all targets are classes
    Numbers largest;
    OfRows total, log_total, weighted;    // as in batch.h
    OfRows log_sum_exp;                   // where it is wanted
    Numbers factor, scale, hard;          // of the gradient: of exponentials, of targets and of the target class

  public:
    SoftmaxGroup() {}

    SoftmaxGroup(const Launch &launch, Wide *kept, int64_t sample, int64_t position, bool has_more)
        : launch(&launch), x{kept}, e{kept + launch.classes * ROWS}, moved(kept + 2 * launch.classes * ROWS), sample(sample), position(position),
          first(sample * launch.positions + position), count(std::min<int64_t>(ROWS, launch.positions - position)), has_more(has_more) {
        read_targets();
    }

    // Whether all targets are classes; if not, nothing else may be called.
    bool valid() const { return is_valid; }

    // Meanwhile, memory brings what lies so many rows further on.
    ALWAYS_INLINE void read(int64_t i, int64_t ahead) const {
        auto from = strided<Element>(launch->input, launch->strides);
        __builtin_prefetch(from.x + i * launch->strides.classes + ahead * launch->strides.position, 0, 2);
        x.put(i, from[i]);
    }

    // Reads few classes, which lie side by side.
    void read_rows() const {
        auto from = strided<Element>(launch->input, launch->strides);
        Element copy[STEP<Element> * ROWS];
        if (count < ROWS) std::fill_n(copy, launch->classes * ROWS, Element());
        transpose(from.x, launch->strides.position, count, launch->classes, copy, ROWS);
        for (int64_t i = 0; i < launch->classes; i++) x.put(i, load_lanes(copy + i * ROWS));
    }

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
            Numbers grad = unless_ignored(!has_more || launch->softcap_inverse == 0 ? grad_at(i) : grad_at(i) * cap_slope(i));
            launch->is_grad_wide ? put<Wide>(launch->grad, i, grad) : put<Element>(launch->grad, i, grad);
        }
        if (launch->probabilities) put<Wide>(launch->probabilities, i, probability_at(i));
        if (launch->log_probabilities) put<Wide>(launch->log_probabilities, i, log_probability_at(i));
    }

    // Writes few classes, which lie side by side.
    void write_rows() const {
        if (launch->grad) launch->is_grad_wide ? put_grad<Wide>() : put_grad<Element>();
        if (launch->probabilities)
            put_rows<Wide>(launch->probabilities, [&](int64_t i) ALWAYS_INLINE_LAMBDA { return probability_at(i); });
        if (launch->log_probabilities)
            put_rows<Wide>(launch->log_probabilities, [&](int64_t i) ALWAYS_INLINE_LAMBDA { return log_probability_at(i); });
    }

  private:
    ALWAYS_INLINE void read_targets() {
        ignored = launch->ignored ? load_flags<Element>(launch->ignored + first, count) : Lanes<Word<Number>>{};
        if (!launch->target) return;
        if (count == ROWS) return set_targets(launch->target + first);
        int64_t copy[ROWS] = {};
        std::copy_n(launch->target + first, count, copy);
        set_targets(copy);
    }

    // Reads them once: a caller may change them meanwhile.
    ALWAYS_INLINE void set_targets(const int64_t *from) {
        auto targets = load_targets<Element>(from);
        is_valid = are_classes(targets, launch->classes);
        target = in_words(targets);
    }

    template <class Tensor> ALWAYS_INLINE Strided<Tensor> strided(const void *tensor, const Strides &strides) const {
        return {(const Tensor *)tensor + sample * strides.sample + position * strides.position, strides, count};
    }

    // A number of each row, or 1.
    ALWAYS_INLINE Numbers factor_of(const void *factors, int64_t stride = 1) const {
        if (!factors) return all((Number)1);
        if (!stride) return all(*(const Number *)factors);
        return load_column((const Wide *)factors + first * stride, stride, count);
    }

    ALWAYS_INLINE void put_numbers(void *to, Numbers numbers) const { store_some((Wide *)to + first, count, numbers); }

    ALWAYS_INLINE Numbers weight() const { return factor_of(launch->weight); }
    // As `scale_at`.
    ALWAYS_INLINE Numbers scales() const {
        return factor_of(launch->sample_weight) * factor_of(launch->scale, launch->scale_stride);
    }

    ALWAYS_INLINE auto is_target(int64_t i) const { return target == all((Word<Number>)i); }

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

    // The input at targets.
    ALWAYS_INLINE Numbers taken() const {
        Numbers taken = {};
        if (launch->classes < STEP<Element>) {
            for (int64_t i = 0; i < launch->classes; i++) taken = chosen(is_target(i), x[i], taken);
            return taken;
        }
        Word<Number> targets[ROWS];
        Number numbers[ROWS];
        put_lanes(targets, target);
        for (int row = 0; row < ROWS; row++) numbers[row] = x.one(targets[row], row);
        return lanes_at<Number>(numbers);
    }

    ALWAYS_INLINE OfRows at_target() const { return in_double(taken()) - in_double(largest); }

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
        return fused(strided<Given>(launch->distribution, launch->distribution_strides)[i], all(hard), smooth_at(i));
    }

    ALWAYS_INLINE Numbers unless_ignored(Numbers x) const { return launch->ignored ? chosen(ignored, Numbers{}, x) : x; }

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

    template <class Out> ALWAYS_INLINE void put(void *results, int64_t i, Numbers numbers) const {
        auto to = strided<Out>(results, launch->out_strides);
        store_column((Out *)to.x + i * to.strides.classes, to.strides.position, count, numbers);
    }

    template <class Out> ALWAYS_INLINE void put_grad() const {
        auto bounded = [&](int64_t i) ALWAYS_INLINE_LAMBDA { return unless_ignored(grad_at(i) * cap_slope(i)); };
        auto plain = [&](int64_t i) ALWAYS_INLINE_LAMBDA { return unless_ignored(grad_at(i)); };
        !has_more || launch->softcap_inverse == 0 ? put_rows<Out>(launch->grad, plain) : put_rows<Out>(launch->grad, bounded);
    }

    template <class Out, class Make> ALWAYS_INLINE void put_rows(void *results, Make make) const {
        Out columns[STEP<Element> * ROWS];
        for (int64_t i = 0; i < launch->classes; i++) store_lanes(columns + i * ROWS, make(i));
        auto to = strided<Out>(results, launch->out_strides);
        transpose(columns, ROWS, launch->classes, count, (Out *)to.x, to.strides.position);
    }

    NOT_INLINE void write_places() const {
        if (launch->target_ranks) write_ranks();
        if (launch->top_classes) write_top();
        if (!launch->target_log_probabilities) return;
        Numbers log_p = launch->is_log ? taken() : rounded(at_target() - log_total);
        put_unless_ignored(launch->target_log_probabilities, log_p);
    }

    void write_ranks() const {
        Word<Number> ranks[ROWS], is_ignored[ROWS];
        put_lanes(ranks, ranks_of(x, launch->classes, target, taken()));
        put_lanes(is_ignored, ignored);
        for (int row = 0; row < count; row++) launch->target_ranks[first + row] = is_ignored[row] ? 0 : ranks[row];
    }

    void write_top() const {
        double largests[ROWS] = {}, log_totals[ROWS] = {};
        if (!launch->is_log) {
            store(largests, in_double(largest));
            store(log_totals, log_total);
        }
        int64_t top_k = launch->top_k, *classes = launch->top_classes + first * top_k;
        auto numbers = (Number *)launch->top_log_probabilities + first * top_k;
        auto write = [&, x = x, top_k, classes, numbers](int row, int64_t place, int64_t top) ALWAYS_INLINE_LAMBDA {
            classes[row * top_k + place] = top;
            numbers[row * top_k + place] = x.one(top, row) - largests[row] - log_totals[row];
        };
        if (top_k == 1)
            write_first(write);
        else if (launch->classes <= TopNetwork::MOST_CLASSES)
            top_of_few(x, launch->classes, top_k, count, moved, write);
        else
            top_of_many(x, launch->classes, top_k, count, moved, write);
    }

    template <class Write> void write_first(Write write) const {
        Word<Number> classes[ROWS];
        auto most = launch->has_softmax() ? largest : largest_of<Element>(x, launch->classes);
        put_lanes(classes, argmax_of<Element>(x, launch->classes, most));
        for (int row = 0; row < count; row++) write(row, 0, classes[row]);
    }

    void predict() const {
        Word<Number> prediction[ROWS], right[ROWS], is_ignored[ROWS];
        put_lanes(prediction, argmax_of<Element>(x, launch->classes, launch->has_softmax() ? largest : largest_of<Element>(x, launch->classes)));
        put_lanes(is_ignored, ignored);
        if (launch->distribution)
            put_lanes(right, launch->is_distribution_wide ? most_probable<Wide>() : most_probable<Element>());
        else
            put_lanes(right, target);
        for (int row = 0; row < count; row++) {
            launch->predictions[first + row] = prediction[row];
            launch->correct[first + row] = prediction[row] == right[row] && !is_ignored[row];
        }
    }

    template <class Given> auto most_probable() const {
        auto given = strided<Given>(launch->distribution, launch->distribution_strides);
        return argmax_of<Given>(given, launch->classes, largest_of<Given>(given, launch->classes));
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

    ALWAYS_INLINE void put_unless_ignored(void *to, Numbers numbers) const {
        put_numbers(to, unless_ignored(numbers));
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

    bool has_nan(int row) const {
        bool found = false;
        for (int64_t i = 0; i < launch->classes; i++) found |= std::isnan(x.one(i, row));
        return found;
    }
};
