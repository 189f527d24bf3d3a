/// A part of a sealed request to a mint that a hop is to hand on: MINT, client to hop.
///
/// Layout (§C.4): `id u16 | mint u8 | total u32 | offset u32 | bytes`, at most 4,000 bytes. Parts of
/// one request come in order and have one id; a new id forgets what was not whole.
public struct MintAsk: Hashable, Sendable {
    /// The client's number of the request.
    public var id: UInt16
    /// The mint it is for.
    public var mint: UInt8
    /// Bytes of the whole.
    public var total: UInt32
    /// Where these begin.
    public var offset: UInt32
    /// The bytes.
    public var bytes: [UInt8]

    /// Bytes a part has at most.
    public static let maximumByteCount = 4_000

    /// Puts a part together.
    public init(id: UInt16, mint: UInt8, total: UInt32, offset: UInt32, bytes: [UInt8]) {
        self.id = id
        self.mint = mint
        self.total = total
        self.offset = offset
        self.bytes = bytes
    }

    /// The parts of a whole request.
    public static func parts(id: UInt16, mint: UInt8, of whole: [UInt8]) -> [MintAsk] {
        stride(from: 0, to: max(1, whole.count), by: maximumByteCount).map { offset in
            MintAsk(
                id: id,
                mint: mint,
                total: UInt32(clamping: whole.count),
                offset: UInt32(clamping: offset),
                bytes: Array(whole[offset..<min(offset + maximumByteCount, whole.count)])
            )
        }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        id = try reader.read()
        mint = try reader.read()
        total = try reader.read()
        offset = try reader.read()
        bytes = reader.readRemaining()
        guard bytes.count <= Self.maximumByteCount, total <= TicketLimits.circuitByteCount,
            Int(offset) + bytes.count <= Int(total)
        else { throw .invalid(field: "MINT part") }
    }

    func write(to writer: inout ByteWriter) {
        writer.write(id)
        writer.write(mint)
        writer.write(total)
        writer.write(offset)
        writer.write(bytes)
    }
}

/// A part of a mint's sealed answer: MINT, hop to client.
///
/// Layout (§C.4): `id u16 | status u8 | total u32 | offset u32 | bytes`.
public struct MintAnswerPart: Hashable, Sendable {
    /// How it went.
    public enum Status: UInt8, Sendable {
        /// Bytes follow.
        case answered = 0
        /// The hop knows no such mint.
        case unknownMint = 1
        /// The mint did not answer.
        case unreachable = 2
        /// The hop has too many requests under way.
        case busy = 3
    }

    /// The client's number of the request.
    public var id: UInt16
    /// How it went.
    public var status: Status
    /// Bytes of the whole.
    public var total: UInt32
    /// Where these begin.
    public var offset: UInt32
    /// The bytes.
    public var bytes: [UInt8]

    /// Puts a part together.
    public init(id: UInt16, status: Status, total: UInt32, offset: UInt32, bytes: [UInt8]) {
        self.id = id
        self.status = status
        self.total = total
        self.offset = offset
        self.bytes = bytes
    }

    /// The parts of a whole answer.
    public static func parts(id: UInt16, of whole: [UInt8]) -> [MintAnswerPart] {
        let step = MintAsk.maximumByteCount
        return stride(from: 0, to: max(1, whole.count), by: step).map { offset in
            MintAnswerPart(
                id: id,
                status: .answered,
                total: UInt32(clamping: whole.count),
                offset: UInt32(clamping: offset),
                bytes: Array(whole[offset..<min(offset + step, whole.count)])
            )
        }
    }

    init(from reader: inout ByteReader) throws(WireError) {
        id = try reader.read()
        let code = try reader.read(UInt8.self)
        guard let status = Status(rawValue: code) else {
            throw .unknown(field: "MINT status", value: UInt64(code))
        }
        self.status = status
        total = try reader.read()
        offset = try reader.read()
        bytes = reader.readRemaining()
        guard bytes.count <= MintAsk.maximumByteCount, total <= TicketLimits.circuitByteCount,
            Int(offset) + bytes.count <= Int(total)
        else { throw .invalid(field: "MINT part") }
    }

    func write(to writer: inout ByteWriter) {
        writer.write(id)
        writer.write(status.rawValue)
        writer.write(total)
        writer.write(offset)
        writer.write(bytes)
    }
}

/// Puts the parts of one request or answer together.
public struct PartAssembly: Sendable {
    /// The request's number.
    public private(set) var id: UInt16?
    private var bytes: [UInt8] = []

    /// Holds nothing yet.
    public init() {}

    /// Takes a part; the whole once it is there.
    public mutating func take(
        id: UInt16,
        total: UInt32,
        offset: UInt32,
        bytes part: [UInt8]
    ) -> [UInt8]? {
        if self.id != id {
            self.id = id
            bytes = []
        }
        guard Int(offset) == bytes.count else { return nil }
        bytes += part
        guard bytes.count == Int(total) else { return nil }
        defer { bytes = [] }
        return bytes
    }

    /// Bytes held.
    public var heldByteCount: Int {
        bytes.count
    }
}
