public import Base
public import Circuits
public import CryptoPrimitives
import DequeModule
public import Directory
import Flows
import Links
import Onion
public import Tickets
public import Wire

/// The control plane of a relay: handshakes, extensions, conversations with clients.
///
/// Sans-IO. Feed ``RelayEvent``s, results of ``RelayJob``s and ``TicketErrand``s, and time; drain
/// ``nextCommand()``, ``nextJob()`` and ``nextErrand()`` after each call. `now` never goes back;
/// `wall` only judges minutes, epochs and documents.
/// Not thread-safe: owned by one task.
///
/// Bounds: the shard's links and circuits; ``createWorkLimit`` CREATEs in work; 64 extensions wait
/// for one link. Spec: PROTOCOL.md §B.3, §B.5, §C.4.
public struct RelayControl: ~Copyable {
    /// CREATEs that may be in work at a time.
    public static let createWorkLimit = 1_024
    static let extendsWaitingLimit = 64
    static let earlyWait: TimeSpan = .milliseconds(300)
    static let createTryLimit = 5
    private static let reportsWaitingLimit = 8
    /// Bytes of messages from clients that did not come whole yet, of all circuits together.
    public static let heldByteLimit = 16 << 20

    let identity: Identity
    let families: Families
    var target: [(target: HandshakeTarget, key: XWing.PrivateKey)]
    private var shelf = DirectoryShelf()
    var view: NetworkView?
    // The newest `wall`.
    var wall: WallTime
    var responder: LinkResponder
    var dialer: LinkDialer
    var filter: CreateFilter
    private let bootMinute: UInt32
    private let uncleanBootMinute: UInt32
    var random: RandomGenerator
    let shardCount: Int
    private var commands: Deque<ShardCommand> = []
    var jobs: Deque<RelayJob> = []
    private var errands: Deque<TicketErrand> = []

    private var nextLink: UInt64 = 1
    var links: [LinkID: LinkState] = [:]
    var relayLinks: [Neighbour: LinkID] = [:]
    var dialing: [Neighbour: LinkID] = [:]
    var dialed: [LinkID: Neighbour] = [:]
    var waitingForLink: [Neighbour: [CircuitID]] = [:]
    var nextShard = 0
    var leases: LeaseTable?
    var desk: PaymentDesk

    private var nextCircuit: UInt64 = 1
    var circuits: [CircuitID: CircuitState] = [:]
    private var byPrevious: [RouteKey: CreateState] = [:]
    var answered = AnsweredCreates()
    var byNext: [RouteKey: CircuitID] = [:]
    private var createsInWork = 0
    /// Bytes of messages from clients that did not come whole yet.
    public private(set) var heldByteCount = 0
    private var timers = TimerTable()
    // Timer places of circuits: dense, so that the table stays small.
    private var timerPlaces: [CircuitID: Int] = [:]
    private var placeOwners: [CircuitID?] = []
    private var freePlaces: [Int] = []
    /// Requests to mints on their way through this relay.
    var mintErrands: MintForwarding
    /// Whether new circuits are taken; those that stand stay until they end.
    public var isAccepting = true
    /// What the control plane counted.
    public internal(set) var counters = Counters()

    /// Makes the control plane of a relay that starts now.
    ///
    /// - Precondition: there is a shard.
    public init(
        identity: Identity,
        families: Families,
        shardCount: Int = 1,
        exit: ExitSettings? = nil,
        memory: ReplayMemory = .none,
        book: VoucherBook = VoucherBook(),
        now: Instant,
        wall: WallTime,
        random: consuming RandomGenerator
    ) {
        var random = random
        self.identity = identity
        self.families = families
        target = Self.targets(identity, identity.circuitKeys)
        responder = LinkResponder(
            network: identity.network,
            relay: identity.relay,
            keys: identity.circuitKeys,
            random: &random,
            now: now
        )
        dialer = LinkDialer(
            identity: LinkIdentity(network: identity.network, signingKey: identity.signingKey),
            shardCount: shardCount,
            random: random.split()
        )
        self.shardCount = shardCount
        mintErrands = MintForwarding(now: now)
        if let exit {
            leases = LeaseTable(
                pool: exit.pool,
                idleLimit: exit.leaseIdleLimit,
                first: UInt32(random.next(below: UInt64(exit.pool.capacity)))
            )
        }
        switch memory {
        case .none, .lost: filter = CreateFilter(random: &random)
        case .marks(let filter): self.filter = filter
        }
        if case .lost = memory { uncleanBootMinute = wall.minute } else { uncleanBootMinute = 0 }
        bootMinute = wall.minute
        self.wall = wall
        desk = PaymentDesk(
            relay: identity.relay,
            network: identity.network,
            book: book,
            random: random.split()
        )
        self.random = random
    }

