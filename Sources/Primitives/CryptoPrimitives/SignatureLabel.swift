public import Base

/// What a signature is for: no signature of one purpose verifies as one of another, nor in another
/// network.
///
/// Every signature is over label, network and bytes; the label is `umbel/1/` and the name, zero
/// padded to 16 bytes. Spec: protocol §A.3.
public enum SignatureLabel: String, CaseIterable, Sendable {
    /// An account's order to the mints.
    case order
    /// A mint's vote for an order.
    case vote
    /// A relay's proof of itself in a link handshake.
    case link
    /// A relay's descriptor.
    case desc
    /// An authority's signature under a consensus.
    case cons
    /// An authority's signature under a vote on the directory, its own or one it passes on.
    case ballot
    /// An operator's grant.
    case grant
    /// A mint's announcement of its keys and totals.
    case mint
    /// An authority's word that a circuit only measures.
    case pass

    /// The 16 bytes in front of what is signed.
    public var bytes: [UInt8] {
        let text = [UInt8]("umbel/1/\(rawValue)".utf8)
        return text + [UInt8](repeating: 0, count: 16 - text.count)
    }

    /// All that is signed when `content` is signed for this purpose in `network`.
    public func message(network: Bytes32, _ content: [UInt8]) -> [UInt8] {
        bytes + network.bytes + content
    }
}

extension Ed25519.SigningKey {
    /// The signature over `message` for the purpose `label` in `network`.
    public func sign(_ message: [UInt8], label: SignatureLabel, network: Bytes32) -> [UInt8] {
        sign(label.message(network: network, message))
    }
}

extension Ed25519 {
    /// Whether `signature` is of `message`, for the purpose `label` in `network`, by the owner of
    /// `publicKey`.
    public static func isValid(
        _ signature: [UInt8],
        of message: [UInt8],
        by publicKey: Bytes32,
        label: SignatureLabel,
        network: Bytes32
    ) -> Bool {
        isValid(signature, of: label.message(network: network, message), by: publicKey)
    }
}
