import Base
import Wire

/// Packets longer than a cell, put together from their fragments.
///
/// One for each circuit and direction. Holds at most ``packetLimit`` packets in progress and
/// ``byteLimit`` bytes of them; the one begun first makes room for another. Memory is allocated
/// only while a fragmented packet is in progress. A fragment that overlaps, repeats or contradicts
/// another ends its packet (as RFC 5722 does).
public struct Reassembler: ~Copyable {
    private struct Packet {
        let id: UInt16
        /// Known once the first fragment has come.
        var total: Int?
        var receivedByteCount = 0
        /// Where each fragment received lies, in no order.
        var pieces: [Range<Int>] = []
        var bytes: [UInt8] = []
    }

    /// Packets in progress at most.
    public static let packetLimit = 4
    /// Bytes held for packets in progress at most.
    public static let byteLimit = 128 * 1024
    /// Fragments of one packet at most.
    public static let fragmentLimit = 64

    private var packets: [Packet] = []
    /// Packets given up because others needed the room.
    public private(set) var droppedCount: UInt64 = 0

    /// Starts with nothing in progress.
    public init() {}

    /// Packets in progress.
    public var count: Int { packets.count }

    /// Bytes held for packets in progress.
    public var byteCount: Int { packets.reduce(0) { $0 + $1.bytes.count } }

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
        output: Range<Int>
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
        case .packet, .control:
            return nil
        }
        let index = packets.firstIndex { $0.id == id } ?? begin(id)
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

    private mutating func begin(_ id: UInt16) -> Int {
        if packets.count == Self.packetLimit {
            packets.removeFirst()
            droppedCount += 1
        }
        packets.append(Packet(id: id))
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
        guard !packet.pieces.contains(where: { $0.overlaps(place) }) else {
            throw .conflictingFragment
        }
        let end = max(place.upperBound, packet.bytes.count)
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
        let growth = max(0, place.upperBound - packets[index].bytes.count)
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
        packets[index].bytes.append(contentsOf: repeatElement(0, count: growth))
        packets[index].pieces.append(place)
        packets[index].receivedByteCount += place.count
        do {
            var bytes = packets[index].bytes.mutableSpan
            var target = unsafe bytes.mutableBytes
            target.copy(arena.bytes.extracting(body), to: place.lowerBound)
        }
        // Pieces do not overlap and none passes the end: as many bytes as the total are all.
        guard packets[index].receivedByteCount == packets[index].total else { return nil }
        let whole = packets.remove(at: index)
        arena.copy(whole.bytes, to: output.lowerBound)
        return output.lowerBound..<output.lowerBound + whole.bytes.count
    }
}
