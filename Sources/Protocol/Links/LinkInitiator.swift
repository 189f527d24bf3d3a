public import Base
public import CryptoPrimitives
public import Onion
public import Wire

/// Key work of the end that opens a link, to be run off the packet path.
public struct InitiationWork: Sendable {
    let target: LinkTarget
    let identity: LinkIdentity?
    let ephemeral: Secret

    /// Work for a handshake with `target`; `identity` for relays, `nil` for clients.
    public init(target: LinkTarget, identity: LinkIdentity?, random: inout RandomGenerator) {
        self.target = target
        self.identity = identity
        ephemeral = random.secret(byteCount: 32)
    }

    /// Encapsulates and, for relays, signs.
    public func run() throws(HandshakeError) -> ClientHandshake {
        try ClientHandshake.start(with: target.handshake, ephemeral: ephemeral) { transcript in
            LinkClientMessage.encoded(identity: identity, transcript: transcript)
        }
    }
}

/// One attempt to open a link: INIT, its repetitions, cookies, until the answer.
///
/// Spec: §B.5.
///
/// Sans-IO. Ask ``nextDatagram(now:)`` at ``nextDeadline``; hand answers to ``accepts(_:)`` and
/// cookies to ``work(for:)``. Exits: the answer's key work succeeds, or ``hasFailed(at:)`` after
/// five tries. Bounds: one puzzle at a time, four cookies an attempt.
public struct LinkInitiator: Sendable {
    /// Most leading zero bits of work a relay may ask for; a forger on the path could ask for more.
    public static let effortLimit: UInt8 = 22
    private static let tryLimit = 5
    private static let firstWait: TimeSpan = .milliseconds(300)
    // Whoever sees an INIT can make cookies for it, and each asks for work.
    private static let cookieLimit = 4

    /// The relay.
    public let target: LinkTarget
    /// The session under which this end will receive.
    public let session: SessionID
    /// The handshake as it was started.
    public let handshake: ClientHandshake
    private let filler: [UInt8]
    private var cookie: [UInt8]?
    private var work: UInt64 = 0
    private var tries = 0
    private var wait = Self.firstWait
    private var cookieCount = 0
    private var isSolving = false
    private var lastMac1: [UInt8] = []
    /// When the next repetition is due.
    public private(set) var nextDeadline: Instant
    /// When the first datagram left.
    public let started: Instant

    /// Begins to open a link with the finished key work `handshake`.
    public init(
        target: LinkTarget,
        session: SessionID,
        handshake: ClientHandshake,
        random: inout RandomGenerator,
        now: Instant
    ) {
        self.target = target
        self.session = session
        self.handshake = handshake
        filler = random.bytes(36)
        nextDeadline = now
        started = now
    }

    /// Whether all tries went unanswered.
    public func hasFailed(at now: Instant) -> Bool {
        tries >= Self.tryLimit && now >= nextDeadline
    }

    /// The INIT to send now; `nil` before ``nextDeadline`` or after the last try.
    public mutating func nextDatagram(now: Instant) -> [UInt8]? {
        guard now >= nextDeadline, tries < Self.tryLimit else { return nil }
        tries += 1
        nextDeadline = now + wait
        wait = wait * 3 / 2
        return datagram()
    }

    /// Whether `response` answers this attempt; its authenticity is the key work's to find.
    public func accepts(_ response: LinkResponse) -> Bool {
        response.initiatorSession == session
    }

    /// The work a cookie asks for; `nil` for one that answers nothing sent, asks for too much, or
    /// comes while a puzzle is being solved.
    ///
    /// The result goes to ``resume(cookie:work:now:)``.
    public mutating func work(for answer: LinkCookie) -> CookieWork? {
        guard answer.initiatorSession == session, answer.effort <= Self.effortLimit,
            !isSolving, cookieCount < Self.cookieLimit, !lastMac1.isEmpty,
            let cookie = Cookie.open(answer, publicKey: target.handshake.publicKey, mac1: lastMac1)
        else { return nil }
        isSolving = true
        cookieCount += 1
        let front = Array(unsolvedDatagram()[..<LinkInitiation.workByteCount])
        return CookieWork(cookie: cookie, effort: answer.effort, front: front)
    }

    /// Goes on with a cookie and the work it asked for; the next INIT is due at once.
    public mutating func resume(cookie: [UInt8], work: UInt64, now: Instant) {
        self.cookie = cookie
        self.work = work
        isSolving = false
        nextDeadline = now
        // The relay is there, only busy: it gets all tries again.
        tries = 0
        wait = Self.firstWait
    }

    private func unsolvedDatagram() -> [UInt8] {
        LinkInitiation(session: session, body: handshake.body, work: work, filler: filler).encoded
    }

    private mutating func datagram() -> [UInt8] {
        var initiation = LinkInitiation(
            session: session,
            body: handshake.body,
            work: work,
            filler: filler
        )
        initiation.mac1 = Cookie.mac1(
            over: initiation.encoded,
            publicKey: target.handshake.publicKey
        )
        lastMac1 = initiation.mac1
        if let cookie { initiation.mac2 = Cookie.mac2(over: initiation.encoded, cookie: cookie) }
        return initiation.encoded
    }
}

/// The puzzle a loaded relay poses.
///
/// Spec: §B.5.
public struct CookieWork: Sendable {
    /// The cookie, 16 bytes.
    public let cookie: [UInt8]
    let effort: UInt8
    let front: [UInt8]

    /// Searches for a solution; about 2^effort hashes.
    public func run() -> UInt64 {
        guard effort > 0 else { return 0 }
        let inner = BLAKE2b.hash(front, byteCount: 32)
        var solution: UInt64 = 1
        while !Cookie.isSolved(cookie: cookie, inner: inner, work: solution, effort: effort) {
            solution &+= 1
        }
        return solution
    }
}
