import Base

/// One authority's signature under a consensus.
public struct ConsensusSignature: Hashable, Sendable {
    /// The authority's index in the trust root.
    public let index: UInt8
    /// The Ed25519 signature, 64 bytes.
    public let bytes: [UInt8]

    /// Takes over a signature of 64 bytes.
    ///
    /// - Throws: ``WireError/invalid(field:)`` for another length.
    public init(index: UInt8, bytes: [UInt8]) throws(WireError) {
        guard bytes.count == Self.signatureByteCount else { throw .invalid(field: "signature") }
        self.index = index
        self.bytes = bytes
    }

    static let signatureByteCount = 64
    static let byteCount = 1 + signatureByteCount
}

/// A directory document as bytes: a body nobody has looked into yet and the signatures under it.
///
/// Layout: `body length u32 | body | count u8 | count x (index u8 | signature 64)`, indexes
/// ascending. An index may come twice, for whoever collects signatures cannot tell which of two is
/// right; who verifies counts authorities, not entries.
public struct ConsensusFrame: Hashable, Sendable {
    /// The bytes of a ``Consensus``.
    public let body: [UInt8]
    /// The signatures, ascending by index; at most 64.
    public let signatures: [ConsensusSignature]

    /// Signatures a document may carry.
    public static let maximumSignatureCount = 64

    /// The most bytes a document takes: what a transport need not read beyond.
    public static let maximumByteCount =
        4 + Consensus.maximumByteCount + 1 + maximumSignatureCount * ConsensusSignature.byteCount

    /// Puts `signatures`, in any order, under `body`.
    ///
    /// - Throws: ``WireError/tooLarge(field:value:limit:)`` for too many signatures or bytes.
    public init(body: [UInt8], signatures: [ConsensusSignature]) throws(WireError) {
        try Self.validate(bodyByteCount: body.count)
        try Self.validate(signatureCount: signatures.count)
        self.body = body
        self.signatures = signatures.sorted {
            ($0.index, $0.bytes.hex) < ($1.index, $1.bytes.hex)
        }
    }

    /// Reads a whole document; the body is not looked into.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let bodyByteCount = Int(try reader.read(UInt32.self))
        try Self.validate(bodyByteCount: bodyByteCount)
        body = try reader.read(byteCount: bodyByteCount)
        let count = Int(try reader.read(UInt8.self))
        try Self.validate(signatureCount: count)
        var signatures: [ConsensusSignature] = []
        for _ in 0..<count {
            let index = try reader.read(UInt8.self)
            guard index >= signatures.last?.index ?? 0 else {
                throw .invalid(field: "signature order")
            }
            let bytes = try reader.read(byteCount: ConsensusSignature.signatureByteCount)
            signatures.append(try ConsensusSignature(index: index, bytes: bytes))
        }
        try reader.finish()
        self.signatures = signatures
    }

    /// The document's bytes.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter(
            capacity: 5 + body.count + signatures.count * ConsensusSignature.byteCount
        )
        writer.write(UInt32(truncatingIfNeeded: body.count))
        writer.write(body)
        writer.write(UInt8(truncatingIfNeeded: signatures.count))
        for signature in signatures {
            writer.write(signature.index)
            writer.write(signature.bytes)
        }
        return writer.bytes
    }

    private static func validate(bodyByteCount: Int) throws(WireError) {
        guard bodyByteCount <= Consensus.maximumByteCount else {
            throw .tooLarge(
                field: "consensus",
                value: UInt64(bodyByteCount),
                limit: UInt64(Consensus.maximumByteCount)
            )
        }
    }

    private static func validate(signatureCount: Int) throws(WireError) {
        guard signatureCount <= maximumSignatureCount else {
            throw .tooLarge(
                field: "signatures",
                value: UInt64(signatureCount),
                limit: UInt64(maximumSignatureCount)
            )
        }
    }
}
