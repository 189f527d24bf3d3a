public import Base

/// A relay's name in the network: its Ed25519 identity public key.
public struct NodeID: Hashable, Comparable, Sendable, BitwiseCopyable {
    /// The public key.
    public let rawValue: Bytes32

    /// Names the relay whose identity key is `rawValue`.
    public init(_ rawValue: Bytes32) {
        self.rawValue = rawValue
    }

    /// Whether `lhs` comes before `rhs` as byte strings do: the order of records in a consensus.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}

extension NodeID: CustomStringConvertible {
    /// The first eight hexadecimal digits, enough for a person to tell relays apart.
    public var description: String {
        String(rawValue.hex.prefix(8))
    }
}

/// The name of one network; every signature and handshake is bound to it.
public struct NetworkID: Hashable, Sendable, BitwiseCopyable {
    /// The name's bytes.
    public let rawValue: Bytes32

    /// Takes `rawValue` as the network's name.
    public init(_ rawValue: Bytes32) {
        self.rawValue = rawValue
    }
}

extension NetworkID: CustomStringConvertible {
    /// The first eight hexadecimal digits.
    public var description: String {
        String(rawValue.hex.prefix(8))
    }
}

/// A country by its two letters of ISO 3166-1, such as `DE`.
public struct CountryCode: Hashable, Comparable, Sendable, BitwiseCopyable {
    /// The two letters in ASCII, the first one in the high byte.
    public let rawValue: UInt16

    /// Takes two uppercase ASCII letters; `nil` for anything else.
    public init?(rawValue: UInt16) {
        let letters = [UInt8(rawValue >> 8), UInt8(rawValue & 255)]
        guard letters.allSatisfy({ $0 >= 0x41 && $0 <= 0x5a }) else { return nil }
        self.rawValue = rawValue
    }

    /// Reads two ASCII letters in either case; `nil` for anything else.
    public init?(_ text: some StringProtocol) {
        let letters = Array(text.utf8)
        guard letters.count == 2 else { return nil }
        let raised = letters.map { $0 >= 0x61 && $0 <= 0x7a ? $0 - 0x20 : $0 }
        self.init(rawValue: UInt16(raised[0]) << 8 | UInt16(raised[1]))
    }

    /// Whether `lhs` comes before `rhs` in the alphabet.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}

extension CountryCode: CustomStringConvertible {
    /// The two letters.
    public var description: String {
        String(decoding: [UInt8(rawValue >> 8), UInt8(rawValue & 255)], as: UTF8.self)
    }
}

/// A family of relays under one operator: the first 16 bytes of its key's SHA-256.
public struct FamilyID: Hashable, Sendable, BitwiseCopyable {
    /// The first eight bytes, big-endian.
    public let high: UInt64
    /// The last eight bytes, big-endian.
    public let low: UInt64

    /// Takes the 16 bytes as two integers; `nil` for all zero, which stands for no family.
    public init?(high: UInt64, low: UInt64) {
        guard high != 0 || low != 0 else { return nil }
        self.high = high
        self.low = low
    }
}

extension FamilyID: CustomStringConvertible {
    /// The first eight hexadecimal digits.
    public var description: String {
        let digits = String(high >> 32, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}

/// What a relay can do beyond the first version, one bit each.
public enum RelayFeatures {
    /// It sends probes back, and hands out proofs of equivocation.
    public static let probesAndProofs: UInt32 = 1
    /// All this version can do.
    public static let current = probesAndProofs
}
