public import Base
public import CryptoPrimitives
import Onion
public import Wire

/// A relay to open a link to.
public struct LinkTarget: Sendable {
    /// Its identity.
    public let relay: NodeID
    /// Where it listens.
    public let address: SocketAddress
    /// What the handshake is for.
    let handshake: HandshakeTarget

    /// Names the relay, its address and its X-Wing public key.
    public init(network: NetworkID, relay: NodeID, address: SocketAddress, publicKey: [UInt8]) {
        self.relay = relay
        self.address = address
        handshake = HandshakeTarget(
            role: .link,
            network: network,
            relay: relay,
            publicKey: publicKey
        )
    }
}

/// How a relay shows who it is when it opens a link; clients have none.
///
/// Spec: §B.5.
public struct LinkIdentity: Sendable {
    let network: NetworkID
    let signingKey: Ed25519.SigningKey

    /// Signs with the relay's identity key.
    public init(network: NetworkID, signingKey: Ed25519.SigningKey) {
        self.network = network
        self.signingKey = signingKey
    }

    /// The relay's identity.
    public var relay: NodeID {
        NodeID(signingKey.publicKey)
    }
}

/// The long client message of a link: CM 32 | relay_id 32 | signature 64.
///
/// Spec: §B.5.
enum LinkClientMessage {
    static let byteCount = 128

    static func encoded(identity: LinkIdentity?, transcript: Bytes32) -> [UInt8] {
        let front = ClientMessage(hop: 0, minute: 0).encoded
        guard let identity else { return front + [UInt8](repeating: 0, count: 96) }
        let signature = identity.signingKey.sign(
            transcript.bytes,
            label: .link,
            network: identity.network.rawValue
        )
        return front + identity.relay.rawValue.bytes + signature
    }

    /// Who sent it: `nil` for a message that is none, or whose signature is not valid.
    static func peer(
        of message: [UInt8],
        network: NetworkID,
        transcript: Bytes32
    ) -> LinkPeer? {
        guard message.count == byteCount,
            let front = try? ClientMessage(parsing: Array(message[..<32])), front.hop == 0,
            let identity = Bytes32(Array(message[32..<64]))
        else { return nil }
        if identity == .zero { return .client }
        let isValid = Ed25519.isValid(
            Array(message[64...]),
            of: transcript.bytes,
            by: identity,
            label: .link,
            network: network.rawValue
        )
        return isValid ? .relay(NodeID(identity)) : nil
    }
}
