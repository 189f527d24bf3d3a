/// Why key material is refused: by a peer's fault, never by ours.
public enum CryptoError: Error, Hashable, Sendable {
    /// A seed or private key is not as long as its algorithm needs.
    case invalidKeyLength(byteCount: Int)
    /// A public key has the wrong length, is not in canonical form, or is of low order.
    case invalidPublicKey
    /// A ciphertext has the wrong length or carries a public key that is refused.
    case invalidCiphertext
    /// The agreement gave zeros, so the peer chose the result.
    case allZeroSharedSecret
    /// Bytes are no private key of the algorithm.
    case invalidPrivateKey
    /// A signature, a sealed text or what should become one is not authentic.
    case authenticationFailure
}
