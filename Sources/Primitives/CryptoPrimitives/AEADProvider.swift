import CSodium

#if arch(x86_64)
    import CIPSecMB
#endif

/// The libraries that can seal packets, in order of preference.
///
/// All give the same bytes; they differ in speed.
public enum AEADProvider: String, CaseIterable, Sendable {
    /// Intel's packet library: vector AES on x86-64.
    case ipsecMB = "libipsec-mb"
    /// libsodium, where the CPU has AES instructions it knows.
    case sodium = "libsodium"
    /// swift-crypto's BoringSSL: everywhere, but it allocates on each call.
    case swiftCrypto = "swift-crypto"

    /// Whether the library is there, serves this CPU and passes a known answer; probed once.
    public var isAvailable: Bool {
        switch self {
        case .ipsecMB: Self.isIPSecMBUsable
        case .sodium: Self.isSodiumUsable
        case .swiftCrypto: true
        }
    }

    /// The first available provider, chosen once.
    public static let selected: AEADProvider =
        allCases.first(where: \.isAvailable) ?? .swiftCrypto

    /// The library and its version, such as `libipsec-mb 1.3.0`.
    ///
    /// swift-crypto is linked in and does not tell its version.
    public var versionDescription: String {
        switch self {
        case .ipsecMB: "\(rawValue) \(Self.ipsecMBVersion)"
        case .sodium: "\(rawValue) \(unsafe String(cString: sodium_version_string()))"
        case .swiftCrypto: rawValue
        }
    }

    private static let isSodiumUsable: Bool = {
        Sodium.prepare()
        return crypto_aead_aes256gcm_is_available() == 1 && KnownAnswer.holds(for: .sodium)
    }()

    #if arch(x86_64)
        /// The calls for this CPU; `nil` if the library cannot serve it.
        static let ipsecMBCalls: umbel_ipsecmb_calls? = {
            var calls = umbel_ipsecmb_calls()
            return unsafe umbel_ipsecmb_probe(&calls) == 1 ? calls : nil
        }()

        private static let isIPSecMBUsable =
            ipsecMBCalls != nil && KnownAnswer.holds(for: .ipsecMB)

        private static var ipsecMBVersion: String {
            unsafe String(cString: imb_get_version_str())
        }
    #else
        private static let isIPSecMBUsable = false
        private static let ipsecMBVersion = "(x86-64 only)"
    #endif
}

/// One published answer of AES-256-GCM, computed before a library is trusted with packets.
private enum KnownAnswer {
    /// Whether `provider` seals to the known bytes, opens them again and refuses a changed tag.
    ///
    /// Key and text are zeros: test case 14 of McGrew and Viega, "The Galois/Counter Mode of
    /// Operation", appendix B.
    static func holds(for provider: AEADProvider) -> Bool {
        let key = AEADKey(
            unprobed: Secret(copying: [UInt8](repeating: 0, count: 32)),
            provider: provider
        )
        var bytes = [UInt8](repeating: 0, count: 32)
        key.seal(&bytes, textByteCount: 16)
        guard bytes == sealed, key.open(&bytes, textByteCount: 16) else { return false }
        guard bytes == [UInt8](repeating: 0, count: 16) + sealed[16...] else { return false }
        bytes = sealed
        bytes[31] ^= 1
        return !key.open(&bytes, textByteCount: 16)
    }

    private static let sealed: [UInt8] = [
        0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d,
        0x18, 0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a,
        0xb9, 0x19,
    ]
}
