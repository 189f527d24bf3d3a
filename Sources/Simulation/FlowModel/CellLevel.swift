import Base
import CryptoPrimitives
import Directory
import Foundation
import Paths
import Simulation
import Wire

/// A small network on the production cores and in the flow model, figure by figure.
///
/// Each of several worlds has the same relays and clients of its own; the flow model runs the same
/// network more often, for it costs nothing. How far one run of the model is from another says what
/// of a difference is chance.
public struct CellLevel: Sendable {
    /// A figure of both.
    public struct Figure: Sendable {
        /// What it is.
        public let name: String
        /// On the cores.
        public let cells: Double
        /// In the flow model.
        public let flows: Double
        /// Two standard errors of the cores' figure, in parts of it: what chance alone may come to.
        public let chance: Double

        /// How far the flow model is off, in parts of the cores' figure.
        public var error: Double { cells == 0 ? 0 : flows / cells - 1 }
    }

    /// The figures, each of one client unless it says otherwise.
    public let figures: [Figure]
    /// The largest difference of a relay's share of all cells.
    public let largestShareError: Double
    /// That difference in standard deviations of what so many clients draw.
    public let largestShareSigma: Double
    /// Share of all cells of each relay of the roster, on the cores and in the flow model.
    public let shares: [(cells: Double, flows: Double)]
    /// The worlds, in order.
    public let runs: [CoreRun]
    /// A hash of all traces.
    public let hash: RunHash
    /// Runs of the flow model.
    public let replicaCount: Int
    /// What the flow model says of the directory, and of money where relays are paid.
    public let sample: FlowResult

    /// What is to run.
    public struct Plan: Sendable {
        /// Relays of each kind; for ``network`` these do not count.
        public var (guards, middles, exits) = (3, 4, 2)
        /// A network by numbers in place of those.
        public var network: NetworkPlan?
        /// Clients of one world.
        public var clients = 1
        /// Worlds.
        public var worlds = 1
        /// Virtual time, in seconds.
        public var seconds = 300
        /// Packets of each client, a second and way.
        public var packetsPerSecond = 2.0
        /// Whether relays are paid.
        public var paysRelays = true
        /// How long relays stay up; `nil` for as long as the run.
        public var uptime: NetworkPlan.Uptime?

        /// Nine relays of one place, a client, five minutes.
        public init() {}
    }

    /// Runs of the flow model, each with clients of its own.
    private static let replicas = 32

    /// Runs both.
    ///
    /// - Throws: what making a world or a network throws.
    public static func run(
        _ plan: Plan,
        seed: UInt64,
        progress: @escaping FlowRun.Progress
    ) async throws -> Self {
        let streams = Streams(seed: seed)
        var numbers = plan.network ?? NetworkPlan()
        let drawn = try plan.network.map { try DrawnNetwork($0, streams: streams) }
        var core = try corePlan(plan, numbers, drawn, seed: seed)
        var runs: [CoreRun] = []
        var first: World?
        for number in 0..<plan.worlds {
            core.settings.seed = seed &+ UInt64(number) &* 1_000_003
            core.relayChanges = changes(plan, core)
            let (run, world) = try CoreRun.run(core) { second in
                let done = Double(number) + Double(second) / Double(plan.seconds)
                progress("cores", done / Double(plan.worlds))
            }
            if first == nil { first = world }
            runs.append(run)
        }
        guard let world = first else { preconditionFailure("there is at least one world") }
        numbers.relayCount = world.relays.count
        numbers.clientCount = plan.clients
        numbers.parameters = world.view.parameters
        numbers.duration = Double(plan.seconds)
        numbers.step = min(numbers.step, numbers.duration)
        numbers.load = NetworkPlan.Load()
        numbers.load.cellsPerSecond = plan.packetsPerSecond
        numbers.load.activeShare = 1
        numbers.uptime = plan.uptime
        numbers.paysRelays = plan.paysRelays
        numbers.relayKeyWork = world.settings.jobTime.seconds
        numbers.clientKeyWork = 2 * world.settings.jobTime.seconds
        if plan.network == nil { numbers.latencyBase = world.settings.quality.latency.seconds }
        var results: [FlowResult] = []
        for number in 0..<Self.replicas {
            let streams = Streams(seed: seed &+ UInt64(number + 1) &* 0x9e37_79b9)
            let network = DrawnNetwork(view: world.view, plan: numbers, streams: streams)
            let run = FlowRun(network: network, plan: numbers, streams: streams)
            results.append(try await run.run { _, _ in })
            progress("flow model", Double(number + 1) / Double(Self.replicas))
        }
        let order = world.relays.map { world.view.index(of: $0.member.id) ?? 0 }
        return Self(plan, runs, results, relayOrder: order)
    }

    /// What becomes of one world's relays.
    private static func changes(_ plan: Plan, _ core: CoreRun.Plan) -> [RelayChange] {
        var numbers = NetworkPlan()
        numbers.relayCount = plan.network?.relayCount ?? plan.guards + plan.middles + plan.exits
        numbers.duration = Double(plan.seconds)
        numbers.uptime = plan.uptime
        return Uptimes(numbers, streams: Streams(seed: core.settings.seed)).changesInOrder
    }

