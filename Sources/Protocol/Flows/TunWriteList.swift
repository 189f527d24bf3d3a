public import Base

/// One write to the TUN device: its offload header and packet, in pieces to gather.
public struct TunWrite: Hashable, Sendable {
    /// Its pieces in ``TunWriteList/pieces``; the first begins with the 10-byte offload header.
    public let pieces: Range<Int>
    /// Bytes of all its pieces, the offload header's 10 included.
    public let byteCount: Int
    /// Packets it carries.
    public let packetCount: Int
}

/// What is to be written to the TUN device, in order, none of it copied.
///
/// Valid until the arena below it is used again.
public struct TunWriteList: Sendable {
    /// The writes, each for one `writev`.
    public private(set) var writes: [TunWrite] = []
    /// The pieces of all writes one after the other; at most ``maximumPieceCount`` a write.
    public private(set) var pieces: [ArenaPiece] = []

    /// Pieces of one write at most: headers and 64 payloads.
    public static let maximumPieceCount = TunCoalescer.segmentLimit + 1

    init(writeCapacity: Int) {
        writes.reserveCapacity(writeCapacity)
        // A write has two pieces, or one for headers and one for each packet it carries.
        pieces.reserveCapacity(writeCapacity * 4)
    }

    /// Whether there is nothing to write.
    public var isEmpty: Bool { writes.isEmpty }

    /// Appends the write of a packet as it is.
    mutating func append(_ header: ArenaPiece, _ packet: ArenaPiece) {
        pieces.append(header)
        pieces.append(packet)
        writes.append(
            TunWrite(
                pieces: pieces.count - 2..<pieces.count,
                byteCount: header.byteCount &+ packet.byteCount,
                packetCount: 1
            )
        )
    }

    /// Appends the write of a super-packet: its headers, and a piece for each packet in it.
    mutating func append(_ first: ArenaPiece, _ rest: ArraySlice<ArenaPiece>) {
        let start = pieces.count
        var byteCount = first.byteCount
        pieces.append(first)
        for piece in rest {
            pieces.append(piece)
            byteCount &+= piece.byteCount
        }
        writes.append(
            TunWrite(
                pieces: start..<pieces.count,
                byteCount: byteCount,
                packetCount: rest.count
            )
        )
    }

    mutating func removeAll() {
        writes.removeAll(keepingCapacity: true)
        pieces.removeAll(keepingCapacity: true)
    }
}
