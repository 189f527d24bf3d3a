import CSodium

/// Keys from passphrases: Argon2id, RFC 9106, with libsodium's moderate bounds (256 MiB, 3 passes).
public enum PasswordKey {
    /// Bytes of a salt.
    public static let saltByteCount = 16

    /// The key of 32 bytes that `passphrase` gives under `salt`; most of a second.
    ///
    /// - Throws: ``CryptoError/invalidPrivateKey`` where the machine has no memory for it.
    /// - Precondition: `salt` has 16 bytes.
    public static func derive(
        _ passphrase: [UInt8],
        salt: [UInt8]
    ) throws(CryptoError) -> [UInt8] {
        Sodium.prepare()
        precondition(salt.count == saltByteCount, "a salt has 16 bytes")
        var key = [UInt8](repeating: 0, count: 32)
        let text = passphrase.map { CChar(bitPattern: $0) }
        let failure = unsafe crypto_pwhash(
            &key,
            32,
            text,
            UInt64(text.count),
            salt,
            UInt64(crypto_pwhash_OPSLIMIT_MODERATE),
            Int(crypto_pwhash_MEMLIMIT_MODERATE),
            crypto_pwhash_ALG_ARGON2ID13
        )
        guard failure == 0 else { throw .invalidPrivateKey }
        return key
    }
}