    /// The worlds' plan.
    private static func corePlan(
        _ plan: Plan,
        _ numbers: NetworkPlan,
        _ drawn: DrawnNetwork?,
        seed: UInt64
    ) throws -> CoreRun.Plan {
        var settings = WorldSettings(seed: seed)
        (settings.guardCount, settings.middleCount, settings.exitCount) = (
            plan.guards, plan.middles, plan.exits
        )
        settings.clientFlowLimit = 256
        if plan.paysRelays {
            var pay = PaySettings()
            // No epoch ends in a run: the model knows nothing of vouchers that grow old.
            pay.epochSeconds = UInt32(clamping: max(7_200, 2 * plan.seconds))
            settings.pay = pay
        }
        if let drawn {
            settings.relays = drawn.drafts
            settings.parameters = numbers.parameters
            // Nobody fetches a newer document here: the first one holds.
            settings.parameters.freshSeconds = RelayRoster.parameters.freshSeconds
            settings.parameters.validSeconds = RelayRoster.parameters.validSeconds
            settings.parameters.descriptorSeconds = RelayRoster.parameters.descriptorSeconds
        }
        var core = CoreRun.Plan(
            settings: settings,
            clientCount: plan.clients,
            seconds: plan.seconds
        )
        core.packetsPerSecond = plan.packetsPerSecond
        if let drawn {
            var random = Streams(seed: seed).generator(.clients, -1)
            core.places = drawn.placeTable
            core.relayPlaces = drawn.place
            core.clientPlaces = (0..<plan.clients).map { _ in drawn.clientPlace(using: &random) }
        }
        return core
    }

    private init(
        _ plan: Plan,
        _ runs: [CoreRun],
        _ results: [FlowResult],
        relayOrder: [Int]
    ) {
        self.runs = runs
        replicaCount = results.count
        sample = results[0]
        figures = Self.figures(plan, runs, results)
        let cells = runs.reduce(into: [Double](repeating: 0, count: relayOrder.count)) { sum, run in
            for (place, count) in run.carriedCells.enumerated() { sum[place] += count }
        }
        let whole = max(1, cells.reduce(0, +))
        let hops = max(1, results.reduce(0) { $0 + $1.cellHops })
        let clients = runs.reduce(0) { $0 + $1.clientCount }
        var largest = (error: 0.0, sigma: 0.0)
        shares = relayOrder.enumerated().map { place, relay in
            let share = cells[place] / whole
            let model =
                results.reduce(0) {
                    $0 + $1.guardCells[relay] + $1.middleCells[relay] + $1.exitCells[relay]
                } / hops
            // A relay has a third of the cells of each client that drew it.
            let chance = min(1, 3 * model)
            let sigma = (chance * (1 - chance) / Double(max(1, clients))).squareRoot() / 3
            let error = abs(share - model)
            largest.error = max(largest.error, error)
            if sigma > 0 { largest.sigma = max(largest.sigma, error / sigma) }
            return (share, model)
        }
        (largestShareError, largestShareSigma) = largest
        var hash = RunHash()
        for run in runs {
            hash.add(UInt64(truncatingIfNeeded: run.trace.state))
            hash.add(run.trace.count)
        }
        for result in results { hash.add(result.hash.state) }
        self.hash = hash
    }

    private static func figures(
        _ plan: Plan,
        _ runs: [CoreRun],
        _ results: [FlowResult]
    ) -> [Figure] {
        let figure = {
            (name: String, core: (CoreRun) -> Double, model: (FlowResult) -> Double) -> Figure in
            let cells = runs.reduce(0) { $0 + core($1) } / Double(runs.count)
            let values = results.map(model)
            let mean = values.reduce(0, +) / Double(values.count)
            // Runs of the model differ as worlds of the same size do.
            let variance =
                values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
                / Double(max(1, values.count - 1))
            let chance = 2 * (variance / Double(runs.count)).squareRoot()
            return Figure(
                name: name,
                cells: cells,
                flows: mean,
                chance: cells == 0 ? 0 : chance / cells
            )
        }
        let perClient = { (run: CoreRun, value: Double) in value / Double(max(1, run.clientCount)) }
        var figures = [
            figure("cells relayed", { perClient($0, $0.cellHops) }) {
                ($0.cellHops + $0.controlHops) / Double($0.clientCount)
            },
            figure("megabytes on all links", { perClient($0, $0.datagrams * wireMegabytes) }) {
                $0.datagrams * wireMegabytes / Double($0.clientCount)
            },
            figure("circuits built", { perClient($0, Double($0.builds.count)) }) {
                Double($0.builds.count) / Double($0.clientCount)
            },
            figure("build time, ms (mean)", { 1_000 * mean($0.builds) }) { $0.builds.mean * 1_000 },
            figure("build time, ms (90 % are below)", { 1_000 * ninetieth($0.builds) }) {
                $0.builds.value(at: 0.9) * 1_000
            },
        ]
        if plan.uptime != nil {
            figures += [
                figure("circuits lost", { perClient($0, Double($0.lossCount)) }) {
                    Double($0.brokenCount) / Double($0.clientCount)
                },
                figure("seconds without one, once noticed", { perClient($0, $0.searchSeconds) }) {
                    $0.searchSeconds / Double($0.clientCount)
                },
            ]
        }
        guard results[0].money != nil else { return figures }
        figures += [
            figure("ticks earned by relays", { perClient($0, $0.earnedTicks) }) {
                ($0.money?.earnedTicks.reduce(0, +) ?? 0) / Double($0.clientCount)
            },
            figure("vouchers relays took", { perClient($0, $0.openedVouchers) }) {
                Double($0.money?.openedCount ?? 0) / Double($0.clientCount)
            },
            figure("ticks of vouchers the mints signed", { perClient($0, $0.issuedTicks) }) {
                ($0.money?.issuedTicks ?? 0) / Double($0.clientCount)
            },
        ]
        return figures
    }

    private static let wireMegabytes = Double(NetworkPlan.wireByteCount) / 1e6

    private static func mean(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
    }

    private static func ninetieth(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.sorted()[min(values.count - 1, values.count * 9 / 10)]
    }
}
