public import Anonymity
public import Base
public import Wire
public import Workloads

/// What a crowd is like.
public struct CrowdSettings: Sendable {
    /// Everything random comes from this.
    public var seed: UInt64
    /// Clients, each with a tunnel and flows of its own.
    public var clients: Int
    /// Virtual seconds of traffic.
    public var seconds: Int
    /// What each client does: downloads and uploads in time.
    public var transfers: [[Transfer]]
    /// What every client's traffic looks like.
    public var shape = TrafficShape.fast
    /// Whether a packet a second is sent besides, to measure round trips with.
    public var probes = true
    /// Of 10,000 datagrams between clients and relays, how many are lost, each way.
    public var accessLoss: UInt64 = 0

    /// A crowd; client i does `transfers[i]`.
    ///
    /// - Precondition: there are transfers for each client.
    public init(seed: UInt64, seconds: Int, transfers: [[Transfer]]) {
        self.seed = seed
        clients = transfers.count
        self.seconds = seconds
        self.transfers = transfers
    }
}

/// Clients in a world that do what people do, watched at their links, between relays and behind exits.
///
/// The nodes are the product's own. Ways take 10 ms and jitter by up to 2 ms; nothing is lost but
/// what the settings say of clients' links.
public final class Crowd {
    /// Why nothing was watched.
    public enum Fault: Error, Hashable, Sendable {
        /// Clients that could not connect.
        case notConnected(count: Int)
        /// Something happened that must not: the first of it.
        case broken(String)
    }

    /// The world.
    public let world: World
    /// What was seen, in seconds since the traffic began.
    public private(set) var recording = Recording()
    /// The paths in use when the traffic began, by client; relays by index.
    public private(set) var paths: [CircuitPath] = []
    private let settings: CrowdSettings
    private var hosts: [ClientHost] = []
    private var start: Instant = .zero
    private var flowNumbers: [IPAddress: Int] = [:]

    /// Time a client may take to connect.
    public static let patience: TimeSpan = .seconds(60)
    /// Virtual seconds of probes before anything is watched.
    public static let warmUpSeconds: UInt64 = 10
    /// What the ways of a round trip take without anything added: three each way and the internet's.
    public static let pathRoundTrip = 0.07

    /// Builds the world; nothing has happened in it.
    public init(_ settings: CrowdSettings) throws {
        precondition(settings.transfers.count == settings.clients, "every client does something")
        self.settings = settings
        var world = WorldSettings(seed: settings.seed)
        world.guardCount = 4
        world.middleCount = 4
        world.exitCount = 3
        world.quality.latency = .milliseconds(10)
        world.quality.jitter = .milliseconds(2)
        self.world = try World(world)
    }

    /// Connects all clients and lets them do what they do.
    ///
    /// - Parameter progress: called every ten virtual seconds with those that passed.
    /// - Throws: ``Fault``.
    public func run(progress: (_ seconds: Int) -> Void = { _ in }) throws(Fault) {
        var nodes: [ClientNode] = []
        for _ in 0..<settings.clients {
            let client = world.addClient()
            nodes.append(client)
            hosts.append(client.openTunnel(shape: settings.shape))
        }
        let pairs = Array(zip(nodes, hosts))
        let isUp = world.run(within: Self.patience) {
            pairs.allSatisfy { $0.0.isConnected($0.1) }
        }
        guard isUp else {
            throw .notConnected(count: pairs.filter { !$0.0.isConnected($0.1) }.count)
        }
        loseOnAccess(of: nodes)
        // Schedules begin with the first packet; they run, and spare circuits are built, before
        // anything is watched.
        if settings.probes { probe() }
        world.run(for: .seconds(Self.warmUpSeconds))
        paths = pairs.map { client, host in
            CircuitPath(client.currentPath(of: host).map(\.index))
        }
        start = world.now
        watch(nodes)
        plan()
        for second in 1...max(1, settings.seconds) {
            world.run(for: .seconds(1))
            if second.isMultiple(of: 10) { progress(second) }
        }
        world.tap = nil
        world.exitTap = nil
        if let violation = world.checker.violations.first { throw .broken(violation.description) }
    }

    private var seconds: Double { (world.now - start).seconds }

    private func loseOnAccess(of clients: [ClientNode]) {
        guard settings.accessLoss > 0 else { return }
        for client in clients {
            for relay in world.relays {
                for (from, to) in [(client.index, relay.index), (relay.index, client.index)] {
                    var quality = world.network.quality(from: from, to: to)
                    quality.loss = settings.accessLoss
                    world.network.setQuality(quality, from: from, to: to)
                }
            }
        }
    }

    private func watch(_ clients: [ClientNode]) {
        var numbers: [Int: Int] = [:]
        for (number, client) in clients.enumerated() { numbers[client.index] = number }
        world.tap = { [unowned self] node, destination, bytes, arrives in
            guard let target = world.owner(of: destination) else { return }
            let place: Place
            let direction: Direction
            if let client = numbers[node] {
                (place, direction) = (.clientLink(client: client), .forward)
            } else if let client = numbers[target] {
                (place, direction) = (.clientLink(client: client), .backward)
            } else {
                (place, direction) = (.relayLink(from: node, to: target), .forward)
            }
            recording.add(
                Observation(
                    time: seconds,
                    byteCount: UInt32(bytes.count),
                    direction: direction,
                    place: place,
                    isLost: !arrives
                )
            )
        }
        world.exitTap = { [unowned self] exit, leaves, lease, byteCount in
            let flow = flowNumbers[lease] ?? flowNumbers.count
            flowNumbers[lease] = flow
            recording.add(
                Observation(
                    time: seconds,
                    byteCount: UInt32(byteCount),
                    direction: leaves ? .forward : .backward,
                    place: .exitSide(exit: exit, flow: flow)
                )
            )
        }
    }

