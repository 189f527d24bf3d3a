public import Base
public import ClientCore
import CryptoPrimitives
public import Directory
import Flows
public import Links
import Paths
import RelayCore
public import Wire

/// What a world is like.
public struct WorldSettings: Sendable {
    /// Everything random comes from this.
    public var seed: UInt64
    /// Relays that are fit to be guards only.
    public var guardCount = 3
    /// Relays that are fit to be middles only.
    public var middleCount = 4
    /// Relays that are exits.
    public var exitCount = 2
    /// The relays one by one, instead of the counts above.
    public var relays: [RelayRoster.Draft]?
    /// What the directory says, as far as it does not follow from ``pay``.
    public var parameters = RelayRoster.parameters
    /// Flows of a client's tunnel at most; each takes 80 bytes of memory whether it is there or not.
    public var clientFlowLimit = ClientShard.flowLimit
    /// Ways between nodes.
    public var quality = LinkQuality()
    /// Time from an exit to the hosts behind it.
    public var internetLatency: TimeSpan = .milliseconds(5)
    /// Time a piece of key work takes.
    public var jobTime: TimeSpan = .microseconds(150)
    /// Time between the two halves of a node.
    public var mailboxTime: TimeSpan = .zero
    /// Times of the link protocol.
    public var timing = LinkTable.Timing()
    /// Packet threads of each relay.
    public var shardCount = 1
    /// Time after which relays forget idle circuits.
    public var circuitIdleLimit: TimeSpan = .seconds(600)
    /// Time a lease waits to be taken over.
    public var leaseIdleLimit: TimeSpan = .seconds(600)
    /// Whether TUN devices take and give super-packets.
    public var usesOffload = false
    /// Whether nodes reach each other over IPv4.
    public var usesV4 = true
    /// Whether nodes reach each other over IPv6.
    public var usesV6 = false
    /// What clients are set to.
    public var client = ClientControl.Settings()
    /// How relays are paid; `nil` where they carry everything.
    public var pay: PaySettings?

    /// A small network without faults.
    public init(seed: UInt64) {
        self.seed = seed
    }
}

/// A network of relays, clients and hosts in virtual time.
///
/// Add clients, open tunnels, plan faults, then ``run(for:)`` or ``run(within:until:)``. Whatever
/// happens is a function of the settings and of what the caller does. Not thread-safe.
public final class World {
    /// What it is like.
    public let settings: WorldSettings
    /// Virtual time.
    public private(set) var now = Instant(nanoseconds: 1_000_000_000)
    /// The relays and authorities there are.
    public let roster: RelayRoster
    /// The network as the first consensus shows it.
    public let view: NetworkView
    /// The mints, where relays are paid.
    public let mints: Mints?
    /// The ways between nodes.
    public var network: Network
    /// All nodes: relays first, then clients.
    public private(set) var nodes: [Node] = []
    /// The relays, in the order of the roster.
    public private(set) var relays: [RelayNode] = []
    /// The clients.
    public private(set) var clients: [ClientNode] = []
    /// A hash of every decision so far.
    public internal(set) var trace = Trace()
    /// What happened so far, in numbers.
    public internal(set) var report = SimulationReport()
    /// Called for each datagram sent, with whether the network lets it arrive.
    public var tap:
        ((_ node: Int, _ destination: SocketAddress, _ bytes: [UInt8], _ arrives: Bool) -> Void)?
    /// Called for each packet that leaves an exit towards the hosts, or comes to it from them, with
    /// the address of the lease.
    public var exitTap:
        ((_ exit: Int, _ leaves: Bool, _ lease: IPAddress, _ byteCount: Int) -> Void)?
    let arena = Arena()
    // Relays that are exits, by the number of their pool.
    private let exits: [Int]
    private let selector: PathSelector
    private var queue = EventQueue()
    private var random: RandomGenerator
    private var owners: [SocketAddress: Int] = [:]
    private var hosts: [Host] = []
    private var flows: [UInt32: DatagramFlow] = [:]
    private var nextFlow: UInt32 = 1
    private let started: Instant
    private let startedWall = WallTime(seconds: 1_800_000_030)
    private var checkerStorage: Checker?
    private var internetStorage: InternetHost?

