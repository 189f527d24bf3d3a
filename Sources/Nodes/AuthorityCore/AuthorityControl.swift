public import Base
public import CryptoPrimitives
import DequeModule
public import Directory
public import Wire

/// One authority: takes descriptors, votes, agrees with the others, signs and publishes.
///
/// Sans-IO. Feed what comes from relays and authorities and ``advance(to:)`` at ``nextDeadline``;
/// drain ``nextAction()`` after each call and do the actions **in order**: what is said after a
/// ``Action/store(_:)`` must not leave before the memory is on disk. `now` may jump; an authority
/// whose clock is wrong is of no use, and does no harm. Not thread-safe: owned by one task.
///
/// Spec: §E.1.
public struct AuthorityControl: Sendable {
    /// Something for the shell to do.
    public enum Action: Sendable {
        /// Put this on disk before anything that follows.
        case store(AuthorityMemory)
        /// Send a vote to the authority with this index.
        case sendVote(SignedVote, to: UInt8)
        /// Send signatures to the authority with this index.
        case sendSignatures(SignatureNotice, to: UInt8)
        /// Ask an authority for descriptors by digest, at most 512.
        case fetchDescriptors([Bytes32], from: UInt8)
        /// Ask an authority for its newest document; also tells whether it is there.
        case fetchDocument(from: UInt8)
        /// Find out whether the relay of this descriptor answers, and passes a circuit on to the
        /// other one where there is one.
        case test(SignedDescriptor, onwardTo: SignedDescriptor?)
        /// Find out what a relay carries.
        case measure(Measurement)
        /// Serve this document.
        case publish(ConsensusDocument)
        /// Tell the operator.
        case report(Report)
    }

    /// Where in a circuit a relay is measured.
    public enum Place: UInt8, Hashable, Sendable {
        /// The first of two.
        case first
        /// The middle of three: the relay does not see whom the circuit is of.
        case middle
    }

    /// A circuit to measure: its last relay sends everything back.
    public struct Measurement: Sendable {
        /// The relay that is measured.
        public let relay: NodeID
        /// Where it stands in the path.
        public let place: Place
        /// The circuit's relays.
        public let path: [SignedDescriptor]
    }

    /// Something an operator may want to know.
    public enum Report: Hashable, Sendable {
        /// A document is complete.
        case published(validAfter: WallTime, digest: Bytes32, relays: Int, signers: [String])
        /// A voting came to nothing.
        case failed(validAfter: WallTime, VoteTally.Failure)
        /// A voting ended with too few signatures under what this authority signed.
        case unsigned(validAfter: WallTime, count: Int, threshold: Int)
        /// Another authority voted twice in one voting.
        case doubleVote(validAfter: WallTime, by: String)
        /// The document at hand has expired and there is no newer one.
        case expired(WallTime)
        /// Documents of others are not believed.
        case refusedDocument(from: UInt8, DirectoryError)
        /// Two documents for one interval, each signed by enough.
        case equivocation(Equivocation)
    }

    /// What was counted.
    public struct Counters: Hashable, Sendable {
        /// Documents completed.
        public var documents: UInt64 = 0
        /// Votings that came to nothing.
        public var failedVotings: UInt64 = 0
        /// Votes that counted.
        public var votes: UInt64 = 0
        /// Votes that did not, for their time, voting or signatures.
        public var refusedVotes: UInt64 = 0
        /// Signatures that are not an authority's over the document.
        public var refusedSignatures: UInt64 = 0
        /// Descriptors taken.
        public var descriptors: UInt64 = 0
        /// Descriptors refused.
        public var refusedDescriptors: UInt64 = 0
        /// Relays measured.
        public var measurements: UInt64 = 0
        /// Measurements over which nothing came back.
        public var failedMeasurements: UInt64 = 0
        /// Announcements of mints taken.
        public var announcements: UInt64 = 0
        /// Announcements of mints refused.
        public var refusedAnnouncements: UInt64 = 0
    }

    private static let testLimit = 64
    private static let fetchLimit = ByteList.maximumCount
    private static let meetingMilliseconds: UInt64 = 300
    /// How long a peer that was heard of counts as met.
    private static let metMilliseconds: UInt64 = 5_000
    /// How long no new relay must have come before the first document is voted on.
    private static let settlingMilliseconds: UInt64 = 400
    private static let noticesKept = 64
    private let root: TrustRoot
    private let own: UInt8
    private let key: Ed25519.SigningKey
    private let parameters: NetworkParameters
    private let schedule: VotingSchedule
    private let places: PlaceTable
    private var memory: AuthorityMemory
    /// The relays this authority knows of.
    public private(set) var register: RelayRegister
    /// The mints this authority knows of.
    public private(set) var mints: MintRegister
    private var known: KnownDirectory
    private var actions = Deque<Action>()
    /// What was counted.
    public private(set) var counters = Counters()

