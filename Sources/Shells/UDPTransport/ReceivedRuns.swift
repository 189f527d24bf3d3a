public import Base

/// Datagrams of one sender, received as one message and side by side in the arena.
public struct ReceivedRun: Hashable, Sendable, BitwiseCopyable {
    /// Who sent them.
    public let source: SocketAddress
    /// Where in the arena the first begins.
    public let offset: Int
    /// Bytes of all of them; zero for an empty datagram.
    public let byteCount: Int
    /// Bytes of each but the last, which may be shorter; at least 1.
    public let segmentByteCount: Int

    @usableFromInline
    init(source: SocketAddress, offset: Int, byteCount: Int, segmentByteCount: Int) {
        self.source = source
        self.offset = offset
        self.byteCount = byteCount
        self.segmentByteCount = segmentByteCount
    }

    /// How many datagrams there are, the short last one and an empty one included.
    @inlinable
    public var datagramCount: Int {
        byteCount == 0 ? 1 : (byteCount + segmentByteCount - 1) / segmentByteCount
    }
}

/// The runs of one or more receives: a list with fixed room, owned by the caller.
public struct ReceivedRuns: ~Copyable, Sendable {
    /// Runs it holds at most.
    public let capacity: Int
    @usableFromInline var runs: [ReceivedRun] = []

    /// Makes an empty list of `capacity` runs.
    public init(capacity: Int) {
        precondition(capacity > 0, "a list of runs holds at least one")
        self.capacity = capacity
        runs.reserveCapacity(capacity)
    }

    /// How many there are.
    @inlinable
    public var count: Int {
        runs.count
    }

    /// Run `index`, in the order of arrival.
    ///
    /// - Precondition: `index` is below ``count``.
    @inlinable
    public subscript(index: Int) -> ReceivedRun {
        runs[index]
    }

    /// Empties the list; its room stays.
    public mutating func removeAll() {
        runs.removeAll(keepingCapacity: true)
    }

    mutating func append(_ run: ReceivedRun) {
        precondition(runs.count < capacity, "the list of runs is full")
        runs.append(run)
    }
}
