import Base
import Circuits
import ClientCore
import CryptoPrimitives
import RelayCore
public import Simulation
import Tickets

/// A network of numbers on the production cores: what happened, in the flow model's terms.
///
/// Each client sends a steady stream of UDP packets that are answered: flows of half a minute or
/// some packets, one after the other, so that they move on with the client's circuits.
public struct CoreRun: Sendable {
    /// Clients there were.
    public let clientCount: Int
    /// Cells each relay of the roster passed on, or took out, both ways together.
    public let carriedCells: [Double]
    /// Times circuits took to build, in seconds.
    public let builds: [Double]
    /// Times a client lost the circuit that carried its packets.
    public let lossCount: Int
    /// Seconds clients had none from when they noticed, or came, all together.
    public let searchSeconds: Double
    /// Datagrams all nodes sent.
    public let datagrams: Double
    /// Packets that came back to clients, of those sent.
    public let answeredShare: Double
    /// Ticks relays earned.
    public let earnedTicks: Double
    /// Vouchers relays took.
    public let openedVouchers: Double
    /// Ticks of the vouchers the mints signed.
    public let issuedTicks: Double
    /// The trace.
    public let trace: Trace
    /// Virtual time and events.
    public let report: SimulationReport
    /// What was broken.
    public let violations: [String]

    /// Cells times the relays they went through.
    public var cellHops: Double { carriedCells.reduce(0, +) }

    /// What is to run.
    public struct Plan: Sendable {
        /// The world, and its seed.
        public var settings: WorldSettings
        /// Clients.
        public var clientCount: Int
        /// Virtual time, in seconds.
        public var seconds: Int
        /// Packets of each client, a second and way; each fills a cell.
        public var packetsPerSecond = 2.0
        /// Where nodes are; `nil` for one place.
        public var places: PlaceLatencies?
        /// The places of relays, by roster.
        public var relayPlaces: [UInt8] = []
        /// The places of clients.
        public var clientPlaces: [UInt8] = []
        /// What becomes of relays, by roster, in order of time.
        public var relayChanges: [RelayChange] = []

        /// A world of one place.
        public init(settings: WorldSettings, clientCount: Int, seconds: Int) {
            self.settings = settings
            self.clientCount = clientCount
            self.seconds = seconds
        }
    }

    /// Seconds of a flow, where that is at least so many packets.
    private static let flowSeconds = 30.0
    private static let leastFlow = 8.0
    /// Time in which clients come, in seconds; at most a tenth of the run.
    private static let arrivalSeconds = 60

    /// Runs `plan`.
    ///
    /// - Returns: what happened, and the world as it is then.
    /// - Throws: what making a world throws.
    public static func run(
        _ plan: Plan,
        progress: (_ second: Int) -> Void
    ) throws -> (run: Self, world: World) {
        let world = try World(plan.settings)
        world.network.places = plan.places
        for (relay, place) in plan.relayPlaces.enumerated() {
            world.network.setPlace(place, of: relay)
        }
        // Late by up to a second, as all that is tended here.
        var changes = plan.relayChanges[...]
        var hosts: [Host] = []
        let arrival = max(1, min(arrivalSeconds, plan.seconds / 10))
        var flow = DatagramFlow.Settings()
        flow.interval = TimeSpan(nanoseconds: UInt64(1e9 / plan.packetsPerSecond))
        flow.count = UInt32(max(leastFlow, flowSeconds * plan.packetsPerSecond))
        for second in 0..<plan.seconds {
            // Client i comes when a share of (i + 1/2) / n of the time has passed.
            let due = min(
                plan.clientCount,
                (2 * plan.clientCount * (second + 1) + arrival) / (2 * arrival)
            )
            // Nodes that do everything in step would make batches nobody else sees.
            let pause = TimeSpan(nanoseconds: 900_000_000 / UInt64(max(1, due - hosts.count)))
            while hosts.count < due {
                hosts.append(Self.add(hosts.count, plan, world))
                world.run(for: pause)
            }
            let end = TimeSpan(nanoseconds: UInt64(second + 1) * 1_000_000_000)
            let left = end.nanoseconds - min(end.nanoseconds, world.report.elapsed.nanoseconds)
            world.run(for: TimeSpan(nanoseconds: left))
            for index in hosts.indices { hosts[index].tend(flow) }
            while let change = changes.first, change.time <= Double(second + 1) {
                changes.removeFirst()
                let relay = world.relays[change.relay]
                if change.isUp { world.restart(relay) } else { world.kill(relay) }
            }
            progress(second + 1)
        }
        return (Self(world), world)
    }

