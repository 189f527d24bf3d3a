import Base
public import CryptoPrimitives
public import Onion
public import Wire

/// What a relay needs to know to answer CREATE, fixed while the work runs.
public struct CreatePolicy: Sendable {
    /// Minutes a client's clock may be off either way.
    public var minuteWindow: UInt32 = 2
    /// Minute by the relay's clock.
    public var minute: UInt32
    /// Minute the relay started in; 0 after a clean stop whose replay marks were kept.
    public var uncleanBootMinute: UInt32
    /// Whether replay marks of this minute have all been kept.
    public var canJudgeReplays: Bool
    /// What the relay says of itself.
    public var answer: ServerMessage

    /// Puts a policy together.
    public init(
        minute: UInt32,
        uncleanBootMinute: UInt32,
        canJudgeReplays: Bool,
        answer: ServerMessage
    ) {
        self.minute = minute
        self.uncleanBootMinute = uncleanBootMinute
        self.canJudgeReplays = canJudgeReplays
        self.answer = answer
    }

    /// Whether early cells sent in `clientMinute` may be taken.
    ///
    /// Spec: §B.3 (replay).
    public func takesEarly(clientMinute: UInt32) -> Bool {
        guard canJudgeReplays, clientMinute != 0 else { return false }
        let distance =
            clientMinute > minute ? clientMinute - minute : minute - clientMinute
        guard distance <= minuteWindow else { return false }
        return uncleanBootMinute == 0 || clientMinute > uncleanBootMinute &+ minuteWindow
    }
}

/// A relay's key work for one CREATE, to be run off the packet path.
///
/// Spec: §B.2.
public struct CreateWork: Sendable {
    let body: CreateBody
    let target: HandshakeTarget
    let key: XWing.PrivateKey
    let ephemeral: Secret
    let policy: CreatePolicy

    /// What the work comes to.
    public struct Result: Sendable {
        /// What the client said.
        public let message: ClientMessage
        /// The early key, where early cells are taken.
        public let early: EarlyKeys?
        /// The circuit's keys.
        public let keys: HandshakeKeys
        /// Goes back in CREATED.
        public let answer: CreatedBody
    }

    /// Work for `body`, sealed to `key`.
    public init(
        body: CreateBody,
        target: HandshakeTarget,
        key: XWing.PrivateKey,
        ephemeral: Secret,
        policy: CreatePolicy
    ) {
        self.body = body
        self.target = target
        self.key = key
        self.ephemeral = ephemeral
        self.policy = policy
    }

    /// Opens the client's message and answers it.
    public func run() throws(HandshakeError) -> Result {
        let server = try ServerHandshake(opening: body, target: target, key: key)
        let message: ClientMessage
        do {
            message = try ClientMessage(parsing: server.message)
        } catch {
            throw .malformed(error)
        }
        guard let hop = HopIndex(rawValue: message.hop) else {
            throw .malformed(.invalid(field: "CM hop"))
        }
        // A mode a hop has no part in is refused, never quietly served as a weaker one.
        guard let shape = message.shape, shape.told(to: hop) == shape else {
            throw .malformed(.invalid(field: "CM mode"))
        }
        let takesEarly = policy.takesEarly(clientMinute: message.minute)
        var answer = policy.answer
        answer.status = takesEarly ? .accepted : .earlyRefused
        let (created, keys) = try server.respond(with: answer.encoded, ephemeral: ephemeral)
        return Result(
            message: message,
            early: takesEarly ? server.early : nil,
            keys: keys,
            answer: created
        )
    }
}
