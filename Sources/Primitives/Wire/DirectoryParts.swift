public import Base

/// A client's question for a part of the directory, over a circuit.
///
/// Layout (§C.4): `kind u8 | digest 32 | offset u32`.
public struct DirectoryAsk: Hashable, Sendable {
    /// What is asked for.
    public enum Kind: UInt8, Sendable {
        /// The newest document; the digest is zero.
        case newest = 0
        /// What leads from the document with the digest to the newest one.
        case diff = 1
        /// The document whose digest begins with the first 16 bytes of this one.
        case document = 2
        /// Proof that authorities signed two documents for one interval; the digest is zero.
        case proof = 3
    }

    /// What is asked for.
    public var kind: Kind
    /// The digest it is about.
    public var digest: Bytes32
    /// The first byte wanted.
    public var offset: UInt32

    /// Puts a question together.
    public init(kind: Kind, digest: Bytes32, offset: UInt32) {
        self.kind = kind
        self.digest = digest
        self.offset = offset
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let code = try reader.read(UInt8.self)
        guard let kind = Kind(rawValue: code) else {
            throw .unknown(field: "directory kind", value: UInt64(code))
        }
        self.kind = kind
        digest = try reader.readBytes32()
        offset = try reader.read()
    }

    func write(to writer: inout ByteWriter) {
        writer.write(kind.rawValue)
        writer.write(digest)
        writer.write(offset)
    }
}

/// A relay's answer: a part of what was asked for.
///
/// Layout (§C.4): `status u8 | tag u32 | total u32 | offset u32 | bytes`, at most 4,000 bytes.
public struct DirectoryPart: Hashable, Sendable {
    /// Whether there is something.
    public enum Status: UInt8, Sendable {
        /// Bytes follow.
        case bytes = 0
        /// There is no such thing here.
        case none = 1
    }

    /// Bytes a part has at most.
    public static let maximumByteCount = 4_000

    /// Whether there is something.
    public var status: Status
    /// Tells parts of one thing from those of another: the front of the newest digest.
    public var tag: UInt32
    /// Bytes of the whole.
    public var total: UInt32
    /// Where these bytes begin.
    public var offset: UInt32
    /// The bytes.
    public var bytes: [UInt8]

    /// Puts an answer together.
    public init(status: Status, tag: UInt32, total: UInt32, offset: UInt32, bytes: [UInt8]) {
        self.status = status
        self.tag = tag
        self.total = total
        self.offset = offset
        self.bytes = bytes
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let code = try reader.read(UInt8.self)
        guard let status = Status(rawValue: code) else {
            throw .unknown(field: "directory status", value: UInt64(code))
        }
        self.status = status
        tag = try reader.read()
        total = try reader.read()
        offset = try reader.read()
        bytes = reader.readRemaining()
        guard bytes.count <= Self.maximumByteCount else {
            throw .tooLarge(
                field: "directory part",
                value: UInt64(bytes.count),
                limit: UInt64(Self.maximumByteCount)
            )
        }
    }

    func write(to writer: inout ByteWriter) {
        writer.write(status.rawValue)
        writer.write(tag)
        writer.write(total)
        writer.write(offset)
        writer.write(bytes)
    }
}
