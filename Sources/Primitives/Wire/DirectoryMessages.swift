public import Base

/// Signatures under one consensus, as authorities hand them to each other.
///
/// Layout (§E.1): `netid 32 | valid_after u32 | digest 32 | count u8 | count x (index u8 |
/// signature 64)`, at most 64.
public struct SignatureNotice: Hashable, Sendable {
    /// The network.
    public let network: NetworkID
    /// When the document begins to hold.
    public let validAfter: WallTime
    /// SHA-256 of its body.
    public let digest: Bytes32
    /// The signatures, not verified.
    public let signatures: [ConsensusSignature]

    /// The most bytes a notice takes.
    public static let maximumByteCount =
        32 + 4 + 32 + 1 + ConsensusFrame.maximumSignatureCount * ConsensusSignature.byteCount

    /// Takes the parts over.
    public init(
        network: NetworkID,
        validAfter: WallTime,
        digest: Bytes32,
        signatures: [ConsensusSignature]
    ) {
        self.network = network
        self.validAfter = validAfter
        self.digest = digest
        self.signatures = signatures
    }

    /// Reads a whole notice.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        network = NetworkID(try reader.readBytes32())
        validAfter = WallTime(seconds: UInt64(try reader.read(UInt32.self)))
        digest = try reader.readBytes32()
        let count = Int(try reader.read(UInt8.self))
        guard count <= ConsensusFrame.maximumSignatureCount else {
            throw .tooLarge(
                field: "signatures",
                value: UInt64(count),
                limit: UInt64(ConsensusFrame.maximumSignatureCount)
            )
        }
        var signatures: [ConsensusSignature] = []
        for _ in 0..<count {
            let index = try reader.read(UInt8.self)
            let bytes = try reader.read(byteCount: ConsensusSignature.signatureByteCount)
            signatures.append(try ConsensusSignature(index: index, bytes: bytes))
        }
        try reader.finish()
        self.signatures = signatures
    }

    /// The notice's bytes.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: Self.maximumByteCount)
        writer.write(network.rawValue)
        writer.write(UInt32(clamping: validAfter.seconds))
        writer.write(digest)
        writer.write(UInt8(clamping: signatures.count))
        for signature in signatures.prefix(ConsensusFrame.maximumSignatureCount) {
            writer.write(signature.index)
            writer.write(signature.bytes)
        }
        return writer.bytes
    }
}

/// A list of byte strings, such as signed descriptors: `count u16 | count x (length u16 | bytes)`.
public enum ByteList {
    /// Strings a list may have.
    public static let maximumCount = 512

    /// The most bytes a list of strings up to `limit` bytes takes.
    public static func maximumByteCount(of limit: Int) -> Int {
        2 + maximumCount * (2 + limit)
    }

    /// Reads a whole list of strings of at most `limit` bytes each.
    public static func parse(_ bytes: [UInt8], limit: Int) throws(WireError) -> [[UInt8]] {
        var reader = ByteReader(bytes)
        let count = Int(try reader.read(UInt16.self))
        guard count <= maximumCount else {
            throw .tooLarge(
                field: "list",
                value: UInt64(count),
                limit: UInt64(maximumCount)
            )
        }
        var items: [[UInt8]] = []
        for _ in 0..<count {
            let length = Int(try reader.read(UInt16.self))
            guard length <= limit else {
                throw .tooLarge(field: "list item", value: UInt64(length), limit: UInt64(limit))
            }
            items.append(try reader.read(byteCount: length))
        }
        try reader.finish()
        return items
    }

    /// The bytes of a list.
    ///
    /// - Precondition: at most ``maximumCount`` strings of at most 65,535 bytes.
    public static func encode(_ items: [[UInt8]]) -> [UInt8] {
        precondition(items.count <= maximumCount, "a list is bounded")
        var writer = ByteWriter(capacity: items.reduce(2) { $0 + 2 + $1.count })
        writer.write(UInt16(truncatingIfNeeded: items.count))
        for item in items {
            precondition(item.count <= Int(UInt16.max), "an item's length is 16 bits")
            writer.write(UInt16(truncatingIfNeeded: item.count))
            writer.write(item)
        }
        return writer.bytes
    }
}
