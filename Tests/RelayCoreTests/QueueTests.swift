import Base
import Circuits
import RelayCore
import Testing
import Wire

@Suite("A line whose rate is limited", .timeLimit(.minutes(2)))
struct QueueTests {
    private static let cellByteCount = 1_420.0

    private func limits(megabits: Double) -> LineLimits {
        let perSecond = UInt64(megabits * 1e6 / 8)
        return LineLimits(sentPerSecond: perSecond, receivedPerSecond: perSecond)
    }

    /// What a circuit sends: a cell each `gap`, from `offset` on.
    private struct Load {
        var circuit: Int
        var gap: TimeSpan
        var offset = TimeSpan.zero
    }

    /// Sends the loads for `span` and says how long each cell took, by circuit.
    private func run(
        _ loads: [Load],
        for span: TimeSpan,
        _ bench: ShardBench
    ) -> [Int: [Double]] {
        let start = bench.now
        var sent: [Int: [Instant]] = [:]
        var due = loads.map { start + $0.offset }
        let firstReply = bench.replies.count
        while let index = due.indices.min(by: { due[$0] < due[$1] }), due[index] < start + span {
            bench.pass(to: due[index])
            bench.beginBatch()
            sent[loads[index].circuit, default: []].append(bench.now)
            bench.forward(loads[index].circuit)
            due[index] = due[index] + loads[index].gap
        }
        bench.pass(to: start + span)
        var delays: [Int: [Double]] = [:]
        for (reply, time) in zip(bench.replies, bench.replyTimes).dropFirst(firstReply)
        where reply.command == .forward {
            let circuit = Int(reply.number.rawValue)
            let place = delays[circuit, default: []].count
            guard let begun = sent[circuit]?[place] else { continue }
            delays[circuit, default: []].append((time - begun).milliseconds)
        }
        return delays
    }

    private func percentile(_ delays: [Double], _ share: Double) -> Double {
        delays.sorted()[min(delays.count - 1, Int(Double(delays.count) * share))]
    }

    @Test("the rate set is held within 3 % over 10 s", arguments: [1.0, 10, 100])
    func rate(megabits: Double) throws {
        let bench = try ShardBench(limits: limits(megabits: megabits))
        bench.openThrough(1)
        let cellTime = Self.cellByteCount * 8 / (megabits * 1e6)
        // Half as much again as may pass.
        let gap = TimeSpan(nanoseconds: UInt64(cellTime / 1.5 * 1e9))
        _ = run([Load(circuit: 1, gap: gap)], for: .seconds(10), bench)
        let cells = Double(bench.counters.forwardCells)
        let share = cells * cellTime / 10
        #expect((0.97...1.03).contains(share), "\(share) of the rate")
        #expect(bench.counters.lateCells > 0)
        #expect(bench.counters.markedCells > 0)
    }

    @Test("the slower of what may be sent and received is what passes")
    func directions() throws {
        let bench = try ShardBench(
            limits: LineLimits(sentPerSecond: 1_250_000, receivedPerSecond: 125_000)
        )
        bench.openThrough(1)
        _ = run([Load(circuit: 1, gap: .milliseconds(5))], for: .seconds(10), bench)
        let share = Double(bench.counters.forwardCells) * Self.cellByteCount / 1_250_000
        #expect((0.97...1.03).contains(share), "\(share) of the rate")
    }

    @Test("ten conversations are as quick beside a download as without it")
    func fairness() throws {
        let small = (1...10).map {
            Load(circuit: $0, gap: .milliseconds(97), offset: .milliseconds(UInt64($0) * 7))
        }
        let alone = try ShardBench(limits: limits(megabits: 10))
        for circuit in 1...10 { alone.openThrough(circuit) }
        let quiet = run(small, for: .seconds(10), alone).values.flatMap(\.self)

        let shared = try ShardBench(limits: limits(megabits: 10))
        for circuit in 1...11 { shared.openThrough(circuit) }
        let bulk = Load(circuit: 11, gap: .microseconds(600))
        let delays = run(small + [bulk], for: .seconds(10), shared)
        let busy = delays.filter { $0.key != 11 }.values.flatMap(\.self)
        #expect(busy.count >= 1_000)
        #expect(percentile(quiet, 0.99) < 2)
        // A cell that is on the line already, and the nap of a batch.
        #expect(percentile(busy, 0.99) < 6, "\(percentile(busy, 0.99)) ms")
        // No cell of the download waits longer than 200 ms, in which 334 come.
        let cells = shared.waitingByteCount / Int(Self.cellByteCount)
        #expect((20...338).contains(cells), "\(cells) cells wait")
    }

