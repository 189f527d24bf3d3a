public import Base

/// A relay's name in the network: its Ed25519 public key.
public struct NodeID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The 32 bytes of the public key.
    public let bytes: Bytes32

    /// Takes the public key as identity.
    public init(_ bytes: Bytes32) {
        self.bytes = bytes
    }

    /// The first eight hexadecimal digits, enough for people.
    public var description: String {
        String(bytes.hex.prefix(8))
    }

    /// Whether `lhs` sorts before `rhs`, by bytes.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.bytes < rhs.bytes
    }
}

/// The network a signature, handshake or document belongs to.
public struct NetworkID: Hashable, Sendable {
    /// The 32 bytes drawn when the network was founded.
    public let bytes: Bytes32

    /// Takes the bytes over.
    public init(_ bytes: Bytes32) {
        self.bytes = bytes
    }
}
