public import Base
public import CryptoPrimitives
public import Wire

/// A link as control plane and packet path name it to each other; never used twice by a node.
public struct LinkID: Hashable, Sendable {
    /// Counts up from 1.
    public let rawValue: UInt64

    /// Takes the number over.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }
}

extension IPAddress {
    /// The network of one subscriber: an IPv4 address, or an IPv6 /64.
    var network: IPAddress {
        isV4 ? self : IPAddress(high: high, low: 0)
    }
}

/// Who is at the other end of a link.
public enum LinkPeer: Hashable, Sendable {
    /// Somebody who did not say: a client. Its address is that of its newest authentic datagram.
    case client
    /// A relay that proved its identity. Its address is the consensus'.
    case relay(NodeID)
}

/// Keys of one session as one end uses them.
///
/// Spec: §B.5, §C.2.
public struct SessionKeys: Sendable {
    /// Seals headers of what this end sends.
    public let sendHeader: Secret
    /// Seals bodies of control cells this end sends.
    public let sendBody: Secret
    /// Opens headers.
    public let receiveHeader: Secret
    /// Opens bodies of control cells.
    public let receiveBody: Secret

    /// Derives the four keys of a session from a handshake's result.
    public init(forward: Secret, backward: Secret, exporter: Secret, isInitiator: Bool) {
        let bodies = HKDF.expand(exporter, info: Array("body".utf8), byteCount: 64)
        let forwardBody = bodies.slice(0..<32)
        let backwardBody = bodies.slice(32..<64)
        sendHeader = isInitiator ? forward : backward
        sendBody = isInitiator ? forwardBody : backwardBody
        receiveHeader = isInitiator ? backward : forward
        receiveBody = isInitiator ? backwardBody : forwardBody
    }
}

/// A session ready to be used, as the control plane hands it to the packet path.
public struct NewSession: Sendable {
    /// What the peer writes into datagrams for us.
    public let local: SessionID
    /// What we write into datagrams for the peer.
    public let remote: SessionID
    /// The keys.
    public let keys: SessionKeys
    /// Initiators know the peer has the keys; responders wait for its first packet.
    public let isConfirmed: Bool

    /// Puts a session together.
    public init(local: SessionID, remote: SessionID, keys: SessionKeys, isConfirmed: Bool) {
        self.local = local
        self.remote = remote
        self.keys = keys
        self.isConfirmed = isConfirmed
    }
}

/// A link ready to be used, as the control plane hands it to the packet path.
public struct NewLink: Sendable {
    /// Its name.
    public let id: LinkID
    /// Where the peer is.
    public let address: SocketAddress
    /// Who the peer is.
    public let peer: LinkPeer
    /// Whether this end opened it: it keeps the link alive and renews its keys.
    public let isInitiator: Bool
    /// Its first session.
    public let session: NewSession
    /// Where this end's datagrams come from, as the relay sees it; `nil` where it did not say.
    public let seenAddress: SocketAddress?

    /// Puts a link together.
    public init(
        id: LinkID,
        address: SocketAddress,
        peer: LinkPeer,
        isInitiator: Bool,
        session: NewSession,
        seenAddress: SocketAddress? = nil
    ) {
        self.id = id
        self.address = address
        self.peer = peer
        self.isInitiator = isInitiator
        self.session = session
        self.seenAddress = seenAddress
    }
}

/// What the packet path reports of links.
public enum LinkEvent: Equatable, Sendable {
    /// The peer's first packet came: the link stands.
    case confirmed(LinkID)
    /// The peer is silent, said goodbye, or never confirmed: the link is gone.
    case lost(LinkID)
    /// The session is old: start a rekey.
    case rekeyDue(LinkID)
    /// The peer wants, or answers, a rekey.
    case control(LinkID, LinkControlMessage)
    /// The peer's address changed.
    case roamed(LinkID, SocketAddress)

    /// Whether it may be dropped under overload: its cause comes again, or it changes nothing.
    public var isRepeated: Bool {
        switch self {
        case .control, .roamed: true
        case .confirmed, .lost, .rekeyDue: false
        }
    }
}

/// Why a datagram was dropped; each is a counter.
public enum LinkDrop: Int, CaseIterable, Sendable {
    /// Not 1392 bytes.
    case size
    /// No session under this number.
    case unknownSession
    /// Seen before, or too old to tell.
    case replayed
    /// The header or body is not authentic.
    case forged
    /// Authentic, but makes no sense.
    case malformed
}
