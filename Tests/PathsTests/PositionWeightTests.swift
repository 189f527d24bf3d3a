import Base
import CryptoPrimitives
import Directory
import Paths
import Testing
import Wire

@Suite("Weights")
struct PositionWeightTests {
    /// The sum over kinds of what `position` gets.
    private func supply(
        _ weights: PositionWeights,
        _ totals: [UInt64],
        _ position: PathPosition
    ) -> UInt64 {
        PositionWeights.Kind.allCases.map {
            totals[$0.rawValue] * weights.part($0, at: position) / PositionWeights.scale
        }.reduce(0, +)
    }

    @Test("each kind gives away all of its weight, and positions only to those fit for them")
    func parts() {
        var generator = randomGenerator("parts")
        for _ in 0..<20_000 {
            let totals = (0..<4).map { _ in generator.next(below: 1 << generator.next(below: 50)) }
            let weights = PositionWeights(
                plain: totals[0],
                guardOnly: totals[1],
                exitOnly: totals[2],
                both: totals[3]
            )
            for kind in PositionWeights.Kind.allCases {
                let parts = PathPosition.allCases.map { weights.part(kind, at: $0) }
                #expect(parts.reduce(0, +) == PositionWeights.scale)
                #expect(parts.allSatisfy { $0 <= PositionWeights.scale })
            }
            #expect(weights.part(.plain, at: .guardRelay) == 0)
            #expect(weights.part(.plain, at: .exit) == 0)
            #expect(weights.part(.guardOnly, at: .exit) == 0)
            #expect(weights.part(.exitOnly, at: .guardRelay) == 0)
        }
    }

    @Test("the scarcest position gets what there is for it, and a third where that can be")
    func balance() {
        var generator = randomGenerator("balance")
        for _ in 0..<20_000 {
            let totals = (0..<4).map { _ in 1_000 + generator.next(below: 1_000_000) }
            let (plain, guards, exits, both) = (totals[0], totals[1], totals[2], totals[3])
            let weights = PositionWeights(
                plain: plain,
                guardOnly: guards,
                exitOnly: exits,
                both: both
            )
            let third = (plain + guards + exits + both) / 3
            let least = PathPosition.allCases.map { supply(weights, totals, $0) }.min() ?? 0
            // No division can beat these: each set of positions lives on the kinds fit for it.
            let best = min(third, exits + both, guards + both, (guards + exits + both) / 2)
            #expect(least + best / 1_000 + 10 >= best, "\(totals)")
        }
    }

    /// A network and what the equations give: Wgg, Wgd, Wee, Wed; the middle gets the rest.
    struct Row: Sendable {
        /// M, G, E, D.
        var totals: [UInt64]
        var balance: PositionWeights.Case
        var parts: [UInt64]
    }

    @Test(
        "each case of the balance equations, worked out by hand",
        arguments: [
            Row(
                totals: [0, 100, 100, 100],
                balance: .abundant,
                parts: [6_667, 3_333, 6_666, 3_333]
            ),
            Row(
                totals: [100, 100, 100, 0],
                balance: .abundant,
                parts: [10_000, 3_333, 10_000, 3_333]
            ),
            Row(
                totals: [90, 50, 10, 20],
                balance: .bothScarceUneven,
                parts: [10_000, 0, 10_000, 10_000]
            ),
            Row(
                totals: [90, 10, 50, 20],
                balance: .bothScarceUneven,
                parts: [10_000, 10_000, 10_000, 0]
            ),
            Row(
                totals: [20, 30, 25, 45],
                balance: .bothScarceHelped,
                parts: [10_000, 2_222, 6_000, 5_555]
            ),
            Row(
                totals: [30, 20, 25, 15],
                balance: .bothScarceFilled,
                parts: [10_000, 6_667, 10_000, 3_333]
            ),
            Row(
                totals: [100, 20, 20, 20],
                balance: .bothScarceMiddle,
                parts: [10_000, 5_000, 10_000, 5_000]
            ),
            Row(
                totals: [1_000, 10, 20, 30],
                balance: .bothScarceMiddle,
                parts: [10_000, 6_667, 10_000, 3_333]
            ),
            Row(
                totals: [60, 10, 70, 5],
                balance: .guardsShort,
                parts: [10_000, 10_000, 9_286, 0]
            ),
            Row(
                totals: [80, 10, 70, 5],
                balance: .guardsShort,
                parts: [10_000, 10_000, 10_000, 0]
            ),
            Row(
                totals: [20, 60, 10, 10],
                balance: .exitsShort,
                parts: [6_667, 0, 10_000, 10_000]
            ),
            Row(
                totals: [30, 20, 60, 40],
                balance: .guardsFilled,
                parts: [10_000, 7_500, 7_500, 1_250]
            ),
            Row(
                totals: [60, 60, 20, 40],
                balance: .exitsFilled,
                parts: [10_000, 0, 10_000, 10_000]
            ),
            Row(totals: [0, 0, 0, 0], balance: .abundant, parts: [10_000, 3_333, 0, 3_333]),
        ]
    )
    func table(row: Row) {
        // The same shares of sums near the bound of what may be summed up.
        for factor: UInt64 in [1, 1_000, 1 << 52] {
            let totals = row.totals.map { $0 * factor }
            let weights = PositionWeights(
                plain: totals[0],
                guardOnly: totals[1],
                exitOnly: totals[2],
                both: totals[3]
            )
            #expect(weights.balance == row.balance, "\(totals)")
            let parts = [
                weights.part(.guardOnly, at: .guardRelay), weights.part(.both, at: .guardRelay),
                weights.part(.exitOnly, at: .exit), weights.part(.both, at: .exit),
            ]
            for (part, expected) in zip(parts, row.parts) {
                #expect(max(part, expected) - min(part, expected) <= 1, "\(totals) \(parts)")
            }
        }
    }

