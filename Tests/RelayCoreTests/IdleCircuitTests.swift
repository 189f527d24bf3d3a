import Base
import Circuits
import Links
import RelayCore
import Testing
import Wire

/// Test matrix row 25; `umbel-lab measure relay` does the same to a running relay and weighs it.
@Suite("Circuits that are opened and left idle", .timeLimit(.minutes(2)))
struct IdleCircuitTests {
    private static let count = 10_000
    /// A circuit that is used now and then, which keeps the link.
    private static let used = count + 1

    private func bench(_ count: Int) throws -> ShardBench {
        // The bench's client answers no PING: its link is to stand all the same.
        var timing = LinkTable.Timing()
        timing.suspicion = .seconds(10_000)
        timing.idleLimit = .seconds(10_000)
        let bench = try ShardBench(circuitLimit: Self.count + 16, timing: timing)
        bench.openThrough(Self.used)
        for circuit in 1...count {
            bench.open(circuit)
            // The control plane takes events as they come.
            if circuit.isMultiple(of: 1_000) { _ = bench.takeEvents() }
        }
        _ = bench.takeEvents()
        #expect(bench.circuitCount == count + 1)
        return bench
    }

    /// Lets `span` pass; the circuits that were idle too long.
    private func pass(_ span: TimeSpan, _ bench: ShardBench) -> Set<CircuitID> {
        var idle: Set<CircuitID> = []
        let end = bench.now + span
        while bench.now < end {
            bench.pass(to: min(end, bench.now + .seconds(5)))
            bench.forward(Self.used)
            for case .idle(let id) in bench.takeEvents() {
                idle.insert(id)
                bench.perform(.removeCircuit(id))
            }
        }
        return idle
    }

    @Test("row 25: ten thousand of them wake a relay no more often than ten do")
    func wakes() throws {
        var wakes: [Int] = []
        for count in [10, Self.count] {
            let bench = try bench(count)
            let before = bench.wakeCount
            let ended = pass(.seconds(590), bench).count
            #expect(ended == 0)
            wakes.append(bench.wakeCount - before)
            #expect(bench.circuitCount == count + 1)
        }
        #expect(wakes[1] <= wakes[0] + 1, "\(wakes)")
        #expect(wakes[0] > 0 && wakes[0] < 600, "\(wakes)")
    }

    @Test("row 25: after their time all of them end, and one that was used does not")
    func expiry() throws {
        let bench = try bench(Self.count)
        let early = pass(.seconds(590), bench).count
        #expect(early == 0)
        // More end in one go than a thread tells at once: the rest follow at the next looks.
        let ended = pass(.seconds(60), bench)
        let count = ended.count
        #expect(count == Self.count)
        let hasUsedEnded = ended.contains(CircuitID(rawValue: UInt64(Self.used)))
        #expect(!hasUsedEnded)
        #expect(bench.circuitCount == 1)
    }
}
