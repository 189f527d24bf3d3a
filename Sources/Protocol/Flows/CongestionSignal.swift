public import Base
public import Wire

/// Tells the senders of packets that a queue on their way is longer than its bound: by a mark
/// where they understand one, else by the loss of a packet now and then.
///
/// One for each circuit and direction. Small packets are never lost by it: they are answers and
/// conversations, whose senders have nothing to slow down. Spec: §C.8.
public struct CongestionSignal: Sendable {
    /// Bytes in a receive queue, the kernel's overhead included, beyond which it is too long.
    ///
    /// Lower marks cost batching, and so throughput; higher ones delay.
    public static let queueBound = 512 << 10
    /// Time between two packets that are dropped.
    public static let dropInterval: TimeSpan = .milliseconds(10)
    /// Bytes a packet has at least to be dropped.
    public static let bulkByteCount = 200

    private var nextDrop: Instant = .zero

    /// Begins without having dropped anything.
    public init() {}

    /// Whether a packet with this header can tell its sender anything.
    public static func canTell(_ header: IPHeader) -> Bool {
        header.ecn != 0 || header.byteCount >= bulkByteCount
    }

    /// Signals by the packet at `packetOffset`, whose header is `header`.
    ///
    /// - Returns: whether the packet goes on; where not, the caller drops it, or one segment of it.
    /// - Precondition: this is the packet's header.
    public mutating func apply(
        by header: IPHeader,
        packetOffset: Int,
        in arena: inout MutableRawSpan,
        now: Instant
    ) -> Bool {
        if header.setCongestionExperienced(in: &arena, packetOffset: packetOffset) { return true }
        guard Self.canTell(header), now >= nextDrop else { return true }
        nextDrop = now + Self.dropInterval
        return false
    }
}