    @Test("a family counts for 5 % of a position, whatever it has")
    func family() throws {
        var exits = (0..<60).map { _ in SampleRelay(flags: .exit, weight: 1_000) }
        for index in 0..<20 {
            exits[index].family = 1
            exits[index].weight = 30_000
        }
        for index in 20..<24 { exits[index].family = 2 }
        let view = try SampleRelays.view([.guardOnly] + exits + [.plain, .plain, .plain])
        var generator = randomGenerator("family")
        var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        let large = Set((1...20).map { SampleRelays.id($0) })
        let small = Set((21...24).map { SampleRelays.id($0) })
        let draws = 40_000
        var (largeCount, smallCount) = (0, 0)
        for _ in 0..<draws {
            let path = try selector.path(now: .zero, date: SampleRelays.start, using: &generator)
            if large.contains(path.exit.id) { largeCount += 1 }
            if small.contains(path.exit.id) { smallCount += 1 }
        }
        // Of 40 others each counts for 1: both families for 2 of the 40 between them and the rest.
        let (largeShare, smallShare) = (
            Double(largeCount) / Double(draws), Double(smallCount) / Double(draws)
        )
        #expect(abs(largeShare - 0.05) < 0.005, "\(largeShare)")
        #expect(abs(smallShare - 0.05) < 0.005, "\(smallShare)")
    }

    @Test("exits are chosen in proportion to their weight (chi-square, 9 degrees, 0.1 %)")
    func exits() throws {
        let exits = (1...10).map { SampleRelay(flags: .exit, weight: UInt32($0 * 1_000)) }
        let view = try SampleRelays.view([.guardOnly] + exits + [.plain, .plain, .plain])
        var generator = randomGenerator("exits")
        var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        var counts = [Int](repeating: 0, count: 11)
        let index = Dictionary(uniqueKeysWithValues: (0...10).map { (SampleRelays.id($0), $0) })
        let draws = 20_000
        for _ in 0..<draws {
            let path = try selector.path(
                now: .zero,
                date: SampleRelays.start,
                using: &generator
            )
            counts[index[path.exit.id] ?? 0] += 1
        }
        let chiSquare = (1...10).map { rank in
            let expected = Double(draws * rank) / 55
            let difference = Double(counts[rank]) - expected
            return difference * difference / expected
        }.reduce(0, +)
        #expect(counts[0] == 0)
        #expect(chiSquare < 27.88, "\(counts)")
    }

    @Test("guards are drawn in proportion to their weight (chi-square, 4 degrees, 0.1 %)")
    func guards() throws {
        let guards = (1...5).map { SampleRelay(flags: .guardCapable, weight: UInt32($0 * 1_000)) }
        let view = try SampleRelays.view(guards + [.plain, .exitOnly])
        var generator = randomGenerator("guards")
        var counts = [Int](repeating: 0, count: 5)
        let index = Dictionary(uniqueKeysWithValues: (0..<5).map { (SampleRelays.id($0), $0) })
        let draws = 3_000
        for _ in 0..<draws {
            var sample = GuardSample()
            sample.update(to: view, at: SampleRelays.start, using: &generator)
            let first = try #require(sample.primaries(count: 1).first)
            counts[try #require(index[first])] += 1
        }
        let chiSquare = (0..<5).map { rank in
            let expected = Double(draws * (rank + 1)) / 15
            let difference = Double(counts[rank]) - expected
            return difference * difference / expected
        }.reduce(0, +)
        #expect(chiSquare < 18.47, "\(counts)")
    }
}