    private var voting: Voting
    private var exchange: VoteExchange
    private var hasProposed = false
    private var isFounding: Bool
    private var candidate: ConsensusDocument?
    private var early: [SignatureNotice] = []
    private var hasTallied = false
    private var missing: [Bytes32] = []
    private var commonLog: DirectoryLog?
    private var isPublished = false
    private var lastHeard: [UInt8: CivilTime] = [:]
    private var lastNewRelay: CivilTime
    private var nextPoll: CivilTime
    private var nextTidying: CivilTime
    private var survey: Survey
    // When time was let pass last.
    private var clock: CivilTime
    private var hasToldExpired = false

    /// Makes an authority that starts now.
    ///
    /// - Parameters:
    ///   - document: the newest document it had, if any; judged like any other.
    ///   - mintKeys: the mints of the network, by index.
    ///   - seed: what relays a test or measurement goes through is drawn from; secret.
    /// - Precondition: `key` is that of an authority of `root`.
    public init(
        root: TrustRoot,
        key: Ed25519.SigningKey,
        parameters: NetworkParameters,
        places: PlaceTable,
        memory: AuthorityMemory = AuthorityMemory(),
        document: ConsensusDocument? = nil,
        mintKeys: [Bytes32] = [],
        seed: Bytes32,
        now: CivilTime
    ) {
        guard let own = root.authorities.first(where: { $0.key == key.publicKey }) else {
            preconditionFailure("the key is an authority's")
        }
        self.root = root
        self.own = own.index
        self.key = key
        self.parameters = parameters
        self.places = places
        self.memory = memory
        schedule = VotingSchedule(
            intervalSeconds: parameters.intervalSeconds,
            toleratedFaultCount: root.toleratedFaultCount
        )
        register = RelayRegister(network: root.network, parameters: parameters)
        mints = MintRegister(network: root.network, keys: mintKeys)
        known = KnownDirectory(root: root)
        isFounding = true
        voting = schedule.founding(after: now)
        exchange = VoteExchange(voting, root: root, own: self.own)
        lastNewRelay = now
        nextPoll = now
        nextTidying = now
        survey = Survey(parameters: parameters, seed: seed, now: now)
        clock = now
        if let document { adopt(document, from: nil, now: now) }
        plan(now: now)
    }

    // MARK: Outputs

    /// Takes the next action.
    public mutating func nextAction() -> Action? {
        actions.popFirst()
    }

    /// When ``advance(to:)`` has something to do.
    public var nextDeadline: CivilTime {
        var deadline = min(nextPoll, nextTidying)
        deadline = min(deadline, survey.nextDeadline)
        if !hasProposed { deadline = min(deadline, voting.start) }
        if !hasTallied { deadline = min(deadline, voting.signing) }
        // What is past has been looked at: more signatures come by themselves.
        if candidate != nil, !isPublished, voting.publication > clock {
            deadline = min(deadline, voting.publication)
        }
        deadline = min(deadline, voting.end)
        let test = register.nextTest(
            everyMilliseconds: testMilliseconds,
            limit: Self.testLimit
        )
        return min(deadline, test)
    }

    /// The newest document believed.
    public var newest: ConsensusDocument? {
        known.believed
    }

    /// Authorities heard of lately, this one included.
    public func metCount(at now: CivilTime) -> Int {
        1 + lastHeard.count { $0.value + Self.metMilliseconds > now }
    }

    private var testMilliseconds: UInt64 {
        UInt64(parameters.intervalSeconds) * 1_000 / 4
    }

    // MARK: Relays

    /// Takes what should be a relay's signed descriptor; gives what this authority thinks of it.
    ///
    /// - Throws: ``RelayRegister/Refusal``.
    public mutating func receive(
        descriptor bytes: [UInt8],
        now: CivilTime
    ) throws(RelayRegister.Refusal) -> RelayRegister.Standing {
        let descriptor: SignedDescriptor
        do throws(DirectoryError) {
            descriptor = try SignedDescriptor(parsing: bytes)
        } catch {
            counters.refusedDescriptors += 1
            throw .unverified(error)
        }
        return try receive(descriptor, now: now)
    }

