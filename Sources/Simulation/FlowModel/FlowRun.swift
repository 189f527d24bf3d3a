import Base
import CryptoPrimitives
import Directory
import Foundation
import Paths
import Wire

/// A run of the flow model: clients' lives, then the network step by step.
public struct FlowRun: Sendable {
    /// The network.
    public let network: DrawnNetwork
    /// What it was drawn from, and what clients do.
    public let plan: NetworkPlan
    /// Where chance comes from.
    public let streams: Streams

    /// Takes the parts over.
    public init(network: DrawnNetwork, plan: NetworkPlan, streams: Streams) {
        self.network = network
        self.plan = plan
        self.streams = streams
    }

    /// Called with what is being done and how far it is, 0 to 1; from any thread.
    public typealias Progress = @Sendable (_ part: String, _ share: Double) -> Void

    /// Clients of one piece of work; the result does not depend on it.
    private static let chunk = 5_000

    /// Runs the model in as many threads as there are.
    ///
    /// - Throws: `WireError` where the directory cannot be written down.
    public func run(progress: @escaping Progress) async throws -> FlowResult {
        var lives = await lives(progress: progress)
        var result = FlowResult(relayCount: network.view.relays.count)
        let talk = share(&lives, &result, progress)
        sum(lives, &result)
        progress("money", 0)
        if plan.paysRelays {
            result.money = MoneyModel(network: network, plan: plan, streams: streams).run(lives)
        }
        talk.note(in: &result, isMix: plan.load.isMix)
        result.directory = try DirectoryFigures(network, plan, streams: streams)
        result.hash = hash(lives, result)
        progress("money", 1)
        return result
    }

    private func lives(progress: @escaping Progress) async -> ClientLives {
        let life = ClientLife(network: network, plan: plan)
        let chunkCount = (plan.clientCount + Self.chunk - 1) / Self.chunk
        var parts = [ClientLives?](repeating: nil, count: chunkCount)
        await withTaskGroup(of: (Int, ClientLives).self) { group in
            for chunk in 0..<chunkCount {
                let first = chunk * Self.chunk
                let range = first..<min(first + Self.chunk, plan.clientCount)
                group.addTask { [life, streams] in
                    (chunk, life.run(range, streams: streams))
                }
            }
            var doneCount = 0
            for await (chunk, part) in group {
                parts[chunk] = part
                doneCount += 1
                progress("clients", Double(doneCount) / Double(chunkCount))
            }
        }
        var lives = ClientLives(stockCount: life.stockCount)
        lives.circuits.reserve(parts.reduce(0) { $0 + ($1?.circuits.count ?? 0) })
        lives.places.reserveCapacity(plan.clientCount)
        for index in parts.indices {
            if let part = parts[index] { lives.append(part) }
            parts[index] = nil
        }
        return lives
    }

    // MARK: Steps

    /// Lets the circuits share the relays' lines, and builds them.
    ///
    /// - Returns: what was said beside their cells.
    private func share(
        _ lives: inout ClientLives,
        _ result: inout FlowResult,
        _ progress: Progress
    ) -> LinkTalk {
        let stepCount = max(1, Int((plan.duration / plan.step).rounded(.up)))
        let (order, starts) = ordered(lives.circuits, stepCount: stepCount)
        var shares = FairShares(capacity: network.capacity)
        var builds = BuildTimes(network: network, plan: plan)
        var talk = LinkTalk(stepCount: stepCount)
        var active: [Int32] = []
        var spares: [Int32] = []
        var flows: [Int32] = []
        var hops: [UInt16] = []
        var wants: [Float] = []
        let whole = 2 * plan.load.cellsPerSecond
        let busy = plan.load.isMix ? 1 : plan.load.activeShare
        for step in 0..<stepCount {
            let begins = Float(Double(step) * plan.step)
            let ends = Float(min(Double(step + 1) * plan.step, plan.duration))
            builds.begin(span: plan.step)
            for place in Int(starts[step])..<Int(starts[step + 1]) {
                let index = Int(order[place])
                builds.build(index, lives, &result)
                if lives.circuits.kind[index].contains(.spare) {
                    spares.append(Int32(index))
                } else {
                    active.append(Int32(index))
                }
            }
            active.removeAll { lives.circuits.end[Int($0)] <= begins }
            spares.removeAll { lives.circuits.end[Int($0)] <= begins }
            func span(_ index: Int) -> Float {
                let overlap =
                    min(lives.circuits.end[index], ends) - max(lives.circuits.start[index], begins)
                return max(0, overlap) / (ends - begins)
            }
            let isDue = talk.isDue(step)
            flows.removeAll(keepingCapacity: true)
            hops.removeAll(keepingCapacity: true)
            wants.removeAll(keepingCapacity: true)
            for circuit in active {
                let index = Int(circuit)
                if !plan.load.isMix,
                    streams.unit(client: lives.circuits.client[index], step: step) >= busy
                {
                    if isDue { talk.add(index, of: lives.circuits, rate: 0, span: span(index)) }
                    continue
                }
                flows.append(circuit)
                hops.append(lives.circuits.guardRelay[index])
                hops.append(lives.circuits.middle[index])
                hops.append(lives.circuits.exit[index])
                wants.append(Float(whole / busy) * span(index))
                if isDue {
                    let rate = Float(plan.load.cellsPerSecond / busy)
                    talk.add(index, of: lives.circuits, rate: rate, span: span(index))
                }
            }
            if isDue {
                for spare in spares {
                    let index = Int(spare)
                    talk.add(index, of: lives.circuits, rate: 0, span: span(index))
                }
                talk.endCensus(seconds: Double(ends - begins))
            }
            shares.fill(hops: hops, wants: wants)
            for (place, circuit) in flows.enumerated() {
                let cells = shares.rates[place] * (ends - begins)
                lives.circuits.cells[Int(circuit)] += cells
                result.wantedCells += Double(wants[place] * (ends - begins))
            }
            for relay in shares.wanted.indices {
                result.peak[relay] = max(
                    result.peak[relay],
                    shares.wanted[relay] / network.capacity[relay]
                )
            }
            result.fullRelaySteps += shares.fullCount
            if step % 16 == 0 { progress("network", Double(step) / Double(stepCount)) }
        }
        result.stepCount = stepCount
        progress("network", 1)
        return talk
    }