    private func plan() {
        for (host, transfers) in zip(hosts, settings.transfers) {
            for transfer in transfers {
                let time = start + TimeSpan(nanoseconds: UInt64(max(0, transfer.time) * 1e9))
                world.at(time) {
                    var download = Stream.Settings()
                    download.byteCount = transfer.downloadByteCount
                    download.window = 64
                    host.startStream(download)
                    // Requests of one segment go with the acknowledgements of the download.
                    guard transfer.uploadByteCount > 1_200 else { return }
                    var upload = Stream.Settings()
                    upload.byteCount = transfer.uploadByteCount
                    upload.isDownload = false
                    host.startStream(upload)
                }
            }
        }
    }

    private func probe() {
        for (number, host) in hosts.enumerated() {
            var probe = DatagramFlow.Settings()
            probe.interval = .seconds(1)
            // The last ones would still be on their way at the end.
            probe.count = UInt32(settings.seconds) + UInt32(Self.warmUpSeconds) - 2
            probe.byteCount = 64
            probe.answerByteCount = 64
            // A crowd does not send in step.
            let phase = TimeSpan.milliseconds(UInt64(number * 137 % 1_000))
            world.at(world.now + phase) { host.startFlow(probe) }
        }
    }

    // MARK: What came of it

    /// The traces of each client's link, one way.
    public func links(_ direction: Direction) -> [FlowTrace] {
        recording.traces(direction, count: settings.clients) {
            if case .clientLink(let client) = $0 { client } else { nil }
        }
    }

    /// The traces of the link between guard and middle of each client's path, one way: all circuits
    /// of the link together.
    public func middleLinks(_ direction: Direction) -> [FlowTrace] {
        recording.middleLinks(of: paths, direction)
    }

    /// When each client sent what may have gone on from its middle, as an observer knows who sees
    /// both ends of its link: for each way the client's groups of parity may lie, its own guess.
    public func causes() -> [[[Double]]] {
        var sent = [[GridKnowledge.Cell]](repeating: [], count: settings.clients)
        for observation in recording.observations where observation.direction == .forward {
            guard case .clientLink(let client) = observation.place else { continue }
            sent[client].append(.init(time: observation.time, isLost: observation.isLost))
        }
        guard case .mix(let slot) = settings.shape else {
            return sent.map { [$0.filter { !$0.isLost }.map(\.time)] }
        }
        let knowledge = GridKnowledge(
            slotSeconds: slot.span.seconds,
            groupCount: SlotGrid.mixGroupCount
        )
        return sent.map { knowledge.causes($0) }
    }

    /// The traces of each client's traffic behind exits, one way: its leases' together.
    public func exits(_ direction: Direction) -> [FlowTrace] {
        var clients: [Int: Int] = [:]
        for (client, host) in hosts.enumerated() {
            for lease in host.streams.compactMap(\.peer) + host.flows.flatMap(\.leases) {
                if let flow = flowNumbers[lease] { clients[flow] = client }
            }
        }
        return recording.traces(direction, count: settings.clients) {
            if case .exitSide(_, let flow) = $0 { clients[flow] } else { nil }
        }
    }

    /// What the crowd's traffic cost.
    public func cost(cellByteCount: Int) -> CostResult {
        let time = Double(max(1, settings.clients)) * Double(max(1, settings.seconds))
        var (arrived, asked) = (0, 0)
        for stream in hosts.flatMap(\.streams) {
            asked += stream.settings.byteCount
            arrived += stream.arrivedByteCount
        }
        let down = hosts.flatMap(\.streams).filter(\.settings.isDownload)
            .reduce(0) { $0 + $1.arrivedByteCount }
        let wire = [Direction.forward, .backward].reduce(0) { sum, direction in
            sum + links(direction).reduce(0) { $0 + $1.times.count }
        }
        let bytes = [Direction.forward, .backward].reduce(0.0) { sum, direction in
            sum + exits(direction).reduce(0) { $0 + $1.volume }
        }
        var cost = CostResult(
            throughputBitsPerSecond: Double(down * 8) / time,
            carriedShare: asked > 0 ? Double(arrived) / Double(asked) : 1,
            overhead: bytes > 0 ? Double(wire * cellByteCount) / bytes : 0
        )
        let added = world.report.roundTrips.map { max(0, $0.seconds - Self.pathRoundTrip) }.sorted()
        cost.idleDelayMedian = CostResult.percentile(0.5, of: added)
        cost.idleDelayP95 = CostResult.percentile(0.95, of: added)
        let probes = hosts.flatMap(\.flows)
        let sent = probes.reduce(0) { $0 + Int($1.sentCount) }
        let answered = probes.reduce(0) { $0 + Int($1.answeredCount) }
        if sent > 0 { cost.lossShare = 1 - Double(answered) / Double(sent) }
        return cost
    }
}
