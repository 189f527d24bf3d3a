public import Base
public import Circuits
public import CryptoPrimitives
import DequeModule
public import Directory
public import Flows
public import Links
import Mixing
import Onion
public import Paths
public import Tickets
public import Wire

/// The control plane of a client: guard links, circuits, leases and what keeps them alive.
///
/// Sans-IO. Commands come by ``open(_:wanting:offload:now:wall:)``, ``close(_:now:)`` and
/// ``ping(_:hop:token:now:)``; feed ``ClientEvent``s, results of ``ClientJob``s and
/// ``TicketErrand``s, and time; drain ``nextCommand()``, ``nextJob()``, ``nextErrand()`` and
/// ``nextNotice()`` after each call. `now` never goes back.
/// Not thread-safe: owned by one task.
///
/// For each open tunnel it keeps one current lease on a circuit, and a spare circuit to the same
/// exit by another middle. A circuit that dies is replaced under the flows' feet: the spare, or a
/// new circuit, shows the lease's secret to the exit. Only where the exit is gone flows end.
/// Bounds: `ClientShard.tunnelLimit` tunnels, of each four circuits in the making.
public struct ClientControl: ~Copyable {
    /// What a client is set to.
    public struct Settings: Sendable {
        /// How circuits are built.
        public var method: BuildMethod = .pipelined
        /// Whether relays can be reached over IPv4.
        public var reachesV4 = true
        /// Whether relays can be reached over IPv6.
        public var reachesV6 = true
        /// Age at which a lease takes no new flows and another one does.
        public var rotation: TimeSpan = .seconds(600)
        /// Whether a spare circuit stands ready.
        public var keepsSpare = true
        /// Whether an exit that takes another one's place is probed before flows are given to it.
        public var probesExits = false
        /// How circuits of `padded` and `mix` are run.
        public var shaping = ShapingSettings()
        /// Relays in no circuit.
        public var exclusions = RelayExclusions()
        /// Of so many circuits that begin to serve one has its exit audited; 0 for none.
        public var auditShare: UInt64 = 0
        /// Names an audit asks for: such as have the same address wherever they are asked for.
        public var auditNames: [String] = []

        /// The usual settings.
        public init() {}
    }

    /// Something the shell may want to know.
    public enum Notice: Sendable {
        /// A tunnel's state changed.
        case tunnel(TunnelID, TunnelState)
        /// A hop answered a ping, or did not (`nil`).
        case pong(token: UInt64, HopIndex, TimeSpan?)
        /// Guards or middles changed and want to be stored.
        case pathsChanged
        /// A hop handed a part of the directory over.
        case directoryPart(CircuitID, HopIndex, DirectoryPart)
        /// A hop handed a part of a mint's answer over.
        case mintAnswer(CircuitID, HopIndex, MintAnswerPart)
        /// A hop named the newest consensus it has.
        case directoryNamed(CircuitID, HopIndex, RelayRecord, ServerMessage)
        /// A series of echoes is over.
        case pinged(token: UInt64, EchoSeries.Outcome)
        /// A hop said what it has carried.
        case reported(CircuitID, HopIndex, HopReport)
        /// Something became of a circuit.
        case circuit(CircuitNotice)
        /// Something about the wallet.
        case wallet(Wallet.Notice)
        /// An audit found an exit to serve, or to drop or lie.
        case audited(NodeID, isGood: Bool)
    }

    /// How a tunnel stands.
    public enum TunnelState: Equatable, Sendable {
        /// A circuit is in the making; the reason tells what went wrong last.
        case connecting(reason: String?)
        /// New flows have a circuit.
        case connected
        /// The lease has lost its circuit; another one is to take it over.
        case recovering(reason: String)
    }

    struct Circuit {
        enum Stage: Equatable {
            case waitingForLink, waitingForKeys, building, ready, opening, active
        }

        let id: CircuitID
        let tunnel: TunnelID
        let path: Path
        let begun: Instant
        /// What its traffic is to look like.
        let shape: TrafficShape
        /// Its loops, once its schedule is kept.
        var loop: LoopState?
        /// When its cover ends, where its tunnel is closed already.
        var lingersUntil: Instant?
        var stage = Stage.waitingForLink
        /// Whether it was begun to stand ready, while nothing lacked a circuit.
        var isSpare = false
        var link: LinkID?
        var number = CircuitNumber(rawValue: 0)
        var build: CircuitBuild?
        var channels = HopIndex.all.map { ControlChannel(hop: $0) }
        var lease: LeaseID?
        /// When the exit was asked for addresses.
        var openingSince: Instant?
        /// The exit's answer, while a hop has not taken its voucher yet.
        var opened: ControlMessage.TunnelOpened?
        /// What is found out of its exit.
        var probe: ExitProbe?
        var buildTime: TimeSpan?
        var isProbed = false
        /// Whether another guard was looked for because this one's does not answer.
        var isHedged = false
        /// The token of the ping that is all the circuit is for; `nil` for any other.
        var survey: UInt64?
        /// Whether its hops were told that it will not be paid for.
        var isFirstContact = false
        /// Ticks its hops said they serve beyond what is paid.
        var windows = [UInt16](repeating: 0, count: 3)
        var roundTrips = [TimeSpan?](repeating: nil, count: 3)
        /// Whether the last series of echoes to a hop went unanswered.
        var isSilent = [false, false, false]
        /// What each hop said last of what it carried.
        var statements = [HopStatement?](repeating: nil, count: 3)
        var cause = CircuitCause.first
    }

    struct Lease {
        let id: LeaseID
        let exit: NodeID
        var secret: Bytes32
        var circuit: CircuitID?
        let opened: Instant
        var families: UInt8
        /// Since when no circuit carries it.
        var lostSince: Instant?
        /// How its last circuit ended; `nil` while none has.
        var lastEnd: CircuitEnd?
        /// Whether that may be its exit's death.
        var isExitDoubted = false
    }

    struct Tunnel {
        let id: TunnelID
        var wanted: PathConstraints
        /// What the traffic of its circuits is to look like.
        var shape = TrafficShape.fast
        /// From when on it carries packets; `nil` before its first schedule is kept.
        var carriesFrom: Instant?
        /// Whether its circuits carry questions to mints and nothing else.
        var isForErrands = false
        var leases: [LeaseID: Lease] = [:]
        var current: LeaseID?
        var state = TunnelState.connecting(reason: nil)
        var failures = 0
        /// Why the last try came to nothing; `nil` where none failed since it was connected.
        var lastFailure: String?
        var retryAt: Instant = .zero
        var spareFailures = 0
        var spareRetryAt: Instant = .zero
        var connectedSince: Instant?
        /// Exits in a row that did not do what they are for.
        var probeFailures = 0
        /// The exit in use, or the last one.
        var lastExit: NodeID?
    }

    struct Ping {
        let token: UInt64
        let circuit: CircuitID
        let hop: HopIndex
        let sent: Instant
    }

    private static let silenceLimit: TimeSpan = .milliseconds(2_500)
    /// Time an exit has to answer OPEN_TUN, which it acknowledges much sooner.
    private static let openingLimit: TimeSpan = .seconds(5)
    private static let pingLimit: TimeSpan = .seconds(3)
    /// Circuits in a row that could not reach an exit, after which its leases are given up.
    private static let exitFailureLimit = 3

    private let network: NetworkID
    var settings: Settings
    var selector: PathSelector
    var dialer: LinkDialer
    var random: RandomGenerator
    var commands: Deque<ClientCommand> = []
    private var jobs: Deque<ClientJob> = []
    private var errands: Deque<TicketErrand> = []
    var cashier: Cashier
    var notices: Deque<Notice> = []
    var audit: ExitAudit?

