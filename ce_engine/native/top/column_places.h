// Ranks of targets and the largest classes, as ranks.h and top_classes.h, of a group of rows that lie in columns.

#pragma once

#include "columns.h"
#include "top/top_classes.h"
#include "top/top_network.h"
#include "vectors/transpose.h"

// The places of targets, from 1 on, given their numbers.
template <class Element, class Target>
static auto ranks_of(const Columns<Element> &x, int64_t classes, const Target &target,
                     Lanes<Computed<Element>> at_target) {
    typedef Word<Computed<Element>> Rank;
    typedef typename Lanes<Rank>::Register Ranks;
    Lanes<Rank> rank = all((Rank)1);
    for (int64_t c = 0; c < classes; c++) {
        auto numbers = x[c];
        Lanes<Rank> is_earlier = EACH((Ranks)(target.part[i] > (Rank)c));
        Lanes<Rank> is_nan = EACH((Ranks)(numbers.part[i] != numbers.part[i]));
        Lanes<Rank> is_no_less = EACH((Ranks)~(numbers.part[i] < at_target.part[i]));
        Lanes<Rank> is_larger = EACH((Ranks)~(numbers.part[i] <= at_target.part[i]));
        Lanes<Rank> of_number = EACH(is_larger.part[i] | (is_earlier.part[i] & is_no_less.part[i]));
        Lanes<Rank> of_nan = EACH(is_earlier.part[i] & is_nan.part[i]);
        rank = EACH(rank.part[i] - (at_target.part[i] == at_target.part[i] ? of_number.part[i] : of_nan.part[i]));
    }
    return rank;
}

// Of rows of more classes, which are moved so that the classes of each lie side by side. `memory` is as large as x.
template <class Element, class Write>
static void top_of_many(const Columns<Element> &x, int64_t classes, int64_t top_k, int count, Wide<Element> *memory,
                        Write write) {
    transpose(x.x, GROUP<Element>, classes, GROUP<Element>, memory, classes);
    for (int i = 0; i < count; i++) {
        Row<Wide<Element>> row(memory, i * classes, classes);
        find_top(row, top_k, largest_of(row), true, [&](int64_t place, int64_t top) { write(i, place, top); });
    }
}
