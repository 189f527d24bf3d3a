#include "CWordSum.h"

#include <string.h>

// One source, compiled for each kind of processor: the compiler makes lanes of the loop.
static inline __attribute__((always_inline)) uint64_t sum(const uint8_t *start, size_t byte_count) {
    uint64_t total = 0;
    size_t words = byte_count / 4;
    for (size_t i = 0; i < words; i++) {
        uint32_t word;
        memcpy(&word, start + 4 * i, 4);
        total += word;
    }
    uint32_t last = 0;
    memcpy(&last, start + 4 * words, byte_count % 4);
    return total + last;
}

uint64_t cwordsum_plain(const void *start, size_t byte_count) {
    return sum(start, byte_count);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t sum_avx2(const uint8_t *start, size_t byte_count) {
    return sum(start, byte_count);
}
#endif

uint64_t cwordsum(const void *start, size_t byte_count) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        return sum_avx2(start, byte_count);
    }
#endif
    return cwordsum_plain(start, byte_count);
}