    /// Takes a relay's descriptor; gives what this authority thinks of the relay.
    ///
    /// - Throws: ``RelayRegister/Refusal``.
    public mutating func receive(
        _ descriptor: SignedDescriptor,
        now: CivilTime
    ) throws(RelayRegister.Refusal) -> RelayRegister.Standing {
        let isNew: Bool
        do throws(RelayRegister.Refusal) {
            isNew = try register.add(descriptor, at: now.wall)
        } catch {
            counters.refusedDescriptors += 1
            throw error
        }
        if isNew {
            counters.descriptors += 1
            lastNewRelay = now
            startTests(now: now)
            retryTally(now: now)
        }
        return register.standing(of: descriptor.descriptor.id) ?? .untested
    }

    /// Takes descriptors another authority handed over; bad ones are passed over and counted.
    public mutating func receive(descriptors: [SignedDescriptor], now: CivilTime) {
        for descriptor in descriptors {
            do throws(RelayRegister.Refusal) {
                _ = try receive(descriptor, now: now)
            } catch {
                continue
            }
        }
    }

    /// Takes the result of a test.
    public mutating func finishTest(
        of digest: Bytes32,
        _ outcome: RelayRegister.TestOutcome,
        now: CivilTime
    ) {
        if register.noteTest(of: digest, outcome, at: now) { lastNewRelay = now }
        startTests(now: now)
    }

    /// Takes what a relay carried when it was measured, in kilobits a second; `nil` where nothing
    /// came back.
    public mutating func finishMeasurement(
        of relay: NodeID,
        at place: Place,
        kilobits: UInt32?,
        now: CivilTime
    ) {
        guard survey.finish(relay, at: place, view: known.view, now: now) else { return }
        counters.measurements += 1
        if kilobits == nil { counters.failedMeasurements += 1 }
        register.noteMeasured(kilobits, of: relay, at: place, now: now)
    }

    /// What was known of relays before a restart, to put on disk.
    public var history: [UInt8] {
        register.encodedHistory()
    }

    /// Takes over what ``history`` was, after the descriptors of those relays.
    ///
    /// - Throws: ``WireError`` for anything else.
    public mutating func restore(history: [UInt8], now: CivilTime) throws(WireError) {
        try register.restoreHistory(history, at: now.wall)
    }

    private mutating func startTests(now: CivilTime) {
        let due = register.takeDueTests(
            at: now,
            everyMilliseconds: testMilliseconds,
            limit: Self.testLimit
        )
        for signed in due {
            let onward = survey.onward(from: signed, register, view: known.view, now: now)
            actions.append(.test(signed, onwardTo: onward))
        }
    }

    // MARK: Mints

    /// Takes what should be a mint's announcement; gives whether it says something new.
    ///
    /// - Throws: ``MintRegister/Refusal``.
    public mutating func receive(
        announcement bytes: [UInt8],
        now: CivilTime
    ) throws(MintRegister.Refusal) -> Bool {
        do throws(MintRegister.Refusal) {
            let isNew = try mints.receive(bytes, at: now.wall)
            if isNew { counters.announcements += 1 }
            return isNew
        } catch {
            counters.refusedAnnouncements += 1
            throw error
        }
    }

    /// Takes over the announcements it had before a restart.
    public mutating func restore(mints section: MintSection, now: CivilTime) {
        mints.restore(section, at: now.wall)
    }

    // MARK: Authorities

    /// Takes a vote another authority sent or passed on.
    public mutating func receive(_ vote: SignedVote, now: CivilTime) {
        let answer = exchange.receive(vote, now: now, key: key)
        switch answer {
        case .accepted(let endorsed, let others):
            counters.votes += 1
            for index in others { actions.append(.sendVote(endorsed, to: index)) }
            fetchMissing(of: vote.vote)
        case .known: break
        case .refused: counters.refusedVotes += 1
        }
    }

    /// Takes signatures another authority sent.
    public mutating func receive(_ notice: SignatureNotice, now: CivilTime) {
        guard notice.network == root.network else { return counters.refusedSignatures += 1 }
        guard notice.validAfter == voting.validAfter else { return }
        if candidate == nil {
            // Sooner than this authority has counted: kept, one for each sender that can be.
            if early.count < Self.noticesKept { early.append(notice) }
            return
        }
        add(notice, now: now)
    }

    /// Takes the newest document of another authority, or learns that it has none.
    public mutating func receive(
        document: ConsensusDocument?,
        from index: UInt8,
        now: CivilTime
    ) {
        lastHeard[index] = now
        guard let document else { return }
        adopt(document, from: index, now: now)
    }

    private mutating func fetchMissing(of vote: DirectoryVote) {
        let unknown = vote.entries.map(\.descriptor).filter { register.descriptor($0) == nil }
        let digests = Array(unknown.prefix(Self.fetchLimit))
        guard !digests.isEmpty else { return }
        actions.append(.fetchDescriptors(digests, from: vote.author))
    }

