public import Base
public import CryptoPrimitives
public import Onion
public import Wire

/// Key work of the end that answers a link, to be run off the packet path.
public struct ResponseWork: Sendable {
    let target: HandshakeTarget
    let network: NetworkID
    let key: XWing.PrivateKey
    let ephemeral: Secret
    let body: CreateBody
    /// Where the initiation came from; `nil` for one inside a link.
    let source: SocketAddress?

    /// What the work comes to.
    public struct Result: Sendable {
        /// Goes back to the initiator.
        public let answer: CreatedBody
        /// The session's keys as the responder uses them.
        public let keys: SessionKeys
        /// Who the initiator is.
        public let peer: LinkPeer
    }

    /// Opens the initiation, checks a relay's signature, and answers.
    ///
    /// - Throws: ``HandshakeError``; nothing is answered then.
    public func run() throws(HandshakeError) -> Result {
        let server = try ServerHandshake(opening: body, target: target, key: key)
        guard
            let peer = LinkClientMessage.peer(
                of: server.message,
                network: network,
                transcript: server.signedTranscript
            )
        else { throw .notAuthentic }
        var message = ServerMessage(status: .accepted)
        message.seenAddress = source
        let (answer, keys) = try server.respond(
            with: message.encoded,
            ephemeral: ephemeral
        )
        return Result(
            answer: answer,
            keys: SessionKeys(
                forward: keys.forward,
                backward: keys.backward,
                exporter: keys.exporter,
                isInitiator: false
            ),
            peer: peer
        )
    }
}

/// Decides which initiations are worth key work, and answers repetitions from memory.
///
/// Spec: §B.5.
///
/// Order of checks, cheapest first: key identifier, mac1, repetition; under load cookie, work and
/// the sender's allowance. Bounds: 1,024 answers kept for ten seconds, 131,072 marks of initiations
/// seen, 4,096 allowances.
public struct LinkResponder: Sendable {
    /// What to do with an initiation.
    public enum Admission: Sendable {
        /// Run this, then ``answered(_:body:session:source:now:random:)``.
        case work(ResponseWork)
        /// Send this datagram back and forget the initiation.
        case answer([UInt8])
        /// Say nothing.
        case silence(Refusal)
    }

    /// Why an initiation got silence; each is a counter.
    public enum Refusal: Int, CaseIterable, Sendable {
        /// Sealed to a key this relay does not hold.
        case unknownKey
        /// mac1 is wrong: the sender does not know the relay's key.
        case mac
        /// It came before, from elsewhere or too long ago.
        case replayed
        /// Too many are being worked on.
        case busy
        /// Under load, its sender's network has had its share.
        case limited
    }

    private struct Answer: Sendable {
        var mark: UInt64
        var source: SocketAddress
        var datagram: [UInt8]
        var made: Instant
    }

    private static let answerLimit = 1024
    private static let answerLife: TimeSpan = .seconds(10)
    private static let markLimit = 32_768
    private static let markLife: TimeSpan = .seconds(600)
    /// ``load`` from which on a cookie is required.
    public static let loadThreshold = 128
    /// ``load`` from which on work is required too.
    public static let effortThreshold = 256
    /// ``load`` from which on nothing more is taken.
    public static let workLimit = 1024

    private let network: NetworkID
    private var targets: [(target: HandshakeTarget, key: XWing.PrivateKey)]
    private var cookies: CookieJar
    private var senders: SenderLimiter
    private var answers: [Answer] = []
    // Marks of initiations seen, in two generations, the older one forgotten at each turn.
    private var marks: [Set<UInt64>] = [[], []]
    private var marksTurned: Instant
    private let markKey: [UInt8]
    /// Handshakes being worked on.
    public private(set) var inWork = 0
    /// Links answered whose peer has not shown yet that it has the keys.
    public private(set) var unconfirmed = 0
    /// Initiations that got silence, by ``Refusal``.
    public private(set) var refusals = [UInt64](repeating: 0, count: Refusal.allCases.count)

    /// Answers for the relay `relay`, which holds `keys` (the newest first).
    public init(
        network: NetworkID,
        relay: NodeID,
        keys: [XWing.PrivateKey],
        random: inout RandomGenerator,
        now: Instant
    ) {
        self.network = network
        targets = []
        cookies = CookieJar(random: &random, now: now)
        senders = SenderLimiter(random: &random, now: now)
        markKey = random.bytes(32)
        marksTurned = now
        setKeys(keys, of: relay)
    }

    /// Answers for other keys from now on, the newest first.
    public mutating func setKeys(_ keys: [XWing.PrivateKey], of relay: NodeID) {
        targets = keys.map { key in
            (
                HandshakeTarget(
                    role: .link,
                    network: network,
                    relay: relay,
                    publicKey: key.publicKey
                ), key
            )
        }
    }