    private static func targets(
        _ identity: Identity,
        _ keys: [XWing.PrivateKey]
    ) -> [(target: HandshakeTarget, key: XWing.PrivateKey)] {
        keys.map { key in
            (
                HandshakeTarget(
                    role: .circuit,
                    network: identity.network,
                    relay: identity.relay,
                    publicKey: key.publicKey
                ), key
            )
        }
    }

    // MARK: Outputs

    /// Takes the next command for a shard.
    public mutating func nextCommand() -> ShardCommand? {
        commands.popFirst()
    }

    /// Takes the next job.
    public mutating func nextJob() -> RelayJob? {
        jobs.popFirst()
    }

    /// Takes the next errand.
    public mutating func nextErrand() -> TicketErrand? {
        errands.popFirst()
    }

    /// What was earned so far.
    public var earnings: VoucherBook.Earnings {
        desk.earnings
    }

    /// What was earned by the vouchers of each day since 1970, ascending.
    public var earningsByDay: [(day: UInt32, earnings: VoucherBook.Earnings)] {
        desk.earningsByDay
    }

    /// Whether vouchers cannot be put on disk now: none is taken until they can.
    public var cannotStoreVouchers: Bool {
        desk.cannotStore
    }

    /// The marks of CREATEs, to store at a stop in order.
    public var replayMarks: CreateFilter {
        filter
    }

    /// When ``advance(to:)`` has something to do.
    public var nextDeadline: Instant {
        let deadline = min(
            min(timers.nextDeadline, answered.nextDeadline),
            min(dialer.nextDeadline, desk.nextDeadline)
        )
        switch leases {
        case .some(let leases): return min(deadline, leases.nextDeadline ?? .distantFuture)
        case .none: return deadline
        }
    }

    /// Links that stand.
    public var linkCount: Int {
        links.count
    }

    /// Circuits that stand.
    public var circuitCount: Int {
        circuits.count
    }

    /// Leases that circuits hold or may take over.
    public var leaseCount: Int {
        switch leases {
        case .some(let leases): leases.count
        case .none: 0
        }
    }

    // MARK: Inputs

    /// Takes a newer view of the network.
    public mutating func setView(_ view: NetworkView, now: Instant) {
        self.view = view
        desk.setNetwork(view.consensus, now: now)
    }

    /// Takes the keys of the authorities, by index: circuits that measure show their passes.
    public mutating func setAuthorities(_ keys: [UInt8: Bytes32]) {
        desk.setAuthorities(keys)
    }

    /// Takes the documents it hands out over circuits.
    public mutating func setShelf(_ shelf: DirectoryShelf) {
        self.shelf = shelf
    }

    /// Answers handshakes by these circuit keys from now on, the newest first.
    ///
    /// - Precondition: there is one.
    public mutating func setCircuitKeys(_ keys: [XWing.PrivateKey]) {
        precondition(!keys.isEmpty, "a relay has a circuit key")
        target = Self.targets(identity, keys)
        responder.setKeys(keys, of: identity.relay)
    }

