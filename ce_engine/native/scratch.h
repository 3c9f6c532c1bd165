// Memory for intermediate numbers. Each thread has its own, and uses it again for each launch, unless it is large.

#pragma once

#include <cstdint>
#include <cstdlib>

class Scratch {
    static constexpr int64_t ALIGNMENT = 64;  // a line of the caches
    static constexpr int64_t MOST_KEPT = 1 << 23;

    void *memory = nullptr;
    int64_t size = 0;

  public:
    ~Scratch() { std::free(memory); }

    // Null if there is too little memory.
    void *at_least(int64_t bytes) {
        if (bytes > size) {
            std::free(memory);
            size = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            memory = std::aligned_alloc(ALIGNMENT, size);
            if (!memory) size = 0;
        }
        return memory;
    }

    // What a few immense rows needed must not stay with the thread.
    void give_back_if_large() {
        if (size <= MOST_KEPT) return;
        std::free(memory);
        memory = nullptr;
        size = 0;
    }
};

static Scratch &scratch() {
    thread_local Scratch own;
    return own;
}
