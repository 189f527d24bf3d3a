import CSodium

/// XChaCha20-Poly1305 with random nonces of 24 bytes: seals cookies.
///
/// Spec: protocol §B.5; draft-irtf-cfrg-xchacha.
public enum XChaCha20Poly1305 {
    /// Bytes of a key.
    public static let keyByteCount = 32
    /// Bytes of a nonce.
    public static let nonceByteCount = 24
    /// Bytes of a tag.
    public static let tagByteCount = 16

    /// Encrypts `text`; the result is as long as it and 16 bytes of tag.
    ///
    /// - Precondition: `key` has 32 bytes and `nonce` 24.
    public static func seal(
        _ text: [UInt8],
        key: [UInt8],
        nonce: [UInt8],
        authenticating: [UInt8]
    ) -> [UInt8] {
        check(key, nonce)
        var sealed = [UInt8](repeating: 0, count: text.count + tagByteCount)
        _ = unsafe crypto_aead_xchacha20poly1305_ietf_encrypt(
            &sealed,
            nil,
            text,
            UInt64(text.count),
            authenticating,
            UInt64(authenticating.count),
            nil,
            nonce,
            key
        )
        return sealed
    }

    /// Decrypts what ``seal(_:key:nonce:authenticating:)`` gave; `nil` if it is too short or its tag
    /// does not hold.
    ///
    /// - Precondition: `key` has 32 bytes and `nonce` 24.
    public static func open(
        _ sealed: [UInt8],
        key: [UInt8],
        nonce: [UInt8],
        authenticating: [UInt8]
    ) -> [UInt8]? {
        check(key, nonce)
        guard sealed.count >= tagByteCount else { return nil }
        var text = [UInt8](repeating: 0, count: sealed.count - tagByteCount)
        let failure = unsafe crypto_aead_xchacha20poly1305_ietf_decrypt(
            &text,
            nil,
            nil,
            sealed,
            UInt64(sealed.count),
            authenticating,
            UInt64(authenticating.count),
            nonce,
            key
        )
        return failure == 0 ? text : nil
    }

    private static func check(_ key: [UInt8], _ nonce: [UInt8]) {
        Sodium.prepare()
        precondition(
            key.count == keyByteCount && nonce.count == nonceByteCount,
            "XChaCha20-Poly1305 takes a key of 32 bytes and a nonce of 24"
        )
    }
}