    @Test("two downloads share the line by halves, however much each brings")
    func shares() throws {
        let bench = try ShardBench(limits: limits(megabits: 10))
        bench.openThrough(1)
        bench.openThrough(2)
        let loads = [
            Load(circuit: 1, gap: .microseconds(300)), Load(circuit: 2, gap: .microseconds(1_500)),
        ]
        let delays = run(loads, for: .seconds(5), bench)
        let ratio = Double(delays[1]?.count ?? 0) / Double(delays[2]?.count ?? 1)
        #expect((0.95...1.05).contains(ratio), "\(ratio)")
    }

    @Test("circuits that pay come first; those that do not keep a sixteenth, to begin to")
    func paidFirst() throws {
        let bench = try ShardBench(limits: limits(megabits: 10))
        bench.openThrough(1)
        bench.openThrough(2)
        for (circuit, pays) in [(1, true), (2, false)] {
            let allowance = CellAllowance(
                cellLimit: 1_000_000,
                tickCells: 1_000_000,
                carriesPackets: pays
            )
            bench.perform(.allow(CircuitID(rawValue: UInt64(circuit)), allowance))
        }
        let loads = [1, 2].map { Load(circuit: $0, gap: .microseconds(500)) }
        let delays = run(loads, for: .seconds(5), bench)
        let unpaid = Double(delays[2]?.count ?? 0)
        let share = unpaid / (unpaid + Double(delays[1]?.count ?? 0))
        #expect((0.055...0.07).contains(share), "\(share)")
    }

    @Test("matrix row 24: what nobody takes is bounded, and the stalest circuits end for it")
    func memory() throws {
        let limit = 1 << 20
        let bench = try ShardBench(
            limits: LineLimits(sentPerSecond: 10_000, waitingByteLimit: limit)
        )
        for circuit in 1...20 { bench.openThrough(circuit) }
        for circuit in 1...20 {
            for _ in 0..<60 { bench.forward(circuit) }
            bench.pass(to: bench.now + .milliseconds(10))
            #expect(bench.waitingByteCount <= limit)
        }
        #expect(bench.counters.quotaKills > 0)
        let ended = bench.takeEvents().compactMap { event -> Int? in
            if case .destroyed(let id) = event { Int(id.rawValue) } else { nil }
        }
        #expect(ended.count == Int(bench.counters.quotaKills))
        // Those whose cells wait longest, in the order they began to.
        #expect(ended == Array(1...ended.count))
        #expect(bench.circuitCount == 20 - ended.count)
        // A tenth of the room was made each time, and no more.
        #expect(bench.waitingByteCount > limit / 2)
    }

    @Test("matrix row 24: cells that wait for circuits under way count too, without a limited line")
    func pendingMemory() throws {
        let limit = 256 << 10
        let bench = try ShardBench(limits: LineLimits(waitingByteLimit: limit))
        for circuit in 1...100 {
            // Nobody tells it where to go on: its cells wait.
            bench.open(circuit)
            for _ in 0..<4 { bench.forward(circuit) }
            bench.pass(to: bench.now + .milliseconds(1))
            #expect(bench.waitingByteCount <= limit)
        }
        #expect(bench.counters.quotaKills > 0)
        #expect(bench.circuitCount < 100)
    }

    @Test("without a limit nothing waits, and where one is lifted what waited goes")
    func lifted() throws {
        let bench = try ShardBench()
        bench.openThrough(1)
        for _ in 0..<100 { bench.forward(1) }
        #expect(bench.counters.forwardCells == 100)
        bench.setLimits(limits(megabits: 0.1))
        for _ in 0..<50 { bench.forward(1) }
        #expect(bench.counters.forwardCells < 110)
        #expect(bench.waitingByteCount > 0)
        bench.setLimits(LineLimits())
        bench.pass(to: bench.now + .milliseconds(1))
        #expect(bench.counters.forwardCells == 150)
        #expect(bench.waitingByteCount == 0)
    }

    @Test("a circuit that ends takes what waits for it along")
    func removal() throws {
        let bench = try ShardBench(limits: limits(megabits: 0.1))
        for circuit in 1...3 { bench.openThrough(circuit) }
        for circuit in 1...3 { for _ in 0..<10 { bench.forward(circuit) } }
        for circuit in 1...3 { bench.send(.destroy, circuit: circuit, body: [0]) }
        #expect(bench.waitingByteCount == 0)
        bench.pass(to: bench.now + .seconds(2))
        #expect(bench.circuitCount == 0)
    }
}
