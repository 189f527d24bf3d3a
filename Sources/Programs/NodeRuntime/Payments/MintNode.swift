import Base
public import ControlAPI
import CryptoPrimitives
import Directory
public import DirectoryHTTP
import EventLoop
public import Logging
import MintCore
public import NodeConfiguration
import Store
import Tickets
public import Wire

/// A mint that runs: a ``MintControl`` between HTTP, a ledger on disk and threads that sign.
public actor MintNode: MintService {
    private static let look: Duration = .seconds(1)
    private static let answerTime: Duration = .seconds(5)
    private static let answerLimit = 4_096
    /// Requests that wait for their answers, at most.
    private static let waitingLimit = 512

    private let configuration: MintConfiguration
    private let network: NetworkConfiguration
    private let own: NetworkConfiguration.Body
    private let logger: Logger
    private let http = DirectoryClient()
    private let store: RecordStore
    private let gossip: MintGossip
    private let keeper: DirectoryKeeper
    private let news: AsyncStream<DirectoryNews>
    private let door: MintDoor
    private let started = MonotonicClock.now()
    private let failures: AsyncStream<String>
    private let failed: AsyncStream<String>.Continuation
    private let outcomes: AsyncStream<MintJob.Outcome>
    private let commits: AsyncStream<StoreError?>
    private let told: AsyncStream<(number: UInt64, mint: UInt8)>
    private let signers: WorkerPool<MintJob>
    private let writer: WorkerPool<[RecordWrite]>
    private var control: MintControl
    private var tickets: TicketNetwork?
    private var parameters: NetworkParameters?
    private var waiting: [UInt64: CheckedContinuation<MintReply, Never>] = [:]
    private var nextToken: UInt64 = 1
    private var problem: String?
    private var tasks: [Task<Void, Never>] = []
    private var announcedAt: Instant?
    private var answers: [String: String] = [:]
    private var counts: [String: UInt64] = [:]

    /// Starts the mint that `configuration` describes.
    ///
    /// - Parameter parameters: what holds until a consensus is there; `nil` to wait for it.
    /// - Throws: ``ConfigurationError``, ``StoreError``, ``IOError`` or `DirectoryError`, each saying
    ///   what is wrong and what to do.
    public static func start(
        _ configuration: MintConfiguration,
        parameters: NetworkParameters?,
        logger: Logger
    ) async throws -> MintNode {
        try StateFolder.make(configuration.stateFolder)
        let node = try MintNode(configuration, parameters: parameters, logger: logger)
        await node.begin()
        return node
    }

    private init(
        _ configuration: MintConfiguration,
        parameters: NetworkParameters?,
        logger: Logger
    ) throws {
        self.configuration = configuration
        self.parameters = parameters
        self.logger = logger
        network = try NetworkConfiguration(file: configuration.network)
        let root = try TrustRoot(network)
        let key = Ed25519.SigningKey(seed: try KeyFile.read(configuration.key))
        guard let own = network.mints.first(where: { $0.key == key.publicKey }) else {
            throw ConfigurationError([
                ConfigurationProblem(
                    what: "\(configuration.key) is no mint's key",
                    why: "\(configuration.network) does not list its public key"
                        + " \(key.publicKey.hex) under [[mint]]",
                    hint: "add it to network.toml, or name another key"
                )
            ])
        }
        self.own = own
        door = MintDoor(key: try Self.sealingKey(in: configuration.stateFolder))
        store = try RecordStore(path: "\(configuration.stateFolder)/ledger.sqlite")
        control = try MintControl(
            identity: MintControl.Identity(
                network: root.network,
                index: own.index,
                key: key,
                admins: network.admins.map(\.key),
                grantThreshold: network.grantThreshold
            ),
            records: try store.records()
        )
        let (told, tellOf) = AsyncStream.makeStream(of: (number: UInt64, mint: UInt8).self)
        self.told = told
        gossip = MintGossip(own: own.index) { tellOf.yield((number: $0, mint: $1)) }
        (failures, failed) = AsyncStream.makeStream(of: String.self)
        let (news, tell) = AsyncStream.makeStream(of: DirectoryNews.self)
        self.news = news
        keeper = DirectoryKeeper(
            DirectoryKeeper.Settings(
                network: network,
                file: nil,
                stateFolder: configuration.stateFolder,
                isClient: false
            ),
            root: root,
            logger: logger
        ) { tell.yield($0) }
        let (outcomes, done) = AsyncStream.makeStream(of: MintJob.Outcome.self)
        self.outcomes = outcomes
        signers = try WorkerPool(name: "umbel-mint", count: 2) { job in done.yield(job.run()) }
        let (commits, committed) = AsyncStream.makeStream(of: StoreError?.self)
        self.commits = commits
        let store = store
        writer = try WorkerPool(name: "umbel-ledger", count: 1) { writes in
            do throws(StoreError) {
                try store.apply(writes)
                committed.yield(nil)
            } catch {
                committed.yield(error)
            }
        }
    }

    /// The key requests are sealed to: made at the first start.
    private static func sealingKey(in folder: String) throws -> Secret {
        let path = "\(folder)/sealing.key"
        return StateFolder.stamp(path) == nil ? try KeyFile.create(path) : try KeyFile.read(path)
    }

    private func begin() async {
        await serve()
        let (keeper, news, outcomes, commits) = (keeper, news, outcomes, commits)
        let told = told
        tasks = [
            Task { await keeper.run() },
            Task { for await item in news { await self.take(item) } },
            Task { for await outcome in outcomes { self.finish(outcome) } },
            Task { for await error in commits { self.committed(error) } },
            Task { for await item in told { self.noteTold(item.number, to: item.mint) } },
            Task {
                while !Task.isCancelled {
                    self.tick()
                    try? await Task.sleep(for: Self.look)
                }
            },
        ]
    }

    /// Ends the mint; what was not committed is asked again by whoever wants it.
    public func stop() async {
        for task in tasks { task.cancel() }
        signers.stop()
        writer.stop()
        for (_, continuation) in waiting { continuation.resume(returning: .refused(.unavailable)) }
        waiting = [:]
        do {
            try store.close()
        } catch {
            logger.error("the ledger cannot be closed: \(error)")
        }
    }

    /// Returns when a part of it has failed, and says why.
    public nonisolated func failure() async -> String? {
        for await failure in failures { return failure }
        return nil
    }

    private func serve() async {
        var limits = DirectoryLimits(bodyByteCounts: [
            .request: TicketLimits.exchangeByteCount + SealedRequest.overheadByteCount
        ])
        limits.connectionCount = 512
        await DirectoryServer.serve(
            self,
            on: configuration.listenAddresses,
            limits: limits,
            logger: logger
        ) { [failed] in failed.yield($0) }
    }

    // MARK: The machine

    private func take(_ item: DirectoryNews) async {
        switch item {
        case .view(let view, _):
            parameters = view.parameters
            if let tickets = TicketNetwork(view.consensus, known: tickets) {
                self.tickets = tickets
                control.setTickets(tickets)
                await gossip.setTickets(tickets)
            }
            tick()
        case .refused(let reason): logger.warning("consensus refused: \(reason)")
        case .alarm: break
        }
    }

    private func tick() {
        guard let parameters else { return }
        if control.hasFailed { mend() }
        control.keepKeys(
            epochSeconds: parameters.ticketEpochSeconds,
            at: WallClock.now()
        )
        drain()
        let isListed = tickets?.mints[own.index] != nil
        let half = UInt64(max(2, min(parameters.intervalSeconds, 1_200) / 2))
        let pause = TimeSpan.seconds(isListed ? half : 1)
        if let announcedAt, MonotonicClock.now() < announcedAt + pause { return }
        announce()
    }

    private func finish(_ outcome: MintJob.Outcome) {
        control.finish(outcome, at: WallClock.now())
        drain()
    }

    private func committed(_ error: StoreError?) {
        if let error {
            let why = "\(error)"
            if problem != why { logger.critical("the ledger cannot be written: \(why)") }
            problem = why
        } else if problem != nil {
            problem = nil
            logger.notice("the ledger is written again")
        }
        control.committed(error == nil)
        drain()
    }

    private func noteTold(_ number: UInt64, to mint: UInt8) {
        control.told(number, to: mint)
        drain()
    }

    /// Begins anew with what is on disk.
    private func mend() {
        do {
            try control.reload(try store.records())
            if let tickets { control.setTickets(tickets) }
        } catch {
            problem = "\(error)"
        }
    }

    private func drain() {
        while let action = control.nextAction() {
            switch action {
            case .commit(let writes): writer.delegate(writes)
            case .job(let job): signers.delegate(job)
            case .reply(let token, let reply):
                count(reply)
                waiting.removeValue(forKey: token)?.resume(returning: reply)
            case .tell(let number, let request, let mints):
                Task { [gossip] in await gossip.tell(number, request, to: mints) }
            case .announce: announce()
            }
        }
    }

    private func count(_ reply: MintReply) {
        let name =
            switch reply {
            case .account: "inquiries"
            case .vote: "votes"
            case .taken: "taken"
            case .refused(let reason, _): "refused_\(reason.name)"
            }
        counts[name, default: 0] += 1
    }

    private func ask(_ request: MintRequest) async -> MintReply {
        guard waiting.count < Self.waitingLimit else { return .refused(.busy) }
        let token = nextToken
        nextToken += 1
        return await withCheckedContinuation { continuation in
            waiting[token] = continuation
            control.receive(request, token: token, at: WallClock.now())
            drain()
        }
    }

    private func noteUnreadable() {
        counts["unreadable", default: 0] += 1
    }

    // MARK: Announcing

    private func announce() {
        announcedAt = MonotonicClock.now()
        let announcement = control.announcement(
            at: WallClock.now(),
            sealingKey: door.publicKey,
            addresses: configuration.listenAddresses
        )
        guard !announcement.epochs.isEmpty, let bytes = try? announcement.encoded() else { return }
        for authority in network.authorities {
            guard let address = authority.addresses.first else { continue }
            Task { [http] in
                let answer: String
                do throws(DirectoryFetchError) {
                    let response = try await http.send(
                        .post(.announcement, bytes),
                        to: address,
                        limit: Self.answerLimit,
                        within: Self.answerTime
                    )
                    guard case .bytes(let text) = response else { return }
                    answer = String(decoding: text, as: UTF8.self)
                } catch {
                    answer = "\(error)"
                }
                note(answer, of: authority.name)
            }
        }
    }

    private func note(_ answer: String, of authority: String) {
        let isAccepted = ["taken", "known"].contains(answer)
        if answers[authority] != answer, !isAccepted {
            logger.warning("announcement to \(authority): \(answer)")
        }
        answers[authority] = answer
    }

    /// The state right now.
    public func status() async -> MintStatusReport {
        let ledger = control.ledger
        let sums = ledger.sums
        return MintStatusReport(
            name: own.name,
            index: Int(own.index),
            uptimeSeconds: (MonotonicClock.now() - started).nanoseconds / 1_000_000_000,
            epoch: parameters.map {
                UInt32(clamping: WallClock.now().seconds / UInt64(max(1, $0.ticketEpochSeconds)))
            },
            isListed: tickets?.mints[own.index] != nil,
            mintsListed: tickets?.mints.count ?? 0,
            accounts: sums.accounts,
            granted: sums.granted,
            balances: sums.balances,
            withdrawn: sums.withdrawn,
            burnt: ledger.burnt,
            epochs: ledger.epochTotals.map { MintStatusReport.Epoch($0) },
            counters: counts,
            gossipWaiting: await gossip.waiting,
            problem: problem,
            authorities: answers
        )
    }
}

