public import Base
import Wire

/// Packets longer than a cell, put together from their fragments.
///
/// One for each circuit and direction. Holds at most ``packetLimit`` packets in progress and
/// ``byteLimit`` bytes of them; the one begun first makes room for another. Holds what has come and
/// no more, whatever place a fragment claims. A fragment that overlaps, repeats or contradicts
/// another ends its packet (as RFC 5722 does). The owner of many bounds them together, by
/// ``byteCount`` and ``removeAll(olderThan:now:)``.
public struct Reassembler: ~Copyable {
    private struct Packet {
        let id: UInt16
        let begun: Instant
        /// Known once the first fragment has come.
        var total: Int?
        var receivedByteCount = 0
        /// The fragments received, in no order.
        var pieces: [Piece] = []

        /// What it holds, its own upkeep included.
        var byteCount: Int {
            receivedByteCount + (pieces.count + 1) * Reassembler.upkeepByteCount
        }
    }

    private struct Piece {
        let place: Range<Int>
        let bytes: [UInt8]
    }

    // About what a piece costs beside its bytes.
    private static let upkeepByteCount = 64

    /// Packets in progress at most.
    public static let packetLimit = 4
    /// Bytes held for packets in progress at most.
    public static let byteLimit = 128 * 1024
    /// Fragments of one packet at most.
    public static let fragmentLimit = 64
    /// Time after which a packet in progress is given up.
    public static let lifetime: TimeSpan = .seconds(5)

    private var packets: [Packet] = []
    /// Packets given up because others needed the room.
    public private(set) var droppedCount: UInt64 = 0

    /// Starts with nothing in progress.
    public init() {}

    /// Packets in progress.
    public var count: Int { packets.count }

    /// Bytes held for packets in progress, with what it costs to hold them.
    public var byteCount: Int { packets.reduce(0) { $0 + $1.byteCount } }

    /// When the oldest packet in progress was begun; `nil` where there is none.
    public var begun: Instant? { packets.first?.begun }

    /// Takes a fragment; where it completes its packet, writes that to the front of `output` and
    /// returns its place.
    ///
    /// Records that are not fragments return `nil`.
    ///
    /// - Throws: ``FlowError/conflictingFragment`` or ``FlowError/fragmentLimit``; the fragment's
    ///   packet is given up then.
    /// - Precondition: body and output lie within `arena`.
    public mutating func receive(
        _ record: Record,
        in arena: inout MutableRawSpan,
        output: Range<Int>,
        now: Instant
    ) throws(FlowError) -> Range<Int>? {
        let body: Range<Int>
        let id: UInt16
        let place: Range<Int>
        let total: Int?
        switch record {
        case .firstFragment(let range, let packetID, let byteCount):
            (body, id, total) = (range, packetID, byteCount)
            place = 0..<range.count
        case .furtherFragment(let range, let packetID, let offset):
            (body, id, total) = (range, packetID, nil)
            place = offset..<offset + range.count
        case .packet, .control, .probe:
            return nil
        }
        removeAll(olderThan: Self.lifetime, now: now)
        let index = packets.firstIndex { $0.id == id } ?? begin(id, now: now)
        do throws(FlowError) {
            try check(place, total, of: index, limit: output.count)
        } catch {
            packets.remove(at: index)
            throw error
        }
        return insert(place, total, of: index, from: body, in: &arena, output: output)
    }

    /// Gives up all packets in progress.
    public mutating func removeAll() {
        packets.removeAll()
    }

    /// Gives up packets that have been in progress for `age` or longer.
    public mutating func removeAll(olderThan age: TimeSpan, now: Instant) {
        let count = packets.count
        packets.removeAll { now - $0.begun >= age }
        droppedCount += UInt64(count - packets.count)
    }

    private mutating func begin(_ id: UInt16, now: Instant) -> Int {
        if packets.count == Self.packetLimit {
            packets.removeFirst()
            droppedCount += 1
        }
        packets.append(Packet(id: id, begun: now))
        return packets.count - 1
    }

    private func check(
        _ place: Range<Int>,
        _ total: Int?,
        of index: Int,
        limit: Int
    ) throws(FlowError) {
        let packet = packets[index]
        guard packet.pieces.count < Self.fragmentLimit else { throw .fragmentLimit }
        guard packet.total == nil || total == nil else { throw .conflictingFragment }
        guard !packet.pieces.contains(where: { $0.place.overlaps(place) }) else {
            throw .conflictingFragment
        }
        let end = packet.pieces.reduce(place.upperBound) { max($0, $1.place.upperBound) }
        guard max(end, total ?? 0) <= min(limit, 0xffff) else { throw .fragmentLimit }
        guard let known = packet.total ?? total else { return }
        guard end <= known else { throw .conflictingFragment }
    }

    private mutating func insert(
        _ place: Range<Int>,
        _ total: Int?,
        of index: Int,
        from body: Range<Int>,
        in arena: inout MutableRawSpan,
        output: Range<Int>
    ) -> Range<Int>? {
        var index = index
        let growth = place.count + Self.upkeepByteCount
        while byteCount + growth > Self.byteLimit, index > 0 {
            packets.removeFirst()
            droppedCount += 1
            index -= 1
        }
        while byteCount + growth > Self.byteLimit, packets.count > index + 1 {
            packets.removeLast()
            droppedCount += 1
        }
        packets[index].total = packets[index].total ?? total
        packets[index].pieces.append(Piece(place: place, bytes: arena.bytes.copyBytes(body)))
        packets[index].receivedByteCount += place.count
        // Pieces do not overlap and none passes the end: as many bytes as the total are all.
        guard packets[index].receivedByteCount == packets[index].total else { return nil }
        let whole = packets.remove(at: index)
        for piece in whole.pieces {
            arena.copy(piece.bytes, to: output.lowerBound + piece.place.lowerBound)
        }
        return output.lowerBound..<output.lowerBound + whole.receivedByteCount
    }
}
