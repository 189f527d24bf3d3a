public import Base
import CSodium
import Crypto
import FoundationEssentials

/// Agreement on Curve25519, RFC 7748.
public enum X25519 {
    /// One side's private key.
    public struct PrivateKey: Sendable {
        private let key: Curve25519.KeyAgreement.PrivateKey
        /// What the other side gets.
        public let publicKey: Bytes32

        /// Makes the key of these 32 bytes.
        ///
        /// - Precondition: `secret` has 32 bytes.
        public init(_ secret: Secret) {
            do {
                key = unsafe try secret.withUnsafeBytes {
                    unsafe try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: $0)
                }
            } catch {
                preconditionFailure("X25519 takes 32 bytes of key")
            }
            publicKey = unsafe key.publicKey.rawRepresentation.withUnsafeBytes {
                unsafe Bytes32($0.bytes)
            }
        }

        /// The secret shared with the owner of `publicKey`.
        ///
        /// - Throws: ``CryptoError/invalidPublicKey`` for a point of low order or not in canonical
        ///   form, ``CryptoError/allZeroSharedSecret``.
        public func agree(with publicKey: Bytes32) throws(CryptoError) -> Secret {
            guard X25519.isAcceptable(publicKey) else { throw .invalidPublicKey }
            let shared: SharedSecret
            do {
                shared = try key.sharedSecretFromKeyAgreement(
                    with: Curve25519.KeyAgreement.PublicKey(rawRepresentation: publicKey.bytes)
                )
            } catch {
                throw .invalidPublicKey
            }
            let isZero = unsafe shared.withUnsafeBytes {
                unsafe sodium_is_zero($0.baseAddress, $0.count) == 1
            }
            guard !isZero else { throw .allZeroSharedSecret }
            return unsafe shared.withUnsafeBytes { unsafe Secret(copying: $0.bytes) }
        }
    }

    /// Whether `publicKey` is below 2^255 - 19 and not of an order that divides 8.
    ///
    /// So each point has one form only, and none lets its sender choose the result.
    public static func isAcceptable(_ publicKey: Bytes32) -> Bool {
        let bytes = publicKey.bytes
        let isBelowPrime =
            bytes[31] < 0x7f
            || bytes[31] == 0x7f && (bytes[0] < 0xed || bytes[1..<31].contains { $0 != 0xff })
        return isBelowPrime && !lowOrder.contains(publicKey)
    }

    /// The u-coordinates of low order below the prime, on the curve and its twist: 0, 1, -1 and the
    /// two of order 8.
    private static let lowOrder: [Bytes32] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ].compactMap { Bytes32(hex: $0) }
}