extension MintNode {
    /// Whether its books agree with each other.
    public func check() async throws(Failure) -> MintCheckReport {
        guard let tickets else {
            throw Failure(
                "the books cannot be checked",
                why: "no consensus says yet what is burnt at deposits",
                hint: "umbel status --socket SOCKET",
                exit: .temporary
            )
        }
        return MintCheckReport(
            isConsistent: control.ledger.isConsistent(in: tickets),
            status: await status()
        )
    }
}

extension MintNode: DirectoryService {
    /// What whoever sends a sealed request is answered.
    public nonisolated func answer(_ request: DirectoryRequest) async -> DirectoryAnswer {
        guard case .post(.request, let bytes) = request else { return .notFound }
        guard let opened = door.open(bytes) else {
            await noteUnreadable()
            return .refused("not sealed to this mint's key, or no request")
        }
        let reply = await ask(opened.request)
        guard let sealed = door.seal(reply, with: opened.answerer) else {
            return .unavailable("no randomness")
        }
        return .bytes(sealed, tag: nil)
    }
}

/// Where requests to a mint are opened and answers sealed; key work that needs no turn of the mint.
struct MintDoor: Sendable {
    private let key: Secret
    /// What requests are sealed to.
    let publicKey: Bytes32

    /// Opens with the private X25519 key `key`, 32 bytes.
    init(key: Secret) {
        self.key = key
        publicKey = X25519.PrivateKey(key).publicKey
    }