    /// Takes what `shard` reports.
    public mutating func receive(
        _ event: RelayEvent,
        from shard: Int = 0,
        now: Instant,
        wall: WallTime
    ) {
        self.wall = wall
        if let id = event.standingCircuit, circuits[id] == nil {
            // It should not be there any more: what tells the shard so may be under way already.
            tell(.removeCircuit(id), to: shard)
            return
        }
        switch event {
        case .link(let event): receive(event, now: now)
        case .handshake(let bytes, let source): receiveHandshake(bytes, source: source, now: now)
        case .create(let link, let number, let body):
            receiveCreate(RouteKey(link: link, number: number), body, now: now, wall: wall)
        case .created(let link, let number, let body):
            receiveCreated(RouteKey(link: link, number: number), body, now: now)
        case .destroyed(let id):
            guard let circuit = circuits[id] else { return }
            if let next = circuit.next { sendDestroy(next, .finished) }
            forget(id, now: now)
        case .nextLost(let id):
            loseNext(id, now: now)
        case .refused(let link, let number, _):
            // A circuit that died before its CREATE was answered leaves nothing here but this.
            byPrevious[RouteKey(link: link, number: number)] = nil
        case .control(let id, let record, let isEarly):
            receiveControl(id, record, isEarly: isEarly, now: now)
        case .idle(let id):
            destroy(id, reason: .finished, now: now)
        case .counted(let id, let counts):
            desk.counted(id, counts, now: now)
        }
        drainDialer(now: now)
        drainDesk(now: now)
    }

    /// Takes the result of a job.
    public mutating func finish(_ result: RelayJob.Outcome, now: Instant, wall: WallTime) {
        switch result {
        case .dialer(let result):
            dialer.finish(result, now: now)
        case .responded(let request, let result):
            finishResponse(request, result, now: now)
        case .created(let key, let mark, let result):
            finishCreate(key, mark: mark, result, now: now, wall: wall)
        case .verified(let id, let check, let isValid):
            desk.finish(id, check, isValid: isValid)
        }
        drainDialer(now: now)
        drainDesk(now: now)
    }

    /// Learns whether what was to be stored under `number` is on disk.
    public mutating func stored(_ number: UInt64, isDone: Bool, now: Instant, wall: WallTime) {
        self.wall = wall
        desk.stored(number, isDone: isDone, now: now)
        drainDesk(now: now)
    }

    /// Takes a mint's answer to what was asked under `number`; `nil` where there was none.
    public mutating func answered(
        _ number: UInt64,
        _ reply: MintReply?,
        now: Instant,
        wall: WallTime
    ) {
        self.wall = wall
        desk.answered(number, reply, now: now)
        drainDesk(now: now)
    }

    /// Lets time pass: repetitions and what has waited for too long.
    public mutating func advance(to now: Instant, wall: WallTime) {
        self.wall = wall
        dialer.advance(to: now)
        leases?.expire(now: now)
        while let id = answered.next(now: now) { circuits[id]?.created = [] }
        desk.advance(to: now, wall: wall)
        while let place = timers.popDue(now: now) {
            guard let id = placeOwners[place] else { continue }
            tend(id, now: now)
        }
        drainDialer(now: now)
        drainDesk(now: now)
    }

    /// Does what the desk asks for.
    private mutating func drainDesk(now: Instant) {
        while let step = desk.nextStep() {
            switch step {
            case .say(let id, .report(let report)):
                // The next one says the same and more: none waits for a client that does not hear.
                guard let waiting = circuits[id]?.channel.waitingCount,
                    waiting < Self.reportsWaitingLimit
                else { continue }
                say(.report(report), to: id, now: now)
            case .say(let id, let message): say(message, to: id, now: now)
            case .allow(let id, let allowance): tell(.allow(id, allowance), to: id)
            case .count(let id): tell(.count(id), to: id)
            case .violate(let id): violate(id, now: now)
            case .verify(let id, let check): jobs.append(.verify(id, check))
            case .errand(let errand): errands.append(errand)
            }
        }
    }

    // MARK: Circuits

