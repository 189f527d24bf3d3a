import Base
import Circuits
import ClientCore
import CryptoPrimitives
import Directory
import EventLoop
import Flows
import HostNetwork
import Logging
import Paths
import UDPTransport
import Wire

/// What a client's control thread hears.
enum ClientControlMessage: Sendable {
    /// The packet thread reports.
    case events([ClientEvent])
    /// Key work is done.
    case outcome(ClientJob.Outcome)
    /// Keep a tunnel connected.
    case open(TunnelID, PathConstraints, TrafficWish, TunCoalescer.Offload)
    /// Let a tunnel go.
    case close(TunnelID)
    /// Send echoes to a hop; the notice names the token.
    case ping(CircuitID, EchoSeries, token: UInt64)
    /// Ask the hops of a circuit what they have carried; notices bring the answers.
    case askReports(CircuitID)
    /// Close a circuit, and tell whether there was one.
    case closeCircuit(CircuitID, @Sendable (Bool) -> Void)
    /// Replace the circuit of a tunnel.
    case renew(TunnelID)
    /// Measure the round trip to an exit; the notice names the token.
    case measure(NodeID, token: UInt64)
    /// The network to work by from now on.
    case view(NetworkView)
    /// Why there is no network to work by.
    case noView(String)
    /// Leave a relay out of new circuits for a day.
    case avoid(NodeID)
    /// Ask a relay of a circuit for the directory.
    case fetch(DirectoryErrand)
    /// Something about money.
    case payments(ClientPayments.Message)
    /// Tell how things stand.
    case snapshot(@Sendable (ClientSnapshot) -> Void)
    /// End.
    case stop
}

/// How a client stands, as its control thread sees it.
struct ClientSnapshot: Sendable {
    var circuits: [ClientControl.CircuitReport]
    /// What relays said; `nil` before there is a directory to compare with.
    var statements: RelayStatements?
    /// The round trips to exits it had circuits to.
    var exitTrips: [NodeID: TimeSpan]
    /// How long the last circuit to each of these exits took to build.
    var exitBuilds: [NodeID: TimeSpan]
    var now: Instant
    /// Why there is no directory to work by; `nil` once there is.
    var directoryProblem: String?
    /// How far each tunnel is.
    var stages: [TunnelID: ConnectionStage] = [:]
    /// The guards that are tried first.
    var guards: [RelayRecord] = []
}

/// Something the control thread says unasked.
enum ClientNews: Sendable {
    /// Of the core.
    case notice(ClientControl.Notice)
    /// The directory has come, or why it has not.
    case directory(problem: String?)
    /// The interface of this tunnel is no longer there.
    case interfaceGone(TunnelID)
}

/// The control thread of a client: owns the control plane.
struct ClientControlLoop: ~Copyable {
    private static let lookInterval: TimeSpan = .seconds(1)
    private static let shortestSleep: TimeSpan = .seconds(2)

    struct Opening {
        var tunnel: TunnelID
        var wanted: PathConstraints
        var traffic: TrafficWish
        var offload: TunCoalescer.Offload
    }

    private var control: ClientControl?
    private let settings: ClientControl.Settings
    private let stateFolder: String
    private let pool: WorkerPool<ClientJob>
    private let mailbox: Mailbox<ClientControlMessage>
    private let wakeup: Wakeup
    private let shard: Mailbox<ClientLoopMessage>
    private let news: @Sendable (ClientNews) -> Void
    private let logger: Logger
    private var random: RandomGenerator
    private var openings: [Opening] = []
    private var problem: String? = "no consensus yet"
    private var errands = DirectoryErrands()
    private var sleptBefore = SleepClock.nanosecondsAsleep()
    private var payments: ClientPayments
    private let keyLog: KeyLog?
    // A relay of each family, to see whether there is a way to it.
    private var landmarks: (v4: SocketAddress?, v6: SocketAddress?) = (nil, nil)

    init(
        settings: ClientControl.Settings,
        stateFolder: String,
        pool: WorkerPool<ClientJob>,
        mailbox: Mailbox<ClientControlMessage>,
        wakeup: Wakeup,
        shard: Mailbox<ClientLoopMessage>,
        news: @escaping @Sendable (ClientNews) -> Void,
        payments: consuming ClientPayments,
        keyLog: KeyLog?,
        logger: Logger,
        random: consuming RandomGenerator
    ) {
        self.control = nil
        self.keyLog = keyLog
        self.payments = payments
        self.settings = settings
        self.stateFolder = stateFolder
        self.pool = pool
        self.mailbox = mailbox
        self.wakeup = wakeup
        self.shard = shard
        self.news = news
        self.logger = logger
        self.random = random
    }