    // MARK: Time

    /// Lets time pass: votes, counts, signs, publishes, tests relays and asks other authorities.
    public mutating func advance(to now: CivilTime) {
        clock = now
        if now >= voting.end { plan(now: now) }
        if !hasProposed, now >= voting.start { propose(now: now) }
        if !hasTallied, now >= voting.signing { tally(now: now) }
        if candidate != nil, !isPublished, now >= voting.publication { complete(now: now) }
        if now >= nextPoll { poll(now: now) }
        if now >= nextTidying {
            register.forgetOld(at: now.wall)
            nextTidying = now + 60_000
            tellExpired(now: now)
        }
        if let measurement = survey.advance(&register, view: known.view, now: now) {
            actions.append(.measure(measurement))
        }
        startTests(now: now)
    }

    /// Sets out for the next voting, a founding one while there is no document that holds.
    private mutating func plan(now: CivilTime) {
        if !isPublished, hasTallied, let candidate {
            counters.failedVotings += 1
            actions.append(
                .report(
                    .unsigned(
                        validAfter: voting.validAfter,
                        count: root.signers(of: candidate).count,
                        threshold: root.threshold
                    )
                )
            )
        }
        let isFounded = known.view.map { $0.freshness(at: now.wall) != .expired } ?? false
        isFounding = !isFounded
        voting = isFounding ? schedule.founding(after: now) : schedule.regular(after: now)
        exchange = VoteExchange(voting, root: root, own: own)
        hasProposed = false
        hasTallied = false
        isPublished = false
        candidate = nil
        commonLog = nil
        missing = []
        early = []
    }

    private mutating func poll(now: CivilTime) {
        let every =
            isFounding
            ? Self.meetingMilliseconds
            : max(Self.meetingMilliseconds, UInt64(parameters.intervalSeconds) * 1_000 / 4)
        nextPoll = now + every
        for authority in root.authorities where authority.index != own {
            actions.append(.fetchDocument(from: authority.index))
        }
    }

    private mutating func tellExpired(now: CivilTime) {
        guard let view = known.view, view.freshness(at: now.wall) == .expired else {
            hasToldExpired = false
            return
        }
        guard !hasToldExpired else { return }
        hasToldExpired = true
        actions.append(.report(.expired(view.consensus.validUntil)))
    }

    // MARK: Voting

    private mutating func propose(now: CivilTime) {
        guard voting.validAfter > memory.votedFor, voting.validAfter > memory.newest,
            !isFounding || isReadyToFound(now: now)
        else {
            hasProposed = true
            return
        }
        hasProposed = true
        // Late is as good as never: the others would not take it.
        guard voting.round(at: now) == 1 else { return }
        let vote = DirectoryVote(
            network: root.network,
            validAfter: voting.validAfter,
            author: own,
            parameters: parameters,
            log: memory.log.encoded(),
            entries: register.entries(at: voting.validAfter, places: places),
            mints: mints.section
        )
        guard let signed = try? SignedVote(signing: vote, with: key) else { return }
        memory.votedFor = voting.validAfter
        actions.append(.store(memory))
        for index in exchange.propose(signed) { actions.append(.sendVote(signed, to: index)) }
    }

    /// Whether enough authorities have met and relays have come to rest.
    private func isReadyToFound(now: CivilTime) -> Bool {
        metCount(at: now) >= root.threshold && register.runningCount > 0
            && lastNewRelay + Self.settlingMilliseconds <= now
    }

    private mutating func tally(now: CivilTime) {
        hasTallied = true
        for index in exchange.doubleVoters {
            let name = root.authority(index)?.name ?? "\(index)"
            actions.append(.report(.doubleVote(validAfter: voting.validAfter, by: name)))
        }
        sign(now: now)
    }

    private mutating func sign(now: CivilTime) {
        let votes = exchange.votes
        let body: [UInt8]
        do throws(VoteTally.Failure) {
            let tally = VoteTally(votes, root: root)
            commonLog = try? tally.commonLog()
            body = try tally.body(validAfter: voting.validAfter) { register.descriptor($0) }
        } catch {
            if case .missing(let digests) = error { return fetch(digests, votes: votes) }
            // Founding is tried until it succeeds; that is no failure of a network that runs.
            guard !isFounding else { return }
            counters.failedVotings += 1
            actions.append(.report(.failed(validAfter: voting.validAfter, error)))
            return
        }
        missing = []
        guard voting.validAfter > memory.signedFor,
            var document = try? ConsensusDocument(body: body),
            let signature = try? document.signature(by: own, with: key),
            let signed = try? document.adding(signature)
        else { return }
        document = signed
        memory.signedFor = voting.validAfter
        actions.append(.store(memory))
        candidate = document
        send(document, to: root.authorities.map(\.index).filter { $0 != own })
        let waiting = early
        early = []
        for notice in waiting { add(notice, now: now) }
        complete(now: now)
    }

