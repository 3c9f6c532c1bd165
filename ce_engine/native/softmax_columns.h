// Groups of rows, each row in a lane of its own: what softmax_rows.h computes of one row.

#pragma once

#include <new>

#include "columns.h"

constexpr int FEW = 16;  // classes

// One group. First `read` for all classes, then `evaluate`, then `write` for all classes, then `finish`.
template <class Element> class SoftmaxGroup {
    typedef Computed<Element> Number;
    typedef ::Wide<Element> Wide;
    static constexpr int ROWS = GROUP<Element>;

    const Launch *launch;
    Columns<Element> x, e;  // input and exponentials
    int64_t sample, position, first;
    int count;

    int64_t target[ROWS];
    bool ignored[ROWS];
    bool has_ignored = false, is_valid = true;  // whether all targets are classes
    Lanes<Number> largest;
    OfRows<Element> total, weighted;               // as in Batch of softmax_rows.h
    OfRows<Element> target_sum, loss_sum, known;   // of targets, for the gradient and for the loss; of their products
    Lanes<Number> factor, scale;                   // of the gradient: of exponentials and of targets
    Lanes<Number> inverse, log_total;              // of the total

  public:
    SoftmaxGroup() {}

    SoftmaxGroup(const Launch &launch, Wide *kept, int64_t sample, int64_t position)
        : launch(&launch), x{kept}, e{kept + launch.classes * ROWS}, sample(sample), position(position),
          first(sample * launch.positions + position), count(std::min<int64_t>(ROWS, launch.positions - position)) {
        for (int row = 0; row < count; row++) {
            target[row] = launch.target ? launch.target[first + row] : 0;
            is_valid &= target[row] >= 0 && target[row] < launch.classes;
            has_ignored |= ignored[row] = is_ignored(launch, first + row);
        }
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
        Element copy[FEW * ROWS];
        const Element *from = strided<Element>(launch->input, launch->strides).x;
        for (int64_t i = 0; i < launch->classes; i++) {
#pragma GCC unroll 16
            for (int row = 0; row < ROWS; row++)
                copy[i * ROWS + row] = from[std::min(row, count - 1) * launch->strides.position + i];
        }
        for (int64_t i = 0; i < launch->classes; i++) x.put(i, load_lanes(copy + i * ROWS));
    }

    void evaluate() {
        if (launch->has_softmax()) add_up_exponentials();
        if (launch->predictions) predict();
        if (launch->probabilities) inverse = from_rows([&](int row) { return 1 / total[row]; });
        if (launch->log_probabilities) log_total = log_totals();
        add_up_targets();
        write_numbers();
    }

    ALWAYS_INLINE void write(int64_t i) const {
        if (launch->grad) launch->is_grad_wide ? put<Wide>(launch->grad, i, grad_at(i)) : put<Element>(launch->grad, i, grad_at(i));
        if (launch->probabilities) put<Wide>(launch->probabilities, i, e[i] * inverse);
        if (launch->log_probabilities) put<Wide>(launch->log_probabilities, i, x[i] - largest - log_total);
    }

    // Corrects the gradients at target classes and of ignored rows.
    void finish() const {
        if (!launch->grad) return;
        for (int row = 0; row < count; row++) {
            if (ignored[row])
                for (int64_t i = 0; i < launch->classes; i++) put_grad(row, i, 0);
            else if (launch->target)
                put_grad(row, target[row], grad_at_target(row));
        }
    }

  private:
    template <class Tensor> ALWAYS_INLINE Strided<Tensor> strided(const void *tensor, const Strides &strides) const {
        return {(const Tensor *)tensor + sample * strides.sample + position * strides.position, strides, count};
    }

    template <class Function> Lanes<Number> from_rows(Function function) const {
        Number numbers[ROWS] = {};
        for (int row = 0; row < count; row++) numbers[row] = function(row);
        return lanes_at<Number>(numbers);
    }

    static Number one(const Lanes<Number> &numbers, int row) { return load<Number>((const Number *)&numbers + row); }

    Lanes<Number> log_totals() const {
        return from_rows([&](int row) { return logarithm_one(total[row]); });
    }

    void add_up_exponentials() {
        largest = largest_of<Element>(x, launch->classes);
        bool keep = launch->grad || launch->probabilities;
        total = sum_of_columns<Element>(launch->classes, [&](int64_t i) ALWAYS_INLINE_LAMBDA {
            Lanes<Number> numbers = exponential(x[i] - largest);
            if (keep) e.put(i, numbers);
            return numbers;
        });
        if (!launch->entropy) return;
        weighted = sum_of_columns<Element>(launch->classes, [&](int64_t i) ALWAYS_INLINE_LAMBDA {
            Lanes<Number> size = larger(all(Constants<Number>::LEAST_EXPONENT), x[i] - largest);
            return size * exponential(size);
        });
    }

    void add_up_targets() {
        if (launch->is_log)
            take_one();
        else if (!launch->distribution)
            launch->smooth ? with_smoothing() : with_class();
        else
            launch->is_distribution_wide ? with_distribution<Wide>() : with_distribution<Element>();
    }

    Number weight_of(int row) const { return factor_at<Number>(launch->weight, first + row); }
    Number hard_of(int row) const { return weight_of(row) * (Number)launch->hard; }
    double at_target(int row) const { return (double)x.one(target[row], row) - one(largest, row); }

    void take_one() {
        for (int row = 0; row < count; row++) known[row] = weight_of(row) * (double)x.one(target[row], row);
        scale = from_rows([&](int row) { return launch->grad ? weight_of(row) * scale_at<Number>(*launch, first + row) : 0; });
    }

    void with_class() {
        for (int row = 0; row < count; row++) loss_sum[row] = weight_of(row), known[row] = loss_sum[row] * at_target(row);
        if (!launch->grad) return;
        scale = from_rows([&](int row) { return weight_of(row) * scale_at<Number>(*launch, first + row); });
        factor = from_rows([&](int row) { return one(scale, row) / total[row]; });
    }

    void with_smoothing() {
        for (int row = 0; row < count; row++) loss_sum[row] = launch->smooth_sum;
        set_known([&](int64_t i) ALWAYS_INLINE_LAMBDA { return smooth_at(i); });
        for (int row = 0; row < count; row++) {
            Number hard = hard_of(row);
            known[row] += hard * at_target(row);
            loss_sum[row] += hard;
            target_sum[row] = hard + launch->smooth_sum;
        }
        set_factors();
    }

    template <class Given> void with_distribution() {
        auto targets = [&](int64_t i) ALWAYS_INLINE_LAMBDA { return given_at<Given>(i); };
        loss_sum = target_sum = sum_of_columns<Element>(launch->classes, targets);
        set_known(targets);
        set_factors();
    }

    void set_factors() {
        if (!launch->grad) return;
        scale = from_rows([&](int row) { return scale_at<Number>(*launch, first + row); });
        factor = from_rows([&](int row) { return target_sum[row] * one(scale, row) / total[row]; });
    }

    // As `set_targets` of softmax_rows.h.
    template <class Targets> void set_known(Targets targets) {
        known = sum_of_products(targets, {});
        auto is_finite = [&](int row) { return std::isfinite(loss_sum[row]) && std::isfinite(known[row]); };
        bool all_finite = true;
        for (int row = 0; row < count; row++) all_finite &= is_finite(row);
        if (all_finite) return;
        OfRows<Element> losses = sum_of_products(targets, log_totals());
        for (int row = 0; row < count; row++)
            if (!is_finite(row)) known[row] = losses[row], loss_sum[row] = 0;
    }

    template <class Targets> OfRows<Element> sum_of_products(Targets targets, Lanes<Number> log_totals) const {
        return sum_of_columns<Element>(launch->classes, [&](int64_t i) ALWAYS_INLINE_LAMBDA {
            return targets(i) * (x[i] - largest - log_totals);
        });
    }

    ALWAYS_INLINE Lanes<Number> smooth_at(int64_t i) const {
        return all(launch->smooth_of_class ? ((const Number *)launch->smooth_of_class)[i] : (Number)launch->smooth);
    }

    template <class Given> ALWAYS_INLINE Lanes<Number> given_at(int64_t i) const {
        Number hard = launch->hard_of_class ? ((const Number *)launch->hard_of_class)[i] : (Number)launch->hard;
        return fused(strided<Given>(launch->distribution, launch->distribution_strides)[i], all(hard), smooth_at(i));
    }

    ALWAYS_INLINE Lanes<Number> grad_at(int64_t i) const {
        if (launch->is_log) return {};
        Lanes<Number> grad = e[i] * factor, negated = all((Number)0) - scale;
        if (launch->distribution)
            return fused(launch->is_distribution_wide ? given_at<Wide>(i) : given_at<Element>(i), negated, grad);
        return launch->smooth ? fused(smooth_at(i), negated, grad) : grad;
    }

    Number grad_at_target(int row) const {
        Number scales = one(scale, row);
        if (launch->is_log) return -scales;
        Number grad = e.one(target[row], row) * one(factor, row);
        return launch->smooth ? grad - (smooth_at(target[row]).part[0][0] + hard_of(row)) * scales : grad - scales;
    }

    template <class Out> ALWAYS_INLINE Out *out_at(void *results, int64_t i) const {
        const Strides &strides = launch->out_strides;
        return (Out *)results + sample * strides.sample + position * strides.position + i * strides.classes;
    }

    template <class Out> ALWAYS_INLINE void put(void *results, int64_t i, Lanes<Number> numbers) const {
        store_column(out_at<Out>(results, i), launch->out_strides.position, count, numbers);
    }

    void put_grad(int row, int64_t i, Number grad) const {
        int64_t place = row * launch->out_strides.position;
        if (launch->is_grad_wide)
            narrow_one(out_at<Wide>(launch->grad, i) + place, grad);
        else
            narrow_one(out_at<Element>(launch->grad, i) + place, grad);
    }

    void predict() const {
        Word<Number> prediction[ROWS], probable[ROWS];
        put_lanes(prediction, argmax_of<Element>(x, launch->classes, launch->has_softmax() ? largest : largest_of<Element>(x, launch->classes)));
        if (launch->distribution)
            put_lanes(probable, launch->is_distribution_wide ? most_probable<Wide>() : most_probable<Element>());
        for (int row = 0; row < count; row++) {
            int64_t right = launch->distribution ? (int64_t)probable[row] : target[row];
            launch->predictions[first + row] = prediction[row];
            launch->correct[first + row] = (int64_t)prediction[row] == right && !ignored[row];
        }
    }

    template <class Given> auto most_probable() const {
        auto given = strided<Given>(launch->distribution, launch->distribution_strides);
        return argmax_of<Given>(given, launch->classes, largest_of<Given>(given, launch->classes));
    }

    void write_numbers() const {
        OfRows<Element> logs = total;
        if (launch->has_softmax())
            update(logs, [](Lanes<double> x, int) ALWAYS_INLINE_LAMBDA { return logarithm(x); });
        for (int row = 0; row < count; row++) {
            double loss = (launch->is_log ? 0 : loss_sum[row] * logs[row]) - known[row];
            Number sample_weight = factor_at<Number>(launch->sample_weight, first + row);
            ((Number *)launch->losses)[first + row] = ignored[row] ? 0 : sample_weight * loss;
            if (launch->lse) ((Number *)launch->lse)[first + row] = log_sum_exp(row, logs[row]);
            if (launch->entropy) ((Number *)launch->entropy)[first + row] = logs[row] - weighted[row] / total[row];
        }
    }

    Number log_sum_exp(int row, double logarithm) const {
        Number number = one(largest, row);
        if (!std::isinf(number)) return number + logarithm;
        for (int64_t i = 0; i < launch->classes; i++)
            if (std::isnan(x.one(i, row))) return NAN;
        return number;
    }
};

