/// Where things lie in the one block of memory a shard works in.
///
/// The shell owns the block and lends it to the core as a span; everything the two tell each other
/// about bytes is an offset into it.
public enum ArenaLayout {
    /// Bytes a single receive may need: a train of segments is at most 64 KiB.
    public static let receiveSlotByteCount = 65_536
    /// Receives that fit side by side.
    public static let receiveSlotCount = 4
    /// Where datagrams are received.
    public static let receive = 0..<receiveSlotCount * receiveSlotByteCount
    /// Where a packet is read from a TUN device, its offload header first.
    public static let tunnelInput = receive.upperBound..<receive.upperBound + 66_048
    /// Where datagrams are made: 256 of them.
    public static let generated =
        tunnelInput.upperBound..<tunnelInput.upperBound + 256 * 1392
    /// Where headers of coalesced packets are made: 256 for each tunnel of a client.
    public static let tunnelHeaders = generated.upperBound..<generated.upperBound + 8_192 * 112
    /// Where packets are put together from fragments.
    public static let scratch = tunnelHeaders.upperBound..<tunnelHeaders.upperBound + 262_144
    /// Bytes of the whole block.
    public static let byteCount = scratch.upperBound
}

/// Datagrams of one size from one sender that lie one after the other in the arena.
public struct DatagramRun: Sendable, BitwiseCopyable {
    /// Who sent them.
    public var source: SocketAddress
    /// Where the first begins.
    public var offset: Int
    /// Bytes of all of them.
    public var byteCount: Int
    /// Bytes of each but the last, which may be shorter.
    public var segmentByteCount: Int

    /// Puts a run together.
    public init(source: SocketAddress, offset: Int, byteCount: Int, segmentByteCount: Int) {
        self.source = source
        self.offset = offset
        self.byteCount = byteCount
        self.segmentByteCount = segmentByteCount
    }
}

/// A part of the arena, to be gathered with others into one write.
public struct ArenaPiece: Hashable, Sendable, BitwiseCopyable {
    /// Where it begins.
    public var offset: Int
    /// Its length.
    public var byteCount: Int

    /// Names the `byteCount` bytes from `offset` on.
    @inlinable
    public init(offset: Int, byteCount: Int) {
        self.offset = offset
        self.byteCount = byteCount
    }
}
