import Base
public import Wire

/// One record of a cell's payload, as a place in the arena.
///
/// Spec: §C.4. A fragment's number and position are read; its ``body`` holds only the data.
public enum Record: Hashable, Sendable {
    /// An IP packet.
    case packet(body: Range<Int>)
    /// The front of a packet of `total` bytes, too long for a cell.
    case firstFragment(body: Range<Int>, id: UInt16, total: Int)
    /// A further part of it, whose data belongs at `offset`.
    case furtherFragment(body: Range<Int>, id: UInt16, offset: Int)
    /// A reliable control message, for the circuit to read.
    case control(body: Range<Int>)
    /// What a hop is to send back as it came, or did; fills its cell.
    case probe(body: Range<Int>)
}

/// The kinds of record and the sizes around them.
public enum RecordLayout {
    /// Rest is padding.
    public static let padding: UInt8 = 0
    /// An IP packet.
    public static let packet: UInt8 = 1
    /// First fragment.
    public static let firstFragment: UInt8 = 2
    /// Further fragment.
    public static let furtherFragment: UInt8 = 3
    /// Control message.
    public static let control: UInt8 = 16
    /// What a hop sends back.
    public static let probe: UInt8 = 17
    /// The least bytes of it: `flags u8 (bit 0: came back) | sequence u32 | mark u64`.
    public static let probeByteCount = 13
    /// Bytes before each record's body: kind and length.
    public static let headerByteCount = 3
    /// Bytes before a fragment's data: its id, and total or offset.
    public static let fragmentHeaderByteCount = 4
}

/// Walks the records of a payload from front to back.
public struct RecordCursor: Sendable {
    private var offset: Int
    private let end: Int
    private var controlCount = 0

    /// Starts at the front of `payload`.
    public init(payload: Range<Int>) {
        offset = payload.lowerBound
        end = payload.upperBound
    }

    /// The next record; `nil` where padding or the end is reached.
    ///
    /// - Throws: ``WireError`` for a record that does not fit, an unknown kind, a fragment that
    ///   cannot be one, or more control messages than a cell may have
    ///   (`ControlRecord.cellLimit`); nothing comes after it then.
    /// - Precondition: the payload lies within `arena`.
    public mutating func next(in arena: RawSpan) throws(WireError) -> Record? {
        guard offset < end else { return nil }
        let kind = arena.byte(at: offset)
        guard kind != RecordLayout.padding else {
            offset = end
            return nil
        }
        let left = end - offset
        let bodyStart = offset + RecordLayout.headerByteCount
        guard left >= RecordLayout.headerByteCount else {
            offset = end
            throw .truncated(neededByteCount: RecordLayout.headerByteCount, foundByteCount: left)
        }
        let count = Int(arena.loadBigEndian(at: offset + 1, as: UInt16.self))
        guard count <= end - bodyStart else {
            offset = end
            throw .truncated(neededByteCount: count, foundByteCount: end - bodyStart)
        }
        let body = bodyStart..<bodyStart + count
        // Whatever is wrong with this record, the next call must not read on behind it.
        let next = body.upperBound
        offset = end
        if kind == RecordLayout.probe {
            guard next == end, body.count >= RecordLayout.probeByteCount else {
                throw .invalid(field: "probe length")
            }
            return .probe(body: body)
        }
        let record = try Self.record(kind, body, in: arena)
        if case .control = record {
            controlCount += 1
            guard controlCount <= ControlRecord.cellLimit else {
                throw .invalid(field: "CTRL records of a cell")
            }
        }
        offset = next
        return record
    }

    private static func record(
        _ kind: UInt8,
        _ body: Range<Int>,
        in arena: RawSpan
    ) throws(WireError) -> Record {
        switch kind {
        case RecordLayout.packet:
            guard !body.isEmpty else { throw .invalid(field: "empty packet record") }
            return .packet(body: body)
        case RecordLayout.control:
            return .control(body: body)
        case RecordLayout.firstFragment, RecordLayout.furtherFragment:
            let needed = RecordLayout.fragmentHeaderByteCount + 1
            guard body.count >= needed else {
                throw .truncated(neededByteCount: needed, foundByteCount: body.count)
            }
            let id: UInt16 = arena.loadBigEndian(at: body.lowerBound)
            let value = Int(arena.loadBigEndian(at: body.lowerBound + 2, as: UInt16.self))
            let data = body.lowerBound + RecordLayout.fragmentHeaderByteCount..<body.upperBound
            if kind == RecordLayout.firstFragment {
                guard data.count < value else { throw .invalid(field: "fragment total") }
                return .firstFragment(body: data, id: id, total: value)
            }
            guard value > 0, value + data.count <= 0xffff else {
                throw .invalid(field: "fragment offset")
            }
            return .furtherFragment(body: data, id: id, offset: value)
        default:
            throw .unknown(field: "record kind", value: UInt64(kind))
        }
    }
}