// Several groups, whose numbers of a class lie side by side: memory gives and takes more of them at a time.
template <class Element> class SoftmaxColumns {
    static constexpr int MOST = 8;  // groups
    static constexpr int64_t KEPT_BYTES = 1 << 18;  // of their input: what a cache holds

    SoftmaxGroup<Element> groups[MOST];
    int count = 0;

  public:
    // Rows that are computed together.
    static int64_t rows(const Launch &launch) {
        int64_t bytes = launch.classes * LANE_BYTES;
        return std::clamp<int64_t>(KEPT_BYTES / bytes, 1, MOST) * GROUP<Element>;
    }

    static int64_t blocks_of_sample(const Launch &launch) { return (launch.positions + rows(launch) - 1) / rows(launch); }

    // Whether all rows of some blocks were evaluated.
    static bool evaluate(const Launch &launch, int64_t first, int64_t last, void *kept) {
        bool done = true;
        for (int64_t i = first; i < last; i++) {
            int64_t position = i % blocks_of_sample(launch) * rows(launch);
            done &= SoftmaxColumns(launch, (Wide<Element> *)kept, i / blocks_of_sample(launch), position).evaluate(launch);
        }
        return done;
    }

  private:
    SoftmaxColumns(const Launch &launch, Wide<Element> *kept, int64_t sample, int64_t position) {
        int64_t end = std::min(position + rows(launch), launch.positions);
        for (; position < end; position += GROUP<Element>, count++)
            new (groups + count)
                SoftmaxGroup<Element>(launch, kept + count * 2 * launch.classes * GROUP<Element>, sample, position);
    }

    void read(const Launch &launch) {
        if (launch.classes <= FEW && launch.strides.classes == 1) {
            for (int group = 0; group < count; group++) groups[group].read_rows();
            return;
        }
        for (int64_t i = 0; i < launch.classes; i++)
            for (int group = 0; group < count; group++) groups[group].read(i, count * GROUP<Element>);
    }

    bool evaluate(const Launch &launch) {
        for (int group = 0; group < count; group++)
            if (!groups[group].valid()) return false;
        read(launch);
        for (int group = 0; group < count; group++) groups[group].evaluate();
        if (launch.grad || launch.probabilities || launch.log_probabilities)
            for (int64_t i = 0; i < launch.classes; i++)
                for (int group = 0; group < count; group++) groups[group].write(i);
        for (int group = 0; group < count; group++) groups[group].finish();
        return true;
    }
};
