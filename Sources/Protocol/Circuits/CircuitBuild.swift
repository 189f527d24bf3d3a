public import Base
public import CryptoPrimitives
public import Onion
public import Wire

/// How the three hops of a circuit are reached.
///
/// Spec: §B.3.
public enum BuildMethod: String, Sendable {
    /// All in one path round trip, extensions under early keys.
    case pipelined
    /// Hop by hop, each extension under the main key of the one before: three round trips.
    case telescoped
}

/// A hop as the client builds to it.
public struct HopTarget: Sendable {
    /// Its identity.
    public let relay: NodeID
    let handshake: HandshakeTarget

    /// Names the relay and its X-Wing public key.
    public init(network: NetworkID, relay: NodeID, publicKey: [UInt8]) {
        self.relay = relay
        handshake = HandshakeTarget(
            role: .circuit,
            network: network,
            relay: relay,
            publicKey: publicKey
        )
    }
}

/// The client's key work of a build: one encapsulation a hop.
public struct BuildWork: Sendable {
    let targets: [HopTarget]
    let ephemerals: [Secret]
    let minute: UInt32
    let isFirstContact: Bool
    let shape: TrafficShape

    /// Work for a circuit over three `targets`; `minute` is 0 where the clock is not trusted.
    ///
    /// - Parameters:
    ///   - isFirstContact: nothing will be paid, and it carries no packets (§A.5.9).
    ///   - shape: what its traffic is to look like; each hop is told what it has a part in.
    public init(
        targets: [HopTarget],
        minute: UInt32,
        isFirstContact: Bool = false,
        shape: TrafficShape = .fast,
        random: inout RandomGenerator
    ) {
        precondition(targets.count == 3, "a circuit has three hops")
        self.targets = targets
        self.minute = minute
        self.isFirstContact = isFirstContact
        self.shape = shape
        var ephemerals: [Secret] = []
        for _ in targets { ephemerals.append(random.secret(byteCount: 32)) }
        self.ephemerals = ephemerals
    }

    /// Makes the three first messages.
    public func run() throws(HandshakeError) -> [ClientHandshake] {
        var handshakes: [ClientHandshake] = []
        for (index, target) in targets.enumerated() {
            var message = ClientMessage(hop: UInt8(index + 1), minute: minute)
            if isFirstContact { message.flags |= ClientMessage.firstContact }
            if let hop = HopIndex(offset: index) {
                let told = shape.told(to: hop)
                message.mode = told.mode
                message.slot = told.slot
            }
            let encoded = message.encoded
            handshakes.append(
                try ClientHandshake.start(with: target.handshake, ephemeral: ephemerals[index]) {
                    _ in encoded
                }
            )
        }
        return handshakes
    }
}

/// The client's key work for one hop's answer.
public struct FinishWork: Sendable {
    /// The hop that answered.
    public let hop: HopIndex
    let handshake: ClientHandshake
    let answer: CreatedBody

    /// What the work comes to.
    public struct Result: Sendable {
        /// The hop's main keys.
        public let keys: HandshakeKeys
        /// What the hop said.
        public let message: ServerMessage
    }

    /// Derives the keys and opens the hop's message.
    public func run() throws(HandshakeError) -> Result {
        let (keys, bytes) = try handshake.finish(answer)
        do {
            return Result(keys: keys, message: try ServerMessage(parsing: bytes))
        } catch {
            throw .malformed(error)
        }
    }
}

/// A circuit being built, seen from its client.
///
/// Spec: §B.3.
///
/// Sans-IO. Begin with the handshakes of ``BuildWork``; feed `CREATED` bodies and control messages;
/// run the ``FinishWork`` they yield and give its result to ``finished(_:hop:now:)``; perform the
/// ``Action``s. Exits: ``isComplete`` once three hops answered, or a ``Failure``.
public struct CircuitBuild: Sendable {
    /// Something the client's shard or link is to do.
    public enum Action: Sendable {
        /// Send this body as CREATE to the guard.
        case sendCreate([UInt8])
        /// Install a hop's early key.
        case setEarly(EarlyKeys, HopIndex)
        /// Install a hop's main keys.
        case setKeys(HandshakeKeys, HopIndex)
        /// Say this to a hop.
        case send(ControlMessage, HopIndex)
        /// Whatever was said to this hop was dropped: say it again now.
        case sayAgain(HopIndex)
        /// Run this key work.
        case finish(FinishWork)
    }

    /// Why a build came to nothing.
    public enum Failure: Error, Equatable, Sendable {
        /// The guard did not answer CREATE.
        case guardSilent
        /// A hop could not reach the next one.
        case extendFailed(HopIndex, ControlMessage.ExtendFailure)
        /// A hop's answer was not made with its key.
        case notAuthentic(HopIndex)
        /// A hop said what it may not say now.
        case violation(HopIndex)
        /// Not all hops answered in time; the first that did not is named.
        case tooSlow(HopIndex)
    }