    /// Circuits by the step they begin in; those of one step as they stand in the table.
    private func ordered(
        _ circuits: CircuitTable,
        stepCount: Int
    ) -> (order: [Int32], starts: [Int32]) {
        let step = { (index: Int) in
            min(stepCount - 1, Int(Double(circuits.start[index]) / plan.step))
        }
        var starts = [Int32](repeating: 0, count: stepCount + 1)
        for index in 0..<circuits.count { starts[step(index) + 1] += 1 }
        for index in 0..<stepCount { starts[index + 1] += starts[index] }
        var next = starts
        var order = [Int32](repeating: 0, count: circuits.count)
        for index in 0..<circuits.count {
            let place = step(index)
            order[Int(next[place])] = Int32(index)
            next[place] += 1
        }
        return (order, starts)
    }

    // MARK: Sums

    private func sum(_ lives: ClientLives, _ result: inout FlowResult) {
        let circuits = lives.circuits
        for index in 0..<circuits.count {
            if circuits.kind[index].contains(.spare) {
                result.spareCount += 1
                continue
            }
            let cells = Double(circuits.cells[index])
            result.circuitCount += 1
            if circuits.kind[index].contains(.broken) { result.brokenCount += 1 }
            if circuits.kind[index].isSuperset(of: [.takenOver, .rotated]) {
                result.rotatedCount += 1
            } else if circuits.kind[index].contains(.takenOver) {
                result.takenOverCount += 1
            }
            result.guardCells[Int(circuits.guardRelay[index])] += cells
            result.middleCells[Int(circuits.middle[index])] += cells
            result.exitCells[Int(circuits.exit[index])] += cells
        }
        for relay in network.view.relays.indices {
            result.expectedShare[relay] = PositionShares(
                guardRelay: Double(network.selector.weight(relay, at: .guardRelay)),
                middle: Double(network.selector.weight(relay, at: .middle)),
                exit: Double(network.selector.weight(relay, at: .exit))
            )
            let cells =
                result.guardCells[relay] + result.middleCells[relay] + result.exitCells[relay]
            result.utilization[relay] = cells / (network.capacity[relay] * plan.duration)
        }
        result.normalizeShares()
        result.clientCount = plan.clientCount
        result.failedBuilds = lives.failedBuilds
        result.pathlessCount = lives.pathlessCount
        result.searchSeconds += lives.searchSeconds
        result.online = lives.online
        result.availability = network.uptimes.availability(duration: plan.duration)
    }

    private func hash(_ lives: ClientLives, _ result: FlowResult) -> RunHash {
        var hash = RunHash()
        let circuits = lives.circuits
        for index in 0..<circuits.count {
            hash.add(
                UInt64(circuits.guardRelay[index]) << 32 | UInt64(circuits.middle[index]) << 16
                    | UInt64(circuits.exit[index])
            )
            hash.add(
                UInt64(circuits.start[index].bitPattern) << 32
                    | UInt64(circuits.cells[index].bitPattern)
            )
        }
        for value in result.peak { hash.add(value) }
        for value in result.money?.earnedTicks ?? [] { hash.add(value) }
        for bin in result.builds.bins { hash.add(bin) }
        hash.add(result.datagrams)
        return hash
    }
}
