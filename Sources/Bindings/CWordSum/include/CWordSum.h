// Sums of 32-bit words, for the Internet checksum (RFC 1071): in C, since what a processor can do
// beyond the least of its kind is chosen function by function here, as Swift cannot.
#pragma once

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// The sum of the 32-bit words that begin at `start`, in host order, as wide as this processor adds.
///
/// What is left of the last word counts as if zeros followed; fewer than 2^32 words do not overflow.
uint64_t cwordsum(const void *start, size_t byte_count);

/// The same by what every processor can do.
uint64_t cwordsum_plain(const void *start, size_t byte_count);

#pragma clang assume_nonnull end