    private mutating func receiveCreate(
        _ key: RouteKey,
        _ bytes: [UInt8],
        now: Instant,
        wall: WallTime
    ) {
        guard links[key.link] != nil, let body = try? CreateBody(parsing: bytes) else { return }
        let mark = filter.mark(of: body)
        switch byPrevious[key] {
        case .working: return
        case .established(let id, let known):
            guard known == mark, let circuit = circuits[id], !circuit.created.isEmpty else {
                return
            }
            tell(.sendCell(key.link, key.number, .created, circuit.created), to: key.link)
            return
        case nil: break
        }
        guard let holder = target.first(where: { $0.target.keyID == body.keyID }) else {
            return refuse(key, .staleKey)
        }
        guard !filter.contains(mark) else {
            counters.replayedCreates += 1
            tell(.refuseCircuit(key.link, key.number), to: key.link)
            return
        }
        guard isAccepting, createsInWork < Self.createWorkLimit,
            links[key.link]?.creates.take(now: now) == true
        else {
            counters.busyCreates += 1
            return refuse(key, .busy)
        }
        createsInWork += 1
        byPrevious[key] = .working(mark: mark)
        let work = CreateWork(
            body: body,
            target: holder.target,
            key: holder.key,
            ephemeral: random.secret(byteCount: 32),
            policy: policy(wall: wall)
        )
        jobs.append(.create(key.link, key.number, mark, work))
    }

    private func policy(wall: WallTime) -> CreatePolicy {
        var answer = ServerMessage(status: .accepted)
        answer.minute = wall.minute
        answer.bootMinute = bootMinute
        answer.windowTicks = desk.windowTicks(at: wall)
        if let view {
            answer.consensusValidAfter = UInt32(clamping: view.validAfter.seconds)
            answer.consensusDigest = view.shortDigest
            answer.logSize = view.logSize
        }
        return CreatePolicy(
            minute: wall.minute,
            uncleanBootMinute: uncleanBootMinute,
            canJudgeReplays: filter.canJudge(minute: wall.minute),
            answer: answer
        )
    }

    private mutating func finishCreate(
        _ key: RouteKey,
        mark: UInt64,
        _ result: Result<CreateWork.Result, HandshakeError>,
        now: Instant,
        wall: WallTime
    ) {
        createsInWork -= 1
        guard case .working(mark)? = byPrevious[key] else { return }
        byPrevious[key] = nil
        guard let link = links[key.link] else { return }
        guard case .success(let answer) = result else {
            counters.failedCreates += 1
            tell(.refuseCircuit(key.link, key.number), to: key.link)
            return
        }
        // Two copies may have been in work at once.
        guard !filter.contains(mark) else {
            counters.replayedCreates += 1
            tell(.refuseCircuit(key.link, key.number), to: key.link)
            return
        }
        filter.insert(mark, minute: wall.minute)
        guard let hop = HopIndex(rawValue: answer.message.hop),
            (hop == .first) == (link.peer == .client)
        else {
            counters.violations += 1
            return refuse(key, .violation)
        }
        let isContact = answer.message.isFirstContact
        guard !isContact || admitsContact(over: link, now: now) else {
            counters.busyCreates += 1
            return refuse(key, .busy)
        }
        let id = CircuitID(rawValue: nextCircuit)
        nextCircuit += 1
        let allowance = desk.open(id, hop: hop, isContact: isContact, now: now, wall: wall)
        let created = answer.answer.encoded
        circuits[id] = CircuitState(
            id: id,
            shard: link.shard,
            previous: key,
            hop: hop,
            created: created,
            channel: ControlChannel(hop: hop)
        )
        byPrevious[key] = .established(id, mark: mark)
        answered.note(id, now: now)
        links[key.link]?.circuits.insert(id)
        if link.isInitiator { tell(.keepLinkAlive(key.link, true), to: key.link) }
        counters.circuits += 1
        let shape = shapeOrder(answer.message)
        var start = UInt32(truncatingIfNeeded: random.next(below: 1 << 29))
        // Groups of parity begin where counters are multiples of five.
        if case .mix = shape?.shape { start -= start % 5 }
        tell(
            .installCircuit(
                NewRelayCircuit(
                    id: id,
                    link: key.link,
                    number: key.number,
                    hop: hop,
                    early: answer.early,
                    keys: answer.keys,
                    start: start,
                    allowance: allowance,
                    shape: shape
                )
            ),
            to: id
        )
        tell(.sendCell(key.link, key.number, .created, created), to: key.link)
    }

