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
        guard HopIndex(rawValue: message.hop) != nil else {
            throw .malformed(.invalid(field: "CM hop"))
        }
        // A mode this version cannot keep is refused, never quietly served as a weaker one.
        guard message.mode == 0 else {
            throw .malformed(.unknown(field: "CM mode", value: UInt64(message.mode)))
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

/// Which CREATEs were seen: eight keyed bytes each, in one bucket a minute.
///
/// Spec: §B.3 (replay).
///
/// Bound: five buckets of `bucketLimit` marks. Where a bucket is full, replays of its minute cannot
/// be told, and early data is refused instead of circuits.
public struct CreateFilter: Sendable {
    private let key: [UInt8]
    private let bucketLimit: Int
    private var buckets: [(minute: UInt32, marks: Set<UInt64>)] = []

    /// Makes an empty filter.
    public init(bucketLimit: Int = 420_000, random: inout RandomGenerator) {
        key = random.bytes(32)
        self.bucketLimit = bucketLimit
    }

    /// The mark of a CREATE body.
    public func mark(of body: CreateBody) -> UInt64 {
        BLAKE2b.hash(body.publicKey.bytes, body.ciphertext, key: key, byteCount: 16)
            .prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Whether marks of `minute` and of all minutes still remembered have been kept.
    ///
    /// A CREATE that came in a full minute left no mark: its replay a minute later would seem new.
    public func canJudge(minute: UInt32) -> Bool {
        !buckets.contains { bucket in
            bucket.marks.count >= bucketLimit && !Self.isForgotten(bucket.minute, at: minute)
        }
    }

    /// Whether a CREATE with `mark` was entered before.
    public func contains(_ mark: UInt64) -> Bool {
        buckets.contains { $0.marks.contains(mark) }
    }

    /// Enters a CREATE that opened, in the minute it came; forgets what is over five minutes old.
    public mutating func insert(_ mark: UInt64, minute: UInt32) {
        buckets.removeAll { Self.isForgotten($0.minute, at: minute) }
        if let index = buckets.firstIndex(where: { $0.minute == minute }) {
            guard buckets[index].marks.count < bucketLimit else { return }
            buckets[index].marks.insert(mark)
        } else {
            buckets.append((minute, [mark]))
        }
    }
    private static func isForgotten(_ minute: UInt32, at now: UInt32) -> Bool {
        now > minute && now - minute >= 5
    }
}
