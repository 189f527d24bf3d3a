public import Base
public import CryptoPrimitives
import DequeModule
public import Onion
public import Wire

/// Opens links and renews their keys: all that the end that speaks first does.
///
/// Sans-IO. ``dial(_:as:now:)`` and ``renew(_:target:now:)`` begin; feed answers, job results and
/// time; drain ``nextStep()`` after each call. The sessions it draws belong to the shard asked for.
/// Bound: 256 attempts at a time.
/// Spec: PROTOCOL.md §B.5.
public struct LinkDialer: ~Copyable {
    /// Key work that leaves as a job.
    public enum Job: Sendable {
        /// Make the first message.
        case initiate(LinkID, InitiationWork)
        /// Derive keys from the answer.
        case finish(LinkID, LinkResponse, ClientHandshake)
        /// Solve a puzzle.
        case solve(LinkID, CookieWork)

        /// Does the work.
        public func run() -> JobResult {
            switch self {
            case .initiate(let id, let work):
                do throws(HandshakeError) {
                    return .initiated(id, .success(try work.run()))
                } catch {
                    return .initiated(id, .failure(error))
                }
            case .finish(let id, let response, let handshake):
                do throws(HandshakeError) {
                    let (keys, message) = try handshake.finish(response.body)
                    let session = SessionKeys(
                        forward: keys.forward,
                        backward: keys.backward,
                        exporter: keys.exporter,
                        isInitiator: true
                    )
                    // The keys hold whatever else a relay says that cannot be read.
                    let said = try? ServerMessage(parsing: message)
                    let answer = Answer(keys: session, seenAddress: said?.seenAddress)
                    return .finished(id, response.session, .success(answer))
                } catch {
                    return .finished(id, response.session, .failure(error))
                }
            case .solve(let id, let work):
                return .solved(id, cookie: work.cookie, work: work.run())
            }
        }
    }

    /// What a relay's answer comes to.
    public struct Answer: Sendable {
        let keys: SessionKeys
        let seenAddress: SocketAddress?
    }

    /// What a job came to.
    public enum JobResult: Sendable {
        /// Of ``Job/initiate(_:_:)``.
        case initiated(LinkID, Result<ClientHandshake, HandshakeError>)
        /// Of ``Job/finish(_:_:_:)``.
        case finished(LinkID, SessionID, Result<Answer, HandshakeError>)
        /// Of ``Job/solve(_:_:)``.
        case solved(LinkID, cookie: [UInt8], work: UInt64)
    }

    /// Something for the owner to do.
    public enum Step: Sendable {
        /// Run this job.
        case job(Job)
        /// Send this handshake datagram.
        case send([UInt8], to: SocketAddress)
        /// Send this inside the link.
        case sendControl(LinkID, LinkControlMessage)
        /// A link stands.
        case established(NewLink)
        /// A link has new keys.
        case renewed(LinkID, NewSession)
        /// All tries went unanswered, or the relay's key is none.
        case failed(LinkID, NodeID)
    }

    private struct Attempt {
        let id: LinkID
        let target: LinkTarget
        let isRenewal: Bool
        let shard: Int
        var initiator: LinkInitiator?
        var isFinishing = false
    }

    private static let attemptLimit = 256

    private let identity: LinkIdentity?
    private let shardCount: Int
    private var attempts: [Attempt] = []
    private var steps: Deque<Step> = []
    private var random: RandomGenerator

    /// Dials as the relay `identity`, or as a client where it is `nil`, for `shardCount` shards.
    public init(
        identity: LinkIdentity?,
        shardCount: Int = 1,
        random: consuming RandomGenerator
    ) {
        self.identity = identity
        self.shardCount = shardCount
        self.random = random
    }

    /// Begins to open a link of `shard` that will be called `id`; false where too many attempts run.
    public mutating func dial(
        _ target: LinkTarget,
        as id: LinkID,
        shard: Int = 0,
        now: Instant
    ) -> Bool {
        begin(target, id: id, shard: shard, isRenewal: false)
    }

    /// Begins to renew the keys of the link `id`, which belongs to `shard`.
    public mutating func renew(
        _ id: LinkID,
        target: LinkTarget,
        shard: Int = 0,
        now: Instant
    ) {
        _ = begin(target, id: id, shard: shard, isRenewal: true)
    }

    /// Gives up on `id`.
    public mutating func cancel(_ id: LinkID) {
        attempts.removeAll { $0.id == id }
    }

    /// Takes the next step.
    public mutating func nextStep() -> Step? {
        steps.popFirst()
    }

    /// Takes an answer; one that answers nothing is ignored.
    public mutating func receive(_ response: LinkResponse, now: Instant) {
        finish(with: response, isRenewal: false)
    }