    /// The request in `bytes`; `nil` where they are none, or not for this mint.
    func open(_ bytes: [UInt8]) -> (request: MintRequest, answerer: SealedRequest.Answerer)? {
        guard let opened = try? SealedRequest.open(bytes, with: key),
            let request = try? MintRequest(parsing: opened.request)
        else { return nil }
        return (request, opened.answerer)
    }

    /// The sealed answer; `nil` where the system gives no randomness.
    func seal(_ reply: MintReply, with answerer: SealedRequest.Answerer) -> [UInt8]? {
        guard let nonce = try? SystemEntropy.kernel.read(byteCount: 32) else { return nil }
        return try? SealedRequest.seal(answer: reply.encoded, nonce: nonce, with: answerer)
    }
}

extension MintRefusal {
    /// Its name in counters.
    var name: String {
        switch self {
        case .malformed: "malformed"
        case .conflict: "conflict"
        case .needsCertificates: "needs_certificates"
        case .balance: "balance"
        case .notSigning: "not_signing"
        case .outOfTime: "out_of_time"
        case .spent: "spent"
        case .wrongList: "wrong_list"
        case .unavailable: "unavailable"
        case .busy: "busy"
        }
    }
}

extension MintStatusReport.Epoch {
    init(_ totals: MintAnnouncement.EpochTotals) {
        let sizes = Denomination.allCases.sorted { $0.index < $1.index }
        let issued = zip(totals.issued, sizes).reduce(UInt64(0)) {
            $0 + UInt64($1.0) * UInt64($1.1.tickCount)
        }
        self.init(
            epoch: totals.epoch,
            issued: issued,
            deposited: totals.deposited.reduce(0, +),
            reclaimed: totals.reclaimed.reduce(0, +)
        )
    }
}
