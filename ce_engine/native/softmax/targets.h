// The targets of one row's classes, step by step: t of launch.h, but for what is added at a target class.

#pragma once

#include "rows.h"

// Numbers of the classes that all rows share. Before them is room for a step.
template <class Element> struct OfClasses {
    const Wide<Element> *x;

    ALWAYS_INLINE StepOf<Element> operator[](Whole at) const { return load_step(x + at.start); }
    ALWAYS_INLINE StepOf<Element> operator[](Last at) const { return load_step(x + at.start + at.count - STEP<Element>); }
};

// Label smoothing.
template <class Element> struct Smoothed {
    Computed<Element> smooth;
    OfClasses<Element> smooth_of_class;

    template <class Place> ALWAYS_INLINE StepOf<Element> operator[](Place at) const {
        return smooth_of_class.x ? smooth_of_class[at] : both(smooth);
    }
};

// A distribution that was given.
template <class Element, class Given> struct Distribution {
    Row<Given> given;
    Computed<Element> hard, smooth;
    OfClasses<Element> hard_of_class, smooth_of_class;

    template <class Place> ALWAYS_INLINE StepOf<Element> operator[](Place at) const {
        StepOf<Element> y = given[at];
        return hard_of_class.x ? fused(y, hard_of_class[at], smooth_of_class[at]) : fused(y, both(hard), both(smooth));
    }
};