    private var nextLink: UInt64 = 1
    private var nextCircuit: UInt64 = 1
    private var nextLease: UInt32 = 1
    var links: [LinkID: NodeID] = [:]
    var guardLinks: [NodeID: LinkID] = [:]
    var dialing: [NodeID: LinkID] = [:]
    var circuits: [CircuitID: Circuit] = [:]
    var tunnels: [TunnelID: Tunnel] = [:]
    // Circuits in a row that could not reach an exit, or broke there; one entry for each exit.
    private var exitFailures: [NodeID: Int] = [:]
    private var pings: [UInt64: Ping] = [:]
    /// What was said to hops, and by them, about pay.
    public private(set) var payTraffic = PayTraffic()
    /// What hops said of their directories and clocks.
    public private(set) var statements = RelayStatements()
    /// The round trip to exits this client has had circuits to, smoothed; at most 1,024.
    public private(set) var exitTrips: [NodeID: TimeSpan] = [:]
    /// How long the last circuit to each of these exits took to build.
    public private(set) var exitBuilds: [NodeID: TimeSpan] = [:]
    // Relays that named a consensus they could not show, and until when they are left out.
    private var marked: [NodeID: Instant] = [:]
    var wall: WallTime
    // The newest `now`.
    var clock: Instant = .zero

    /// Makes the control plane of a client with the network `view` and the guards it had before.
    ///
    /// - Parameter shared: a selector of the same view and exclusions, whose weights and rules are
    ///   taken over: of many clients in one process each needs only guards and middles of its own.
    public init(
        view: NetworkView,
        sharing shared: PathSelector? = nil,
        guards: GuardSample = GuardSample(),
        middles: MiddleSet = MiddleSet(),
        settings: Settings = Settings(),
        wallet: consuming Wallet? = nil,
        reputation: RelayReputation = RelayReputation(),
        now: Instant = .zero,
        wall: WallTime,
        random: consuming RandomGenerator
    ) {
        var random = random
        network = view.network
        self.settings = settings
        self.wall = wall
        if let shared {
            selector = shared.another(guards: guards, middles: middles, at: wall, using: &random)
        } else {
            selector = PathSelector(
                view: view,
                guards: guards,
                middles: middles,
                excluding: settings.exclusions,
                at: wall,
                using: &random
            )
        }
        dialer = LinkDialer(identity: nil, random: random.split())
        cashier = Cashier(wallet: wallet, reputation: reputation, random: random.split())
        self.random = random
        setNetwork(view, now: now)
        drainCashier(now: now)
    }

    private mutating func setNetwork(_ view: NetworkView, now: Instant) {
        cashier.setNetwork(view.consensus, now: now, wall: wall)
        let count = Int(view.parameters.guardPrimaryCount)
        cashier.setRelays(
            guards: selector.guards.primaries(count: count),
            middles: selector.middles.members.map(\.id),
            exits: view.relays.filter { $0.flags.contains(.exit) }.map(\.id)
        )
    }

    // MARK: Outputs

    /// Takes the next command for the shard.
    public mutating func nextCommand() -> ClientCommand? {
        commands.popFirst()
    }

    /// Takes the next job.
    public mutating func nextJob() -> ClientJob? {
        jobs.popFirst()
    }

    /// Takes the next errand.
    public mutating func nextErrand() -> TicketErrand? {
        errands.popFirst()
    }

    /// Takes the next notice.
    public mutating func nextNotice() -> Notice? {
        notices.popFirst()
    }

    /// Guards and middles, to store.
    public var paths: (guards: GuardSample, middles: MiddleSet) {
        (selector.guards, selector.middles)
    }

    /// When ``advance(to:wall:)`` has something to do.
    public var nextDeadline: Instant {
        var deadline = min(min(dialer.nextDeadline, cashier.nextDeadline), nextShapingDeadline)
        if let audit { deadline = min(deadline, audit.nextDeadline) }
        for circuit in circuits.values {
            deadline = min(deadline, circuit.build?.nextDeadline ?? .distantFuture)
            deadline = min(deadline, circuit.hedgeDue)
            if let since = circuit.openingSince {
                deadline = min(deadline, since + Self.openingLimit)
            }
            if let probe = circuit.probe, probe.verdict == .waiting {
                deadline = min(deadline, probe.nextDeadline)
            }
            for channel in circuit.channels { deadline = min(deadline, channel.nextDeadline) }
        }
        for tunnel in tunnels.values {
            // What is past has been looked at: waiting for it again would never end.
            for retry in [tunnel.retryAt, tunnel.spareRetryAt] where retry > clock {
                deadline = min(deadline, retry)
            }
            if let lease = tunnel.current.flatMap({ tunnel.leases[$0] }) {
                let rotation = lease.opened + settings.rotation
                if rotation > clock { deadline = min(deadline, rotation) }
                if let since = lease.lostSince, since + patience(for: lease) > clock {
                    deadline = min(deadline, since + patience(for: lease))
                }
            }
        }
        for ping in pings.values { deadline = min(deadline, ping.sent + Self.pingLimit) }
        return deadline
    }

    /// The link to a guard; `nil` where none stands.
    public func link(to relay: NodeID) -> LinkID? {
        guardLinks[relay]
    }

    // MARK: Commands

    /// Begins to keep the tunnel `id` connected as `wanted` says, with traffic that looks like
    /// `shape`.
    public mutating func open(
        _ id: TunnelID,
        wanting wanted: PathConstraints,
        shape: TrafficShape = .fast,
        offload: TunCoalescer.Offload,
        now: Instant,
        wall: WallTime
    ) {
        self.wall = wall
        var wanted = wanted
        wanted.reachesV4 = settings.reachesV4
        wanted.reachesV6 = settings.reachesV6
        tunnels[id] = Tunnel(id: id, wanted: wanted, shape: shape)
        commands.append(.addTunnel(id, offload))
        notices.append(.tunnel(id, .connecting(reason: nil)))
        maintain(now: now)
    }

    /// Closes a tunnel and its circuits.
    public mutating func close(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels.removeValue(forKey: id) else { return }
        for circuit in circuits.keys.sorted()
        where circuits[circuit]?.tunnel == id && !linger(circuit, now: now) {
            drop(circuit, isOrderly: true, now: now)
        }
        drainCashier(now: now)
        if !tunnel.isForErrands { commands.append(.removeTunnel(id)) }
        releaseLinks()
    }

    /// Replaces the circuit of the tunnel's current lease as if it had failed.
    public mutating func renew(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels[id], let lease = tunnel.current,
            let circuit = tunnel.leases[lease]?.circuit
        else { return }
        fail(circuit, culprit: nil, reason: "asked for", now: now)
        maintain(now: now)
    }

    /// Sends an echo to `hop`; a ``Notice/pong(token:_:_:)`` tells how long it took.
    ///
    /// - Returns: false if there is no such circuit, or its key for that hop is not there yet.
    public mutating func ping(
        _ id: CircuitID,
        hop: HopIndex,
        token: UInt64,
        now: Instant
    ) -> Bool {
        guard let stage = circuits[id]?.stage, stage == .ready || stage == .active,
            pings.count < 1_024
        else { return false }
        let nonce = random.next()
        pings[nonce] = Ping(token: token, circuit: id, hop: hop, sent: now)
        say(.echo(isAnswer: false, nonce: nonce), to: hop, over: id, now: now)
        return true
    }

