// Rows of divergences, one after the other.

#pragma once

#include "divergence_rows.h"
#include "named_classes.h"

template <class Element> class Divergences {
    typedef Computed<Element> Number;

    const DivergenceLaunch &launch;
    void *const scratch;

  public:
    static int64_t scratch_bytes(const DivergenceLaunch &launch) {
        return launch.named < 0 ? 0 : NamedClasses<Element, Element>::scratch_bytes(launch);
    }

    Divergences(const DivergenceLaunch &launch, void *scratch) : launch(launch), scratch(scratch) {}

    // Whether all rows were evaluated: whether all labels, and all classes that count, are classes.
    bool evaluate(int64_t first, int64_t last) const {
        if (launch.is_distribution_wide) return evaluate_given<Wide<Element>>(first, last);
        return evaluate_given<Element>(first, last);
    }

  private:
    template <class Given> bool evaluate_given(int64_t first, int64_t last) const {
        bool done = true;
        for (; first < last; first++) done &= evaluate_row<Given>(first);
        return done;
    }

    template <class Given> bool evaluate_row(int64_t i) const {
        int64_t label = launch.target ? launch.target[i] : 0;
        if (label < 0 || label >= launch.classes) return false;
        if (launch.is_ignored(i) && !launch.predictions) return ignore(i);
        if (launch.named >= 0) {
            NamedClasses<Element, Given> row(launch, i, scratch);
            return row.find() && finish(i, row, label);
        }
        switch (launch.kind) {
        case FORWARD: return finish(i, DivergenceOfRow<Element, Given, FORWARD>(launch, i), label);
        case REVERSE: return finish(i, DivergenceOfRow<Element, Given, REVERSE>(launch, i), label);
        default: return finish(i, DivergenceOfRow<Element, Given, JENSEN_SHANNON>(launch, i), label);
        }
    }

    bool ignore(int64_t i) const {
        ((Number *)launch.losses)[i] = 0;
        if (launch.changes) ((Number *)launch.changes)[i] = 0;
        if (launch.grad) write_zeros<Element>(launch, i);
        return true;
    }

    // The gradient comes last: it may be written over the input.
    template <class OfRow> bool finish(int64_t i, OfRow &&row, int64_t label) const {
        if (launch.predictions) launch.predictions[i] = row.prediction();
        if (launch.predictions) launch.correct[i] = !launch.is_ignored(i) && launch.predictions[i] == row.most_probable();
        if (launch.is_ignored(i)) return ignore(i);
        ((Number *)launch.losses)[i] = factor_at<Number>(launch.weight, i) * row.loss();
        if constexpr (requires { row.change(label); })
            if (launch.changes) ((Number *)launch.changes)[i] = row.change(label);
        if (launch.grad) row.write_gradient(launch.grad_factor<Number>(i));
        return true;
    }
};