    /// What the shard is to make of a circuit's traffic; `nil` where cells leave as they come.
    private func shapeOrder(_ message: ClientMessage) -> ShapeOrder? {
        guard let shape = message.shape, shape != .fast else { return nil }
        return ShapeOrder(
            shape: shape,
            step: message.downRate,
            hold: view?.parameters.mixHold ?? .standard
        )
    }

    private mutating func admitsContact(over link: LinkState, now: Instant) -> Bool {
        switch (link.peer, link.source) {
        case (.relay(let relay), _): desk.admitsContact(from: .relay(relay), now: now)
        case (.client, .some(let source)):
            desk.admitsContact(from: .client(at: source), now: now)
        case (.client, .none): false
        }
    }

    private mutating func receiveCreated(_ key: RouteKey, _ body: [UInt8], now: Instant) {
        guard let id = byNext[key], circuits[id]?.extend != nil else { return }
        circuits[id]?.extend = nil
        circuits[id]?.extendDue = .distantFuture
        say(.extended(.created(body)), to: id, now: now)
    }

    private mutating func receiveControl(
        _ id: CircuitID,
        _ bytes: [UInt8],
        isEarly: Bool,
        now: Instant
    ) {
        guard circuits[id] != nil else { return }
        let messages: [ControlChannel.Message]
        do throws(WireError) {
            let record = try ControlRecord(parsing: bytes)
            guard !isEarly || record.type <= 1 else { return violate(id, now: now) }
            let held = circuits[id]?.channel.heldByteCount ?? 0
            defer { heldByteCount += (circuits[id]?.channel.heldByteCount ?? held) - held }
            messages =
                try circuits[id]?.channel.receive(
                    record,
                    mayHold: heldByteCount < Self.heldByteLimit,
                    now: now
                ) ?? []
        } catch {
            return violate(id, now: now)
        }
        for message in messages {
            guard
                let content = try? ControlMessage(
                    type: message.type,
                    parsing: message.bytes,
                    fromClient: true
                )
            else { return violate(id, now: now) }
            guard circuits[id] != nil else { return }
            handle(content, from: id, now: now)
        }
        pump(id, now: now)
    }

    private mutating func handle(_ message: ControlMessage, from id: CircuitID, now: Instant) {
        switch message {
        case .extend(let next, let create):
            extend(id, to: next, create: create, now: now)
        case .openTunnel(let request):
            let answer = openTunnel(id, shown: request.leaseSecret, now: now)
            say(.tunnelOpened(answer), to: id, now: now)
        case .echo(false, let nonce):
            say(.echo(isAnswer: true, nonce: nonce), to: id, now: now)
        case .close:
            if let next = circuits[id]?.next { sendDestroy(next, .finished) }
            tell(.removeCircuit(id), to: id)
            forget(id, now: now)
        case .directoryAsk(let ask):
            say(.directoryPart(shelf.part(ask)), to: id, now: now)
        case .payOpen(let open): desk.receive(open, over: id, wall: wall)
        case .payTick(let place): desk.receive(place, over: id, now: now, wall: wall)
        case .payAttach(let attach): desk.receive(attach, over: id, now: now, wall: wall)
        case .payPass(let pass): desk.receive(pass, over: id, now: now, wall: wall)
        case .reportAsk: desk.receiveReportAsk(over: id)
        case .mintAsk(let ask): receive(ask, from: id, now: now)
        case .echo, .extended, .tunnelOpened, .directoryPart, .payResult, .report, .mintAnswer:
            violate(id, now: now)
        }
    }

    mutating func say(_ message: ControlMessage, to id: CircuitID, now: Instant) {
        guard circuits[id] != nil else { return }
        do throws(ControlChannel.SendError) {
            try circuits[id]?.channel.send(message)
        } catch {
            return violate(id, now: now)
        }
        pump(id, now: now)
    }