    /// Datagrams a core may make of one input; output is sent before fewer are left.
    static let reserve = 96

    /// Makes a world of relays without clients.
    public init(_ settings: WorldSettings) throws {
        self.settings = settings
        var random = RandomGenerator(seed: Self.secret(settings.seed))
        let roster =
            if let drafts = settings.relays {
                try RelayRoster(drafts, listensOnV6: settings.usesV6, random: &random)
            } else {
                try RelayRoster(
                    guards: settings.guardCount,
                    middles: settings.middleCount,
                    exits: settings.exitCount,
                    listensOnV6: settings.usesV6,
                    random: &random
                )
            }
        self.roster = roster
        exits = roster.members.indices.filter { roster.members[$0].flags.contains(.exit) }
        precondition(exits.count <= Self.exitLimit, "more exits than there are pools of addresses")
        let began = WallTime(seconds: 1_800_000_000)
        var parameters = settings.parameters
        parameters.paymentsRequired = settings.pay != nil
        if let pay = settings.pay {
            parameters.mintCount = UInt32(pay.mintCount)
            parameters.ticketEpochSeconds = pay.epochSeconds
            parameters.voucherBatch = pay.batch
            parameters.depositSeconds = pay.depositSeconds
            let made = try Mints(pay, network: roster.network, wall: began)
            mints = made
            view = try roster.view(at: began, parameters: parameters, mints: made.section)
            made.setNetwork(view.consensus)
        } else {
            mints = nil
            view = try roster.view(at: began, parameters: parameters)
        }
        // No client's: what follows from the view alone is worked out once.
        var other = RandomGenerator(seed: Self.secret(0))
        selector = PathSelector(view: view, at: began, using: &other)
        network = Network(quality: settings.quality, random: random.split())
        self.random = random
        started = now
        checkerStorage = Checker(world: self)
        internetStorage = addHost { InternetHost(index: $0, world: self) }
        for (index, member) in roster.members.enumerated() {
            let relay = RelayNode(
                index: index,
                world: self,
                member: member,
                view: view,
                exit: exits.firstIndex(of: index).map { exitSettings(index, number: $0) }
            )
            relays.append(relay)
            nodes.append(relay)
            learn(relay.addresses(), of: index)
        }
    }