    /// Judges an initiation from `source`.
    public mutating func admit(
        _ initiation: LinkInitiation,
        source: SocketAddress,
        random: inout RandomGenerator,
        now: Instant
    ) -> Admission {
        guard let holder = targets.first(where: { $0.target.keyID == initiation.body.keyID }) else {
            return refuse(.unknownKey)
        }
        let expected = Cookie.mac1(
            over: initiation.datagram,
            publicKey: holder.target.publicKey
        )
        guard Cookie.areEqual(expected, initiation.mac1) else { return refuse(.mac) }
        turnMarks(now: now)
        let mark = mark(of: initiation)
        if let answer = answers.first(where: { $0.mark == mark }) {
            return answer.source == source ? .answer(answer.datagram) : refuse(.replayed)
        }
        guard !isMarked(mark), !isMarked(openedMark(of: initiation)) else {
            return refuse(.replayed)
        }
        if load >= Self.loadThreshold {
            let effort: UInt8 = load >= Self.effortThreshold ? 12 : 0
            let isProven = cookies.isProven(
                initiation,
                source: source,
                effort: effort,
                now: now,
                random: &random
            )
            guard isProven else {
                return .answer(
                    cookies.answer(
                        to: initiation,
                        source: source,
                        effort: effort,
                        publicKey: holder.target.publicKey,
                        now: now,
                        random: &random
                    )
                )
            }
            guard senders.allows(source.ip, now: now) else { return refuse(.limited) }
        }
        guard load < Self.workLimit, marks[0].count < Self.markLimit else {
            return refuse(.busy)
        }
        inWork += 1
        marks[0].insert(mark)
        return .work(
            ResponseWork(
                target: holder.target,
                network: network,
                key: holder.key,
                ephemeral: random.secret(byteCount: 32),
                body: initiation.body,
                source: source
            )
        )
    }

    /// Makes the work of a rekey, which came inside the link and needs no admission.
    public mutating func rekeyWork(
        _ body: CreateBody,
        random: inout RandomGenerator
    ) -> ResponseWork? {
        guard inWork < Self.workLimit,
            let holder = targets.first(where: { $0.target.keyID == body.keyID })
        else { return nil }
        inWork += 1
        return ResponseWork(
            target: holder.target,
            network: network,
            key: holder.key,
            ephemeral: random.secret(byteCount: 32),
            body: body,
            source: nil
        )
    }

    /// Notes that a piece of work is over, whatever came of it.
    public mutating func workEnded() {
        inWork -= 1
    }

    /// What strangers keep this relay busy with: handshakes in work, and links of which nobody has
    /// shown yet to have the keys.
    public var load: Int {
        inWork + unconfirmed
    }

    /// Notes that a link that was ``answered(_:initiation:session:source:random:now:)`` stands or is
    /// gone.
    public mutating func linkSettled() {
        unconfirmed -= 1
    }

    /// Makes the RESP datagram and keeps it for repetitions of the same initiation.
    public mutating func answered(
        _ result: ResponseWork.Result,
        initiation: LinkInitiation,
        session: SessionID,
        source: SocketAddress,
        random: inout RandomGenerator,
        now: Instant
    ) -> [UInt8] {
        let datagram = LinkResponse(
            session: session,
            initiatorSession: initiation.session,
            body: result.answer,
            filler: random.bytes(LinkResponse.fillerByteCount)
        ).encoded
        unconfirmed += 1
        marks[0].insert(openedMark(of: initiation))
        answers.removeAll { now - $0.made >= Self.answerLife }
        if answers.count == Self.answerLimit { answers.removeFirst() }
        answers.append(
            Answer(mark: mark(of: initiation), source: source, datagram: datagram, made: now)
        )
        return datagram
    }

    private mutating func refuse(_ refusal: Refusal) -> Admission {
        refusals[refusal.rawValue] += 1
        return .silence(refusal)
    }

    /// Names an initiation as it came, so that a copy with another front is no repetition: who
    /// sends one ahead, spoilt, does not shut the true one out.
    private func mark(of initiation: LinkInitiation) -> UInt64 {
        keyedMark("front", Array(initiation.datagram[..<LinkInitiation.workByteCount]))
    }

    /// Names what an initiation is once its message opened: no change of the rest makes it new.
    private func openedMark(of initiation: LinkInitiation) -> UInt64 {
        keyedMark("opened", initiation.body.publicKey.bytes + initiation.body.ciphertext)
    }

    private func keyedMark(_ label: String, _ bytes: [UInt8]) -> UInt64 {
        BLAKE2b.hash(Array(label.utf8), bytes, key: markKey, byteCount: 16)
            .prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    private func isMarked(_ mark: UInt64) -> Bool {
        marks.contains { $0.contains(mark) }
    }

    private mutating func turnMarks(now: Instant) {
        guard now - marksTurned >= Self.markLife || marks[0].count >= Self.markLimit else { return }
        marks = [[], marks[0]]
        marksTurned = now
    }
}
