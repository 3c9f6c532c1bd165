// What is written of a row for each of its classes: its gradient and its probabilities, of exponentials that are kept.

#pragma once

#include "row_passes.h"
#include "softmax/batch.h"

template <class Element> class RowResults {
  protected:
    typedef Computed<Element> Number;
    typedef ::Wide<Element> Wide;

    const Launch &launch;
    Wide *kept;  // the exponentials of a row, or null
    bool has_more;

    RowResults(const Launch &launch, void *kept) : launch(launch), kept((Wide *)kept), has_more(launch.has_more()) {}

    void clear_grad(int64_t i) const {
        int64_t size = launch.is_grad_wide ? sizeof(Number) : sizeof(Element);
        std::memset((char *)launch.grad + i * launch.out_strides.position * size, 0, launch.classes * size);
    }

    template <class Place> StepOf<Element> kept_at(Place place) const {
        return load_step(kept + place.start);
    }

    Number kept_at_class(const Row<Element> &row, int64_t i) const {
        return widened_one(kept[i < row.whole ? i : i + STEP<Element> - row.rest()]);
    }

    // A row's place in one of the results of the input's shape.
    template <class Out> Out *out_at(void *results, int64_t i) const {
        return (Out *)results + i * launch.out_strides.position;
    }

    // The derivative of a bounded logit: 1 if logits are not bounded.
    Number cap_slope(const Row<Element> &row, int64_t i) const {
        if (launch.softcap_inverse == 0) return 1;
        Number part = widened_one(row.x[i]) * (Number)launch.softcap_inverse;
        return 1 - part * part;
    }

    template <class Make> void write_grad(const Row<Element> &row, int64_t i, Make make) const {
        if (!has_more || launch.softcap_inverse == 0) return write_uncapped(row, i, make);
        Number inverse = launch.softcap_inverse;
        write_uncapped(row, i, [&](auto place) ALWAYS_INLINE_LAMBDA {
            StepOf<Element> part = row[place] * both(inverse);
            return make(place) * (both((Number)1) - part * part);
        });
    }

    template <class Make> void write_uncapped(const Row<Element> &row, int64_t i, Make make) const {
        if (launch.is_grad_wide)
            write_large(out_at<Wide>(launch.grad, i), row, make);
        else
            write_large(out_at<Element>(launch.grad, i), row, make);
    }

    void write_grad_at(int64_t i, int64_t target, Number grad) const {
        if (launch.is_grad_wide)
            narrow_one(out_at<Wide>(launch.grad, i) + target, grad);
        else
            narrow_one(out_at<Element>(launch.grad, i) + target, grad);
    }

    template <class Out, class Make> void write_large(Out *to, const Row<Element> &row, Make make) const {
        int64_t bytes = launch.classes * sizeof(Out);
        bool is_aligned = (uintptr_t)to % REGISTER_BYTES == 0;
        if (is_aligned && passes_caches(bytes, bytes * launch.rows))
            write_row<true>(to, row, make);
        else
            write_row<false>(to, row, make);
    }

    void write_probabilities(const Row<Element> &row, int64_t i, const Batch &batch, int at) const {
        Number factor = 1 / batch.total[at];
        write_large(out_at<Wide>(launch.probabilities, i), row,
                    [&](auto place) ALWAYS_INLINE_LAMBDA { return kept_at(place) * both(factor); });
    }

    void write_log_probabilities(const Row<Element> &row, int64_t i, const Batch &batch, int at) const {
        Number largest = batch.largest[at], log_total = logarithm_one(batch.total[at]);
        write_large(out_at<Wide>(launch.log_probabilities, i), row, [&](auto place) ALWAYS_INLINE_LAMBDA {
            return row[place] - both(largest) - both(log_total);
        });
    }
};
