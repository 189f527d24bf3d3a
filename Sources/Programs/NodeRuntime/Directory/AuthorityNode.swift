import AuthorityCore
import Base
import ClientCore
public import ControlAPI
import CryptoPrimitives
import Directory
public import DirectoryHTTP
import EventLoop
import FoundationEssentials
public import Logging
public import NodeConfiguration
import Tickets
import UDPTransport
public import Wire

/// An authority that runs: an ``AuthorityControl`` between HTTP, disk and a thread that probes relays.
public actor AuthorityNode: AuthorityService {
    private static let peerTime: Duration = .seconds(10)
    private static let documentLimit = 64 << 20

    private let configuration: AuthorityConfiguration
    private let network: NetworkConfiguration
    private let root: TrustRoot
    private let own: TrustRoot.Authority
    private let logger: Logger
    private let http = DirectoryClient()
    // Why relays' directory ports did not answer when they were tested last; as many as relays at most.
    private var directoryFaults: [NodeID: String] = [:]
    private let probes: Mailbox<ProbeMessage>
    private let started = MonotonicClock.now()
    private let failures: AsyncStream<String>
    private let failed: AsyncStream<String>.Continuation
    private var control: AuthorityControl
    private var shelf = DirectoryShelf()
    private var timer: Task<Void, Never>?
    private var refusals: [UInt8: String] = [:]
    private var alarm: String?
    private var isStopped = false

    /// Starts the authority that `configuration` describes.
    ///
    /// - Throws: ``ConfigurationError``, ``IOError`` or `DirectoryError`, each saying what is wrong
    ///   and what to do.
    public static func start(
        _ configuration: AuthorityConfiguration,
        parameters: NetworkParameters,
        logger: Logger
    ) async throws -> AuthorityNode {
        try StateFolder.make(configuration.stateFolder)
        let node = try AuthorityNode(configuration, parameters: parameters, logger: logger)
        await node.serve()
        await node.begin()
        return node
    }

    private init(
        _ configuration: AuthorityConfiguration,
        parameters: NetworkParameters,
        logger: Logger
    ) throws {
        self.configuration = configuration
        self.logger = logger
        network = try NetworkConfiguration(file: configuration.network)
        root = try TrustRoot(network)
        let key = Ed25519.SigningKey(seed: try KeyFile.read(configuration.key))
        guard let own = root.authorities.first(where: { $0.key == key.publicKey }) else {
            throw ConfigurationError([
                ConfigurationProblem(
                    what: "\(configuration.key) is no authority's key",
                    why: "\(configuration.network) does not list its public key"
                        + " \(key.publicKey.hex)",
                    hint: "add it to network.toml, or name another key"
                )
            ])
        }
        self.own = own
        (failures, failed) = AsyncStream.makeStream(of: String.self)
        let files = AuthorityFiles(folder: configuration.stateFolder)
        control = AuthorityControl(
            root: root,
            key: key,
            parameters: parameters,
            places: Self.places(configuration, logger: logger),
            memory: try files.memory(),
            document: files.document,
            mintKeys: network.mints.map(\.key),
            seed: try Self.seed(),
            now: Self.now
        )
        for descriptor in files.descriptors {
            do throws(RelayRegister.Refusal) {
                _ = try control.receive(descriptor, now: Self.now)
            } catch {
                logger.info("a descriptor of the last run is of no use: \(error)")
            }
        }
        if let section = files.mints { control.restore(mints: section, now: Self.now) }
        if let history = files.history {
            do throws(WireError) {
                try control.restore(history: history, now: Self.now)
            } catch {
                logger.warning("what relays carried before is not known: \(error)")
            }
        }
        let authority = ProbeControl.Authority(index: own.index, key: key)
        probes = try Self.startProbes(network: root.network, authority: authority) { [failed] in
            failed.yield($0)
        }
    }

    private static func seed() throws(EntropyError) -> Bytes32 {
        var random = try RandomGenerator.seeded()
        return random.bytes32()
    }

    private static var now: CivilTime {
        CivilTime(milliseconds: WallClock.microsecondsSince1970() / 1_000)
    }

    private static func places(
        _ configuration: AuthorityConfiguration,
        logger: Logger
    ) -> PlaceTable {
        var places = PlaceTable()
        func read(_ paths: [String], add: (String) -> Int?) {
            for path in paths {
                guard let bytes = StateFolder.read(path) else { continue }
                if let line = add(String(decoding: bytes, as: UTF8.self)) {
                    logger.warning("\(path):\(line): not a range of addresses; passed over")
                }
            }
        }
        read(configuration.countryTables) { places.countries.add($0) }
        read(configuration.systemTables) { places.systems.add($0) }
        if places.countries.count == 0 {
            let paths = configuration.countryTables.joined(separator: ", ")
            logger.warning(
                "no relay's country is known: none of \(paths) is there (apt install tor-geoipdb)"
            )
        }
        if places.systems.count == 0, !configuration.systemTables.isEmpty {
            let paths = configuration.systemTables.joined(separator: ", ")
            logger.warning("no autonomous system is known: nothing is in \(paths)")
        }
        return places
    }

    private static func startProbes(
        network: NetworkID,
        authority: ProbeControl.Authority,
        failed: @escaping @Sendable (String) -> Void
    ) throws -> Mailbox<ProbeMessage> {
        let wakeup = try Wakeup()
        let mailbox = Mailbox<ProbeMessage>(capacity: 1_024, wakeup: wakeup)
        let any = [IPAddress(v4: 0), IPAddress(high: 0, low: 0)]
        let loop = ProbeLoop(
            control: ProbeControl(
                network: network,
                authority: authority,
                random: try RandomGenerator.seeded()
            ),
            shard: ClientShard(random: try RandomGenerator.seeded(), now: MonotonicClock.now()),
            sockets: try PacketSockets(
                any.map { SocketAddress(ip: $0, port: 0) },
                options: UDPOptions()
            ),
            mailbox: mailbox,
            wakeup: wakeup
        )
        _ = try LoopThread.start(name: "umbel-probes", owning: loop) { loop in
            do throws(IOError) {
                try loop.run()
            } catch {
                failed("\(error)")
            }
        }
        return mailbox
    }

    /// Ends the authority.
    public func stop() async {
        isStopped = true
        timer?.cancel()
        _ = probes.post(.stop)
        storeDescriptors()
    }

    /// Returns when a part of it has failed, and says why.
    public nonisolated func failure() async -> String? {
        for await failure in failures { return failure }
        return nil
    }

    // MARK: Serving

    private func serve() async {
        var limits = DirectoryLimits(bodyByteCounts: [
            .descriptor: SignedDescriptor.maximumByteCount,
            .announcement: MintAnnouncement.maximumByteCount,
            .vote: SignedVote.maximumByteCount,
            .signatures: SignatureNotice.maximumByteCount,
            .descriptors: 32 * ByteList.maximumCount,
            .proof: DirectoryKeeper.acceptedProofByteCount,
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

    private func begin() {
        let store = DirectoryStore(stateFolder: configuration.stateFolder)
        if let proof = store.proof(under: root) { raise(proof) }
        step { _, _ in }
    }

    /// Changes the machine, does what it asks for, and sleeps until it wants to be woken.
    private func step<T, E: Error>(
        _ body: (inout AuthorityControl, CivilTime) throws(E) -> T
    ) throws(E) -> T {
        defer {
            drain()
            sleep()
        }
        return try body(&control, Self.now)
    }

    private func sleep() {
        guard !isStopped else { return }
        timer?.cancel()
        let deadline = control.nextDeadline
        timer = Task { [weak self] in
            let now = Self.now
            let wait = deadline > now ? deadline.milliseconds - now.milliseconds : 0
            // Civil time may jump: it is looked at every second at least.
            try? await Task.sleep(for: .milliseconds(Int64(min(wait, 1_000))))
            guard !Task.isCancelled else { return }
            await self?.wake()
        }
    }

    private func wake() {
        step { control, now in
            if control.nextDeadline <= now { control.advance(to: now) }
        }
    }

    private func drain() {
        while let action = control.nextAction() {
            switch action {
            case .store(let memory): store(memory)
            case .sendVote(let vote, let index): post(.vote, vote.encoded(), to: index)
            case .sendSignatures(let notice, let index):
                post(.signatures, notice.encoded(), to: index)
            case .fetchDescriptors(let digests, let index): fetch(digests, from: index)
            case .fetchDocument(let index): fetchDocument(from: index)
            case .test(let descriptor, let onward): test(descriptor, onwardTo: onward)
            case .measure(let measurement): measure(measurement)
            case .publish(let document): publish(document)
            case .report(let report): tell(report)
            }
        }
    }

    private func store(_ memory: AuthorityMemory) {
        do {
            try AuthorityFiles(folder: configuration.stateFolder).store(memory)
        } catch {
            // Without it the next start could sign a second document for this interval.
            failed.yield("\(configuration.stateFolder) cannot be written: \(error)")
        }
    }

    private func publish(_ document: ConsensusDocument) {
        shelf.add(document)
        do {
            try AuthorityFiles(folder: configuration.stateFolder).store(document)
        } catch {
            logger.error("\(configuration.stateFolder) cannot be written: \(error)")
        }
        storeDescriptors()
    }

    private func storeDescriptors() {
        do {
            let files = AuthorityFiles(folder: configuration.stateFolder)
            try files.store(control.register.descriptors)
            try files.store(history: control.history)
        } catch {
            logger.error("\(configuration.stateFolder) cannot be written: \(error)")
        }
    }

    private func test(_ descriptor: SignedDescriptor, onwardTo next: SignedDescriptor?) {
        let digest = descriptor.digest
        let relay = descriptor.descriptor.id
        let path = [descriptor, next].compactMap(\.self).compactMap(ProbeControl.Target.init)
        let port = Task<String?, Never> { [http, address = path.first?.address] in
            if let address { await DirectoryPortTest.fault(at: address, http) } else { nil }
        }
        probe(ProbeControl.Plan(path: path, showsPass: isPaid)) { node, outcome in
            let place = path.first.map { "UDP \($0.address)" } ?? "it"
            let result: RelayRegister.TestOutcome =
                switch outcome.failure {
                case nil: .answered
                case .silent(let reason): .silent("\(place) \(reason)")
                case .stuck(let reason): .stuck(reason)
                }
            await node.note(directoryFault: await port.value, of: relay)
            await node.step { $0.finishTest(of: digest, result, now: $1) }
        }
    }

    private func note(directoryFault fault: String?, of relay: NodeID) {
        directoryFaults[relay] = fault
    }

    private func measure(_ measurement: AuthorityControl.Measurement) {
        let parameters = control.newest?.consensus.parameters ?? NetworkParameters()
        let plan = ProbeControl.Plan(
            path: measurement.path.compactMap(ProbeControl.Target.init),
            measurement: ProbeControl.Measurement(
                cells: Int(parameters.measureCells),
                time: .milliseconds(UInt64(parameters.measureMilliseconds))
            ),
            showsPass: isPaid
        )
        probe(plan) { [logger] node, outcome in
            let name = measurement.relay
            logger.debug(
                "relay \(name) as \(measurement.place) of \(measurement.path.count): \(outcome.kilobits.map { "\($0) kbit/s" } ?? "\(outcome.failure.map { "\($0)" } ?? "nothing")")"
            )
            await node.step {
                $0.finishMeasurement(
                    of: measurement.relay,
                    at: measurement.place,
                    kilobits: outcome.kilobits,
                    now: $1
                )
            }
        }
    }

    /// Whether relays carry only what is paid for.
    private var isPaid: Bool {
        guard let consensus = control.newest?.consensus else { return false }
        return consensus.parameters.paymentsRequired && !consensus.mints.announcements.isEmpty
    }

    private func probe(
        _ plan: ProbeControl.Plan,
        then finish: @escaping @Sendable (AuthorityNode, ProbeControl.Outcome) async -> Void
    ) {
        let isPosted = probes.post(.probe(plan) { outcome in Task { await finish(self, outcome) } })
        if !isPosted { logger.warning("the probing thread is overrun") }
    }

    // MARK: Other authorities

    private func post(_ kind: DirectoryRequest.Post, _ bytes: [UInt8], to index: UInt8) {
        guard let address = network.addresses(of: index).first else { return }
        Task { [http, logger] in
            do throws(DirectoryFetchError) {
                _ = try await http.send(
                    .post(kind, bytes),
                    to: address,
                    limit: 4_096,
                    within: Self.peerTime
                )
            } catch {
                logger.info("\(kind.rawValue) to authority \(index): \(error)")
            }
        }
    }

    private func fetch(_ digests: [Bytes32], from index: UInt8) {
        guard let address = network.addresses(of: index).first else { return }
        Task { [http, logger] in
            do {
                let answer = try await http.send(
                    .post(.descriptors, digests.flatMap(\.bytes)),
                    to: address,
                    limit: ByteList.maximumByteCount(of: SignedDescriptor.maximumByteCount),
                    within: Self.peerTime
                )
                guard case .bytes(let bytes) = answer else { return }
                let list = try ByteList.parse(bytes, limit: SignedDescriptor.maximumByteCount)
                let descriptors = try list.map { try SignedDescriptor(parsing: $0) }
                step { $0.receive(descriptors: descriptors, now: $1) }
            } catch {
                logger.info("descriptors of authority \(index): \(error)")
            }
        }
    }

    private func fetchDocument(from index: UInt8) {
        guard let address = network.addresses(of: index).first else { return }
        let known = control.newest?.digest
        Task { [http, logger] in
            do throws(DirectoryFetchError) {
                let answer = try await http.send(
                    .newest,
                    to: address,
                    known: known,
                    limit: Self.documentLimit,
                    within: Self.peerTime
                )
                var document: ConsensusDocument?
                if case .bytes(let bytes) = answer {
                    document = try? ConsensusDocument(parsing: bytes)
                }
                step { $0.receive(document: document, from: index, now: $1) }
            } catch {
                logger.debug("authority \(index): \(error)")
            }
        }
    }

    // MARK: Reports

    private func tell(_ report: AuthorityControl.Report) {
        switch report {
        case .published(let time, let digest, let relays, let signers):
            logger.notice(
                "consensus \(digest.hex.prefix(8)) of \(time.seconds) with \(relays) relays, signed by \(signers.joined(separator: ", "))"
            )
        case .failed(let time, let failure):
            logger.warning("no consensus for \(time.seconds): \(failure)")
        case .unsigned(let time, let count, let threshold):
            logger.warning(
                "consensus for \(time.seconds) has \(count) of \(threshold) signatures needed"
            )
        case .doubleVote(let time, let name):
            logger.error("authority \(name) voted twice for \(time.seconds): its votes are void")
        case .expired(let time):
            logger.error(
                "the consensus expired at \(time.seconds), and too few authorities agree on another"
            )
        case .refusedDocument(let index, let error):
            let reason = "\(error)"
            guard refusals[index] != reason else { return }
            refusals[index] = reason
            logger.warning("the consensus of authority \(index) is not believed: \(reason)")
        case .equivocation(let proof):
            raise(proof)
        }
    }

    private func raise(_ proof: Equivocation) {
        guard alarm == nil else { return }
        alarm = "\(proof)"
        shelf.add(proof)
        logger.critical("authorities contradict themselves: \(proof)")
        do {
            let path = try DirectoryStore(stateFolder: configuration.stateFolder).store(proof)
            alarm = "\(proof); proof in \(path)"
        } catch {
            logger.error("the proof cannot be stored: \(error)")
        }
    }

    /// The state right now.
    public func status() -> AuthorityStatusReport {
        let counters = control.counters
        return AuthorityStatusReport(
            name: own.name,
            index: own.index,
            uptimeSeconds: (MonotonicClock.now() - started).nanoseconds / 1_000_000_000,
            met: control.metCount(at: Self.now),
            authorities: root.authorities.count,
            threshold: root.threshold,
            relaysKnown: control.register.count,
            relaysRunning: control.register.runningCount,
            counters: [
                "documents": counters.documents,
                "failed_votings": counters.failedVotings,
                "votes": counters.votes,
                "refused_votes": counters.refusedVotes,
                "refused_signatures": counters.refusedSignatures,
                "descriptors": counters.descriptors,
                "refused_descriptors": counters.refusedDescriptors,
                "measurements": counters.measurements,
                "failed_measurements": counters.failedMeasurements,
                "announcements": counters.announcements,
                "refused_announcements": counters.refusedAnnouncements,
            ],
            directory: control.newest.map {
                DirectoryReport($0, root: root, source: "voting", alarm: alarm)
            }
        )
    }
}

extension AuthorityNode: DirectoryService {
    /// What relays, clients and other authorities are answered.
    public func answer(_ request: DirectoryRequest) -> DirectoryAnswer {
        guard case .post(let kind, let bytes) = request else { return shelf.answer(request) }
        do {
            switch kind {
            case .descriptor:
                let standing = try step { control, now throws(RelayRegister.Refusal) in
                    try control.receive(descriptor: bytes, now: now)
                }
                // Others hand the directory out too: a fault there is told, and costs no flag.
                let relay = (try? SignedDescriptor(parsing: bytes))?.descriptor.id
                let fault = relay.flatMap { directoryFaults[$0] }.map { "; \($0)" } ?? ""
                return .accepted("\(standing)\(fault)")
            case .announcement:
                let isNew = try step { control, now throws(MintRegister.Refusal) in
                    try control.receive(announcement: bytes, now: now)
                }
                if isNew {
                    try AuthorityFiles(folder: configuration.stateFolder)
                        .store(control.mints.section)
                }
                return .accepted(isNew ? "taken" : "known")
            case .request: return .notFound
            case .vote:
                let vote = try SignedVote(parsing: bytes)
                step { $0.receive(vote, now: $1) }
            case .signatures:
                let notice = try SignatureNotice(parsing: bytes)
                step { $0.receive(notice, now: $1) }
            case .descriptors: return descriptors(bytes)
            case .proof:
                guard alarm == nil else { return .accepted("known") }
                raise(try Equivocation(parsing: bytes, under: root))
            }
            return .accepted("")
        } catch {
            return .refused("\(error)")
        }
    }

    private func descriptors(_ bytes: [UInt8]) -> DirectoryAnswer {
        guard bytes.count.isMultiple(of: 32) else { return .refused("not a list of digests") }
        let found = stride(from: 0, to: bytes.count, by: 32)
            .compactMap { Bytes32(Array(bytes[$0..<$0 + 32])) }
            .compactMap { control.register.descriptor($0)?.encoded() }
        return .bytes(ByteList.encode(found), tag: nil)
    }
}

/// An authority's files.
struct AuthorityFiles: Sendable {
    let folder: String

    private var memoryPath: String { "\(folder)/authority.state" }
    private var documentPath: String { "\(folder)/consensus" }
    private var historyPath: String { "\(folder)/relays.history" }
    private var mintsPath: String { "\(folder)/mints" }
    private var descriptorsPath: String { "\(folder)/descriptors" }

    /// What the authority has said before.
    ///
    /// - Throws: ``ConfigurationError`` where the file is damaged: who does not know what it has
    ///   signed must not sign.
    func memory() throws(ConfigurationError) -> AuthorityMemory {
        guard let bytes = StateFolder.read(memoryPath) else { return AuthorityMemory() }
        do {
            return try AuthorityMemory(parsing: bytes)
        } catch {
            throw ConfigurationError([
                ConfigurationProblem(
                    what: "\(memoryPath): damaged",
                    why: "\(error); the authority does not know what it has signed",
                    hint: "restore it; or remove it when three intervals have passed"
                )
            ])
        }
    }

    func store(_ memory: AuthorityMemory) throws {
        try StateFolder.write(memory.encoded(), to: memoryPath)
    }

    var document: ConsensusDocument? {
        StateFolder.read(documentPath).flatMap { try? ConsensusDocument(parsing: $0) }
    }

    func store(_ document: ConsensusDocument) throws {
        try StateFolder.write(document.encoded(), to: documentPath)
    }

    /// The mints' announcements of the last run; `nil` where there are none.
    var mints: MintSection? {
        StateFolder.read(mintsPath).flatMap { try? MintSection(parsing: $0) }
    }

    func store(_ mints: MintSection) throws {
        try StateFolder.write(mints.encoded(), to: mintsPath)
    }

    /// What was known of relays in the last run.
    var history: [UInt8]? {
        StateFolder.read(historyPath)
    }

    func store(history: [UInt8]) throws {
        try StateFolder.write(history, to: historyPath)
    }

    /// The descriptors of the last run: `count u32 | count x (length u16 | bytes)`.
    var descriptors: [SignedDescriptor] {
        guard let bytes = StateFolder.read(descriptorsPath) else { return [] }
        var reader = ByteReader(bytes)
        var found: [SignedDescriptor] = []
        guard let count = try? reader.read(UInt32.self) else { return [] }
        for _ in 0..<count {
            guard let length = try? reader.read(UInt16.self),
                let item = try? reader.read(byteCount: Int(length)),
                let descriptor = try? SignedDescriptor(parsing: item)
            else { return found }
            found.append(descriptor)
        }
        return found
    }

    func store(_ descriptors: [SignedDescriptor]) throws {
        var writer = ByteWriter(capacity: descriptors.count * 1_500)
        writer.write(UInt32(clamping: descriptors.count))
        for descriptor in descriptors {
            let bytes = descriptor.encoded()
            writer.write(UInt16(clamping: bytes.count))
            writer.write(bytes)
        }
        try StateFolder.write(writer.bytes, to: descriptorsPath)
    }
}

extension ProbeControl.Target {
    /// The relay of a descriptor, at its first address.
    init?(_ signed: SignedDescriptor) {
        let descriptor = signed.descriptor
        guard let address = descriptor.addresses.v4 ?? descriptor.addresses.v6 else { return nil }
        self.init(
            relay: descriptor.id,
            address: address,
            circuitKey: descriptor.circuitKey
        )
    }
}

extension DirectoryReport {
    /// What a document says, as status reports show it.
    init(_ document: ConsensusDocument, root: TrustRoot, source: String, alarm: String?) {
        self.init(
            validAfter: document.consensus.validAfter.seconds,
            validUntil: document.consensus.validUntil.seconds,
            relays: document.consensus.relays.count,
            signers: root.signers(of: document).map(\.name),
            authorities: root.authorities.map(\.name),
            threshold: root.threshold,
            source: source,
            isPaid: document.consensus.parameters.paymentsRequired
                && TicketNetwork(document.consensus)?.sellsVouchers(at: WallClock.now()) == true,
            alarm: alarm
        )
    }
}
