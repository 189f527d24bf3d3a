public import Base
public import Circuits
public import CryptoPrimitives
import DequeModule
public import Directory
public import Flows
public import Links
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

    static let silenceLimit: TimeSpan = .milliseconds(2_500)
    /// Time an exit has to answer OPEN_TUN, which it acknowledges much sooner.
    private static let openingLimit: TimeSpan = .seconds(5)
    private static let pingLimit: TimeSpan = .seconds(3)
    /// Circuits in a row that could not reach an exit, after which its leases are given up.
    static let exitFailureLimit = 3

    let network: NetworkID
    var settings: Settings
    var selector: PathSelector
    var dialer: LinkDialer
    var random: RandomGenerator
    var commands: Deque<ClientCommand> = []
    var jobs: Deque<ClientJob> = []
    var errands: Deque<TicketErrand> = []
    var cashier: Cashier
    var notices: Deque<Notice> = []
    var audit: ExitAudit?

    var nextLink: UInt64 = 1
    var nextCircuit: UInt64 = 1
    var nextLease: UInt32 = 1
    var links: [LinkID: NodeID] = [:]
    var guardLinks: [NodeID: LinkID] = [:]
    var dialing: [NodeID: LinkID] = [:]
    var circuits: [CircuitID: Circuit] = [:]
    var tunnels: [TunnelID: Tunnel] = [:]
    // Circuits in a row that could not reach an exit, or broke there; one entry for each exit.
    var exitFailures: [NodeID: Int] = [:]
    var pings: [UInt64: Ping] = [:]
    /// What was said to hops, and by them, about pay.
    public internal(set) var payTraffic = PayTraffic()
    /// What hops said of their directories and clocks.
    public internal(set) var statements = RelayStatements()
    /// The round trip to exits this client has had circuits to, smoothed; at most 1,024.
    public internal(set) var exitTrips: [NodeID: TimeSpan] = [:]
    /// How long the last circuit to each of these exits took to build.
    public internal(set) var exitBuilds: [NodeID: TimeSpan] = [:]
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

    func avoided(at now: Instant) -> [NodeID] {
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
    mutating func drainCashier(now: Instant) {
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

    func linkTarget(_ relay: NodeID) -> LinkTarget? {
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

    func address(of record: RelayRecord) -> SocketAddress? {
        if settings.reachesV4, let address = record.addresses.v4 { return address }
        return settings.reachesV6 ? record.addresses.v6 : nil
    }
}