    /// Asks `hop` for a part of the directory; a ``Notice/directoryPart(_:_:_:)`` brings it.
    ///
    /// - Returns: false if there is no such circuit, or its key for that hop is not there yet.
    public mutating func ask(
        _ ask: DirectoryAsk,
        hop: HopIndex,
        over id: CircuitID,
        now: Instant
    ) -> Bool {
        guard let stage = circuits[id]?.stage, stage == .ready || stage == .active else {
            return false
        }
        // What nobody pays for carries a few cells only.
        beginPaying(id, now: now)
        say(.directoryAsk(ask), to: hop, over: id, now: now)
        return circuits[id] != nil
    }

    /// Leaves a relay out of new circuits for a day: it named a consensus it cannot show (§E.3).
    ///
    /// At most 256 are; the one marked longest ago makes room.
    public mutating func avoid(_ relay: NodeID, now: Instant) {
        if marked.count >= Self.markLimit, marked[relay] == nil {
            let oldest = marked.min { ($0.value, $0.key) < ($1.value, $1.key) }
            if let oldest { marked[oldest.key] = nil }
        }
        marked[relay] = now + Self.markTime
    }

    private func avoided(at now: Instant) -> [NodeID] {
        marked.filter { $0.value > now }.map(\.key)
    }

    private static let markLimit = 256
    private static let markTime: TimeSpan = .seconds(86_400)

    /// Takes a newer view of the network.
    public mutating func setView(_ view: NetworkView, now: Instant, wall: WallTime) {
        self.wall = wall
        selector.update(to: view, at: self.wall, using: &random)
        exitTrips = exitTrips.filter { view.index(of: $0.key) != nil }
        exitBuilds = exitBuilds.filter { view.index(of: $0.key) != nil }
        setNetwork(view, now: now)
        drainCashier(now: now)
        notices.append(.pathsChanged)
        maintain(now: now)
    }

    /// Takes over by which families relays can be reached now; neither means: offline.
    ///
    /// What failed for lack of a network says nothing about relays: a change makes every relay
    /// worth a try at once.
    public mutating func setReach(v4: Bool, v6: Bool, now: Instant) {
        guard v4 != settings.reachesV4 || v6 != settings.reachesV6 else { return }
        settings.reachesV4 = v4
        settings.reachesV6 = v6
        selector.retryAll()
        for id in tunnels.keys {
            tunnels[id]?.wanted.reachesV4 = v4
            tunnels[id]?.wanted.reachesV6 = v6
            tunnels[id]?.failures = 0
            tunnels[id]?.retryAt = now
        }
        maintain(now: now)
    }

    // MARK: Inputs

    /// Takes what the shard reports.
    public mutating func receive(_ event: ClientEvent, now: Instant, wall: WallTime) {
        self.wall = wall
        switch event {
        case .link(let event): receive(event, now: now)
        case .handshake(let bytes, _): receiveHandshake(bytes, now: now)
        case .created(let id, let body):
            step(id, now: now) { build throws(CircuitBuild.Failure) in
                try build.receive(created: body)
            }
        case .destroyed(let id, let reason):
            // The guard itself says which side it lost; what comes from further on says nothing.
            let culprit: PathPosition? = reason == .linkLost ? .middle : nil
            let lease = circuits[id]?.lease
            fail(id, culprit: culprit, reason: "the circuit was destroyed", now: now)
            if reason == .finished, let lease { doubtExit(of: lease, now: now) }
        case .control(let id, let hop, let record):
            receiveControl(id, hop: hop, record, now: now)
        case .silent(let id, let silence):
            receiveSilence(id, silence, now: now)
        case .exhausted(let id):
            fail(id, culprit: nil, reason: "its keys are used up", now: now)
        case .leaseUnused(let id):
            endLease(id, now: now)
        case .counted(let id, let counts):
            cashier.counted(id, counts, now: now, wall: wall)
        case .unpaid(let id):
            cashier.heardUnpaid(id, now: now)
        case .packet(let tunnel, let bytes):
            receivePacket(bytes, of: tunnel, now: now)
        case .probed(let id, let bytes):
            receiveProbe(bytes, of: id, now: now)
        case .pinged(let id, let token, let outcome):
            receive(outcome, of: id, token: token, now: now)
        case .judged(let id, let outcome):
            receive(outcome, of: id, now: now)
        case .measured:
            // A client measures nothing this way.
            break
        }
        drainDialer(now: now)
        drainCashier(now: now)
        maintain(now: now)
    }

    /// Takes the result of a job.
    public mutating func finish(_ outcome: ClientJob.Outcome, now: Instant, wall: WallTime) {
        self.wall = wall
        switch outcome {
        case .dialer(let result):
            dialer.finish(result, now: now)
        case .built(let id, .success(let handshakes)):
            startBuild(id, handshakes: handshakes, now: now)
        case .built(let id, .failure):
            fail(id, culprit: .guardRelay, reason: "a relay's key is none", now: now)
        case .finished(let id, let work, let result):
            if case .success(let success) = result, let path = circuits[id]?.path {
                let relay = path.hops[work.hop.offset]
                circuits[id]?.windows[work.hop.offset] = success.message.windowTicks
                notices.append(.directoryNamed(id, work.hop, relay, success.message))
            }
            step(id, now: now) { build throws(CircuitBuild.Failure) in
                try build.finished(result, hop: work.hop)
            }
        case .wallet(let outcome):
            cashier.finish(outcome, now: now, wall: wall)
        }
        drainDialer(now: now)
        drainCashier(now: now)
        maintain(now: now)
    }

    /// Learns whether what was to be stored under `number` is on disk.
    public mutating func stored(_ number: UInt64, isDone: Bool, now: Instant, wall: WallTime) {
        self.wall = wall
        cashier.stored(number, isDone: isDone, now: now, wall: wall)
        drainCashier(now: now)
        maintain(now: now)
    }

    /// Takes a mint's answer to what was asked under `number`; `nil` where there was none.
    public mutating func answered(
        _ number: UInt64,
        _ reply: MintReply?,
        now: Instant,
        wall: WallTime
    ) {
        self.wall = wall
        cashier.answered(number, reply, now: now, wall: wall)
        drainCashier(now: now)
        maintain(now: now)
    }

    /// Looks at the wallet, or changes it; `nil` where there is none.
    public mutating func withWallet<R>(
        now: Instant,
        wall: WallTime,
        _ body: (inout Wallet) -> R
    ) -> R? {
        self.wall = wall
        defer {
            drainCashier(now: now)
            maintain(now: now)
        }
        return cashier.withWallet(body)
    }

    /// Lets time pass: repetitions, retries, rotation.
    public mutating func advance(to now: Instant, wall: WallTime) {
        self.wall = wall
        dialer.advance(to: now)
        drainDialer(now: now)
        for id in circuits.keys.sorted() {
            if let deadline = circuits[id]?.build?.nextDeadline, deadline <= now {
                step(id, now: now) { build throws(CircuitBuild.Failure) in
                    try build.advance(to: now)
                }
            }
            if let since = circuits[id]?.openingSince, now - since >= Self.openingLimit {
                fail(id, culprit: .exit, reason: "the exit gives no addresses", now: now)
            }
            pump(id, now: now)
            advanceProbe(id, now: now)
        }
        for (nonce, ping) in pings.sorted(by: { $0.key < $1.key })
        where now >= ping.sent + Self.pingLimit {
            pings[nonce] = nil
            notices.append(.pong(token: ping.token, ping.hop, nil))
            endSurvey(ping.circuit, now: now)
        }
        advanceShaping(to: now)
        if cashier.nextDeadline <= now { cashier.advance(to: now, wall: wall) }
        drainCashier(now: now)
        maintain(now: now)
    }