    /// Takes the answer to a rekey.
    public mutating func receiveRekeyed(
        session: SessionID,
        initiatorSession: SessionID,
        body: CreatedBody
    ) {
        let response = LinkResponse(
            session: session,
            initiatorSession: initiatorSession,
            body: body,
            filler: []
        )
        finish(with: response, isRenewal: true)
    }

    /// Takes a cookie; one that answers nothing is ignored.
    public mutating func receive(_ cookie: LinkCookie, now: Instant) {
        for index in attempts.indices where !attempts[index].isRenewal {
            guard let work = attempts[index].initiator?.work(for: cookie) else { continue }
            steps.append(.job(.solve(attempts[index].id, work)))
        }
    }

    /// Takes the result of a job.
    public mutating func finish(_ result: JobResult, now: Instant) {
        switch result {
        case .initiated(let id, .success(let handshake)):
            guard let index = attempts.firstIndex(where: { $0.id == id }) else { return }
            attempts[index].initiator = LinkInitiator(
                target: attempts[index].target,
                session: random.session(of: attempts[index].shard, count: shardCount),
                handshake: handshake,
                random: &random,
                now: now
            )
            advance(to: now)
        case .initiated(let id, .failure):
            fail(id)
        case .finished(let id, let remote, .success(let answer)):
            guard let index = attempts.firstIndex(where: { $0.id == id }),
                let initiator = attempts[index].initiator
            else { return }
            let attempt = attempts.remove(at: index)
            let session = NewSession(
                local: initiator.session,
                remote: remote,
                keys: answer.keys,
                isConfirmed: true
            )
            if attempt.isRenewal {
                steps.append(.renewed(id, session))
            } else {
                steps.append(
                    .established(
                        NewLink(
                            id: id,
                            address: attempt.target.address,
                            peer: .relay(attempt.target.relay),
                            isInitiator: true,
                            session: session,
                            seenAddress: answer.seenAddress
                        )
                    )
                )
            }
        case .finished(let id, _, .failure):
            // Forged or garbled: the true answer may still come.
            guard let index = attempts.firstIndex(where: { $0.id == id }) else { return }
            attempts[index].isFinishing = false
        case .solved(let id, let cookie, let work):
            guard let index = attempts.firstIndex(where: { $0.id == id }) else { return }
            attempts[index].initiator?.resume(cookie: cookie, work: work, now: now)
            advance(to: now)
        }
    }

    /// When ``advance(to:)`` has something to do.
    public var nextDeadline: Instant {
        var deadline = Instant.distantFuture
        for attempt in attempts where !attempt.isFinishing {
            deadline = min(deadline, attempt.initiator?.nextDeadline ?? .distantFuture)
        }
        return deadline
    }

    /// Sends what is due and gives up what has failed.
    public mutating func advance(to now: Instant) {
        var failed: [LinkID] = []
        for index in attempts.indices where !attempts[index].isFinishing {
            if attempts[index].initiator?.hasFailed(at: now) == true {
                failed.append(attempts[index].id)
                continue
            }
            guard let datagram = attempts[index].initiator?.nextDatagram(now: now),
                let initiator = attempts[index].initiator
            else { continue }
            if attempts[index].isRenewal {
                let message = LinkControlMessage.rekey(
                    session: initiator.session,
                    body: initiator.handshake.body
                )
                steps.append(.sendControl(attempts[index].id, message))
            } else {
                steps.append(.send(datagram, to: attempts[index].target.address))
            }
        }
        for id in failed { fail(id) }
    }

    private mutating func begin(
        _ target: LinkTarget,
        id: LinkID,
        shard: Int,
        isRenewal: Bool
    ) -> Bool {
        guard attempts.count < Self.attemptLimit, !attempts.contains(where: { $0.id == id }) else {
            return false
        }
        attempts.append(Attempt(id: id, target: target, isRenewal: isRenewal, shard: shard))
        let work = InitiationWork(target: target, identity: identity, random: &random)
        steps.append(.job(.initiate(id, work)))
        return true
    }

    private mutating func finish(with response: LinkResponse, isRenewal: Bool) {
        for index in attempts.indices
        where attempts[index].isRenewal == isRenewal && !attempts[index].isFinishing {
            guard let initiator = attempts[index].initiator, initiator.accepts(response) else {
                continue
            }
            attempts[index].isFinishing = true
            steps.append(.job(.finish(attempts[index].id, response, initiator.handshake)))
        }
    }

    private mutating func fail(_ id: LinkID) {
        guard let index = attempts.firstIndex(where: { $0.id == id }) else { return }
        let attempt = attempts.remove(at: index)
        // A link whose renewal fails goes on under its old keys until their end.
        if !attempt.isRenewal { steps.append(.failed(id, attempt.target.relay)) }
    }
}
