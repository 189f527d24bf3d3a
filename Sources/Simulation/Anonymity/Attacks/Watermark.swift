public import CryptoPrimitives
import Workloads

/// An active adversary at guards: it drops or delays a client's cells in a pattern of its own, and
/// looks for the pattern at exits.
public struct Watermark: Hashable, Sendable {
    /// What it does to cells of a marked chip.
    public enum Interference: Hashable, Sendable {
        /// It drops this share of them.
        case drop(share: Double)
        /// It holds them back for so many seconds.
        case delay(seconds: Double)
    }

    /// Seconds of a chip.
    public let chipSeconds: Double
    /// Whether each chip is marked; balanced chance.
    public let chips: [Bool]

    /// A pattern for `seconds`.
    public init(seconds: Double, chipSeconds: Double, random: inout RandomGenerator) {
        precondition(chipSeconds > 0 && seconds > 0, "a pattern takes time")
        self.chipSeconds = chipSeconds
        var chips: [Bool] = []
        for _ in 0..<Int((seconds / chipSeconds).rounded(.up)) {
            chips.append(random.next() & 1 == 1)
        }
        self.chips = chips
    }

    /// Whether the pattern marks `time`.
    public func marks(_ time: Double) -> Bool {
        let index = Int((time / chipSeconds).rounded(.down))
        return chips.indices.contains(index) && chips[index]
    }

    /// When a cell sent at `time` goes on; `nil` where it is dropped.
    public func passes(
        _ interference: Interference,
        _ time: Double,
        random: inout RandomGenerator
    ) -> Double? {
        guard marks(time) else { return time }
        switch interference {
        case .drop(let share): return random.unit() < share ? nil : time
        case .delay(let seconds): return time + seconds
        }
    }

    /// The share of all cells that dropping takes: what a client's loops measure as loss.
    public func lossShare(of share: Double) -> Double {
        guard !chips.isEmpty else { return 0 }
        return share * Double(chips.filter(\.self).count) / Double(chips.count)
    }

    /// Scores every pair by the correlation of exit i's rate with pattern j, negative for drops since
    /// marked chips carry less; delays show as less in a marked chip and more in what follows.
    ///
    /// - Parameter mostDelay: how late the pattern may appear, in seconds.
    public static func scores(
        exits: [FlowTrace],
        patterns: [Watermark],
        mostDelay: Double
    ) -> ScoreMatrix {
        guard let first = patterns.first else { return ScoreMatrix(count: 0) { _, _ in 0 } }
        // Ten bins a chip place the pattern well enough.
        let width = first.chipSeconds / 10
        let end = first.chipSeconds * Double(first.chips.count)
        let marks = patterns.map { pattern in
            LagCorrelation.Series(
                pattern.chips.flatMap { [Float](repeating: $0 ? -1 : 1, count: 10) }
            )
        }
        let rates = exits.map { LagCorrelation.Series($0.rates(width: width, until: end)) }
        let attack = LagCorrelation(mostLag: Int((mostDelay / width).rounded(.up)))
        return ScoreMatrix(count: min(exits.count, patterns.count)) { flow, client in
            attack.best(marks[client], rates[flow])
        }
    }
}
