public import Base
public import CryptoPrimitives
public import Wire

/// A consensus with the signatures collected under it; believed only after ``TrustRoot``.
public struct ConsensusDocument: Hashable, Sendable {
    /// What the body says.
    public let consensus: Consensus
    /// SHA-256 of the body: what the authorities sign and handshakes name.
    public let digest: Bytes32
    private var frame: ConsensusFrame

    /// Puts no signature yet under `body`.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)``.
    public init(body: [UInt8]) throws(DirectoryError) {
        do {
            try self.init(frame: ConsensusFrame(body: body, signatures: []))
        } catch { throw .malformed(error) }
    }

    /// Reads a document; the only decoder there is, for authorities, relays and clients alike.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)``.
    public init(parsing bytes: [UInt8]) throws(DirectoryError) {
        do {
            try self.init(frame: ConsensusFrame(parsing: bytes))
        } catch { throw .malformed(error) }
    }

    private init(frame: ConsensusFrame) throws(WireError) {
        consensus = try Consensus(parsing: frame.body)
        digest = SHA256.digest(frame.body)
        self.frame = frame
    }

    /// The signatures, ascending by index, not verified.
    public var signatures: [ConsensusSignature] {
        frame.signatures
    }

    /// The bytes the authorities sign through their digest.
    public var body: [UInt8] {
        frame.body
    }

    /// The document's bytes.
    public func encoded() -> [UInt8] {
        frame.encoded()
    }

    /// The signature of the authority with `index` over this document.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)`` if `key` made a signature of another length.
    public func signature(
        by index: UInt8,
        with key: borrowing Ed25519.SigningKey
    ) throws(DirectoryError) -> ConsensusSignature {
        do {
            return try ConsensusSignature(index: index, bytes: key.sign(signedMessage))
        } catch { throw .malformed(error) }
    }

    /// The document with `signature` under it too; one it has already is not put there twice.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)`` beyond 64 signatures.
    public func adding(_ signature: ConsensusSignature) throws(DirectoryError) -> Self {
        guard !signatures.contains(signature) else { return self }
        var copy = self
        do {
            copy.frame = try ConsensusFrame(body: body, signatures: signatures + [signature])
        } catch { throw .malformed(error) }
        return copy
    }

    /// The document with the signatures of both.
    ///
    /// - Throws: ``DirectoryError/differentBodies(_:_:)`` unless both have one body,
    ///   ``DirectoryError/malformed(_:)`` beyond 64 signatures.
    public func merging(_ other: Self) throws(DirectoryError) -> Self {
        guard digest == other.digest else { throw .differentBodies(digest, other.digest) }
        var merged = self
        for signature in other.signatures { merged = try merged.adding(signature) }
        return merged
    }

    /// Whether `signature` is by `key` over this document.
    public func isValid(_ signature: ConsensusSignature, by key: Bytes32) -> Bool {
        Ed25519.isValid(signature.bytes, of: signedMessage, by: key)
    }

    private var signedMessage: [UInt8] {
        SignatureLabel.cons.message(network: consensus.network, digest.bytes)
    }
}