    private static func secret(_ seed: UInt64) -> Secret {
        var bytes = [UInt8](repeating: 0, count: 32)
        for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: seed >> (8 * UInt64(index))) }
        return Secret(copying: bytes)
    }

    /// What was broken.
    public var checker: Checker {
        guard let checkerStorage else { preconditionFailure("a world has a checker") }
        return checkerStorage
    }

    /// The hosts behind the exits.
    public var internet: InternetHost {
        guard let internetStorage else { preconditionFailure("a world has an internet") }
        return internetStorage
    }

    /// Civil time.
    public var wall: WallTime {
        startedWall + (now - started).nanoseconds / 1_000_000_000
    }

    /// Civil time in nanoseconds since 1970.
    var civilNanoseconds: UInt64 {
        startedWall.seconds * 1_000_000_000 + (now - started).nanoseconds
    }

    /// Adds a client, with the world's client settings or others.
    public func addClient(_ settings: ClientControl.Settings? = nil) -> ClientNode {
        var chosen = settings ?? self.settings.client
        chosen.reachesV4 = self.settings.usesV4
        chosen.reachesV6 = self.settings.usesV6
        let client = ClientNode(
            index: nodes.count,
            world: self,
            number: UInt32(clients.count + 1),
            view: view,
            settings: chosen
        )
        nodes.append(client)
        clients.append(client)
        learn(client.addresses(), of: client.index)
        return client
    }

    /// A selector that clients which exclude these relays may begin from; `nil` where there is none.
    func selector(excluding exclusions: RelayExclusions) -> PathSelector? {
        exclusions == selector.exclusions ? selector : nil
    }

    /// Gives a client's account so many ticks.
    public func grant(_ ticks: UInt64, to client: ClientNode) {
        mints?.grant(ticks, to: client.account, at: wall)
    }

    /// Adds an authority's prober.
    public func addProber() -> ProbeNode {
        let prober = ProbeNode(index: nodes.count, world: self)
        nodes.append(prober)
        learn(prober.addresses(), of: prober.index)
        return prober
    }

    // MARK: Time

    /// Lets virtual time pass.
    public func run(for span: TimeSpan) {
        run(until: now + span) { false }
    }

    /// Lets virtual time pass until `condition` holds; returns whether it did within `span`.
    public func run(within span: TimeSpan, until condition: () -> Bool) -> Bool {
        run(until: now + span, condition)
        return condition()
    }

    private func run(until end: Instant, _ condition: () -> Bool) {
        while let time = queue.nextTime, time <= end {
            if condition() { return }
            guard let (time, event) = queue.removeFirst() else { break }
            now = max(now, time)
            report.events += 1
            report.elapsed = now - started
            handle(event)
        }
        if !condition() { now = max(now, end) }
        report.elapsed = now - started
    }

    /// Events that are to come.
    public var pendingEvents: Int { queue.count }

    /// Does something at a time to come.
    public func at(_ time: Instant, _ action: @escaping () -> Void) {
        plan(.action(action), at: time)
    }

    func plan(_ event: Event, at time: Instant) {
        queue.add(event, at: max(time, now))
    }

    /// Does something next, at the same instant.
    func later(_ action: @escaping () -> Void) {
        plan(.action(action), at: now)
    }

    private func handle(_ event: Event) {
        switch event {
        case .datagram(let first):
            var deliveries = [first]
            // What arrives at one instant is received in one batch, as sockets do.
            while deliveries.count < 64, queue.nextTime == now,
                case .datagram(let next)? = queue.nextEvent, next.node == first.node
            {
                _ = queue.removeFirst()
                deliveries.append(next)
            }
            deliver(deliveries)
        case .wake(let index):
            let node = nodes[index]
            guard node.condition == .up, node.wakePlanned <= now else { return }
            trace.add(4, UInt64(index), now.nanoseconds)
            node.wake()
        case .jobDone(let index, let incarnation):
            let node = nodes[index]
            guard node.incarnation == incarnation, node.condition != .down else { return }
            guard node.condition == .up else {
                return plan(event, at: now + .milliseconds(100))
            }
            node.finishJob()
        case .mailbox(let index, let incarnation, let isForControl, let count):
            let node = nodes[index]
            guard node.incarnation == incarnation, node.condition != .down else { return }
            guard node.condition == .up else {
                return plan(event, at: now + .milliseconds(100))
            }
            node.openMailbox(isForControl: isForControl, count: count)
        case .leftExit(let relay, let packet):
            report.exitPackets += 1
            trace.add(5, UInt64(relay), UInt64(packet.count))
            internet.receive(packet, exit: relay)
        case .enteredExit(let relay, let packet):
            guard relays[relay].condition == .up else { return }
            report.returnPackets += 1
            trace.add(6, UInt64(relay), UInt64(packet.bytes.count))
            relays[relay].receiveFromTunnel(packet)
        case .host(let index):
            hosts[index].tick()
        case .action(let action):
            action()
        }
    }

    // MARK: Datagrams

    /// Sends a datagram that is not of the node whose address it bears.
    public func inject(_ bytes: [UInt8], from source: SocketAddress, to destination: SocketAddress)
    {
        guard let target = owners[destination] else { return }
        plan(
            .datagram(
                Delivery(node: target, source: source, destination: destination, bytes: bytes)
            ),
            at: now
        )
    }

    /// Which node answers at an address.
    public func owner(of address: SocketAddress) -> Int? {
        owners[address]
    }

    func isClient(_ address: SocketAddress) -> Bool {
        owners[address].map { nodes[$0] is ClientNode } ?? false
    }

    func learn(_ addresses: [SocketAddress], of node: Int) {
        for address in addresses { owners[address] = node }
    }

    func forget(_ addresses: [SocketAddress]) {
        for address in addresses { owners[address] = nil }
    }

    func send(_ trains: borrowing DatagramTrains, from node: Node) {
        for train in trains.trains {
            let target = owners[train.destination]
            for place in train.range {
                let offset = Int(trains.offsets[place])
                let made = arena.copy(offset..<offset + Datagram.byteCount)
                // What a node that cheats makes of it breaks no rule of ours.
                checker.inspect(made, from: node.index, to: target)
                guard let others = node.outgoing(made, to: train.destination) else {
                    send(made, from: node, to: train.destination, of: target)
                    continue
                }
                for bytes in others { send(bytes, from: node, to: train.destination, of: target) }
            }
        }
    }

    private func send(
        _ bytes: [UInt8],
        from node: Node,
        to destination: SocketAddress,
        of target: Int?
    ) {
        report.datagrams += 1
        node.sentDatagrams += 1
        trace.add(7, UInt64(node.index), now.nanoseconds, UInt64(bytes.count))
        trace.add(destination)
        guard let source = node.address(isV4: destination.ip.isV4) else {
            return checker.note("node \(node.index) sent to \(destination), which it cannot reach")
        }
        guard let target else {
            tap?(node.index, destination, bytes, false)
            return
        }
        func arrive(_ bytes: [UInt8], at time: Instant, turnedBit: Int?) {
            trace.add(8, time.nanoseconds, UInt64(turnedBit ?? -1 & 0xffff))
            plan(
                .datagram(
                    Delivery(node: target, source: source, destination: destination, bytes: bytes)
                ),
                at: time
            )
        }
        if let time = network.steadyArrival(from: node.index, to: target, now: now) {
            tap?(node.index, destination, bytes, true)
            return arrive(bytes, at: time, turnedBit: nil)
        }
        let fate = network.fate(of: bytes.count, from: node.index, to: target, now: now)
        tap?(node.index, destination, bytes, !fate.arrivals.isEmpty)
        for arrival in fate.arrivals {
            var copy = bytes
            if let bit = arrival.turnedBit { copy[bit / 8] ^= 1 << UInt8(bit % 8) }
            arrive(copy, at: arrival.time, turnedBit: arrival.turnedBit)
        }
    }

    private func deliver(_ deliveries: [Delivery]) {
        let node = nodes[deliveries[0].node]
        // Whoever left an address does not receive what is still on its way there.
        var arrived = deliveries
        if !deliveries.allSatisfy({ owners[$0.destination] == $0.node }) {
            arrived.removeAll { owners[$0.destination] != $0.node }
        }
        switch node.condition {
        case .down:
            return
        case .paused:
            let room = Node.backlogLimit - node.backlog.count
            node.backlog += arrived.prefix(max(0, room))
        case .up:
            receive(arrived, at: node)
        }
    }

    private func receive(_ deliveries: [Delivery], at node: Node) {
        guard !deliveries.isEmpty else { return }
        report.deliveredDatagrams += UInt64(deliveries.count)
        node.receivedDatagrams += UInt64(deliveries.count)
        trace.add(9, UInt64(node.index), UInt64(deliveries.count), now.nanoseconds)
        node.receive(deliveries[...])
    }

    /// Lays datagrams into the arena, those of one sender behind each other.
    func place(_ deliveries: ArraySlice<Delivery>, _ body: (DatagramRun) -> Void) {
        var start = deliveries.startIndex
        var runs: [DatagramRun] = []
        var offset = ArenaLayout.receive.lowerBound
        while start < deliveries.endIndex {
            let source = deliveries[start].source
            let size = deliveries[start].bytes.count
            var end = start
            let first = offset
            while end < deliveries.endIndex, deliveries[end].source == source,
                deliveries[end].bytes.count == size, end - start < 40
            {
                let bytes = deliveries[end].bytes
                arena.withBytes { $0.copy(bytes, to: offset) }
                offset += size
                end += 1
            }
            runs.append(
                DatagramRun(
                    source: source,
                    offset: first,
                    byteCount: offset - first,
                    segmentByteCount: size
                )
            )
            start = end
        }
        for run in runs { body(run) }
    }

    // MARK: Faults

    /// Stops a node; all it knew is gone.
    public func kill(_ node: Node) {
        trace.add(10, UInt64(node.index))
        node.condition = .down
        node.backlog = []
    }

    /// Starts a relay again that was stopped, with its keys and an empty memory.
    public func restart(_ relay: RelayNode) {
        trace.add(11, UInt64(relay.index))
        relay.condition = .up
        relay.restart()
    }

    /// Lets a node stand still.
    public func pause(_ node: Node) {
        node.condition = .paused
    }

    /// Lets a node go on that stood still; what waited arrives at once.
    public func resume(_ node: Node) {
        node.condition = .up
        let backlog = node.backlog
        node.backlog = []
        node.wakePlanned = now
        plan(.wake(node: node.index), at: now)
        var rest = backlog[...]
        while !rest.isEmpty {
            receive(Array(rest.prefix(64)), at: node)
            rest = rest.dropFirst(64)
        }
    }

    // MARK: Hosts

    func addHost<H: Host>(_ make: (Int) -> H) -> H {
        let host = make(hosts.count)
        hosts.append(host)
        return host
    }

    func takeFlowNumber() -> UInt32 {
        defer { nextFlow += 1 }
        return nextFlow
    }

    func register(_ flow: DatagramFlow, host: ClientHost) {
        flows[flow.id] = flow
    }

    func forget(_ flow: DatagramFlow) {
        flows[flow.id] = nil
        checker.forget(flow: flow.id)
    }

    func flow(_ id: UInt32) -> DatagramFlow? {
        flows[id]
    }

    func noteRoundTrip(_ time: TimeSpan) {
        guard report.roundTrips.count < SimulationReport.roundTripLimit else { return }
        report.roundTrips.append(time)
    }

    func packets(of list: TunWriteList) -> [[UInt8]] {
        list.writes.map { write in
            var bytes: [UInt8] = []
            bytes.reserveCapacity(write.byteCount)
            for piece in list.pieces[write.pieces] {
                bytes += arena.copy(piece.offset..<piece.offset + piece.byteCount)
            }
            return bytes
        }
    }

    func leaveExit(_ relay: Int, _ packet: [UInt8]) {
        if let exitTap, let ends = Packet.ends(of: packet[...]) {
            exitTap(relay, true, ends.source, packet.count)
        }
        plan(.leftExit(relay: relay, packet: packet), at: now + settings.internetLatency)
    }

    func enterExit(_ relay: Int, _ packet: TunInput) {
        if let exitTap {
            let bytes = packet.bytes.dropFirst(VirtioNetHeader.byteCount)
            if let ends = Packet.ends(of: bytes) {
                exitTap(relay, false, ends.destination, bytes.count)
            }
        }
        plan(.enteredExit(relay: relay, packet: packet), at: now + settings.internetLatency)
    }

    /// The exit from whose pool an address is.
    func exit(of address: IPAddress) -> Int? {
        if let v4 = address.v4 {
            guard v4 >> 22 == 0x6440_0000 >> 22 else { return nil }
            return exit(numbered: Int(v4 >> 12 & 0x3ff))
        }
        guard address.high >> 32 == 0xfd00_0000 else { return nil }
        return exit(numbered: Int(address.high & 0xffff))
    }

    private func exit(numbered number: Int) -> Int? {
        exits.indices.contains(number) ? exits[number] : nil
    }

    /// Exits there may be: a /20 of 100.64.0.0/10 each.
    private static let exitLimit = 1_024

    private func exitSettings(_ index: Int, number: Int) -> ExitSettings {
        var exit = ExitSettings(
            v4Pool: IPNetwork(
                IPAddress(v4: 0x6440_0000 | UInt32(number) << 12),
                prefixBitCount: 96 + 20
            ),
            v6Pool: IPNetwork(
                IPAddress(high: 0xfd00_0000_0000_0000 | UInt64(number), low: 0),
                prefixBitCount: 96
            ),
            allow: [],
            own: [roster.members[index].v4.ip],
            leaseLimit: 1_000,
            offload: settings.usesOffload ? .tcpAndUDP : .none
        )
        exit.leaseIdleLimit = settings.leaseIdleLimit
        return exit
    }

    func splitRandom() -> RandomGenerator {
        random.split()
    }
}