    // MARK: Pay

    /// Begins to pay for a circuit, where the network wants that.
    mutating func beginPaying(_ id: CircuitID, now: Instant) {
        guard let circuit = circuits[id], !circuit.isFirstContact, circuit.survey == nil,
            !cashier.pays(id), cashier.isRequired(at: wall)
        else { return }
        let relays = circuit.path.hops.map(\.id)
        cashier.begin(
            id,
            relays,
            windows: circuit.windows,
            carriesUser: tunnels[circuit.tunnel]?.isForErrands == false,
            now: now,
            wall: wall
        )
        let step = min(selector.view.parameters.tickCells, selector.view.parameters.exitTickCells)
        commands.append(.countCells(id, every: max(1, step / 4)))
        drainCashier(now: now)
    }

    /// Does what the cashier asks for.
    private mutating func drainCashier(now: Instant) {
        while let step = cashier.nextStep() {
            switch step {
            case .say(let id, let hop, .reportAsk):
                guard let waiting = circuits[id]?.channels[hop.offset].waitingCount,
                    waiting < Self.asksWaitingLimit
                else { continue }
                say(.reportAsk, to: hop, over: id, now: now)
            case .say(let id, let hop, let message): say(message, to: hop, over: id, now: now)
            case .fail(let id, let hop, let reason):
                fail(id, culprit: hop.map(Self.position), reason: reason, now: now)
            case .standing(let id):
                guard let answer = circuits[id]?.opened,
                    isProbed(id, families: answer.families, now: now)
                else { continue }
                circuits[id]?.opened = nil
                finishOpened(answer, over: id, now: now)
            case .work(let work): jobs.append(.wallet(work))
            case .errand(let errand): errands.append(errand)
            case .notice(let notice): notices.append(.wallet(notice))
            }
        }
    }

    // MARK: Links

    private mutating func receive(_ event: LinkEvent, now: Instant) {
        switch event {
        case .lost(let id):
            guard let relay = links.removeValue(forKey: id) else { return }
            if guardLinks[relay] == id { guardLinks[relay] = nil }
            for circuit in circuits.keys.sorted() where circuits[circuit]?.link == id {
                fail(circuit, culprit: nil, reason: "the guard \(relay) is silent", now: now)
            }
            selector.noteFailure(of: relay, at: .guardRelay, now: now)
        case .rekeyDue(let id):
            guard let relay = links[id], let target = linkTarget(relay) else { return }
            dialer.renew(id, target: target, now: now)
        case .control(_, .rekeyed(let session, let initiatorSession, let body)):
            dialer.receiveRekeyed(session: session, initiatorSession: initiatorSession, body: body)
        case .confirmed, .control, .roamed:
            break
        }
    }

    private mutating func receiveHandshake(_ bytes: [UInt8], now: Instant) {
        guard let datagram = try? HandshakeDatagram(parsing: bytes) else { return }
        switch datagram {
        case .response(let response): dialer.receive(response, now: now)
        case .cookie(let cookie): dialer.receive(cookie, now: now)
        // A client answers nobody.
        case .initiation: break
        }
    }

    mutating func drainDialer(now: Instant) {
        while let step = dialer.nextStep() {
            switch step {
            case .job(let job): jobs.append(.dialer(job))
            case .send(let datagram, let destination):
                commands.append(.sendHandshake(datagram, to: destination))
            case .sendControl(let id, let message):
                commands.append(.sendLinkControl(id, message))
            case .renewed(let id, let session): commands.append(.renewLink(id, session))
            case .established(let link):
                guard case .relay(let relay) = link.peer else { continue }
                commands.append(.addLink(link))
                links[link.id] = relay
                guardLinks[relay] = link.id
                dialing[relay] = nil
                for id in circuits.keys.sorted()
                where circuits[id]?.stage == .waitingForLink
                    && circuits[id]?.path.guardRelay.id == relay
                {
                    begin(id, over: link.id, now: now)
                }
            case .failed(_, let relay):
                dialing[relay] = nil
                selector.noteFailure(of: relay, at: .guardRelay, now: now)
                for id in circuits.keys.sorted()
                where circuits[id]?.stage == .waitingForLink
                    && circuits[id]?.path.guardRelay.id == relay
                {
                    let reason = "the guard \(relay) does not answer"
                    fail(id, culprit: nil, reason: reason, now: now)
                }
            }
        }
    }

    private func linkTarget(_ relay: NodeID) -> LinkTarget? {
        guard let record = selector.view.relay(relay), let address = address(of: record) else {
            return nil
        }
        return LinkTarget(
            network: network,
            relay: relay,
            address: address,
            publicKey: record.circuitKey
        )
    }

    private func address(of record: RelayRecord) -> SocketAddress? {
        if settings.reachesV4, let address = record.addresses.v4 { return address }
        return settings.reachesV6 ? record.addresses.v6 : nil
    }

    // MARK: Building

    @discardableResult
    mutating func startCircuit(
        for tunnel: TunnelID,
        wanting wanted: PathConstraints,
        because cause: CircuitCause,
        now: Instant
    ) throws(PathError) -> CircuitID {
        guard selector.view.freshness(at: wall) != .expired else { throw .directoryExpired }
        var wanted = wanted
        wanted.excluded.formUnion(avoided(at: now))
        let path = try payablePath(wanted, now: now)
        let id = CircuitID(rawValue: nextCircuit)
        nextCircuit += 1
        let shape = tunnels[tunnel]?.shape ?? .fast
        circuits[id] = Circuit(id: id, tunnel: tunnel, path: path, begun: now, shape: shape)
        let why = tunnels[tunnel]?.isForErrands == true ? .errands : cause
        circuits[id]?.cause = why
        tell(.begun(why), of: id)
        let relay = path.guardRelay.id
        if let link = guardLinks[relay] {
            begin(id, over: link, now: now)
        } else if dialing[relay] == nil, let target = linkTarget(relay) {
            let link = LinkID(rawValue: nextLink)
            nextLink += 1
            if dialer.dial(target, as: link, now: now) { dialing[relay] = link }
            drainDialer(now: now)
        }
        return id
    }

    /// A path of relays there are vouchers for, and that gave what they were paid for, if there is one.
    ///
    /// Guards stay whatever is thought of them: who could make a client change them could choose them.
    mutating func payablePath(
        _ wanted: PathConstraints,
        now: Instant
    ) throws(PathError) -> Path {
        for doubted in doubtedRelays() {
            var preferred = wanted
            preferred.excluded.formUnion(doubted)
            for member in selector.guards.members { preferred.excluded.remove(member.id) }
            if let exit = wanted.exit { preferred.excluded.remove(exit) }
            preferred.excluded.formUnion(wanted.excluded)
            guard preferred.excluded != wanted.excluded else { continue }
            let path = try? selector.path(preferred, now: now, date: wall, using: &random)
            if let path { return path }
        }
        return try selector.path(wanted, now: now, date: wall, using: &random)
    }

    /// Relays a circuit had better not take, the longest list first.
    private mutating func doubtedRelays() -> [Set<NodeID>] {
        let bad = cashier.reputation.bad(at: wall)
        guard cashier.isRequired(at: wall) else { return [bad] }
        let others = selector.middles.members.map(\.id)
        let exits = selector.view.relays.filter { $0.flags.contains(.exit) }.map(\.id)
        return [true, false].map { hasRested in
            bad.union(cashier.unpayable(others + exits, hasRested: hasRested, at: wall))
        } + [bad]
    }

