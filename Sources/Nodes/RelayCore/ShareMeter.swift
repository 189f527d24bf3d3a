/// Finds out which circuits fill a queue that is longer than its bound.
///
/// Counts cells by batch: a circuit is over its share when it brings at least the mean of those
/// that bring any. So a long queue is told to whoever makes it long, and not to a conversation
/// beside it. O(1) for a cell, nothing kept for a circuit but ``Share``.
struct ShareMeter {
    /// What the meter keeps in each circuit.
    struct Share {
        fileprivate var batch: UInt32 = 0
        fileprivate var cellCount: UInt32 = 0
        fileprivate var previousCount: UInt32 = 0
    }

    /// The number of the batch; wraps.
    private(set) var batch: UInt32 = 1
    private var cellCount: UInt32 = 0
    private var circuitCount: UInt32 = 0
    /// Mean of the cells a circuit brought in the last batch, rounded down.
    private var mean: UInt32 = 0

    /// Begins another batch.
    mutating func beginBatch() {
        mean = circuitCount > 0 ? cellCount / circuitCount : 0
        batch &+= 1
        cellCount = 0
        circuitCount = 0
    }

    /// Counts a cell of the circuit that keeps `share`; whether that is over its share.
    mutating func count(_ share: inout Share) -> Bool {
        if share.batch != batch {
            share.previousCount = share.batch &+ 1 == batch ? share.cellCount : 0
            share.batch = batch
            share.cellCount = 0
            circuitCount &+= 1
        }
        share.cellCount &+= 1
        cellCount &+= 1
        return max(share.cellCount, share.previousCount) >= mean
    }
}
