public import Base
public import CryptoPrimitives
public import Wire

/// Which of the two handshakes this is; part of the transcript, so neither opens as the other.
public enum HandshakeRole: UInt8, Sendable {
    /// Between neighbours.
    case link = 1
    /// Between a client and a hop.
    case circuit = 2
}

/// The relay a handshake is for, hashed into the transcript before anything else.
///
/// Spec: §B.2 (h0).
public struct HandshakeTarget: Sendable {
    static let suite: UInt8 = 1
    private static let protocolName = Array("umbel/1/hs/xwing-x25519-hkdfsha256-aes256gcm".utf8)

    /// The relay's X-Wing public key, 1216 bytes.
    public let publicKey: [UInt8]
    /// First eight bytes of SHA-256 over the public key.
    public let keyID: UInt64
    let transcript: Bytes32

    /// Names the relay and the key a handshake in `role` is for.
    public init(role: HandshakeRole, network: NetworkID, relay: NodeID, publicKey: [UInt8]) {
        self.publicKey = publicKey
        let keyDigest = SHA256.digest(publicKey)
        keyID = Self.keyID(digest: keyDigest)
        transcript = SHA256.digest(
            Self.protocolName,
            [role.rawValue, Self.suite],
            network.rawValue.bytes,
            relay.rawValue.bytes,
            keyDigest.bytes
        )
    }

    /// The identifier under which relays announce `publicKey`.
    public static func keyID(of publicKey: [UInt8]) -> UInt64 {
        keyID(digest: SHA256.digest(publicKey))
    }

    private static func keyID(digest: Bytes32) -> UInt64 {
        digest.bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
}

/// Why a handshake came to nothing.
public enum HandshakeError: Error, Equatable, Sendable {
    /// The public key or ciphertext is none.
    case invalidKey
    /// The other side's message did not open: other keys, or somebody's meddling.
    case notAuthentic
    /// The X25519 result was all zero.
    case weakKey
    /// The message opened but is not one.
    case malformed(WireError)
}

/// Keys of the early phase, which carry nothing but extensions.
///
/// Spec: §B.3.
public struct EarlyKeys: Sendable {
    /// Seals what the client sends before the answer came.
    public let forward: Secret
    /// Not used by version 1.
    public let backward: Secret
}

/// What both ends hold after a handshake.
///
/// Spec: §B.2.
public struct HandshakeKeys: Sendable {
    /// Client to relay.
    public let forward: Secret
    /// Relay to client.
    public let backward: Secret
    /// Root of all keys derived later.
    public let exporter: Secret
    /// h4, the hash of the whole conversation.
    public let transcript: Bytes32

    /// Puts keys together that did not come of a handshake, for measurements and tests.
    public init(forward: Secret, backward: Secret, exporter: Secret, transcript: Bytes32) {
        self.forward = forward
        self.backward = backward
        self.exporter = exporter
        self.transcript = transcript
    }
}

/// The key schedule, shared by both ends.
///
/// Spec: §B.2.
enum KeySchedule {
    static func messageKey(_ first: Secret) -> Secret {
        HKDF.expand(first, info: Array("cm".utf8), byteCount: 32)
    }

    static func early(_ first: Secret, transcript: Bytes32) -> EarlyKeys {
        let both = HKDF.expand(first, info: Array("early".utf8) + transcript.bytes, byteCount: 64)
        return EarlyKeys(forward: both.slice(0..<32), backward: both.slice(32..<64))
    }

    static func second(_ first: Secret, transcript: Bytes32, ephemeral: Secret) -> Secret {
        HKDF.extract(
            salt: HKDF.expand(first, info: Array("chain".utf8) + transcript.bytes, byteCount: 32),
            inputKeyMaterial: ephemeral
        )
    }

    static func answerKey(_ second: Secret, transcript: Bytes32) -> Secret {
        HKDF.expand(second, info: Array("sm".utf8) + transcript.bytes, byteCount: 32)
    }

    static func keys(_ second: Secret, transcript: Bytes32) -> HandshakeKeys {
        let all = HKDF.expand(second, info: Array("keys".utf8) + transcript.bytes, byteCount: 96)
        return HandshakeKeys(
            forward: all.slice(0..<32),
            backward: all.slice(32..<64),
            exporter: all.slice(64..<96),
            transcript: transcript
        )
    }
}
