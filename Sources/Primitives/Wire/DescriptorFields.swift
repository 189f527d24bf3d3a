// What a relay's descriptor and its record in the consensus have in common.

/// What a relay does, one bit each; bits this version does not know are kept as they are.
public struct RelayFlags: OptionSet, Hashable, Sendable {
    /// The bits as they stand in the document.
    public let rawValue: UInt16

    /// Takes the bits over.
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// Carries packets out of the network.
    public static let exit = Self(rawValue: 1)
    /// Fit to be a client's first hop.
    public static let guardCapable = Self(rawValue: 2)
    /// An exit that carries IPv6 too.
    public static let exitsIPv6 = Self(rawValue: 4)
}

/// The limits and checks that descriptors and records share.
public enum RelayLimits {
    /// Bytes of an X-Wing public key.
    public static let circuitKeyByteCount = 1216
    /// Letters, digits, `-` and `_` a nickname may have; it has at least one.
    public static let maximumNicknameByteCount = 19
    /// Printable ASCII characters a contact may have.
    public static let maximumContactByteCount = 128

    static func validate(circuitKey: [UInt8]) throws(WireError) {
        guard circuitKey.count == circuitKeyByteCount else { throw .invalid(field: "circuit key") }
    }

    static func validate(nickname: String) throws(WireError) {
        try validate(length: nickname, limit: maximumNicknameByteCount, field: "nickname")
        guard !nickname.isEmpty, nickname.utf8.allSatisfy(isNicknameByte) else {
            throw .invalid(field: "nickname")
        }
    }

    static func validate(contact: String) throws(WireError) {
        try validate(length: contact, limit: maximumContactByteCount, field: "contact")
        guard contact.utf8.allSatisfy({ $0 >= 0x20 && $0 <= 0x7e }) else {
            throw .invalid(field: "contact")
        }
    }

    /// An exit has a policy and a relay with a policy is an exit; only exits carry IPv6 out.
    static func validate(flags: RelayFlags, policy: DescribedPolicy) throws(WireError) {
        guard flags.contains(.exit) == (policy != .none) else { throw .invalid(field: "policy") }
        guard flags.contains(.exit) || !flags.contains(.exitsIPv6) else {
            throw .invalid(field: "flags")
        }
        try policy.validate()
    }

    private static func validate(
        length text: String,
        limit: Int,
        field: StaticName
    ) throws(WireError) {
        guard text.utf8.count <= limit else {
            throw .tooLarge(field: field, value: UInt64(text.utf8.count), limit: UInt64(limit))
        }
    }

    private static func isNicknameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x5f: true
        default: false
        }
    }
}

extension ByteReader {
    /// Reads `length u8 | ASCII`; what the text may hold is for the caller to check.
    mutating func readText(limit: Int, field: StaticName) throws(WireError) -> String {
        let count = Int(try read(UInt8.self))
        guard count <= limit else {
            throw .tooLarge(field: field, value: UInt64(count), limit: UInt64(limit))
        }
        let bytes = try read(byteCount: count)
        guard bytes.allSatisfy({ $0 < 0x80 }) else { throw .invalid(field: field) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Reads two letters, or two zero bytes for an unknown country.
    mutating func readCountry() throws(WireError) -> CountryCode? {
        let raw = try read(UInt16.self)
        let country = CountryCode(rawValue: raw)
        guard raw == 0 || country != nil else { throw .invalid(field: "country") }
        return country
    }
}

extension ByteWriter {
    mutating func writeText(_ text: String) {
        write(UInt8(truncatingIfNeeded: text.utf8.count))
        write(Array(text.utf8))
    }

    mutating func writeCountry(_ country: CountryCode?) {
        write(country?.rawValue ?? 0)
    }
}