    /// Runs until it is told to stop.
    ///
    /// - Throws: ``IOError`` when the thread cannot wait for messages.
    consuming func run() throws(IOError) {
        var poller = try Poller()
        try poller.add(wakeup.descriptor, token: 0)
        var messages: [ClientControlMessage] = []
        var nextLook = MonotonicClock.now()
        while true {
            let now = MonotonicClock.now()
            let wall = WallClock.now()
            if now >= nextLook {
                lookAround(now: now)
                noteSleep(now: now, wall: wall)
                errands.expire(now: now)
                nextLook = now + Self.lookInterval
            }
            _ = wakeup.drain()
            mailbox.drain(into: &messages)
            for message in messages {
                if case .stop = message {
                    drain()
                    payments.stop()
                    pool.stop()
                    shard.insist(.stop)
                    return
                }
                handle(message, now: now, wall: wall)
            }
            if let deadline = control?.nextDeadline, deadline <= now {
                control?.advance(to: now, wall: wall)
            }
            payments.tend(with: &control, now: now, wall: wall)
            drain()
            guard messages.isEmpty else { continue }
            let planned = min(control?.nextDeadline ?? .distantFuture, payments.nextDeadline)
            let deadline = min(planned, nextLook)
            _ = try poller.wait(until: deadline, now: now)
        }
    }

    private mutating func handle(_ message: ClientControlMessage, now: Instant, wall: WallTime) {
        switch message {
        case .events(let events):
            for event in events { control?.receive(event, now: now, wall: wall) }
        case .outcome(let outcome):
            control?.finish(outcome, now: now, wall: wall)
        case .open(let tunnel, let wanted, let traffic, let offload):
            openings.append(
                Opening(tunnel: tunnel, wanted: wanted, traffic: traffic, offload: offload)
            )
            openWaiting(now: now, wall: wall)
        case .close(let tunnel):
            openings.removeAll { $0.tunnel == tunnel }
            control?.close(tunnel, now: now)
        case .ping(let circuit, let series, let token):
            guard control?.ping(circuit, by: series, token: token, now: now) == true else {
                return news(.notice(.pinged(token: token, series.outcome)))
            }
        case .askReports(let circuit):
            for hop in HopIndex.all {
                _ = control?.askReport(of: hop, over: circuit, now: now)
            }
        case .closeCircuit(let circuit, let answer):
            answer(control?.close(circuit, now: now) ?? false)
        case .renew(let tunnel):
            control?.renew(tunnel, now: now)
        case .measure(let exit, let token):
            guard control != nil else { return news(.notice(.pong(token: token, .third, nil))) }
            control?.measure(exit: exit, token: token, now: now, wall: wall)
        case .view(let view):
            take(view, now: now, wall: wall)
        case .noView(let reason):
            guard control == nil, problem != reason else { return }
            problem = reason
            news(.directory(problem: reason))
        case .avoid(let relay):
            control?.avoid(relay, now: now)
        case .fetch(let errand):
            errands.begin(errand, with: &control, now: now)
        case .payments(let message):
            payments.handle(message, with: &control, now: now, wall: wall)
        case .snapshot(let answer):
            answer(snapshot(now: now))
        case .stop:
            break
        }
    }

    private mutating func snapshot(now: Instant) -> ClientSnapshot {
        let circuits = control?.circuitReports() ?? []
        var snapshot = ClientSnapshot(
            circuits: circuits,
            statements: control?.statements,
            exitTrips: control?.exitTrips ?? [:],
            exitBuilds: control?.exitBuilds ?? [:],
            now: now,
            directoryProblem: problem
        )
        snapshot.guards = control?.primaryGuards ?? []
        snapshot.stages = control?.connectionStages ?? [:]
        return snapshot
    }

    private mutating func openWaiting(now: Instant, wall: WallTime) {
        guard control != nil else { return }
        let slot = control?.defaultSlot ?? .tenMilliseconds
        for opening in openings {
            control?.open(
                opening.tunnel,
                wanting: opening.wanted,
                shape: opening.traffic.shape(of: slot),
                offload: opening.offload,
                now: now,
                wall: wall
            )
        }
        openings = []
    }

