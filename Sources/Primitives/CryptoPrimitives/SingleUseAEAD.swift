/// AES-256-GCM for the sealed messages of handshakes: one key seals one message, under nonce 0.
///
/// Spec: protocol §B.2.
public enum SingleUseAEAD {
    /// Encrypts `text`; the result is as long as it and 16 bytes of tag.
    ///
    /// - Precondition: `key` has 32 bytes and has sealed nothing yet.
    public static func seal(_ text: [UInt8], key: Secret, authenticating: [UInt8]) -> [UInt8] {
        var bytes = authenticating + text + [UInt8](repeating: 0, count: AEADKey.tagByteCount)
        AEADKey(key).seal(&bytes, textByteCount: text.count)
        return Array(bytes[authenticating.count...])
    }

    /// Decrypts what ``seal(_:key:authenticating:)`` gave; `nil` if it is too short or its tag does
    /// not hold.
    ///
    /// - Precondition: `key` has 32 bytes.
    public static func open(
        _ sealed: [UInt8],
        key: Secret,
        authenticating: [UInt8]
    ) -> [UInt8]? {
        guard sealed.count >= AEADKey.tagByteCount else { return nil }
        var bytes = authenticating + sealed
        let textByteCount = sealed.count - AEADKey.tagByteCount
        guard AEADKey(key).open(&bytes, textByteCount: textByteCount) else { return nil }
        return Array(bytes[authenticating.count..<authenticating.count + textByteCount])
    }
}
