import Base

/// How long what waits at a shard's socket will wait: as long as it took to take that much of late.
///
/// Two additions a run of datagrams and one division a batch; a cell costs nothing. Spec: §A.1 (STAT).
struct QueueDelay {
    /// Bytes a kernel books for one datagram of ours, its own overhead included.
    static let bookedByteCount = 2_304
    /// The longest time between two batches that says something of how fast datagrams are taken.
    private static let longestBatch: TimeSpan = .milliseconds(100)

    private var begun: Instant = .zero
    private var taken: UInt64 = 0
    private var waiting: UInt64 = 0
    // Of one datagram, smoothed over batches behind which more waited.
    private var nanoseconds: UInt64 = 0

    /// Begins a batch behind which so many bytes wait.
    mutating func beginBatch(waitingByteCount: Int, now: Instant) {
        let elapsed = now - begun
        // While nothing waited the shard slept: the time says nothing.
        if waiting > 0, taken > 0, elapsed <= Self.longestBatch {
            let sample = elapsed.nanoseconds / taken
            nanoseconds = nanoseconds == 0 ? sample : (nanoseconds * 3 + sample) / 4
        }
        begun = now
        taken = 0
        waiting = UInt64(max(0, waitingByteCount) / Self.bookedByteCount)
    }

    /// Counts what was taken.
    mutating func note(datagramCount: Int) {
        taken += UInt64(max(0, datagramCount))
    }

    /// The time what arrives now waits, in units of 100 µs.
    var units: UInt16 {
        let time = waiting.multipliedReportingOverflow(by: nanoseconds)
        return time.overflow ? .max : UInt16(clamping: time.partialValue / 100_000)
    }
}
