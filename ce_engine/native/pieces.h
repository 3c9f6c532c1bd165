// Launches are cut into pieces, which several threads take in turn: those of one call, and calls that share a launch.

#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

constexpr int64_t PIECE = 1 << 18;           // numbers that a thread takes at a time
constexpr int64_t LEAST_PARALLEL = 1 << 15;  // numbers that are worth a second thread, as for PyTorch's own operators

// One call's share of a launch.
struct Share {
    std::atomic<int64_t> *taken;  // pieces that were taken, by this call and others; null if there are no others
    int64_t most;                 // pieces for this call
    int threads;
    char *kept;                   // scratch memory for each thread; null where a launch needs none
    int64_t kept_bytes;           // of one thread
};

// How a call ends.
enum Outcome { WRONG_TARGET, NONE_LEFT, SOME_LEFT };

// Evaluates pieces of `count` rows, or groups of rows, of so many numbers each, until none is left or this call had its
// share. `part` evaluates those from `first` to `last`, and says whether all their targets are classes.
template <class Part> static Outcome evaluate_pieces(const Share &share, int64_t count, int64_t numbers, Part part) {
    int64_t piece = PIECE / numbers + 1;
    std::atomic<int64_t> mine = 0, own = 0;
    std::atomic<int64_t> &taken = share.taken ? *share.taken : own;
    auto take_pieces = [&](void *kept) {
        bool done = true;
        while (mine.fetch_add(1, std::memory_order_relaxed) < share.most) {
            int64_t first = taken.fetch_add(1, std::memory_order_relaxed) * piece;
            if (first >= count) break;
            done &= part(first, std::min(first + piece, count), kept);
        }
        return done;
    };
    bool done = true;
    if (share.threads == 1 || count * numbers < LEAST_PARALLEL) {
        done = take_pieces(share.kept);
    } else {
#pragma omp parallel num_threads(share.threads) reduction(&& : done)
        done = take_pieces(share.kept ? share.kept + omp_get_thread_num() * share.kept_bytes : nullptr);
    }
    return !done ? WRONG_TARGET : taken * piece < count ? SOME_LEFT : NONE_LEFT;
}