    private mutating func begin(_ id: CircuitID, over link: LinkID, now: Instant) {
        guard let path = circuits[id]?.path else { return }
        circuits[id]?.stage = .waitingForKeys
        circuits[id]?.link = link
        let isForErrands = circuits[id].flatMap { tunnels[$0.tunnel]?.isForErrands } ?? false
        let isContact = isForErrands && !cashier.canPay(path.hops.map(\.id), at: wall)
        circuits[id]?.isFirstContact = isContact
        let shape = circuits[id]?.shape ?? .fast
        jobs.append(.build(id, work(for: path, isFirstContact: isContact, shape: shape)))
    }

    private mutating func work(
        for path: Path,
        isFirstContact: Bool,
        shape: TrafficShape
    ) -> BuildWork {
        var targets: [HopTarget] = []
        for hop in path.hops {
            targets.append(
                HopTarget(network: network, relay: hop.id, publicKey: hop.circuitKey)
            )
        }
        return BuildWork(
            targets: targets,
            minute: wall.minute,
            isFirstContact: isFirstContact,
            shape: shape,
            random: &random
        )
    }

    private mutating func startBuild(
        _ id: CircuitID,
        handshakes: [ClientHandshake],
        now: Instant
    ) {
        guard let circuit = circuits[id], let link = circuit.link else { return }
        var targets: [HopTarget] = []
        for hop in circuit.path.hops {
            targets.append(
                HopTarget(network: network, relay: hop.id, publicKey: hop.circuitKey)
            )
        }
        var build = CircuitBuild(
            targets: targets,
            handshakes: handshakes,
            method: settings.method,
            now: now
        )
        // Clients open their links: their numbers have the top bit.
        let number = CircuitNumber(rawValue: UInt32(truncatingIfNeeded: random.next()) | 1 << 31)
        circuits[id]?.number = number
        circuits[id]?.stage = .building
        commands.append(.addCircuit(id, link, number, circuit.tunnel))
        shapeCircuit(id)
        let actions = build.start(now: now)
        circuits[id]?.build = build
        perform(actions, for: id, now: now)
    }

    /// Moves the build of `id` on, and does what it asks for.
    private mutating func step(
        _ id: CircuitID,
        now: Instant,
        _ body: (inout CircuitBuild) throws(CircuitBuild.Failure) -> [CircuitBuild.Action]
    ) {
        guard var build = circuits[id]?.build else { return }
        do throws(CircuitBuild.Failure) {
            let actions = try body(&build)
            circuits[id]?.build = build
            perform(actions, for: id, now: now)
            if build.isComplete { complete(id, now: now) }
        } catch {
            switch error {
            case .guardSilent:
                fail(id, culprit: .guardRelay, reason: "the guard does not answer", now: now)
            case .extendFailed(let hop, let failure):
                noteExtend(id, hop: hop, isAnswered: false)
                let reason = "hop \(hop.rawValue) could not extend: \(failure)"
                fail(id, culprit: extendCulprit(id, hop: hop), reason: reason, now: now)
            case .tooSlow(let hop):
                let reason = "hop \(hop.rawValue) did not answer in time"
                fail(id, culprit: Self.position(of: hop), reason: reason, now: now)
            case .notAuthentic(let hop), .violation(let hop):
                let reason = "hop \(hop.rawValue) broke the protocol"
                fail(id, culprit: Self.position(of: hop), reason: reason, now: now)
            }
        }
    }

    private mutating func perform(
        _ actions: [CircuitBuild.Action],
        for id: CircuitID,
        now: Instant
    ) {
        for action in actions {
            guard let circuit = circuits[id], let link = circuit.link else { return }
            switch action {
            case .sendCreate(let body):
                commands.append(.sendCell(link, circuit.number, .create, body))
            case .setEarly(let keys, let hop):
                commands.append(.setEarly(id, hop, key: keys.forward, start: drawStart()))
            case .setKeys(let keys, let hop):
                commands.append(
                    .setKeys(
                        id,
                        hop,
                        forward: keys.forward,
                        backward: keys.backward,
                        start: drawStart(of: circuit.shape, at: hop)
                    )
                )
            case .send(let message, let hop):
                say(message, to: hop, over: id, now: now)
            case .sayAgain(let hop):
                circuits[id]?.channels[hop.offset].repeatAll(now: now)
                pump(id, now: now)
            case .finish(let work):
                jobs.append(.finish(id, work))
            }
        }
    }

    private mutating func drawStart() -> UInt32 {
        UInt32(truncatingIfNeeded: random.next(below: UInt64(LayerSealer.cellLimit)))
    }

    /// The first count under main keys; groups of parity begin at multiples of five.
    private mutating func drawStart(of shape: TrafficShape, at hop: HopIndex) -> UInt32 {
        let start = drawStart()
        guard case .mix = shape, hop == .second else { return start }
        return start - start % 5
    }

    private mutating func complete(_ id: CircuitID, now: Instant) {
        guard let circuit = circuits[id] else { return }
        let said = circuit.build?.statements ?? []
        statements.note(said, view: selector.view, wall: wall)
        circuits[id]?.build = nil
        circuits[id]?.stage = .ready
        circuits[id]?.buildTime = now - circuit.begun
        tell(.ready(now - circuit.begun), of: id)
        if exitBuilds.count < Self.exitTripLimit || exitBuilds[circuit.path.exit.id] != nil {
            exitBuilds[circuit.path.exit.id] = now - circuit.begun
        }
        if circuit.isSpare { tunnels[circuit.tunnel]?.spareFailures = 0 }
        exitFailures[circuit.path.exit.id] = nil
        selector.noteSuccess(of: circuit.path, on: wall)
        selector.noteExtend(by: circuit.path.guardRelay.id, isAnswered: true)
        notices.append(.pathsChanged)
        beginSurvey(id, now: now)
        if tunnels[circuit.tunnel]?.isForErrands == true { beginPaying(id, now: now) }
    }

    private mutating func noteExtend(_ id: CircuitID, hop: HopIndex, isAnswered: Bool) {
        guard hop == .first, let relay = circuits[id]?.path.guardRelay.id else { return }
        selector.noteExtend(by: relay, isAnswered: isAnswered)
    }

    /// Who is to blame where `hop` says it cannot reach the next one.
    ///
    /// The middle or the exit: the middle at first, the exit where another could not reach it either.
    private mutating func extendCulprit(_ id: CircuitID, hop: HopIndex) -> PathPosition {
        guard hop != .first, let exit = circuits[id]?.path.exit.id else { return .middle }
        let failures = exitFailures[exit, default: 0]
        exitFailures[exit] = failures + 1
        return failures == 0 ? .middle : .exit
    }

    private static func position(of hop: HopIndex) -> PathPosition {
        switch hop {
        case .first: .guardRelay
        case .second: .middle
        default: .exit
        }
    }

    // MARK: Conversations

    mutating func say(
        _ message: ControlMessage,
        to hop: HopIndex,
        over id: CircuitID,
        now: Instant
    ) {
        payTraffic.note(message)
        do throws(ControlChannel.SendError) {
            try circuits[id]?.channels[hop.offset].send(message)
        } catch {
            return fail(id, culprit: nil, reason: "a hop answers nothing", now: now)
        }
        pump(id, now: now)
    }

    private mutating func pump(_ id: CircuitID, now: Instant) {
        for hop in HopIndex.all {
            while let record = circuits[id]?.channels[hop.offset].nextRecord(now: now) {
                commands.append(.sendControl(id, hop, record))
            }
            if circuits[id]?.channels[hop.offset].hasFailed == true {
                let reason = "hop \(hop.rawValue) answers nothing"
                return fail(id, culprit: Self.position(of: hop), reason: reason, now: now)
            }
        }
    }

