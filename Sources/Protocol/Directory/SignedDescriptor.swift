public import Base
public import CryptoPrimitives
public import Wire

/// A descriptor with its relay's signature over it.
///
/// Layout: `body | Ed25519 signature 64` (§E.8).
public struct SignedDescriptor: Hashable, Sendable {
    /// What the relay says.
    public let descriptor: Descriptor
    /// The bytes that are signed.
    public let body: [UInt8]
    /// The relay's signature, 64 bytes.
    public let signature: [UInt8]

    /// The most bytes a signed descriptor takes.
    public static let maximumByteCount = Descriptor.maximumByteCount + signatureByteCount

    /// Signs `descriptor` with its relay's identity key.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)`` for a field out of bounds,
    ///   ``DirectoryError/descriptor(_:_:)`` when `key` is not the key of `descriptor.id`.
    public init(
        signing descriptor: Descriptor,
        with key: borrowing Ed25519.SigningKey
    ) throws(DirectoryError) {
        guard key.publicKey == descriptor.id.rawValue else {
            throw .descriptor(descriptor.id, .otherKey)
        }
        do { body = try descriptor.encoded() } catch { throw .malformed(error) }
        self.descriptor = descriptor
        signature = key.sign(SignatureLabel.desc.message(network: descriptor.network, body))
    }

    /// Reads a signed descriptor; ``verify(network:)`` is still to come.
    ///
    /// - Throws: ``DirectoryError/malformed(_:)``.
    public init(parsing bytes: [UInt8]) throws(DirectoryError) {
        let bodyByteCount = bytes.count - Self.signatureByteCount
        guard bodyByteCount > 0 else {
            throw .malformed(
                .truncated(
                    neededByteCount: Self.signatureByteCount + 1,
                    foundByteCount: bytes.count
                )
            )
        }
        body = Array(bytes.prefix(bodyByteCount))
        signature = Array(bytes.suffix(Self.signatureByteCount))
        do { descriptor = try Descriptor(parsing: body) } catch { throw .malformed(error) }
    }

    /// The bytes to publish.
    public func encoded() -> [UInt8] {
        body + signature
    }

    /// SHA-256 of the signed bytes: what votes name the descriptor by.
    public var digest: Bytes32 {
        SHA256.digest(body, signature)
    }

    /// Checks network, signature and family certificate.
    ///
    /// - Throws: ``DirectoryError/wrongNetwork(expected:found:)`` or
    ///   ``DirectoryError/descriptor(_:_:)`` with the fault.
    public func verify(network: NetworkID) throws(DirectoryError) {
        guard descriptor.network == network else {
            throw .wrongNetwork(expected: network, found: descriptor.network)
        }
        let message = SignatureLabel.desc.message(network: network, body)
        guard Ed25519.isValid(signature, of: message, by: descriptor.id.rawValue) else {
            throw .descriptor(descriptor.id, .badSignature)
        }
        guard let family = descriptor.family else { return }
        let statement = SignatureLabel.desc.message(
            network: network,
            Descriptor.familyStatement(of: descriptor.id)
        )
        guard Ed25519.isValid(family.signature, of: statement, by: family.key) else {
            throw .descriptor(descriptor.id, .badFamilySignature)
        }
    }

    private static let signatureByteCount = 64
}

extension Descriptor.FamilyCertificate {
    /// Takes `relay` into the family of `key`.
    public init(
        certifying relay: NodeID,
        in network: NetworkID,
        with key: borrowing Ed25519.SigningKey
    ) {
        self.init(
            key: key.publicKey,
            signature: key.sign(
                SignatureLabel.desc.message(
                    network: network,
                    Descriptor.familyStatement(of: relay)
                )
            )
        )
    }

    /// The family's short name, as the consensus carries it.
    public var id: FamilyID? {
        let digest = SHA256.digest(key.bytes).bytes
        let words = [digest[0..<8], digest[8..<16]].map { $0.reduce(0) { $0 << 8 | UInt64($1) } }
        return FamilyID(high: words[0], low: words[1])
    }
}

extension SignatureLabel {
    /// The message to sign for `network`: label, network and `bytes`.
    func message(network: NetworkID, _ bytes: [UInt8]) -> [UInt8] {
        message(network: network.rawValue, bytes)
    }
}