    private mutating func drain() {
        while true {
            // Together: an answer to the first must not find the others still to be done.
            var commands: [ClientCommand] = []
            while let command = control?.nextCommand() { commands.append(command) }
            if let keyLog { for command in commands { keyLog.note(command) } }
            // As many as events, links and circuits call for; a lost one is never made good.
            if !commands.isEmpty { shard.insist(.commands(commands)) }
            var jobs: [ClientJob] = []
            while let job = control?.nextJob() { jobs.append(job) }
            guard let job = pool.submit(jobs) else { break }
            control?.finish(job.run(), now: MonotonicClock.now(), wall: WallClock.now())
        }
        var isChanged = false
        var hasAsked = false
        var hasAnswers = false
        while let notice = control?.nextNotice() {
            if case .pathsChanged = notice { isChanged = true }
            if case .directoryPart(let circuit, let hop, let part) = notice {
                errands.take((circuit, hop, part), with: &control, now: MonotonicClock.now())
                hasAsked = true
                continue
            }
            if case .wallet(let said) = notice {
                payments.note(said)
                continue
            }
            if case .audited(let exit, let isGood) = notice {
                if isGood {
                    logger.info("exit \(exit) serves as another does")
                } else {
                    logger.warning("exit \(exit) drops packets or lies about names: it is left")
                }
                continue
            }
            if case .mintAnswer(let circuit, let hop, let part) = notice {
                payments.take(part, of: circuit, from: hop)
                hasAnswers = true
                continue
            }
            news(.notice(notice))
        }
        if isChanged { storePaths() }
        if hasAnswers {
            payments.tend(with: &control, now: MonotonicClock.now(), wall: WallClock.now())
        }
        // What was asked for on the way is yet to leave.
        if hasAsked || hasAnswers { drain() }
    }

    private mutating func take(_ view: NetworkView, now: Instant, wall: WallTime) {
        landmarks.v4 = view.relays.lazy.compactMap(\.addresses.v4).first
        landmarks.v6 = view.relays.lazy.compactMap(\.addresses.v6).first
        if control == nil {
            control = makeControl(view: view, now: now, wall: wall)
            lookAround(now: now)
        } else {
            control?.setView(view, now: now, wall: wall)
        }
        payments.setView(view)
        problem = nil
        news(.directory(problem: nil))
        openWaiting(now: now, wall: wall)
    }

    /// Has circuits show that they live where the machine has slept since the last look.
    private mutating func noteSleep(now: Instant, wall: WallTime) {
        let asleep = SleepClock.nanosecondsAsleep()
        defer { sleptBefore = asleep }
        guard asleep > sleptBefore, asleep - sleptBefore > Self.shortestSleep.nanoseconds else {
            return
        }
        let seconds = (asleep - sleptBefore) / 1_000_000_000
        logger.notice("the machine slept for \(seconds) s: looking whether circuits live")
        control?.resume(now: now, wall: wall)
    }

    /// Finds out by which families there is a way out of this machine now.
    private mutating func lookAround(now: Instant) {
        let v4 = landmarks.v4.map(Self.isReachable) ?? false
        let v6 = landmarks.v6.map(Self.isReachable) ?? false
        control?.setReach(v4: v4, v6: v6, now: now)
    }

    private static func isReachable(_ relay: SocketAddress) -> Bool {
        let source = UDPSocket.source(toward: relay, mark: ProcessRights.mark)
        guard let source else { return false }
        // Where there is no way out the kernel would lend a link's address, or the tunnel's.
        return source != TunnelAddresses.clientV4 && source != TunnelAddresses.clientV6
            && !linkLocal.contains(source)
    }

    private static let linkLocal = IPNetwork(
        IPAddress(high: 0xfe80_0000_0000_0000, low: 0),
        prefixBitCount: 10
    )

    private mutating func makeControl(
        view: NetworkView,
        now: Instant,
        wall: WallTime
    ) -> ClientControl {
        let guards = StateFolder.read("\(stateFolder)/guards.state")
            .flatMap { try? GuardSample(parsing: $0) }
        let middles = StateFolder.read("\(stateFolder)/middles.state")
            .flatMap { try? MiddleSet(parsing: $0) }
        // What cannot be read is begun anew: it is this machine's own opinion, and no money.
        let reputation =
            (try? RelayReputation(payments.storedRecords)) ?? RelayReputation()
        return ClientControl(
            view: view,
            guards: guards ?? GuardSample(),
            middles: middles ?? MiddleSet(),
            settings: settings,
            wallet: payments.takeWallet(),
            reputation: reputation,
            now: now,
            wall: wall,
            random: random.split()
        )
    }

    private func storePaths() {
        let paths: (guards: GuardSample, middles: MiddleSet)
        switch control {
        case .some(let control): paths = control.paths
        case .none: return
        }
        do {
            try StateFolder.write(paths.guards.encoded(), to: "\(stateFolder)/guards.state")
            try StateFolder.write(paths.middles.encoded(), to: "\(stateFolder)/middles.state")
        } catch {
            // Without them the next start draws new guards, which is worse for anonymity.
            logger.error("guards cannot be stored in \(stateFolder): \(error)")
        }
    }
}