    private mutating func receiveControl(
        _ id: CircuitID,
        hop: HopIndex,
        _ bytes: [UInt8],
        now: Instant
    ) {
        guard circuits[id] != nil else { return }
        circuits[id]?.isProbed = false
        let violation = "hop \(hop.rawValue) broke the protocol"
        do throws(WireError) {
            let record = try ControlRecord(parsing: bytes)
            let messages =
                try circuits[id]?.channels[hop.offset].receive(record, now: now) ?? []
            for message in messages {
                let content = try ControlMessage(
                    type: message.type,
                    parsing: message.bytes,
                    fromClient: false
                )
                handle(content, from: hop, of: id, now: now)
            }
        } catch {
            return fail(id, culprit: Self.position(of: hop), reason: violation, now: now)
        }
        pump(id, now: now)
    }

    private mutating func handle(
        _ message: ControlMessage,
        from hop: HopIndex,
        of id: CircuitID,
        now: Instant
    ) {
        payTraffic.note(message)
        switch message {
        case .extended(let result):
            if case .created = result { noteExtend(id, hop: hop, isAnswered: true) }
            step(id, now: now) { build throws(CircuitBuild.Failure) in
                try build.receive(result, from: hop)
            }
        case .tunnelOpened(let answer) where hop == .third:
            noteTrip(over: id, since: circuits[id]?.openingSince, now: now)
            receiveOpened(answer, over: id, now: now)
        case .echo(true, let nonce):
            guard !receiveLoop(nonce, of: id, now: now) else { return }
            guard let ping = pings[nonce], ping.circuit == id, ping.hop == hop else { return }
            pings[nonce] = nil
            circuits[id]?.roundTrips[hop.offset] = now - ping.sent
            if hop == .third { noteTrip(over: id, since: ping.sent, now: now) }
            notices.append(.pong(token: ping.token, hop, now - ping.sent))
            endSurvey(id, now: now)
        case .directoryPart(let part):
            notices.append(.directoryPart(id, hop, part))
        case .mintAnswer(let part):
            notices.append(.mintAnswer(id, hop, part))
        case .close:
            fail(id, culprit: nil, reason: "hop \(hop.rawValue) closed the circuit", now: now)
        case .payResult(let result):
            cashier.receive(result, from: hop, of: id, now: now, wall: wall)
        case .report(let report):
            circuits[id]?.statements[hop.offset] = HopStatement(report: report, heard: now)
            notices.append(.reported(id, hop, report))
            cashier.receive(report, from: hop, of: id, now: now, wall: wall)
        case .extend, .openTunnel, .tunnelOpened, .echo, .directoryAsk, .payOpen, .payTick,
            .payAttach, .reportAsk, .payPass, .mintAsk:
            let reason = "hop \(hop.rawValue) broke the protocol"
            fail(id, culprit: Self.position(of: hop), reason: reason, now: now)
        }
    }

    /// Notes how long a circuit's exit took to answer; a quarter of what was known gives way.
    private mutating func noteTrip(over id: CircuitID, since sent: Instant?, now: Instant) {
        guard let sent else { return }
        noteTrip(now - sent, over: id)
    }

    /// Notes one round trip to a circuit's exit.
    mutating func noteTrip(_ trip: TimeSpan, over id: CircuitID) {
        guard let exit = circuits[id]?.path.exit.id else { return }
        guard let known = exitTrips[exit] else {
            if exitTrips.count < Self.exitTripLimit { exitTrips[exit] = trip }
            return
        }
        exitTrips[exit] = TimeSpan(nanoseconds: (known.nanoseconds * 3 + trip.nanoseconds) / 4)
    }

    private static let exitTripLimit = 1_024
    static let asksWaitingLimit = 8

    private mutating func receiveSilence(_ id: CircuitID, _ silence: TimeSpan, now: Instant) {
        guard let circuit = circuits[id],
            circuit.stage == .ready || circuit.stage == .active || circuit.stage == .opening
        else { return }
        guard silence < Self.silenceLimit else {
            return fail(id, culprit: .middle, reason: "nothing comes back", now: now)
        }
        guard !circuit.isProbed else { return }
        circuits[id]?.isProbed = true
        say(.echo(isAnswer: false, nonce: random.next()), to: .third, over: id, now: now)
    }

    // MARK: Leases

    /// Brings every tunnel as near to what it should be as can be done now.
    mutating func maintain(now: Instant) {
        clock = max(clock, now)
        for id in tunnels.keys.sorted() {
            rotate(id, now: now)
            assign(id, now: now)
            startMissing(id, now: now)
            startBeside(id, now: now)
            startBesideSlow(id, now: now)
        }
        tendAudit(now: now)
        drainDialer(now: now)
        drainCashier(now: now)
    }

    /// Gives ready circuits to leases that lost theirs, or to new flows.
    private mutating func assign(_ id: TunnelID, now: Instant) {
        guard tunnels[id]?.isForErrands == false else { return }
        for circuitID in circuits.keys.sorted() {
            guard let circuit = circuits[circuitID], circuit.tunnel == id, circuit.stage == .ready,
                let tunnel = tunnels[id]
            else { continue }
            let exit = circuit.path.exit.id
            let lost = tunnel.leases.values.filter { $0.circuit == nil && $0.exit == exit }
                .min { $0.id < $1.id }
            if let lost {
                openTunnel(circuitID, lease: lost, now: now)
            } else if tunnel.current == nil, !isOpening(id) {
                openTunnel(circuitID, lease: nil, now: now)
            }
        }
    }

    /// Whether an exit is asked for addresses for new flows; not, for those of a lease that was lost.
    private func isOpening(_ id: TunnelID) -> Bool {
        circuits.values.contains { $0.tunnel == id && $0.stage == .opening && $0.lease == nil }
    }

    private mutating func openTunnel(_ id: CircuitID, lease: Lease?, now: Instant) {
        circuits[id]?.stage = .opening
        circuits[id]?.openingSince = now
        circuits[id]?.lease = lease?.id
        if let lease, let tunnel = circuits[id]?.tunnel {
            tunnels[tunnel]?.leases[lease.id]?.circuit = id
            if let end = lease.lastEnd {
                circuits[id]?.cause = .replacement(of: end.circuit, reason: end.reason)
            }
        }
        let request = ControlMessage.OpenTunnel(
            families: 3,
            leaseSecret: lease?.secret ?? .zero
        )
        beginPaying(id, now: now)
        say(.openTunnel(request), to: .third, over: id, now: now)
    }

    private mutating func receiveOpened(
        _ answer: ControlMessage.TunnelOpened,
        over id: CircuitID,
        now: Instant
    ) {
        guard let circuit = circuits[id], circuit.stage == .opening,
            tunnels[circuit.tunnel] != nil
        else { return }
        circuits[id]?.openingSince = nil
        switch answer.status {
        case .notAnExit, .full:
            let reason = answer.status == .full ? "the exit is full" : "the exit carries nothing"
            return fail(id, culprit: .exit, reason: reason, now: now)
        case .opened, .takenOver:
            break
        }
        guard cashier.mayCarry(id), isProbed(id, families: answer.families, now: now) else {
            circuits[id]?.opened = answer
            return
        }
        finishOpened(answer, over: id, now: now)
    }