    private static let tryLimit = 5
    private static let timeLimit: TimeSpan = .seconds(10)

    /// The relays, the guard first.
    public let targets: [HopTarget]
    /// How it is built.
    public let method: BuildMethod
    private let handshakes: [ClientHandshake]
    private var answered = [false, false, false]
    private var isFinished = [false, false, false]
    /// What the hops said of themselves, in the order they proved themselves.
    public private(set) var statements: [ServerMessage] = []
    private var tries = 0
    private var wait: TimeSpan = .milliseconds(300)
    /// When CREATE is repeated.
    public private(set) var nextDeadline: Instant
    /// When the build began.
    public let started: Instant

    /// Begins to build with the handshakes of the finished key work.
    public init(
        targets: [HopTarget],
        handshakes: [ClientHandshake],
        method: BuildMethod,
        now: Instant
    ) {
        precondition(handshakes.count == 3 && targets.count == 3, "a circuit has three hops")
        self.targets = targets
        self.handshakes = handshakes
        self.method = method
        nextDeadline = now
        started = now
    }

    /// Whether all three hops answered and proved themselves.
    public var isComplete: Bool {
        isFinished == [true, true, true]
    }

    /// What goes out first.
    public mutating func start(now: Instant) -> [Action] {
        var actions = [Action.sendCreate(handshakes[0].body.encoded)]
        noteTry(now: now)
        if method == .pipelined {
            actions.append(.setEarly(handshakes[0].early, .first))
            actions.append(.setEarly(handshakes[1].early, .second))
            actions.append(.send(extend(to: 1), .first))
            actions.append(.send(extend(to: 2), .second))
        }
        return actions
    }

    /// Repeats CREATE when it is due, and gives up on hops that take too long.
    public mutating func advance(to now: Instant) throws(Failure) -> [Action] {
        guard now >= nextDeadline else { return [] }
        if now >= started + Self.timeLimit {
            let late = HopIndex.all.first { !answered[$0.offset] } ?? .third
            throw late == .first ? .guardSilent : .tooSlow(late)
        }
        guard tries < Self.tryLimit else { throw .guardSilent }
        noteTry(now: now)
        return [.sendCreate(handshakes[0].body.encoded)]
    }

    /// Takes the guard's CREATED body.
    public mutating func receive(created body: [UInt8]) throws(Failure) -> [Action] {
        try receive(body, hop: .first)
    }

    /// Takes what `hop` said about its extension.
    public mutating func receive(
        _ result: ControlMessage.ExtendResult,
        from hop: HopIndex
    ) throws(Failure) -> [Action] {
        guard let next = hop.next else { throw .violation(hop) }
        switch result {
        case .failed(let failure): throw .extendFailed(hop, failure)
        case .created(let body): return try receive(body, hop: next)
        }
    }

    /// Takes the result of a ``FinishWork``.
    public mutating func finished(
        _ result: Result<FinishWork.Result, HandshakeError>,
        hop: HopIndex
    ) throws(Failure) -> [Action] {
        guard !isFinished[hop.offset] else { return [] }
        guard case .success(let success) = result else { throw .notAuthentic(hop) }
        isFinished[hop.offset] = true
        statements.append(success.message)
        if isComplete { nextDeadline = .distantFuture }
        var actions = [Action.setKeys(success.keys, hop)]
        switch method {
        case .pipelined:
            if success.message.status == .earlyRefused, hop != .third {
                actions.append(.sayAgain(hop))
                // What was for the hop behind went through this one.
                if hop == .first { actions.append(.sayAgain(.second)) }
            }
        case .telescoped:
            if hop != .third { actions.append(.send(extend(to: hop.offset + 1), hop)) }
        }
        return actions
    }

    private mutating func receive(
        _ body: [UInt8],
        hop: HopIndex
    ) throws(Failure) -> [Action] {
        // An answer repeated by the network is no fault; only the first counts.
        guard !answered[hop.offset] else { return [] }
        guard let answer = try? CreatedBody(parsing: Array(body.prefix(CreatedBody.byteCount)))
        else { throw .violation(hop) }
        answered[hop.offset] = true
        if hop == .first { nextDeadline = started + Self.timeLimit }
        return [
            .finish(FinishWork(hop: hop, handshake: handshakes[hop.offset], answer: answer))
        ]
    }

    private func extend(to index: Int) -> ControlMessage {
        .extend(next: targets[index].relay, create: handshakes[index].body.encoded)
    }

    private mutating func noteTry(now: Instant) {
        tries += 1
        nextDeadline = now + wait
        wait = wait * 3 / 2
    }
}
