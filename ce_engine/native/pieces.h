// Launches are cut into pieces, which several threads take in turn: those of one call, and calls that share a launch.

#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "scratch.h"

constexpr int64_t PIECE = 1 << 18;           // numbers that a thread takes at a time
constexpr int64_t LEAST_PARALLEL = 1 << 15;  // numbers that are worth a second thread, as for PyTorch's own operators

// One call's share of a launch.
struct Share {
    int threads;
    std::atomic<int64_t> *taken;  // pieces that were taken, by this call and others; null if there are no others
    int64_t most;                 // pieces for this call
};

// How a call ends; of several ends, the first one counts.
enum Outcome { LACK_OF_MEMORY, WRONG_TARGET, NONE_LEFT, SOME_LEFT };

// What there is to do: rows, or groups of rows, of so many numbers each.
struct Work {
    int64_t count, numbers;
    int64_t scratch_bytes;  // for each thread
};

// Evaluates pieces until none is left or this call had its share. `part` evaluates rows or groups from `first` to
// `last`, and says whether all their targets are classes.
template <class Part> static Outcome evaluate_pieces(const Share &share, const Work &work, Part part) {
    int64_t piece = PIECE / work.numbers + 1;
    std::atomic<int64_t> mine = 0, own = 0;
    std::atomic<int64_t> &taken = share.taken ? *share.taken : own;
    auto take_pieces = [&]() {
        void *kept = work.scratch_bytes ? scratch().at_least(work.scratch_bytes) : nullptr;
        if (work.scratch_bytes && !kept) return LACK_OF_MEMORY;
        bool done = true;
        while (mine.fetch_add(1, std::memory_order_relaxed) < share.most) {
            int64_t first = taken.fetch_add(1, std::memory_order_relaxed) * piece;
            if (first >= work.count) break;
            done &= part(first, std::min(first + piece, work.count), kept);
        }
        if (work.scratch_bytes) scratch().give_back_if_large();
        return done ? NONE_LEFT : WRONG_TARGET;
    };
    int outcome = NONE_LEFT;
    if (share.threads == 1 || work.count * work.numbers < LEAST_PARALLEL) {
        outcome = take_pieces();
    } else {
#pragma omp parallel num_threads(share.threads) reduction(min : outcome)
        outcome = take_pieces();
    }
    return outcome == NONE_LEFT && taken * piece < work.count ? SOME_LEFT : (Outcome)outcome;
}