    /// Lets a circuit carry packets: its exit has given addresses, and every hop is paid.
    mutating func finishOpened(
        _ answer: ControlMessage.TunnelOpened,
        over id: CircuitID,
        now: Instant
    ) {
        guard circuits[id]?.stage == .opening, let tunnel = circuits[id]?.tunnel,
            tunnels[tunnel] != nil
        else { return }
        guard beginSchedule(id, now: now) else {
            circuits[id]?.opened = answer
            return
        }
        guard let circuit = circuits[id] else { return }
        circuits[id]?.stage = .active
        circuits[id]?.probe = nil
        tunnels[circuit.tunnel]?.lastExit = circuit.path.exit.id
        if let cause = circuits[id]?.cause { tell(.carrying(cause), of: id) }
        if answer.status == .takenOver, let lease = circuit.lease {
            tunnels[circuit.tunnel]?.leases[lease]?.secret = answer.leaseSecret
            tunnels[circuit.tunnel]?.leases[lease]?.lostSince = nil
            tunnels[circuit.tunnel]?.leases[lease]?.isExitDoubted = false
            commands.append(.bind(lease, circuit.tunnel, id))
            // Given up for new flows too early: it serves them again, unless it is old.
            if tunnels[circuit.tunnel]?.current == nil,
                let opened = tunnels[circuit.tunnel]?.leases[lease]?.opened,
                now < opened + settings.rotation
            {
                tunnels[circuit.tunnel]?.current = lease
                commands.append(.setCurrent(circuit.tunnel, lease))
            }
        } else {
            // A new lease; flows of one that could not be taken over end.
            let current = tunnels[circuit.tunnel]?.current
            let isNext = current == nil || current == circuit.lease
            if let old = circuit.lease { endLease(old, keeping: id, now: now) }
            let lease = LeaseID(rawValue: nextLease)
            nextLease += 1
            tunnels[circuit.tunnel]?.leases[lease] = Lease(
                id: lease,
                exit: circuit.path.exit.id,
                secret: answer.leaseSecret,
                circuit: id,
                opened: now,
                families: answer.families
            )
            circuits[id]?.lease = lease
            commands.append(.bind(lease, circuit.tunnel, id))
            if isNext {
                tunnels[circuit.tunnel]?.current = lease
                commands.append(.setCurrent(circuit.tunnel, lease))
            }
        }
        tunnels[circuit.tunnel]?.failures = 0
        tunnels[circuit.tunnel]?.lastFailure = nil
        tunnels[circuit.tunnel]?.retryAt = .zero
        if tunnels[circuit.tunnel]?.current == circuits[id]?.lease {
            setState(circuit.tunnel, .connected)
        }
        if tunnels[circuit.tunnel]?.connectedSince == nil {
            tunnels[circuit.tunnel]?.connectedSince = now
        }
        mayAudit(circuit.path.exit.id, of: circuit.tunnel, now: now)
    }

    mutating func endLease(
        _ id: LeaseID,
        keeping circuit: CircuitID? = nil,
        now: Instant
    ) {
        for tunnel in tunnels.keys.sorted() {
            guard let lease = tunnels[tunnel]?.leases.removeValue(forKey: id) else { continue }
            if tunnels[tunnel]?.current == id { tunnels[tunnel]?.current = nil }
            commands.append(.endLease(id))
            if let used = lease.circuit, used != circuit { drop(used, isOrderly: true, now: now) }
        }
    }

    /// Looks for another lease for new flows where the current one is old, or lost for too long.
    private mutating func rotate(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels[id], let current = tunnel.current,
            let lease = tunnel.leases[current]
        else { return }
        if let since = lease.lostSince {
            guard now >= since + patience(for: lease) else { return }
            tunnels[id]?.current = nil
            // A flow that begins now must not be pinned to a lease that may never come back.
            commands.append(.setCurrent(id, nil))
            if let reason = tunnel.lastFailure { noteDisconnected(id, reason: reason) }
        } else if now >= lease.opened + settings.rotation {
            // Its flows go on; new ones begin on another lease. Until that stands they begin here.
            tunnels[id]?.current = nil
        }
    }

    /// Begins the circuits the tunnel lacks: for leases without one, for new flows, as a spare.
    mutating func startMissing(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels[id] else { return }
        let lost = tunnel.leases.values.filter { $0.circuit == nil }.sorted { $0.id < $1.id }
        for lease in lost where exitFailures[lease.exit, default: 0] >= Self.exitFailureLimit {
            endLease(lease.id, now: now)
        }
        if now >= tunnel.retryAt { startNeeded(id, now: now) }
        startSpare(id, now: now)
    }

    /// Circuits of the tunnel that carry nothing yet.
    private func making(_ id: TunnelID) -> [Circuit] {
        circuits.values.filter {
            $0.tunnel == id && $0.stage != .active && $0.stage != .opening
        }
    }

    private mutating func startNeeded(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels[id] else { return }
        let making = making(id)
        let lost = tunnel.leases.values.filter { $0.circuit == nil }.sorted { $0.id < $1.id }
        for lease in lost where !making.contains(where: { $0.path.exit.id == lease.exit }) {
            var wanted = tunnel.wanted
            wanted.exit = lease.exit
            let cause = lease.lastEnd.map { end in
                CircuitCause.replacement(of: end.circuit, reason: end.reason)
            }
            start(id, wanting: wanted, because: cause ?? .first, now: now)
        }
        let lostExits = Set(tunnel.leases.values.filter { $0.lostSince != nil }.map(\.exit))
        guard tunnel.current == nil, !isOpening(id),
            !making.contains(where: { !lostExits.contains($0.path.exit.id) })
        else { return }
        var wanted = tunnel.wanted
        wanted.excluded.formUnion(lostExits)
        var cause = tunnel.lastFailure.map { CircuitCause.retry(reason: $0) } ?? .first
        if tunnel.lastFailure == nil, !tunnel.leases.isEmpty { cause = .rotation }
        // Where an exit was lost, another one of its country takes its place, if there is one.
        if tunnel.state != .connected, startNear(id, wanting: wanted, because: cause, now: now) {
            return
        }
        start(id, wanting: wanted, because: cause, now: now)
    }

    private mutating func startSpare(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels[id], let current = tunnel.current,
            let lease = tunnel.leases[current],
            let active = lease.circuit.flatMap({ circuits[$0] }), active.stage == .active,
            !tunnel.leases.values.contains(where: { $0.circuit == nil })
        else { return }
        let making = making(id).sorted { $0.id < $1.id }
        // What was begun for another exit is of no use as a spare.
        for circuit in making where circuit.path.exit.id != lease.exit && circuit.stage == .ready {
            drop(circuit.id, isOrderly: true, now: now)
        }
        guard settings.keepsSpare, Self.auditSide(id) == nil, now >= tunnel.spareRetryAt,
            !making.contains(where: { $0.path.exit.id == lease.exit })
        else { return }
        var wanted = tunnel.wanted
        wanted.exit = lease.exit
        wanted.excluded.insert(active.path.middle.id)
        // Without another middle there is no spare; the circuit in use is not disturbed by it.
        do throws(PathError) {
            let spare = try startCircuit(for: id, wanting: wanted, because: .spare, now: now)
            circuits[spare]?.isSpare = true
        } catch {
            tunnels[id]?.spareRetryAt = now + .seconds(30)
        }
    }

    private mutating func start(
        _ id: TunnelID,
        wanting wanted: PathConstraints,
        because cause: CircuitCause,
        now: Instant
    ) {
        do throws(PathError) {
            try startCircuit(for: id, wanting: wanted, because: cause, now: now)
        } catch {
            // A lease's exit that is down says nothing of the others. But that all there are have
            // failed is less likely than that this machine's network did: they get another try at
            // once, and the tunnel's own back-off paces the tries.
            var isExitOnly = false
            if case .noExit = error { isExitOnly = wanted.exit != tunnels[id]?.wanted.exit }
            if !isExitOnly { selector.retryAll() }
            backOff(id, reason: "\(error)", now: now)
        }
    }

