import CSodium

/// HKDF with SHA-256, RFC 5869, from secrets to secrets.
///
/// On libsodium's HMAC, which writes straight into locked memory; swift-crypto would leave the
/// pseudo-random key on the stack.
public enum HKDF {
    /// The most bytes one expansion gives.
    public static let expandLimit = 255 * 32

    /// Condenses `inputKeyMaterial` into a pseudo-random key of 32 bytes.
    public static func extract(salt: [UInt8], inputKeyMaterial: Secret) -> Secret {
        Sodium.prepare()
        return unsafe salt.withUnsafeBufferPointer { salt in
            unsafe extract(salt.baseAddress, salt.count, inputKeyMaterial)
        }
    }

    /// Condenses `inputKeyMaterial` into a pseudo-random key of 32 bytes, salted by a secret.
    public static func extract(salt: Secret, inputKeyMaterial: Secret) -> Secret {
        Sodium.prepare()
        return unsafe salt.withUnsafeStart {
            unsafe extract($0, salt.byteCount, inputKeyMaterial)
        }
    }

    /// Draws `byteCount` bytes for the purpose `info` from the pseudo-random key `prk`.
    ///
    /// - Precondition: `byteCount` is at most ``expandLimit``.
    public static func expand(_ prk: Secret, info: [UInt8], byteCount: Int) -> Secret {
        Sodium.prepare()
        precondition((0...expandLimit).contains(byteCount), "HKDF gives at most 8160 bytes")
        return unsafe Secret(byteCount: byteCount) { target in
            unsafe prk.withUnsafeStart { key in
                unsafe umbel_hkdf_sha256_expand(
                    target.baseAddress,
                    byteCount,
                    key,
                    prk.byteCount,
                    info,
                    info.count
                )
            }
        }
    }

    private static func extract(
        _ salt: UnsafePointer<UInt8>?,
        _ saltByteCount: Int,
        _ inputKeyMaterial: Secret
    ) -> Secret {
        unsafe Secret(byteCount: 32) { target in
            unsafe inputKeyMaterial.withUnsafeStart { material in
                unsafe umbel_hmac_sha256(
                    target.baseAddress,
                    salt,
                    saltByteCount,
                    material,
                    inputKeyMaterial.byteCount,
                    nil,
                    0,
                    nil,
                    0
                )
            }
        }
    }
}
