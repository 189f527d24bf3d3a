public import Base
import CSodium

/// Signatures, RFC 8032.
public enum Ed25519 {
    /// Bytes of a signature.
    public static let signatureByteCount = 64

    /// The key that signs.
    public struct SigningKey: Sendable {
        private let key: Secret
        /// What verifies its signatures.
        public let publicKey: Bytes32

        /// Derives the key pair from 32 bytes.
        ///
        /// - Precondition: `seed` has 32 bytes.
        public init(seed: Secret) {
            Sodium.prepare()
            precondition(seed.byteCount == 32, "Ed25519 takes 32 bytes of seed")
            var publicBytes = [UInt8](repeating: 0, count: 32)
            key = unsafe Secret(byteCount: 64) { target in
                unsafe seed.withUnsafeStart { seed in
                    guard let start = target.baseAddress else { return }
                    let secret = unsafe start.assumingMemoryBound(to: UInt8.self)
                    _ = unsafe crypto_sign_seed_keypair(&publicBytes, secret, seed)
                }
            }
            publicKey = unsafe Bytes32(publicBytes.span.bytes)
        }

        /// The 64 bytes of signature over `message`; the same each time.
        ///
        /// Messages of the protocol are signed by ``sign(_:label:network:)``.
        public func sign(_ message: [UInt8]) -> [UInt8] {
            var signature = [UInt8](repeating: 0, count: signatureByteCount)
            unsafe key.withUnsafeStart { key in
                _ = unsafe crypto_sign_detached(
                    &signature,
                    nil,
                    message,
                    UInt64(message.count),
                    key
                )
            }
            return signature
        }
    }

    /// Whether `signature` is of `message` by the owner of `publicKey`.
    ///
    /// Refuses keys of low order and signatures not in canonical form.
    public static func isValid(
        _ signature: [UInt8],
        of message: [UInt8],
        by publicKey: Bytes32
    ) -> Bool {
        Sodium.prepare()
        guard signature.count == signatureByteCount else { return false }
        return unsafe crypto_sign_verify_detached(
            signature,
            message,
            UInt64(message.count),
            publicKey.bytes
        ) == 0
    }
}