    mutating func pump(_ id: CircuitID, now: Instant) {
        guard circuits[id] != nil else { return }
        while let record = circuits[id]?.channel.nextRecord(now: now) {
            tell(.sendControl(id, record), to: id)
        }
        if circuits[id]?.channel.hasFailed == true {
            // The client hears nothing any more: the circuit is of no use to it.
            return destroy(id, reason: .linkLost, now: now)
        }
        schedule(id)
    }

    private mutating func violate(_ id: CircuitID, now: Instant) {
        counters.violations += 1
        destroy(id, reason: .violation, now: now)
    }

    mutating func destroy(_ id: CircuitID, reason: DestroyReason, now: Instant) {
        guard let circuit = circuits[id] else { return }
        sendDestroy(circuit.previous, reason)
        if let next = circuit.next { sendDestroy(next, .finished) }
        tell(.removeCircuit(id), to: id)
        forget(id, now: now)
    }

    private mutating func refuse(_ key: RouteKey, _ reason: DestroyReason) {
        tell(.refuseCircuit(key.link, key.number), to: key.link)
        sendDestroy(key, reason)
    }

    mutating func sendDestroy(_ key: RouteKey, _ reason: DestroyReason) {
        tell(.sendCell(key.link, key.number, .destroy, [reason.rawValue]), to: key.link)
    }

    mutating func forget(_ id: CircuitID, now: Instant) {
        guard let circuit = circuits.removeValue(forKey: id) else { return }
        desk.close(id)
        leases?.release(owner: id.rawValue, now: now)
        mintErrands.forget(id)
        heldByteCount -= circuit.channel.heldByteCount
        byPrevious[circuit.previous] = nil
        leave(circuit.previous.link, id)
        if let next = circuit.next {
            byNext[next] = nil
            leave(next.link, id)
        }
        if let place = timerPlaces.removeValue(forKey: id) {
            timers.cancel(place)
            placeOwners[place] = nil
            freePlaces.append(place)
        }
    }

    mutating func leave(_ link: LinkID, _ id: CircuitID) {
        links[link]?.circuits.remove(id)
        guard let state = links[link], state.isInitiator, state.circuits.isEmpty else { return }
        tell(.keepLinkAlive(link, false), to: link)
    }

    mutating func schedule(_ id: CircuitID) {
        guard let circuit = circuits[id] else { return }
        let deadline = min(circuit.extendDue, circuit.channel.nextDeadline)
        let place: Int
        if let known = timerPlaces[id] {
            place = known
        } else {
            guard deadline != .distantFuture else { return }
            place = freePlaces.popLast() ?? placeOwners.count
            if place == placeOwners.count { placeOwners.append(nil) }
            placeOwners[place] = id
            timerPlaces[id] = place
        }
        timers.set(place, to: deadline)
    }

    // MARK: Commands

    mutating func tell(_ command: RelayCommand, to shard: Int) {
        commands.append(ShardCommand(shard: shard, command: command))
    }

    /// Tells the shard a link belongs to; nobody where the link is gone.
    mutating func tell(_ command: RelayCommand, to link: LinkID) {
        guard let shard = links[link]?.shard else { return }
        tell(command, to: shard)
    }

    /// Tells the shard a circuit belongs to; nobody where the circuit is gone.
    mutating func tell(_ command: RelayCommand, to circuit: CircuitID) {
        guard let shard = circuits[circuit]?.shard else { return }
        tell(command, to: shard)
    }

    // MARK: Numbers

    mutating func drawLink() -> LinkID {
        defer { nextLink += 1 }
        return LinkID(rawValue: nextLink)
    }
}

extension RelayControl.LinkState {
    /// The relay at the other end, as the link's shard reaches it; `nil` for a client.
    var neighbour: RelayControl.Neighbour? {
        guard case .relay(let relay) = peer else { return nil }
        return RelayControl.Neighbour(relay: relay, shard: shard)
    }
}
