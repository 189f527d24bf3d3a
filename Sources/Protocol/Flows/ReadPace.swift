public import Base

/// When a TUN device is read: at once, or a moment later where many small packets come one by one.
///
/// Packets read together share cells; so each hop has fewer of them to move. Tell of every read by
/// ``note(packetCount:byteCount:now:)``, and while ``isHolding`` read only every ``hold``.
/// Spec: PROTOCOL.md §C.5.
public struct ReadPace: Sendable {
    /// Time between two reads while small packets come fast.
    public static let hold: TimeSpan = .microseconds(250)
    /// Time over which packets are counted.
    public static let window: TimeSpan = .milliseconds(2)
    /// Packets of a window from which on reading waits: 4,000 a second.
    public static let packetLimit: UInt64 = 8
    /// Mean size from which on packets fill cells by themselves, in bytes.
    public static let smallByteCount: UInt64 = 512

    /// Whether reading waits.
    public private(set) var isHolding = false
    private var begun: Instant
    private var packetCount: UInt64 = 0
    private var byteCount: UInt64 = 0

    /// Begins without having seen a packet.
    public init(now: Instant) {
        begun = now
    }

    /// Notes that a read brought this many packets, of so many bytes in all.
    public mutating func note(packetCount count: Int, byteCount bytes: Int, now: Instant) {
        packetCount += UInt64(count)
        byteCount += UInt64(bytes)
        let passed = now - begun
        guard passed >= Self.window else { return }
        let limit = Self.packetLimit * (passed.nanoseconds / Self.window.nanoseconds)
        isHolding = packetCount >= limit && byteCount < packetCount * Self.smallByteCount
        packetCount = 0
        byteCount = 0
        begun = now
    }
}