    /// Takes a circuit that failed away from its lease and the shard.
    mutating func fail(
        _ id: CircuitID,
        culprit: PathPosition?,
        reason: String,
        now: Instant
    ) {
        guard let circuit = circuits[id] else { return }
        if let culprit {
            let relay =
                switch culprit {
                case .guardRelay: circuit.path.guardRelay.id
                case .middle: circuit.path.middle.id
                case .exit: circuit.path.exit.id
                }
            selector.noteFailure(of: relay, at: culprit, now: now)
        }
        drop(id, isOrderly: false, because: reason, now: now)
        guard let tunnel = tunnels[circuit.tunnel] else { return }
        if let lease = circuit.lease, tunnel.leases[lease] != nil {
            tunnels[circuit.tunnel]?.leases[lease]?.circuit = nil
            tunnels[circuit.tunnel]?.leases[lease]?.lastEnd = CircuitEnd(
                circuit: id,
                reason: reason
            )
            if tunnel.leases[lease]?.lostSince == nil {
                tunnels[circuit.tunnel]?.leases[lease]?.lostSince = now
            }
            if tunnel.current == lease {
                setState(circuit.tunnel, .recovering(reason: reason))
            }
        }
        // What worked is replaced at once; what did not is tried again after a while.
        guard circuit.stage != .active else { return }
        if circuit.isSpare, circuit.lease == nil {
            let failures = tunnel.spareFailures
            tunnels[circuit.tunnel]?.spareFailures = failures + 1
            let retry = now + wait(failures)
            tunnels[circuit.tunnel]?.spareRetryAt = retry
        } else {
            backOff(circuit.tunnel, reason: reason, now: now)
        }
    }

    /// Removes a circuit here, in the shard and at the guard.
    ///
    /// - Parameter isOrderly: whether nothing is wrong with it; after a fault no hop is paid a class.
    mutating func drop(
        _ id: CircuitID,
        isOrderly: Bool,
        because reason: String = "no longer needed",
        now: Instant
    ) {
        tell(.ended(reason: reason), of: id)
        for (hop, message) in cashier.end(id, isOrderly: isOrderly) {
            guard (try? circuits[id]?.channels[hop.offset].send(message)) != nil else { continue }
            while let record = circuits[id]?.channels[hop.offset].nextRecord(now: now) {
                commands.append(.sendControl(id, hop, record))
            }
        }
        guard let circuit = circuits.removeValue(forKey: id) else { return }
        if let link = circuit.link, links[link] != nil, circuit.stage != .waitingForKeys {
            let reason = [DestroyReason.finished.rawValue]
            commands.append(.sendCell(link, circuit.number, .destroy, reason))
        }
        commands.append(.removeCircuit(id))
        if let token = circuit.survey {
            let isAsked = pings.values.contains { $0.token == token && $0.circuit == id }
            // Of one that is asked already its time-out tells.
            if !isAsked { notices.append(.pong(token: token, .third, nil)) }
        }
        releaseLinks()
    }

    private mutating func backOff(_ id: TunnelID, reason: String, now: Instant) {
        guard let tunnel = tunnels[id] else { return }
        tunnels[id]?.failures = tunnel.failures + 1
        let wait = tunnel.failures == 0 ? .milliseconds(1) : wait(tunnel.failures)
        tunnels[id]?.retryAt = now + wait
        tunnels[id]?.lastFailure = reason
        if tunnel.current == nil { noteDisconnected(id, reason: reason) }
    }

    /// Says why the tunnel is not connected, where no lease of it has a circuit.
    private mutating func noteDisconnected(_ id: TunnelID, reason: String) {
        guard let tunnel = tunnels[id], !tunnel.leases.values.contains(where: { $0.circuit != nil })
        else { return }
        setState(id, .connecting(reason: reason))
    }

    /// A time that doubles with `failures` from 100 ms to 6.4 s, of which half is drawn.
    private mutating func wait(_ failures: Int) -> TimeSpan {
        let step = TimeSpan.milliseconds(100 << UInt64(min(failures, 6)))
        return step / 2 + TimeSpan(nanoseconds: random.next(below: step.nanoseconds / 2 + 1))
    }

    private mutating func setState(_ id: TunnelID, _ state: TunnelState) {
        guard let tunnel = tunnels[id], tunnel.state != state else { return }
        tunnels[id]?.state = state
        notices.append(.tunnel(id, state))
    }
}

extension ClientControl {
    /// A circuit as people look at it.
    public struct CircuitReport: Sendable {
        /// How far it is.
        public enum Stage: String, Sendable {
            /// Being built.
            case building
            /// Built, carrying nothing.
            case spare
            /// Carrying a lease.
            case active
        }

        /// The circuit.
        public let id: CircuitID
        /// The tunnel it serves.
        public let tunnel: TunnelID
        /// How far it is.
        public let stage: Stage
        /// Its relays, the guard first.
        public let hops: [RelayRecord]
        /// The address its guard is reached by; `nil` where that relay is listed no more.
        public let guardAddress: SocketAddress?
        /// When it was begun.
        public let begun: Instant
        /// How long it took to build.
        public let buildTime: TimeSpan?
        /// Last measured round trip to each hop.
        public let roundTrips: [TimeSpan?]
        /// Whether new flows begin on it.
        public let isCurrent: Bool
        /// What was paid for it; `nil` where nothing is.
        public let pay: CircuitPayReport?
        /// Why it was begun, or put to its present use.
        public let cause: CircuitCause
        /// What each hop said last of what it carried.
        public let statements: [HopStatement?]
        /// Hops whose last series of echoes went unanswered.
        public let isSilent: [Bool]
        /// What its traffic looks like.
        public let shape: TrafficShape
        /// What its loops found; `nil` before its schedule is kept.
        public let loops: LoopReport?
        /// Cells that one tick pays for at guard and middle.
        public let tickCells: Int
    }

    /// All circuits but those that measure or audit, the oldest first.
    public func circuitReports() -> [CircuitReport] {
        circuits.values.filter { $0.survey == nil && Self.auditSide($0.tunnel) == nil }.sorted {
            $0.id < $1.id
        }.map { circuit in
            CircuitReport(
                id: circuit.id,
                tunnel: circuit.tunnel,
                stage: circuit.stage == .active
                    ? .active : circuit.stage == .ready ? .spare : .building,
                hops: circuit.path.hops,
                guardAddress: circuit.path.hops.first.flatMap { address(of: $0) },
                begun: circuit.begun,
                buildTime: circuit.buildTime,
                roundTrips: circuit.roundTrips,
                isCurrent: circuit.lease != nil
                    && tunnels[circuit.tunnel]?.current == circuit.lease,
                pay: cashier.report(of: circuit.id),
                cause: circuit.cause,
                statements: circuit.statements,
                isSilent: circuit.isSilent,
                shape: circuit.shape,
                loops: circuit.loop?.report,
                tickCells: Int(selector.view.parameters.tickCells)
            )
        }
    }

    /// How the tunnel `id` stands; `nil` if there is none.
    public func state(of id: TunnelID) -> TunnelState? {
        tunnels[id]?.state
    }

    /// Since when the tunnel `id` is connected.
    public func connectedSince(_ id: TunnelID) -> Instant? {
        tunnels[id]?.connectedSince
    }
}
