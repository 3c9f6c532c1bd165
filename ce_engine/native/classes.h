// Whether targets are classes: in [0, classes).

#pragma once

#include "vectors/elements.h"

INLINE auto are_others(Lanes<int64_t> x, int64_t classes) { return (x < all((int64_t)0)) | (all(classes - 1) < x); }
INLINE bool are_classes(Lanes<int64_t> x, int64_t classes) { return !any_of(are_others(x, classes)); }
INLINE bool are_classes(Step<int64_t> x, int64_t classes) {
    return !any_of(are_others(x.a, classes) | are_others(x.b, classes));
}

static bool are_all_classes(const int64_t *target, int64_t count, int64_t classes) {
    constexpr int COUNT = Lanes<int64_t>::COUNT;
    auto others = are_others({}, 1);
    int64_t i = 0;
    for (; i + COUNT <= count; i += COUNT) others = others | are_others(lanes_at<int64_t>(target + i), classes);
    bool right = !any_of(others);
    for (; i < count; i++) right &= (uint64_t)target[i] < (uint64_t)classes;
    return right;
}
