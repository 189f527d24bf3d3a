public import Base
public import CryptoPrimitives
public import Wire

/// The end of a handshake that answers.
///
/// Spec: §B.2.
///
/// ``init(opening:target:key:)`` opens the client's message; only a client that knows the relay's
/// public key gets that far. ``respond(with:ephemeral:)`` then makes the answer and the keys.
public struct ServerHandshake: Sendable {
    /// The client's message as it was opened: 32 bytes on circuits, 128 on links.
    public let message: [UInt8]
    /// Keys of what the client sent along.
    public let early: EarlyKeys
    /// h1, which a relay that opens a link has signed.
    public let signedTranscript: Bytes32
    private let first: Secret
    private let transcript: Bytes32
    private let clientKey: Bytes32

    /// Opens the client's first message.
    ///
    /// - Throws: ``HandshakeError/invalidKey`` for a ciphertext that is none or a body that names
    ///   another key, ``HandshakeError/notAuthentic`` where the message does not open.
    public init(
        opening body: CreateBody,
        target: HandshakeTarget,
        key: XWing.PrivateKey
    ) throws(HandshakeError) {
        // The one field of the body the transcript does not hold.
        guard body.keyID == target.keyID else { throw .invalidKey }
        let shared: Secret
        do {
            shared = try key.decapsulate(body.ciphertext)
        } catch {
            throw .invalidKey
        }
        let h1 = SHA256.digest(target.transcript.bytes, body.publicKey.bytes, body.ciphertext)
        first = HKDF.extract(salt: h1.bytes, inputKeyMaterial: shared)
        guard
            let message = SingleUseAEAD.open(
                body.sealedMessage,
                key: KeySchedule.messageKey(first),
                authenticating: h1.bytes
            )
        else { throw .notAuthentic }
        self.message = message
        signedTranscript = h1
        transcript = SHA256.digest(h1.bytes, body.sealedMessage)
        early = KeySchedule.early(first, transcript: transcript)
        clientKey = body.publicKey
    }

    /// Makes the answer that carries `message` (64 bytes) and derives the keys.
    ///
    /// - Parameter ephemeral: 32 secret random bytes, used for this handshake only.
    /// - Throws: ``HandshakeError/weakKey`` where the client's key gives an all-zero result.
    public func respond(
        with message: [UInt8],
        ephemeral: Secret
    ) throws(HandshakeError) -> (answer: CreatedBody, keys: HandshakeKeys) {
        let own = X25519.PrivateKey(ephemeral)
        let agreed: Secret
        do {
            agreed = try own.agree(with: clientKey)
        } catch {
            throw .weakKey
        }
        let second = KeySchedule.second(first, transcript: transcript, ephemeral: agreed)
        let h3 = SHA256.digest(transcript.bytes, own.publicKey.bytes)
        let sealed = SingleUseAEAD.seal(
            message,
            key: KeySchedule.answerKey(second, transcript: h3),
            authenticating: h3.bytes
        )
        let h4 = SHA256.digest(h3.bytes, sealed)
        return (
            CreatedBody(publicKey: own.publicKey, sealedMessage: sealed),
            KeySchedule.keys(second, transcript: h4)
        )
    }
}
