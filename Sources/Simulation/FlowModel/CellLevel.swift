import Base
import ClientCore
import CryptoPrimitives
import Directory
import Foundation
import Paths
import RelayCore
public import Simulation
import Tickets
import Wire

/// One small network on the production cores and in the flow model, figure by figure.
///
/// The world's clients each send a steady stream of UDP packets that are answered, over circuits
/// whose relays are paid. The flow model has the same directory and 25 times the clients, so that the
/// chance in its figures is small against that in the world's.
public struct CellLevel: Sendable {
    /// A figure of both.
    public struct Figure: Sendable {
        /// What it is.
        public let name: String
        /// On the cores.
        public let cells: Double
        /// In the flow model.
        public let flows: Double

        /// How far the flow model is off, in parts of the cores' figure.
        public var error: Double { cells == 0 ? 0 : flows / cells - 1 }
    }

    /// The figures, each of one client unless it says otherwise.
    public let figures: [Figure]
    /// The largest difference of a relay's share of all cells.
    public let largestShareError: Double
    /// That difference in standard deviations of what so many clients draw.
    public let largestShareSigma: Double
    /// Share of all cells of each relay, on the cores and in the flow model.
    public let shares: [(cells: Double, flows: Double)]
    /// The trace of the world.
    public let trace: String
    /// Virtual time and events of the world.
    public let report: SimulationReport
    /// What was broken in the world.
    public let violations: [String]

    /// The rate of the clients' packets, each way.
    public static let packetsPerSecond = 2.0
    private static let factor = 25

    /// Runs both.
    ///
    /// - Throws: what making a world throws.
    public static func run(
        seed: UInt64,
        guards: Int,
        middles: Int,
        exits: Int,
        clients: Int,
        seconds: UInt64,
        progress: @escaping FlowRun.Progress
    ) async throws -> Self {
        var settings = WorldSettings(seed: seed)
        (settings.guardCount, settings.middleCount, settings.exitCount) = (guards, middles, exits)
        settings.pay = PaySettings()
        let world = try World(settings)
        var waiting: [(client: ClientNode, host: ClientHost)] = []
        let arrival = max(1, min(60, seconds / 10))
        for second in 0..<seconds {
            let due = min(clients, clients * Int(second + 1) / Int(arrival))
            while world.clients.count < due {
                let client = world.addClient()
                waiting.append((client, client.openTunnel()))
            }
            world.run(for: .seconds(1))
            waiting.removeAll { client, host in
                guard client.isConnected(host) else { return false }
                var flow = DatagramFlow.Settings()
                flow.interval = TimeSpan(
                    nanoseconds: UInt64(1e9 / packetsPerSecond)
                )
                flow.count = .max
                host.startFlow(flow)
                return true
            }
            progress("cores", Double(second + 1) / Double(seconds))
        }
        let streams = Streams(seed: seed)
        let network = DrawnNetwork(
            view: world.view,
            latency: settings.quality.latency.seconds,
            streams: streams
        )
        var plan = NetworkPlan()
        plan.relayCount = guards + middles + exits
        plan.clientCount = clients * factor
        plan.parameters = world.view.parameters
        plan.duration = Double(seconds)
        plan.load.cellsPerSecond = packetsPerSecond
        plan.load.activeShare = 1
        plan.relayKeyWork = settings.jobTime.seconds
        plan.clientKeyWork = 2 * settings.jobTime.seconds
        let flows = await FlowRun(network: network, plan: plan, streams: streams)
            .run(progress: progress)
        return Self(world, flows, network, clients: clients)
    }

    private init(_ world: World, _ flows: FlowResult, _ network: DrawnNetwork, clients: Int) {
        var carried = [Double](repeating: 0, count: network.view.relays.count)
        for relay in world.relays {
            guard let index = network.view.index(of: relay.member.id) else { continue }
            carried[index] = Double(relay.carriedCells.reduce(0, +))
        }
        let sum = carried.reduce(0, +)
        var pairs: [(cells: Double, flows: Double)] = []
        var largest = (error: 0.0, sigma: 0.0)
        for index in carried.indices {
            let model =
                (flows.guardCells[index] + flows.middleCells[index] + flows.exitCells[index])
                / flows.cellHops
            let share = carried[index] / max(1, sum)
            pairs.append((share, model))
            // A relay has a third of the cells of each client that drew it.
            let chance = min(1, 3 * model)
            let sigma = (chance * (1 - chance) / Double(clients)).squareRoot() / 3
            let error = abs(share - model)
            largest.error = max(largest.error, error)
            if sigma > 0 { largest.sigma = max(largest.sigma, error / sigma) }
        }
        shares = pairs
        largestShareError = largest.error
        largestShareSigma = largest.sigma
        let builds = world.clients.flatMap { client in
            client.notices.compactMap { _, notice -> Double? in
                guard case .circuit(let circuit) = notice, case .ready(let time) = circuit.change
                else { return nil }
                return time.seconds
            }
        }
        let count = Double(clients)
        let many = Double(flows.clientCount)
        let served = world.relays.reduce(0.0) { $0 + Double($1.control.earnings.served) }
        let opened = world.relays.reduce(0.0) { $0 + Double($1.control.earnings.vouchers) }
        let sent = world.nodes.reduce(0.0) { $0 + Double($1.sentDatagrams) }
        figures = [
            Figure(name: "cells relayed", cells: sum / count, flows: flows.cellHops / many),
            Figure(
                name: "megabytes on all links",
                cells: sent * 1_420 / 1e6 / count,
                flows: flows.cellHops * Double(NetworkPlan.wireByteCount) / 1e6 / many
            ),
            Figure(
                name: "circuits built",
                cells: Double(builds.count) / count,
                flows: Double(flows.builds.count) / many
            ),
            Figure(
                name: "build time, ms (mean)",
                cells: builds.reduce(0, +) * 1_000 / Double(max(1, builds.count)),
                flows: flows.builds.mean * 1_000
            ),
            Figure(
                name: "ticks earned by relays",
                cells: served / count,
                flows: (flows.money?.earnedTicks.reduce(0, +) ?? 0) / many
            ),
            Figure(
                name: "vouchers relays took",
                cells: opened / count,
                flows: Double(flows.money?.openedCount ?? 0) / many
            ),
            Figure(
                name: "ticks of vouchers the mints signed",
                cells: Double(world.mints?.issuedTicks ?? 0) / count,
                flows: (flows.money?.issuedTicks ?? 0) / many
            ),
        ]
        trace = world.trace.description
        report = world.report
        violations = world.checker.violations.map(\.description)
    }
}