    /// A client's host and the flow it has now.
    private struct Host {
        let client: ClientNode
        let host: ClientHost
        /// When in an interval its packets go.
        let phase: TimeSpan
        var current: DatagramFlow?

        mutating func tend(_ settings: DatagramFlow.Settings) {
            if let current, !current.isSent { return }
            guard client.isConnected(host) else { return }
            // The last one may still have answers on their way; those before it have not.
            let last = current
            host.endFlows { $0 !== last }
            var settings = settings
            settings.delay = phase
            current = host.startFlow(settings)
        }
    }

    private static func add(_ number: Int, _ plan: Plan, _ world: World) -> Host {
        let client = world.addClient()
        if number < plan.clientPlaces.count {
            world.network.setPlace(plan.clientPlaces[number], of: client.index)
        }
        // The golden ratio spreads any number of them over the interval.
        let phase = (Double(number) * 0.618_034).truncatingRemainder(dividingBy: 1)
        return Host(
            client: client,
            host: client.openTunnel(),
            phase: TimeSpan(nanoseconds: UInt64(phase * 1e9 / plan.packetsPerSecond))
        )
    }

    /// How often `client` lost the last circuit that carried, and how long it had none, in seconds,
    /// from when it noticed, or came.
    private static func losses(of client: ClientNode) -> (count: Int, seconds: Double) {
        var losses = (count: 0, seconds: 0.0)
        var carrying: Set<CircuitID> = []
        var since: Instant?
        for (time, notice) in client.notices {
            guard case .circuit(let circuit) = notice else { continue }
            switch circuit.change {
            case .begun(.first):
                since = time
            case .begun, .ready:
                break
            case .carrying:
                if let since { losses.seconds += (time - since).seconds }
                since = nil
                carrying.insert(circuit.id)
            case .ended:
                guard carrying.remove(circuit.id) != nil, carrying.isEmpty else { break }
                losses.count += 1
                since = time
            }
        }
        return losses
    }

    private init(_ world: World) {
        clientCount = world.clients.count
        carriedCells = world.relays.map { Double($0.lifetimeCells) }
        builds = world.clients.flatMap { client in
            client.notices.compactMap { _, notice -> Double? in
                guard case .circuit(let circuit) = notice, case .ready(let time) = circuit.change
                else { return nil }
                return time.seconds
            }
        }
        let losses = world.clients.map(Self.losses)
        lossCount = losses.reduce(0) { $0 + $1.count }
        searchSeconds = losses.reduce(0) { $0 + $1.seconds }
        datagrams = world.nodes.reduce(0.0) { $0 + Double($1.sentDatagrams) }
        var (sent, answered) = (0.0, 0.0)
        for host in world.clients.flatMap(\.hosts) {
            sent += Double(host.sentCount)
            answered += Double(host.answeredCount)
        }
        answeredShare = sent > 0 ? answered / sent : 0
        earnedTicks = world.relays.reduce(0.0) { $0 + Double($1.control.earnings.served) }
        openedVouchers = world.relays.reduce(0.0) { $0 + Double($1.control.earnings.vouchers) }
        issuedTicks = Double(world.mints?.issuedTicks ?? 0)
        trace = world.trace
        report = world.report
        violations = world.checker.violations.map(\.description)
    }
}
