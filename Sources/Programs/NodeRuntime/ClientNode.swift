import Base
import Circuits
import ClientCore
public import ControlAPI
import CryptoPrimitives
import Directory
import EventLoop
import Flows
import HostNetwork
public import Logging
public import NodeConfiguration
import Paths
import UDPTransport
import Wire

/// A client's daemon that runs: threads, sockets, TUN devices, routes and the kill switch around a
/// ``ClientControl`` and a ``ClientShard``.
///
/// Spec: `ux.md` (states), design §4 (kill switch, addresses).
public actor ClientNode: ClientService {
    struct Tunnel {
        let core: ClientCore.TunnelID
        let interface: String
        let offload: TunCoalescer.Offload
        /// Whose it is; `nil` for the machine's.
        let owner: OwnerProcess?
        /// What its paths are to keep to.
        var wanted: PathConstraints
        /// What its traffic is to look like.
        var traffic: TrafficChoice
        var state = ClientControl.TunnelState.connecting(reason: nil)
        var hasConnected = false
        var waiters: [CheckedContinuation<Void, Never>] = []

        init(
            _ core: ClientCore.TunnelID,
            _ opened: OpenedTunnel,
            owner: OwnerProcess?,
            wanted: PathConstraints,
            traffic: TrafficChoice
        ) {
            self.core = core
            self.wanted = wanted
            self.traffic = traffic
            interface = opened.name
            offload = opened.offload
            self.owner = owner
        }
    }

    private static let connectLimit: Duration = .seconds(30)
    private static let watchInterval: Duration = .seconds(1)
    /// Of so many circuits that begin to serve one has its exit audited.
    private static let auditShare: UInt64 = 200
    /// What audits ask for: the root servers, which have the same addresses everywhere.
    private static let auditNames = "abcdefghijklm".map { "\($0).root-servers.net" }
    /// How long the last datagrams may take to leave when the daemon ends.
    private static let farewellLimit: Duration = .seconds(1)

    var configuration: ClientConfiguration
    let control: Mailbox<ClientControlMessage>
    let packets: Mailbox<ClientLoopMessage>
    private let failures: AsyncStream<String>
    private let packetsEnded: AsyncStream<Void>
    let logger: Logger
    let wallet: WalletFiles
    let network: MachineNetwork
    private let split: SplitTunnel
    let directory: ClientDirectory

    var tunnels: [ControlAPI.TunnelID: Tunnel] = [:]
    var machine: ControlAPI.TunnelID?
    var isBusy = false
    /// Puts the machine's rules right; whoever changes them waits for it first.
    var mending: Task<Void, Never>?
    /// Whether the kernel holds back what does not go through the tunnel.
    var isLocked = false
    private var isMachineInterfaceGone = false
    private var kernelWatch: KernelWatch?
    /// Whether the kernel's rules may have changed since they were looked at.
    private var isKernelChanged = true
    /// When they were looked at last.
    private var lookedAt = Instant.zero
    private var idleMemory = IdleMemory(now: MonotonicClock.now())
    var heartbeat = ClientHeartbeat(now: MonotonicClock.now())
    /// Why the machine's rules are not what they should be; `nil` where they are.
    var machineProblem: String?
    var nextTunnel: UInt64 = 1
    var nextToken: UInt64 = 1
    /// Who waits for what circuits say.
    var watch: CircuitWatch
    /// Whether readers of the state are about to be told of it.
    var isTellingState = false
    private var pings: [UInt64: CheckedContinuation<TimeSpan?, Never>] = [:]
    var directoryProblem: String? = "no consensus yet"
    private var isDisconnecting = false
    /// How the attempt to connect that goes on came along; `nil` where none does.
    var attempt: ConnectionAttempt?
    /// When the window for a network's login page closes; `nil` where none is open.
    var loginUntil: WallTime?
    let eventRing: EventRing
    let networkID: NetworkID
    /// Follows the attempt to connect.
    var following: Task<Void, Never>?
    private var since = WallClock.now()
    private var lastState = ControlAPI.TunnelState.disconnected
    private var watchers: [UInt64: AsyncStream<StatusReport>.Continuation] = [:]

    /// Starts the daemon that `configuration` describes; it connects when it is asked to.
    ///
    /// - Parameter events: what the daemon tells of what happened; the caller's logger fills it.
    /// - Throws: ``ConfigurationError``, ``IOError`` or `DirectoryError`, each saying what is wrong
    ///   and what to do.
    ///
    /// - Parameter keyLog: where its keys are written down; `nil`, as it should be, for nowhere.
    public static func start(
        _ configuration: ClientConfiguration,
        revealing keyLog: KeyLog? = nil,
        events: EventRing = EventRing(),
        logger: Logger
    ) async throws -> ClientNode {
        if isRootless { try requireDevice() }
        try StateFolder.make(configuration.stateFolder)
        let (news, tell) = AsyncStream.makeStream(of: ClientNews.self)
        let node = try ClientNode(
            configuration,
            events: events,
            tell: { tell.yield($0) },
            keyLog: keyLog,
            logger: logger
        )
        if isRootless {
            logger.notice("\(rootlessReason): it serves `umbel run` and `umbel proxy` of this user")
        } else {
            await node.findLock()
        }
        await node.directory.begin()
        Task { await node.follow(news) }
        if !isRootless { await node.watchKernel() }
        Task { [weak node] in
            while !Task.isCancelled {
                try await Task.sleep(for: Self.watchInterval)
                guard let node else { return }
                await node.lookAfter()
            }
        }
        return node
    }

    /// Has the kernel tell of changes of its rules; where it does not, they are looked at each second.
    private func watchKernel() {
        do throws(IOError) {
            kernelWatch = try KernelWatch.start { [weak self] in
                Task { await self?.kernelChanged() }
            }
        } catch {
            logger.warning("\(error): the machine's rules are looked at every second instead")
        }
    }

    private init(
        _ configuration: ClientConfiguration,
        events: EventRing,
        tell: @escaping @Sendable (ClientNews) -> Void,
        keyLog: KeyLog?,
        logger: Logger
    ) throws {
        self.configuration = configuration
        self.eventRing = events
        watch = CircuitWatch(ring: events)
        self.logger = logger
        let trusted = try NetworkConfiguration(file: configuration.directory.network)
        let root = try TrustRoot(trusted)
        networkID = root.network
        network = MachineNetwork(configuration)
        split = SplitTunnel(configuration, logger: logger)
        let controlWakeup = try Wakeup()
        let packetWakeup = try Wakeup()
        let control = Mailbox<ClientControlMessage>(capacity: 4_096, wakeup: controlWakeup)
        let packets = Mailbox<ClientLoopMessage>(capacity: 4_096, wakeup: packetWakeup)
        self.control = control
        self.packets = packets
        let (failures, failed) = AsyncStream.makeStream(of: String.self)
        self.failures = failures
        let (packetsEnded, packetsEnd) = AsyncStream.makeStream(of: Void.self)
        self.packetsEnded = packetsEnded

        var options = UDPOptions()
        options.mark = ProcessRights.mark
        let loop = ClientLoop(
            shard: ClientShard(
                random: try RandomGenerator.seeded(),
                now: MonotonicClock.now()
            ),
            sockets: try PacketSockets(ofAnyPort: options),
            mailbox: packets,
            wakeup: packetWakeup,
            deliver: { events in control.deliver(events) },
            interfaceGone: { tell(.interfaceGone($0)) }
        )
        _ = try LoopThread.start(name: "umbel-packets", owning: loop) { loop in
            do throws(IOError) {
                try loop.run()
            } catch {
                failed.yield("\(error)")
            }
            packetsEnd.finish()
        }
        let pool = try WorkerPool<ClientJob>(name: "umbel", count: 2) { job in
            control.insist(.outcome(job.run()))
        }
        var settings = ClientControl.Settings()
        settings.probesExits = true
        settings.method =
            switch configuration.path.build {
            case .pipelined: .pipelined
            case .telescoped: .telescoped
            }
        settings.shaping.sessionWindow = configuration.tunnel.sessionOffset
        settings.auditShare = Self.auditShare
        settings.auditNames = Self.auditNames
        settings.exclusions.relays = Set(configuration.path.excluded.map { NodeID($0) })
        settings.exclusions.countries = Set(
            configuration.path.excludedCountries.compactMap { CountryCode($0) }
        )
        let wallet = try WalletFiles(
            folder: configuration.stateFolder,
            account: configuration.payment.account
        )
        let payments = try ClientPayments(
            wallet,
            network: root.network,
            logger: logger,
            random: try RandomGenerator.seeded()
        ) { control.insist(.payments($0)) }
        self.wallet = wallet
        let plane = ClientControlLoop(
            settings: settings,
            stateFolder: configuration.stateFolder,
            pool: pool,
            mailbox: control,
            wakeup: controlWakeup,
            shard: packets,
            news: tell,
            payments: payments,
            keyLog: keyLog,
            logger: logger,
            random: try RandomGenerator.seeded()
        )
        directory = ClientDirectory(
            configuration,
            network: trusted,
            root: root,
            control: control,
            logger: logger
        )
        _ = try LoopThread.start(name: "umbel-control", owning: plane) { plane in
            do throws(IOError) {
                try plane.run()
            } catch {
                failed.yield("\(error)")
            }
        }
    }

    /// Takes leave of the relays and ends the threads.
    ///
    /// The kill switch stays, as for every other end of the daemon: only ``down()`` takes it away.
    public func stop() async {
        for tunnel in tunnels.values { control.insist(.close(tunnel.core)) }
        control.insist(.stop)
        directory.stop()
        let packetsEnded = packetsEnded
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in packetsEnded {} }
            group.addTask { try? await Task.sleep(for: Self.farewellLimit) }
            await group.next()
            group.cancelAll()
        }
    }

    /// Returns when a thread has failed, and says why.
    public nonisolated func failure() async -> String? {
        for await failure in failures { return failure }
        return nil
    }

    /// Takes a configuration over as far as that is possible while it runs: where `up` leaves the
    /// network by default.
    public func reload(_ new: ClientConfiguration) {
        configuration.path.exitCountries = new.path.exitCountries
        if new != configuration {
            logger.notice("changes besides `exit_countries` count from the daemon's next start")
        }
    }

    /// Returns once both threads have answered; never where one of them hangs.
    public func proveAlive() async {
        _ = await snapshot()
        _ = await traffic(of: [])
    }

    // MARK: ClientService

    /// The state right now.
    public func status() async -> StatusReport {
        let snapshot = await snapshot()
        let counters = await traffic(of: []).map(\.counters)
        var report = StatusReport(
            state: state(),
            reason: reason(),
            since: since.seconds,
            bytesSent: counters?.sentBytes ?? 0,
            bytesReceived: counters?.receivedBytes ?? 0,
            tunnels: tunnels.sorted { $0.key.rawValue < $1.key.rawValue }.map { id, tunnel in
                StatusReport.Tunnel(
                    id: id,
                    interface: tunnel.interface,
                    pid: tunnel.owner?.pid,
                    traffic: tunnel.traffic
                )
            }
        )
        report.directory = await directory.report()
        report.relays = snapshot?.statements.flatMap { Self.report($0) }
        let main = main
        if report.state == .connecting {
            report.progress = progress(snapshot, of: main?.core)
        }
        if network.isLockdownOn { report.lockdown = true }
        report.loginUntil = loginUntil?.seconds
        let health = health(report, snapshot)
        if !health.isEmpty { report.health = health }
        if let circuit = snapshot?.circuits.first(where: { $0.isCurrent && $0.tunnel == main?.core }
        ),
            let exit = circuit.hops.last
        {
            report.exit = StatusReport.Exit(
                nickname: exit.nickname,
                id: exit.id.rawValue.hex,
                country: exit.country.map { "\($0)" } ?? "??"
            )
        }
        return report
    }

    /// What relays said of their directories and clocks; `nil` while none has said anything.
    private static func report(_ statements: RelayStatements) -> StatusReport.Relays? {
        statements.clockOffsetMinutes.map { offset in
            StatusReport.Relays(
                sameDirectory: statements.same,
                olderDirectory: statements.older,
                newerDirectory: statements.newer,
                conflictingDirectory: statements.conflicting,
                noDirectory: statements.none,
                clockOffsetMinutes: offset
            )
        }
    }

    /// The state now and after every change.
    public func statusUpdates() async -> AsyncStream<StatusReport> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: StatusReport.self,
            bufferingPolicy: .bufferingNewest(1)
        )
        let key = nextToken
        nextToken += 1
        watchers[key] = continuation
        continuation.onTermination = { [weak self] _ in
            Task { await self?.forgetWatcher(key) }
        }
        continuation.yield(await status())
        return stream
    }

    /// The relays of the network, the heaviest first.
    public func relays() async -> RelayListReport {
        await directory.relays(snapshot())
    }

    /// Measures round trips to the heaviest exits over circuits made for it.
    public func measureExits(
        _ request: ExitSurveyRequest
    ) async throws(Failure) -> RelayListReport {
        if let directoryProblem {
            throw Failure(
                "no exit can be measured",
                why: directoryProblem,
                hint: "umbel status",
                exit: .temporary
            )
        }
        let exits = await directory.exits(in: request.countries).prefix(request.count)
        await withDiscardingTaskGroup { group in
            for exit in exits {
                group.addTask { _ = await self.measure(exit) }
            }
        }
        return await relays()
    }

    private func measure(_ exit: NodeID) async -> TimeSpan? {
        await answered { .measure(exit, token: $0) }
    }

    /// Waits for the pong that answers the message made of a token; `nil` where none comes.
    private func answered(
        _ message: (UInt64) -> ClientControlMessage
    ) async -> TimeSpan? {
        let token = nextToken
        nextToken += 1
        return await withCheckedContinuation { continuation in
            pings[token] = continuation
            if !control.post(message(token)) {
                pings.removeValue(forKey: token)?.resume(returning: nil)
            }
        }
    }

    /// The circuits right now.
    public func circuits() async -> CircuitsReport {
        guard let snapshot = await snapshot() else { return CircuitsReport(circuits: []) }
        let traffic = await traffic(of: snapshot.circuits.map(\.id))?.traffic ?? []
        let reports = snapshot.circuits.enumerated().map { index, circuit in
            report(circuit, index < traffic.count ? traffic[index] : nil, now: snapshot.now)
        }
        return CircuitsReport(circuits: reports)
    }

    /// Begins to connect the whole machine.
    public func up(_ request: UpRequest) async throws(Failure) -> StatusReport {
        try requireMachine(
            for: "connect",
            hint: "sudo umbel up; or for one program: umbel run -- COMMAND"
        )
        try beginChange()
        defer { isBusy = false }
        await mending?.value
        let traffic = request.traffic ?? TrafficChoice(configuration.tunnel)
        try traffic.check()
        let wanted = try await constraints(exit: request.exit)
        if let machine {
            // A second `up` changes exit and mode; the kill switch stays as it is meanwhile.
            tunnels[machine]?.wanted = wanted
            tunnels[machine]?.traffic = traffic
            beginAnew(machine)
            changed()
            return await status()
        }
        let core = try await openDevice(.made(name: configuration.tunnel.name))
        let wasLocked = isLocked
        isLocked = true
        do throws(HostNetworkError) {
            try await network.take()
        } catch {
            packets.insist(.closeTunnel(core.id))
            // What was blocked before stays blocked.
            if !wasLocked { await giveBack() }
            changed()
            throw Failure(host: error)
        }
        await beginSplit()
        let id = ControlAPI.TunnelID(rawValue: UInt64(core.id.rawValue))
        tunnels[id] = Tunnel(
            core.id,
            core.opened,
            owner: nil,
            wanted: wanted,
            traffic: traffic
        )
        machine = id
        isMachineInterfaceGone = false
        machineProblem = nil
        control.insist(.open(core.id, wanted, traffic.wish, core.opened.offload))
        changed()
        return await status()
    }

    /// Has a tunnel connect as if it never had been.
    func beginAnew(_ id: ControlAPI.TunnelID) {
        guard let tunnel = tunnels[id] else { return }
        control.insist(.close(tunnel.core))
        control.insist(.open(tunnel.core, tunnel.wanted, tunnel.traffic.wish, tunnel.offload))
        tunnels[id]?.state = .connecting(reason: nil)
        tunnels[id]?.hasConnected = false
        attempt = nil
    }

    /// Disconnects the machine and lifts what blocks its traffic, unless lockdown is on.
    public func down() async throws(Failure) -> StatusReport {
        try requireMachine(
            for: "disconnect",
            hint: "end the programs of `umbel run`, or: sudo umbel down"
        )
        try beginChange()
        defer { isBusy = false }
        await mending?.value
        isDisconnecting = true
        changed()
        defer {
            isDisconnecting = false
            changed()
        }
        if let machine, let tunnel = tunnels.removeValue(forKey: machine) {
            control.insist(.close(tunnel.core))
            packets.insist(.closeTunnel(tunnel.core))
            for waiter in tunnel.waiters { waiter.resume() }
        }
        machine = nil
        do throws(HostNetworkError) {
            try await split.end()
            try await network.release()
        } catch {
            throw Failure(host: error)
        }
        isLocked = network.isLockdownOn
        loginUntil = nil
        isDisconnecting = false
        return await status()
    }

    /// Puts the rules of split tunnels in place; without them all stays in the tunnel.
    private func beginSplit() async {
        do throws(HostNetworkError) {
            try await split.begin()
        } catch {
            logger.error("nothing goes beside the tunnel: \(error)")
        }
    }

    /// Lets the process that asks go beside the machine's tunnel.
    public func goOutside(for peer: PeerCredentials) async throws(Failure) -> StatusReport {
        try requireMachine(for: "let anything past", hint: "run the command as it is")
        do throws(HostNetworkError) {
            try await split.admit(peer.pid)
        } catch {
            throw Failure(host: error)
        }
        return await status()
    }

    // MARK: Tunnels

    func beginChange() throws(Failure) {
        guard !isBusy else {
            throw Failure(
                "the daemon is connecting or disconnecting",
                why: "another command is not through yet",
                hint: "umbel status --watch",
                exit: .temporary
            )
        }
        isBusy = true
    }

    /// What paths to exits in these countries, or those of the configuration, are to keep to.
    ///
    /// - Throws: ``Failure`` for what is no country, and where the directory at hand lists no exit
    ///   in any of them.
    func constraints(exit countries: [String]?) async throws(Failure) -> PathConstraints {
        var wanted = PathConstraints()
        for text in countries ?? configuration.path.exitCountries {
            guard let code = CountryCode(text) else {
                throw Failure(
                    "there is no country \(text)",
                    why: "a country is two letters",
                    hint: "umbel up --exit DE",
                    exit: .usage
                )
            }
            wanted.exitCountries.insert(code)
        }
        let there = await directory.exitCountries()
        if !wanted.exitCountries.isEmpty, !there.isEmpty,
            wanted.exitCountries.isDisjoint(with: there)
        {
            let names = { (codes: Set<CountryCode>) in codes.sorted().map(\.description) }
            throw Failure(
                "there is no exit in \(names(wanted.exitCountries).joined(separator: " or "))",
                why: "the directory lists exits in \(names(there).joined(separator: ", "))",
                hint: "umbel exits",
                exit: .usage
            )
        }
        return wanted
    }

    private func giveBack() async {
        do throws(HostNetworkError) {
            try await network.release()
            isLocked = network.isLockdownOn
        } catch {
            logger.error("\(error)")
        }
    }

    func close(_ id: ControlAPI.TunnelID) {
        guard let tunnel = tunnels.removeValue(forKey: id) else { return }
        control.insist(.close(tunnel.core))
        packets.insist(.closeTunnel(tunnel.core))
        for waiter in tunnel.waiters { waiter.resume() }
        changed()
    }

    func isConnected(_ id: ControlAPI.TunnelID) async -> Bool {
        guard tunnels[id] != nil else { return false }
        if tunnels[id]?.state == .connected { return true }
        let limit = Task {
            try await Task.sleep(for: Self.connectLimit + sessionOffset)
            self.wake(id)
        }
        await withCheckedContinuation { tunnels[id]?.waiters.append($0) }
        limit.cancel()
        return tunnels[id]?.state == .connected
    }

    /// How long a tunnel of `mix` may wait before it carries packets.
    private var sessionOffset: Duration {
        .nanoseconds(Int64(clamping: configuration.tunnel.sessionOffset.nanoseconds))
    }

    private func wake(_ id: ControlAPI.TunnelID) {
        let waiters = tunnels[id]?.waiters ?? []
        tunnels[id]?.waiters = []
        for waiter in waiters { waiter.resume() }
    }

    // MARK: Watching

    /// Takes over the lock a daemon before this one has left, or locks where lockdown is on.
    private func findLock() async {
        isLocked = await network.isLocked() || network.isLockdownOn
        guard isLocked else { return }
        lastState = state()
        logger.notice("\(reason() ?? Self.lockedReason)")
        do throws(HostNetworkError) {
            try await network.hold()
        } catch {
            noteUnmended("\(error)")
        }
    }

    /// Closes tunnels of processes that have ended, and keeps the machine's rules as they were.
    private func lookAfter() async {
        for (id, tunnel) in tunnels where tunnel.owner?.hasEnded == true { close(id) }
        tellState()
        if let until = loginUntil, WallClock.now() >= until { endLogin() }
        await tendMemory()
        await tendHeartbeat()
        guard !isBusy, mending == nil, isLocked else { return }
        let tunnel = machine.flatMap { tunnels[$0] }
        let now = MonotonicClock.now()
        guard isKernelChanged || kernelWatch == nil || now >= lookedAt + Self.longestTrust else {
            return
        }
        isKernelChanged = false
        lookedAt = now
        let mending = Task { await mend(tunnel) }
        self.mending = mending
        await mending.value
        self.mending = nil
    }

    private func tendMemory() async {
        guard idleMemory.isDue(at: MonotonicClock.now()) else { return }
        let counters = await traffic(of: []).map(\.counters)
        guard let counters else { return }
        idleMemory.tend(
            byteCount: counters.sentBytes &+ counters.receivedBytes,
            now: MonotonicClock.now()
        )
    }

    /// Looks at once, or with the next second where it has just looked: each look runs programs.
    private func kernelChanged() async {
        isKernelChanged = true
        guard MonotonicClock.now() >= lookedAt + .seconds(1) else { return }
        await lookAfter()
    }

    /// Time after which the rules are looked at though the kernel told of no change.
    private static let longestTrust: TimeSpan = .seconds(60)

    /// Puts right what keeps the machine's traffic: the lock, and the way into `tunnel`, if there is
    /// one.
    private func mend(_ tunnel: Tunnel?) async {
        do {
            if let tunnel, isMachineInterfaceGone {
                _ = try await openDevice(.made(name: tunnel.interface), for: tunnel.core)
                isMachineInterfaceGone = false
                try await network.take()
                logger.warning("\(tunnel.interface) had been removed: it is back")
            }
            if case .mended(let what) = try await network.mend() {
                logger.warning("somebody had changed \(what) of this machine: put back")
            }
            if try await split.mend() {
                logger.warning("somebody had changed what goes beside the tunnel: put back")
            }
            noteMachineProblem(nil)
        } catch let failure as Failure {
            noteUnmended("\(failure.what): \(failure.why)")
        } catch {
            noteUnmended("\(error)")
        }
    }

    /// Tries again with the next look.
    private func noteUnmended(_ problem: String) {
        isKernelChanged = true
        noteMachineProblem(problem)
    }

    private func noteMachineProblem(_ problem: String?) {
        guard problem != machineProblem else { return }
        machineProblem = problem
        if let problem { logger.error("\(problem)") }
        changed()
    }

    // MARK: News

    private func follow(_ news: AsyncStream<ClientNews>) async {
        for await item in news {
            switch item {
            case .notice(.tunnel(let core, let state)):
                guard let id = tunnels.first(where: { $0.value.core == core })?.key else {
                    continue
                }
                tunnels[id]?.state = state
                if state == .connected {
                    tunnels[id]?.hasConnected = true
                    wake(id)
                }
                logger.debug("tunnel \(id.rawValue): \(state)")
                changed()
            case .notice(.pong(let token, _, let span)):
                pings.removeValue(forKey: token)?.resume(returning: span)
            case .notice(.pinged(let token, let outcome)):
                watch.finish(token, outcome)
            case .notice(.reported(let circuit, let hop, let report)):
                watch.note(report, of: hop, circuit)
            case .notice(.circuit(let notice)):
                watch.note(notice)
                heartbeat.note(notice)
                tellState()
            case .notice(.pathsChanged), .notice(.directoryPart), .notice(.mintAnswer),
                .notice(.wallet), .notice(.audited):
                break
            case .notice(.directoryNamed(let circuit, let hop, let relay, let said)):
                directory.compare(said, of: relay, at: (circuit, hop))
            case .directory(let problem):
                if problem != directoryProblem {
                    logger.info(
                        "\(problem ?? "the directory is there")",
                        metadata: ["kind": "directory"]
                    )
                }
                directoryProblem = problem
                changed()
            case .interfaceGone(let core):
                guard let id = tunnels.first(where: { $0.value.core == core })?.key else {
                    continue
                }
                if id == machine {
                    isMachineInterfaceGone = true
                    isKernelChanged = true
                } else {
                    close(id)
                }
            }
        }
    }

    func snapshot() async -> ClientSnapshot? {
        await withCheckedContinuation { continuation in
            let once = Once(continuation)
            if !control.post(.snapshot { once.resume($0) }) { once.resume(nil) }
        }
    }

    func traffic(of circuits: [CircuitID]) async -> ClientLoopReport? {
        await withCheckedContinuation { continuation in
            let once = Once(continuation)
            if !packets.post(.report(circuits) { once.resume($0) }) { once.resume(nil) }
        }
    }

    // MARK: Reports

    static let lockedReason =
        "an earlier `umbel up` still blocks this machine's traffic:"
        + " `umbel up` connects it, `umbel down` lets it out directly"

    /// The name of the tunnel reports speak of.
    var mainTunnel: ClientCore.TunnelID? { main?.core }

    /// The tunnel reports speak of: the machine's, or else the oldest.
    private var main: Tunnel? {
        machine.flatMap { tunnels[$0] }
            ?? tunnels.min { $0.key.rawValue < $1.key.rawValue }?.value
    }

    func state() -> ControlAPI.TunnelState {
        if isDisconnecting { return .disconnecting }
        if machine == nil, isLocked { return .blocked }
        guard let main else { return .disconnected }
        switch main.state {
        case .connected: return machineProblem == nil ? .connected : .blocked
        case .recovering: return .blocked
        case .connecting: return main.hasConnected ? .blocked : .connecting
        }
    }

    func reason() -> String? {
        if machine == nil, isLocked {
            return machineProblem
                ?? (network.isLockdownOn ? Self.lockdownReason : Self.lockedReason)
        }
        return reason(of: main)
    }

    func reason(of tunnel: Tunnel?) -> String? {
        switch tunnel?.state {
        case .connected: machineProblem
        case nil: nil
        case .recovering(let reason): "between two circuits: \(reason)"
        case .connecting(let reason): reason ?? directoryProblem
        }
    }

    func report(
        _ circuit: ClientControl.CircuitReport,
        _ traffic: CircuitTraffic?,
        now: Instant
    ) -> CircuitReport {
        let owner = tunnels.first { $0.value.core == circuit.tunnel }
        let state: CircuitReport.State =
            switch circuit.stage {
            case .building: .building
            case .spare: .spare
            case .active: circuit.isCurrent ? .active : .retiring
            }
        return CircuitReport(
            id: UInt64(circuit.id.rawValue),
            state: state,
            hops: circuit.hops.enumerated().map { index, hop in
                CircuitReport.Hop(
                    position: index + 1,
                    nickname: hop.nickname,
                    id: hop.id.rawValue.hex,
                    country: hop.country.map { "\($0)" } ?? "??",
                    address: ((index == 0 ? circuit.guardAddress : nil)
                        ?? hop.addresses.all.first).map { "\($0)" } ?? "",
                    roundTrip: circuit.roundTrips[index]?.milliseconds,
                    paidTicks: circuit.pay?.paidTicks[index],
                    lacksVoucher: circuit.pay?.lacking.contains(hop.id),
                    family: hop.family.map { "\($0)" },
                    autonomousSystem: hop.autonomousSystem == 0 ? nil : hop.autonomousSystem,
                    isSilent: circuit.isSilent[index],
                    stat: circuit.statements[index].map { HopStat($0.report) }
                )
            },
            ageSeconds: (now - circuit.begun).nanoseconds / 1_000_000_000,
            buildTime: circuit.buildTime?.milliseconds,
            cellsForward: traffic?.sentCells ?? 0,
            cellsBackward: traffic?.receivedCells ?? 0,
            bytesForward: traffic?.sentBytes ?? 0,
            bytesBackward: traffic?.receivedBytes ?? 0,
            isolation: circuit.tunnel == MintErrands.tunnel
                ? "mints" : owner?.value.owner.map { "process \($0.pid)" } ?? "machine",
            tunnel: owner?.key,
            cause: circuit.cause.text,
            flows: traffic?.flows,
            traffic: TrafficReport(circuit, traffic)
        )
    }

    func changed() {
        let state = state()
        if state != lastState {
            lastState = state
            since = WallClock.now()
            logger.info(
                "\(state.rawValue)\(reason().map { ": \($0)" } ?? "")",
                metadata: ["kind": "state"]
            )
        }
        if state == .connecting { followAttempt() } else { attempt = nil }
        tellState()
        tellWatchers()
    }

    /// Hands the state to everybody who watches it.
    func tellWatchers() {
        guard !watchers.isEmpty else { return }
        Task {
            let report = await status()
            for watcher in watchers.values { watcher.yield(report) }
        }
    }

    private func forgetWatcher(_ key: UInt64) {
        watchers[key] = nil
    }
}

extension Failure {
    /// What a host's network refused.
    init(host error: HostNetworkError, exit: ExitStatus = .failed) {
        self.init(error.what, why: error.why, hint: error.hint ?? "umbel doctor", exit: exit)
    }
}
