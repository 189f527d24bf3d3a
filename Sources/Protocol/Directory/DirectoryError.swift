public import Base
public import Wire

/// Why a descriptor, a document or a trust root is not believed.
public enum DirectoryError: Error, Hashable, Sendable {
    /// The bytes are not the layout.
    case malformed(WireError)
    /// It is for another network.
    case wrongNetwork(expected: NetworkID, found: NetworkID)
    /// A descriptor is not what its relay signed.
    case descriptor(NodeID, DescriptorFault)
    /// Too few authorities signed.
    case signatures(SignatureShortfall)
    /// It does not hold yet.
    case notYetValid(validAfter: WallTime, now: WallTime)
    /// It holds no longer.
    case expired(validUntil: WallTime, now: WallTime)
    /// A newer one has been seen: somebody turns the clock back.
    case rollback(validAfter: WallTime, lastSeen: WallTime)
    /// Another document for the same interval has been seen.
    case conflict(validAfter: WallTime, known: Bytes32, found: Bytes32)
    /// Signatures over different bodies cannot be put together.
    case differentBodies(Bytes32, Bytes32)
    /// The list of authorities contradicts itself.
    case trustRoot(TrustRootFault)
}

/// What is wrong with a descriptor that is well formed.
public enum DescriptorFault: Hashable, Sendable {
    /// The key at hand is not the relay's.
    case otherKey
    /// The relay did not sign these bytes.
    case badSignature
    /// The family key did not sign for this relay.
    case badFamilySignature
}

/// What is wrong with a list of authorities.
public enum TrustRootFault: Hashable, Sendable {
    /// Fewer than one authority or more than 64.
    case authorityCount(Int)
    /// Two authorities with one index.
    case sameIndex(UInt8)
    /// Two authorities with one key.
    case sameKey(Bytes32)
    /// Not more than half of the authorities, or more than there are.
    case threshold(Int, authorityCount: Int)
}

/// Who signed a document and who did not, where that is not enough.
public struct SignatureShortfall: Hashable, Sendable {
    /// Authorities that must sign.
    public let threshold: Int
    /// Names of those whose signature is good, by index.
    public let valid: [String]
    /// Names of those without a signature, by index.
    public let missing: [String]
    /// Names of those whose signature is not over this body, by index.
    public let bad: [String]
    /// Indexes of signatures by nobody in the trust root.
    public let unknown: [UInt8]
}

extension DirectoryError: CustomStringConvertible {
    /// What is wrong, for people.
    public var description: String {
        switch self {
        case .malformed(let error): "malformed document: \(error)"
        case .wrongNetwork(let expected, let found):
            "it is for network \(found), not for \(expected)"
        case .descriptor(let id, let fault): "descriptor of \(id): \(fault)"
        case .signatures(let shortfall): shortfall.description
        case .notYetValid(let validAfter, let now):
            "it holds from \(validAfter.seconds) on, \(validAfter.seconds &- now.seconds) s ahead"
                + " of this machine's clock"
        case .expired(let validUntil, let now):
            "it expired \(now.seconds &- validUntil.seconds) s ago"
        case .rollback(let validAfter, let lastSeen):
            "it is of \(validAfter.seconds), but one of \(lastSeen.seconds) has been seen"
        case .conflict(let validAfter, let known, let found):
            "two documents for \(validAfter.seconds): \(known.hex) is known, \(found.hex) came"
        case .differentBodies(let first, let second):
            "signatures are over different documents: \(first.hex) and \(second.hex)"
        case .trustRoot(let fault): fault.description
        }
    }
}

extension DescriptorFault: CustomStringConvertible {
    /// What is wrong, for people.
    public var description: String {
        switch self {
        case .otherKey: "the signing key is not this relay's"
        case .badSignature: "the signature is not the relay's"
        case .badFamilySignature: "the family key did not sign for this relay"
        }
    }
}

extension TrustRootFault: CustomStringConvertible {
    /// What is wrong, for people.
    public var description: String {
        switch self {
        case .authorityCount(let count): "\(count) authorities; there must be 1 to 64"
        case .sameIndex(let index): "two authorities have index \(index)"
        case .sameKey(let key): "two authorities have key \(key.hex)"
        case .threshold(let threshold, let count):
            "threshold \(threshold) of \(count) authorities; it must be more than half of them"
        }
    }
}

extension SignatureShortfall: CustomStringConvertible {
    /// What is wrong, for people.
    public var description: String {
        var text = "\(valid.count) of \(threshold) needed signatures"
        if !missing.isEmpty { text += "; missing: \(missing.joined(separator: ", "))" }
        if !bad.isEmpty { text += "; wrong: \(bad.joined(separator: ", "))" }
        if !unknown.isEmpty {
            text += "; unknown signers: \(unknown.map(\.description).joined(separator: ", "))"
        }
        return text
    }
}