    private mutating func fetch(_ digests: [Bytes32], votes: [DirectoryVote]) {
        missing = digests
        for vote in votes where vote.author != own {
            let wanted = Set(vote.entries.map(\.descriptor)).intersection(digests)
            guard !wanted.isEmpty else { continue }
            let some = Array(wanted.sorted().prefix(Self.fetchLimit))
            actions.append(.fetchDescriptors(some, from: vote.author))
        }
    }

    private mutating func retryTally(now: CivilTime) {
        guard hasTallied, candidate == nil, !missing.isEmpty, now < voting.end else { return }
        guard missing.allSatisfy({ register.descriptor($0) != nil }) else { return }
        sign(now: now)
    }

    private mutating func send(_ document: ConsensusDocument, to indexes: [UInt8]) {
        let notice = SignatureNotice(
            network: root.network,
            validAfter: voting.validAfter,
            digest: document.digest,
            signatures: document.signatures
        )
        for index in indexes { actions.append(.sendSignatures(notice, to: index)) }
    }

    private mutating func add(_ notice: SignatureNotice, now: CivilTime) {
        guard let current = candidate, notice.digest == current.digest else {
            return counters.refusedSignatures += 1
        }
        let before = root.signers(of: current).count
        var document = current
        for signature in notice.signatures {
            guard let authority = root.authority(signature.index),
                document.isValid(signature, by: authority.key),
                let more = try? document.adding(signature)
            else {
                counters.refusedSignatures += 1
                continue
            }
            document = more
        }
        candidate = document
        let count = root.signers(of: document).count
        // Whoever completes it hands all signatures to those who may still lack some.
        if before < root.threshold, count >= root.threshold {
            send(document, to: root.authorities.map(\.index).filter { $0 != own })
        }
        complete(now: now)
    }

    private mutating func complete(now: CivilTime) {
        guard let candidate, now >= voting.publication,
            root.signers(of: candidate).count >= root.threshold
        else { return }
        adopt(candidate, from: nil, now: now)
    }

    // MARK: Documents

    /// Believes a document or says why not; a newer one is served and ends a founding.
    private mutating func adopt(_ document: ConsensusDocument, from index: UInt8?, now: CivilTime) {
        let before = known.believed
        if let before, before.digest == document.digest {
            guard document.signatures.count > before.signatures.count else { return }
        }
        do throws(DirectoryError) {
            // An expired one still continues the chain.
            _ = try known.accept(
                document,
                at: now.wall,
                graceSeconds: TrustRoot.maximumGraceSeconds
            )
        } catch {
            if let index { actions.append(.report(.refusedDocument(from: index, error))) }
            if case .conflict = error, let proof = known.equivocation {
                actions.append(.report(.equivocation(proof)))
            }
            return
        }
        let isNew = before?.digest != document.digest
        if isNew { extendLog(with: document) }
        if document.consensus.validAfter == voting.validAfter { isPublished = true }
        actions.append(.publish(document))
        guard isNew else { return }
        counters.documents += 1
        hasToldExpired = false
        actions.append(
            .report(
                .published(
                    validAfter: document.consensus.validAfter,
                    digest: document.digest,
                    relays: document.consensus.relays.count,
                    signers: root.signers(of: document).map(\.name)
                )
            )
        )
        let hasFounded = isFounding && known.view?.freshness(at: now.wall) != .expired
        if hasFounded || document.consensus.validAfter > voting.validAfter {
            isPublished = true
            plan(now: now)
        }
    }

    /// Puts a document into the log where it follows, or begins a log at it where it does not.
    private mutating func extendLog(with document: ConsensusDocument) {
        let consensus = document.consensus
        guard consensus.validAfter > memory.newest else { return }
        // What was missed is had from the others, by the log they agreed on in this voting.
        let log = [memory.log, commonLog].compactMap(\.self).first { log in
            log.lastDigest == consensus.previousDigest && log.size == consensus.logSize
                && log.root == consensus.logRoot
        }
        if var log {
            log.append(document.digest)
            memory.log = log
        }
        memory.newest = consensus.validAfter
        actions.append(.store(memory))
    }
}
