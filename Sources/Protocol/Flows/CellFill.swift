import Base

/// A cell's payload being filled with records, somewhere in the arena.
///
/// Each `begin` writes a record's header and says where its bytes go; the caller puts them there.
/// ``close(in:)`` clears what is left, so that stale bytes of other packets never reach the exit.
/// Spec: §C.4.
public struct CellFill: Sendable {
    /// The whole payload.
    public let payload: Range<Int>
    /// Where the next record begins.
    public private(set) var end: Int

    /// Starts with nothing in `payload`.
    ///
    /// - Precondition: a length of 16 bits is enough for it.
    public init(payload: Range<Int>) {
        precondition(payload.count <= 0xffff, "payload too long")
        self.payload = payload
        end = payload.lowerBound
    }

    /// Whether no record has begun.
    public var isEmpty: Bool { end == payload.lowerBound }

    /// Bytes left for records and their headers.
    public var remainingByteCount: Int { payload.upperBound &- end }

    /// Bytes of the largest packet an empty cell takes whole.
    public var packetCapacity: Int { payload.count - RecordLayout.headerByteCount }

    /// Whether a record with a body of `byteCount` fits: a packet, or a control message.
    public func fits(packetByteCount byteCount: Int) -> Bool {
        byteCount <= remainingByteCount &- RecordLayout.headerByteCount
    }

    /// Begins the record of a packet and returns where its bytes go.
    ///
    /// - Precondition: it fits.
    public mutating func begin(
        packetByteCount byteCount: Int,
        in arena: inout MutableRawSpan
    ) -> Int {
        begin(kind: RecordLayout.packet, byteCount: byteCount, in: &arena)
    }

    /// Begins the record of a control message and returns where its bytes go.
    ///
    /// - Precondition: it fits.
    public mutating func begin(
        controlByteCount byteCount: Int,
        in arena: inout MutableRawSpan
    ) -> Int {
        begin(kind: RecordLayout.control, byteCount: byteCount, in: &arena)
    }

    /// Begins the record of a packet's first fragment and returns where its bytes go.
    ///
    /// - Precondition: `byteCount` with 7 bytes of headers fits; it is less than `total`.
    public mutating func beginFirstFragment(
        byteCount: Int,
        id: UInt16,
        total: Int,
        in arena: inout MutableRawSpan
    ) -> Int {
        precondition(byteCount > 0 && byteCount < total && total <= 0xffff, "not a first fragment")
        return beginFragment(RecordLayout.firstFragment, byteCount, id, total, in: &arena)
    }

    /// Begins the record of a packet's further fragment and returns where its bytes go.
    ///
    /// - Precondition: `byteCount` with 7 bytes of headers fits.
    public mutating func beginFurtherFragment(
        byteCount: Int,
        id: UInt16,
        offset: Int,
        in arena: inout MutableRawSpan
    ) -> Int {
        precondition(
            byteCount > 0 && offset > 0 && offset + byteCount <= 0xffff,
            "not a further fragment"
        )
        return beginFragment(RecordLayout.furtherFragment, byteCount, id, offset, in: &arena)
    }

    /// Ends the payload with zeros, which are padding; nothing more fits.
    public mutating func close(in arena: inout MutableRawSpan) {
        arena.zero(end..<payload.upperBound)
        end = payload.upperBound
    }

    private mutating func beginFragment(
        _ kind: UInt8,
        _ byteCount: Int,
        _ id: UInt16,
        _ value: Int,
        in arena: inout MutableRawSpan
    ) -> Int {
        let body = begin(
            kind: kind,
            byteCount: byteCount + RecordLayout.fragmentHeaderByteCount,
            in: &arena
        )
        arena.storeBigEndian(id, at: body)
        arena.storeBigEndian(UInt16(truncatingIfNeeded: value), at: body + 2)
        return body + RecordLayout.fragmentHeaderByteCount
    }

    private mutating func begin(
        kind: UInt8,
        byteCount: Int,
        in arena: inout MutableRawSpan
    ) -> Int {
        precondition(byteCount >= 0 && fits(packetByteCount: byteCount), "record does not fit")
        arena.storeBigEndian(kind, at: end)
        arena.storeBigEndian(UInt16(truncatingIfNeeded: byteCount), at: end &+ 1)
        let body = end &+ RecordLayout.headerByteCount
        end = body &+ byteCount
        return body
    }
}

/// A packet too long for a cell, on its way into several.
public struct PacketFragmenter: Sendable {
    /// The least data a fragment carries unless it is the last: smaller ones cost more than they
    /// move, and many would pass ``Reassembler/fragmentLimit``.
    public static let minimumByteCount = 1_100

    private let packet: Range<Int>
    private let id: UInt16
    private var sent = 0

    /// Starts with the packet in `packet`.
    ///
    /// `id` tells the packets of a circuit apart; count it up by one each.
    ///
    /// - Precondition: the packet has 2 to 65,535 bytes.
    public init(packet: Range<Int>, id: UInt16) {
        precondition(packet.count >= 2 && packet.count <= 0xffff, "no packet to fragment")
        self.packet = packet
        self.id = id
    }

    /// Whether the whole packet is in cells.
    public var isFinished: Bool { sent == packet.count }

    /// Puts the next fragment into `cell`; `false` where the cell has too little room.
    ///
    /// An empty cell always has room.
    public mutating func writeNext(
        into cell: inout CellFill,
        in arena: inout MutableRawSpan
    ) -> Bool {
        let overhead = RecordLayout.headerByteCount + RecordLayout.fragmentHeaderByteCount
        let room = cell.remainingByteCount - overhead
        let left = packet.count - sent
        guard left > 0, room > 0 else { return false }
        // A first fragment leaves at least a byte for a second.
        let count = min(room, sent == 0 ? left - 1 : left)
        guard count == left || cell.isEmpty || count >= Self.minimumByteCount else {
            return false
        }
        let body =
            sent == 0
            ? cell.beginFirstFragment(byteCount: count, id: id, total: packet.count, in: &arena)
            : cell.beginFurtherFragment(byteCount: count, id: id, offset: sent, in: &arena)
        let start = packet.lowerBound + sent
        arena.move(start..<start + count, to: body)
        sent += count
        return true
    }
}
