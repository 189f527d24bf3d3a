public import Base
public import CryptoPrimitives
public import Wire

/// The end of a handshake that speaks first.
///
/// Spec: §B.2.
///
/// Legal course: ``start(with:ephemeral:message:)``, then ``finish(_:)`` once or more; a forged
/// answer throws and leaves the handshake as it was.
public struct ClientHandshake: Sendable {
    /// Keys for what is sent before the answer.
    public let early: EarlyKeys
    /// What goes to the relay.
    public let body: CreateBody
    /// h1, which a relay signs to show who opens a link.
    public let signedTranscript: Bytes32
    private let ephemeral: X25519.PrivateKey
    private let first: Secret
    private let transcript: Bytes32

    /// Encapsulates to the relay's key and seals the client's message.
    ///
    /// - Parameters:
    ///   - ephemeral: 32 secret random bytes, used for this handshake only.
    ///   - message: gives the client message for h1 (links sign it).
    /// - Throws: ``HandshakeError/invalidKey`` where the relay's public key is none.
    public static func start(
        with target: HandshakeTarget,
        ephemeral: Secret,
        message: (_ transcript: Bytes32) -> [UInt8]
    ) throws(HandshakeError) -> Self {
        let encapsulated: (ciphertext: [UInt8], sharedSecret: Secret)
        do {
            encapsulated = try XWing.encapsulate(to: target.publicKey)
        } catch {
            throw .invalidKey
        }
        return Self(
            target: target,
            ephemeral: ephemeral,
            ciphertext: encapsulated.ciphertext,
            sharedSecret: encapsulated.sharedSecret,
            message: message
        )
    }

    init(
        target: HandshakeTarget,
        ephemeral: Secret,
        ciphertext: [UInt8],
        sharedSecret: Secret,
        message: (_ transcript: Bytes32) -> [UInt8]
    ) {
        self.ephemeral = X25519.PrivateKey(ephemeral)
        let publicKey = self.ephemeral.publicKey
        let h1 = SHA256.digest(target.transcript.bytes, publicKey.bytes, ciphertext)
        first = HKDF.extract(salt: h1.bytes, inputKeyMaterial: sharedSecret)
        let sealed = SingleUseAEAD.seal(
            message(h1),
            key: KeySchedule.messageKey(first),
            authenticating: h1.bytes
        )
        signedTranscript = h1
        transcript = SHA256.digest(h1.bytes, sealed)
        early = KeySchedule.early(first, transcript: transcript)
        body = CreateBody(
            keyID: target.keyID,
            publicKey: publicKey,
            ciphertext: ciphertext,
            sealedMessage: sealed
        )
    }

    /// Takes the relay's answer and derives the keys.
    ///
    /// - Returns: the keys and the opened server message, 64 bytes.
    /// - Throws: ``HandshakeError/weakKey`` or ``HandshakeError/notAuthentic``.
    public func finish(
        _ answer: CreatedBody
    ) throws(HandshakeError) -> (keys: HandshakeKeys, message: [UInt8]) {
        let agreed: Secret
        do {
            agreed = try ephemeral.agree(with: answer.publicKey)
        } catch {
            throw .weakKey
        }
        let second = KeySchedule.second(first, transcript: transcript, ephemeral: agreed)
        let h3 = SHA256.digest(transcript.bytes, answer.publicKey.bytes)
        guard
            let message = SingleUseAEAD.open(
                answer.sealedMessage,
                key: KeySchedule.answerKey(second, transcript: h3),
                authenticating: h3.bytes
            )
        else { throw .notAuthentic }
        let h4 = SHA256.digest(h3.bytes, answer.sealedMessage)
        return (KeySchedule.keys(second, transcript: h4), message)
    }
}
