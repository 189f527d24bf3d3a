public import Base
import CryptoPrimitives
import Wire

// What a table keeps. Not private: other modules' code that destroys a table refers to the metadata
// of its elements.
extension LinkTable {
    /// One set of keys of a link.
    struct Session: ~Copyable {
        let local: SessionID
        let remote: SessionID
        let link: Int
        let sendHeader: AEADKey
        let sendBody: AEADKey
        let receiveHeader: AEADKey
        let receiveBody: AEADKey
        var replay = ReplayWindow(bitCount: 8192)
        var nextSequence: UInt32 = 0
        var isConfirmed: Bool
        // Whether anything of the peer came under these keys: only then it surely has them.
        var isHeard = false
        let created: Instant
        var expires: Instant
        // When the owner is next asked to renew these keys.
        var renewalDue: Instant

        init(_ new: NewSession, link: Int, now: Instant, timing: Timing) {
            local = new.local
            remote = new.remote
            self.link = link
            sendHeader = AEADKey(new.keys.sendHeader)
            sendBody = AEADKey(new.keys.sendBody)
            receiveHeader = AEADKey(new.keys.receiveHeader)
            receiveBody = AEADKey(new.keys.receiveBody)
            isConfirmed = new.isConfirmed
            created = now
            expires = new.isConfirmed ? .distantFuture : now + timing.confirmLimit
            renewalDue = now + timing.rekeyAge
        }
    }

    /// One neighbour.
    struct Link {
        let id: LinkID
        let peer: LinkPeer
        let isInitiator: Bool
        var address: SocketAddress
        // Where a standing client's link counts; it does not follow when the client roams.
        var network: IPAddress?
        var circuitCount = 0
        // Session slots; -1 for none. `pending` waits for the peer's first packet.
        var current = -1
        var previous = -1
        var pending = -1
        var keepsAlive: Bool
        var lastReceived: Instant
        var lastSent: Instant
        var unansweredSince: Instant?
        // PINGs sent since suspicion arose.
        var pingCount = 0
        var lastPing: Instant?
        var pingNonce: UInt64 = 0
        var roundTrip: TimeSpan?
        // Whether PINGs go out to learn what the peer's clock shows, and when the next one does.
        var asksClock = false
        var clockDue: Instant = .zero
        // PAD datagrams that came since somebody asked.
        var paddingCount = 0
        // Datagrams that may go to an address the peer has not shown to receive at; nil: it has.
        var credit: Int?
        // When the peer last asked for new keys, and what it was answered.
        var rekeyAsked: Instant?
        var rekeyAnswer: RekeyAnswer?
    }

    /// The answer to a rekey, kept for repetitions of the question.
    struct RekeyAnswer {
        let remote: SessionID
        let message: LinkControlMessage
    }
}

/// What a peer's clock showed.
public struct ClockReading: Hashable, Sendable {
    /// Slot of the link the peer is on.
    public let link: Int
    /// When it was asked.
    public let sent: Instant
    /// When its answer came.
    public let received: Instant
    /// Its time, in microseconds since 1970.
    public let microseconds: UInt64
}
