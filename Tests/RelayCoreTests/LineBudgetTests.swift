import Base
import CryptoPrimitives
import TestSupport
import Testing
import Wire

@testable import RelayCore

@Suite("A rate that several shards share", .timeLimit(.minutes(3)))
struct LineBudgetTests {
    private static let span = 10.0

    private func limits(megabits: Double) -> LineLimits {
        let perSecond = UInt64(megabits * 1e6 / 8)
        return LineLimits(sentPerSecond: perSecond, receivedPerSecond: perSecond)
    }

    /// Offers each shard a multiple of the whole rate for ten seconds; the part of the rate that each
    /// carried.
    private func carried(offers: [Double], megabits: Double) throws -> [Double] {
        let limits = limits(megabits: megabits)
        let budget = LineBudget(limits, shardCount: offers.count)
        let benches = try offers.map { _ in try ShardBench(limits: limits, budget: budget) }
        for bench in benches { bench.openThrough(1) }
        let cellTime = Double(LineBudget.datagramByteCount) * 8 / (megabits * 1e6)
        let start = try #require(benches.first?.now)
        let step = TimeSpan(nanoseconds: UInt64(cellTime / 4 * 1e9))
        var owed = offers.map { _ in 0.0 }
        var now = start
        while (now - start).seconds < Self.span {
            now = now + step
            for (index, bench) in benches.enumerated() {
                bench.pass(to: now)
                owed[index] += offers[index] / 4
                guard owed[index] >= 1 else { continue }
                owed[index] -= 1
                bench.beginBatch()
                bench.forward(1)
            }
        }
        return benches.map { Double($0.counters.forwardCells) * cellTime / Self.span }
    }

    @Test(
        "the rate set is the relay's within 3 % over 10 s, by one shard, two or four",
        arguments: [1, 2, 4],
        [1.0, 20.0]
    )
    func sum(shards: Int, megabits: Double) throws {
        let shares = try carried(
            offers: Array(repeating: 1.5, count: shards),
            megabits: megabits
        )
        let sum = shares.reduce(0, +)
        #expect((0.97...1.03).contains(sum), "\(shares)")
        for share in shares {
            let fair = 1 / Double(shards)
            #expect((0.8 * fair...1.2 * fair).contains(share), "\(shares)")
        }
    }

    @Test(
        "a thread that is woken late, for others want its processor, loses nothing of the rate",
        arguments: [10.0, 100],
        0..<5
    )
    func lateThread(megabits: Double, seed: Int) {
        let limits = limits(megabits: megabits)
        var pacer = LinePacer(LineBudget(limits))
        var random = RandomGenerator(testSeed: UInt64(seed))
        let start = Instant.zero + .seconds(100)
        var now = start
        var cells = 0
        while (now - start).seconds < Self.span {
            while pacer.isOpen(at: now) {
                pacer.charge(sent: 1, received: 1, now: now)
                cells += 1
            }
            now = pacer.nextLook + .milliseconds(random.next(below: 15))
        }
        let bits = Double(cells) * Double(LineBudget.datagramByteCount) * 8
        let share = bits / (megabits * 1e6 * (now - start).seconds)
        #expect((0.97...1.03).contains(share), "\(share) of the rate")
    }

    @Test("a shard that is busy alone has the whole rate, and one that asks for less gets that")
    func uneven() throws {
        let alone = try carried(offers: [1.5, 0, 0, 0], megabits: 10)
        #expect((0.97...1.03).contains(alone[0]), "\(alone)")
        let shares = try carried(offers: [1.5, 0.2], megabits: 10)
        #expect((0.97...1.03).contains(shares[0] + shares[1]), "\(shares)")
        #expect((0.19...0.21).contains(shares[1]), "\(shares)")
    }

    @Test("threads that take at once take each cell once")
    func threads() async {
        let limits = LineLimits(sentPerSecond: LineBudget.datagramByteCount * 1_000)
        let budget = LineBudget(limits, shardCount: 4)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<5_000 { _ = budget.takeSent(2, now: .zero) }
                }
            }
        }
        #expect(budget.takeSent(1, now: .zero) == .zero + .seconds(40))
        // What nothing limits is free at once.
        #expect(budget.takeReceived(1_000, now: .zero + .seconds(1)) == .zero + .seconds(1))
    }
}
