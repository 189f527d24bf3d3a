public import Base
import Crypto
import FoundationEssentials

/// A request that only its addressee reads, and whose answer only its sender reads, after RFC 9458.
///
/// HPKE with X25519, HKDF-SHA256 and AES-256-GCM. `key_id u8 | kem u16 | kdf u16 | aead u16 |
/// encapsulated key 32 | sealed request`; answer: `nonce 32 | sealed answer`. Spec: protocol §A.8.
public enum SealedRequest {
    /// Bytes a sealed request has more than the request.
    public static let overheadByteCount = 7 + 32 + 16
    /// Bytes a sealed answer has more than the answer.
    public static let answerOverheadByteCount = 32 + 16

    private static let header: [UInt8] = [1, 0x00, 0x20, 0x00, 0x01, 0x00, 0x02]
    private static let suite = HPKE.Ciphersuite(
        kem: .Curve25519_HKDF_SHA256,
        kdf: .HKDF_SHA256,
        aead: .AES_GCM_256
    )
    private static let info = Data("umbel/1/mint request\0".utf8) + Data(header)
    private static let context = Data("umbel/1/mint answer".utf8)

    /// What opens the answer to one request.
    public struct Answerer: Sendable {
        fileprivate let encapsulated: [UInt8]
        fileprivate let secret: Secret
    }

    /// Seals `request` to `key`, an X25519 public key; the answerer opens the one answer.
    ///
    /// Draws from the system's randomness: the library offers no other way.
    /// - Throws: ``CryptoError/invalidPublicKey``.
    public static func seal(
        _ request: [UInt8],
        to key: Bytes32
    ) throws(CryptoError) -> (bytes: [UInt8], answerer: Answerer) {
        do {
            let recipient = try Curve25519.KeyAgreement.PublicKey(rawRepresentation: key.bytes)
            var sender = try HPKE.Sender(recipientKey: recipient, ciphersuite: suite, info: info)
            let sealed = try sender.seal(Data(request))
            let secret = try sender.exportSecret(context: context, outputByteCount: 32)
            let encapsulated = Array(sender.encapsulatedKey)
            return (
                header + encapsulated + Array(sealed),
                Answerer(encapsulated: encapsulated, secret: copy(secret))
            )
        } catch { throw .invalidPublicKey }
    }

    /// Opens a request sealed to the public half of `key`, 32 bytes of X25519 private key.
    ///
    /// - Throws: ``CryptoError/authenticationFailure`` for anything else.
    public static func open(
        _ bytes: [UInt8],
        with key: Secret
    ) throws(CryptoError) -> (request: [UInt8], answerer: Answerer) {
        guard bytes.count >= overheadByteCount, Array(bytes[..<7]) == header else {
            throw .authenticationFailure
        }
        let encapsulated = Array(bytes[7..<39])
        do {
            let own = unsafe try key.withUnsafeBytes {
                unsafe try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: $0)
            }
            var recipient = try HPKE.Recipient(
                privateKey: own,
                ciphersuite: suite,
                info: info,
                encapsulatedKey: Data(encapsulated)
            )
            let request = try recipient.open(Data(bytes[39...]))
            let secret = try recipient.exportSecret(context: context, outputByteCount: 32)
            return (
                Array(request), Answerer(encapsulated: encapsulated, secret: copy(secret))
            )
        } catch { throw .authenticationFailure }
    }

    /// Seals the answer under `nonce`, 32 bytes drawn anew.
    public static func seal(
        answer: [UInt8],
        nonce: [UInt8],
        with answerer: Answerer
    ) throws(CryptoError) -> [UInt8] {
        precondition(nonce.count == 32, "an answer's nonce has 32 bytes")
        let (key, sealNonce) = keys(answerer, nonce)
        do {
            let box = try AES.GCM.seal(answer, using: key, nonce: sealNonce)
            return nonce + Array(box.ciphertext) + Array(box.tag)
        } catch { throw .authenticationFailure }
    }

    /// Opens the answer.
    ///
    /// - Throws: ``CryptoError/authenticationFailure`` unless the addressee made it for this request.
    public static func open(
        answer: [UInt8],
        with answerer: Answerer
    ) throws(CryptoError) -> [UInt8] {
        guard answer.count >= answerOverheadByteCount else { throw .authenticationFailure }
        let (key, nonce) = keys(answerer, Array(answer[..<32]))
        do {
            let box = try AES.GCM.SealedBox(
                nonce: nonce,
                ciphertext: answer[32..<answer.count - 16],
                tag: answer[(answer.count - 16)...]
            )
            return Array(try AES.GCM.open(box, using: key))
        } catch { throw .authenticationFailure }
    }

    private static func keys(
        _ answerer: Answerer,
        _ nonce: [UInt8]
    ) -> (SymmetricKey, AES.GCM.Nonce) {
        let salt = answerer.encapsulated + nonce
        let secret = unsafe answerer.secret.withUnsafeBytes { unsafe SymmetricKey(data: $0) }
        let pseudorandom = Crypto.HKDF<Crypto.SHA256>.extract(
            inputKeyMaterial: secret,
            salt: salt
        )
        let key = Crypto.HKDF<Crypto.SHA256>.expand(
            pseudoRandomKey: pseudorandom,
            info: Data("key".utf8),
            outputByteCount: 32
        )
        let nonceKey = Crypto.HKDF<Crypto.SHA256>.expand(
            pseudoRandomKey: pseudorandom,
            info: Data("nonce".utf8),
            outputByteCount: 12
        )
        do {
            return (key, unsafe try nonceKey.withUnsafeBytes { unsafe try AES.GCM.Nonce(data: $0) })
        } catch {
            preconditionFailure("twelve bytes are a nonce")
        }
    }

    private static func copy(_ key: SymmetricKey) -> Secret {
        unsafe key.withUnsafeBytes { unsafe Secret(copying: $0.bytes) }
    }
}
