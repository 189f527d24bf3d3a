import Base
import Crypto
import FoundationEssentials

/// X-Wing: a key encapsulation of ML-KEM-768 and X25519 together.
///
/// Spec: protocol §B.2; draft-connolly-cfrg-xwing-kem.
public enum XWing {
    /// Bytes of a seed.
    public static let seedByteCount = 32
    /// Bytes of a public key.
    public static let publicKeyByteCount = 1216
    /// Bytes of a ciphertext.
    public static let ciphertextByteCount = 1120

    /// The key that opens ciphertexts.
    ///
    /// Held by swift-crypto, which does not wipe its copy of the seed when the key ends.
    public struct PrivateKey: Sendable {
        private let key: XWingMLKEM768X25519.PrivateKey
        /// What senders encapsulate to: 1216 bytes.
        public let publicKey: [UInt8]

        /// Derives the key pair from 32 bytes.
        ///
        /// - Throws: ``CryptoError/invalidKeyLength(byteCount:)`` for another count.
        public init(seed: Secret) throws(CryptoError) {
            do {
                key = unsafe try seed.withUnsafeBytes {
                    unsafe try XWingMLKEM768X25519.PrivateKey(
                        seedRepresentation: $0,
                        publicKey: nil
                    )
                }
            } catch {
                throw .invalidKeyLength(byteCount: seed.byteCount)
            }
            publicKey = Array(key.publicKey.rawRepresentation)
        }

        /// The secret `ciphertext` carries: 32 bytes.
        ///
        /// A well-formed ciphertext that was not made for this key gives an unrelated secret, so
        /// what is sealed under it does not open.
        ///
        /// - Throws: ``CryptoError/invalidCiphertext`` for a wrong length or a refused X25519 part.
        public func decapsulate(_ ciphertext: [UInt8]) throws(CryptoError) -> Secret {
            guard ciphertext.count == ciphertextByteCount, hasAcceptablePoint(ciphertext) else {
                throw .invalidCiphertext
            }
            do {
                return try XWing.secret(of: key.decapsulate(Data(ciphertext)))
            } catch {
                throw .invalidCiphertext
            }
        }
    }

    /// Makes a fresh secret of 32 bytes and the ciphertext that carries it to `publicKey`.
    ///
    /// The one function of this module that draws from the system's randomness: the library offers
    /// no other way.
    ///
    /// - Throws: ``CryptoError/invalidPublicKey`` for a wrong length, an ML-KEM part that is not
    ///   reduced or a refused X25519 part.
    public static func encapsulate(
        to publicKey: [UInt8]
    ) throws(CryptoError) -> (ciphertext: [UInt8], sharedSecret: Secret) {
        guard publicKey.count == publicKeyByteCount, hasAcceptablePoint(publicKey) else {
            throw .invalidPublicKey
        }
        do {
            let key = try XWingMLKEM768X25519.PublicKey(rawRepresentation: publicKey)
            let result = try key.encapsulate()
            return (Array(result.encapsulated), secret(of: result.sharedSecret))
        } catch {
            throw .invalidPublicKey
        }
    }

    /// Whether the last 32 bytes, in keys and ciphertexts alike an X25519 key, are accepted.
    private static func hasAcceptablePoint(_ bytes: [UInt8]) -> Bool {
        guard let point = Bytes32(Array(bytes.suffix(32))) else { return false }
        return X25519.isAcceptable(point)
    }

    private static func secret(of key: SymmetricKey) -> Secret {
        unsafe key.withUnsafeBytes { unsafe Secret(copying: $0.bytes) }
    }
}
