import Glibc

/// Mutual information of two binned rates: how many bits a bin of one tells about the same bin of the
/// other, whatever the shape of what binds them.
public struct MutualInformation: Sendable {
    /// Levels rates are sorted into: the least value, and equal shares of what is above it; ties stay
    /// together.
    public let levelCount: Int

    /// An estimate with so many levels, 2...256.
    public init(levelCount: Int = 8) {
        precondition((2...256).contains(levelCount), "two levels at least")
        self.levelCount = levelCount
    }

    /// The level of each bin, from 0; a rate that does not vary is of level 0 throughout.
    public func levels(_ rates: [Float]) -> [UInt8] {
        let sorted = rates.sorted()
        guard !sorted.isEmpty else { return [] }
        // Most bins of a page's reader are empty: without a level of their own they would hide the rest.
        let above = sorted.drop { $0 == sorted[0] }
        var bounds: [Float] = []
        for share in 0..<levelCount - 1 where !above.isEmpty {
            let bound = above[above.startIndex + above.count * share / (levelCount - 1)]
            if bound > (bounds.last ?? sorted[0]) { bounds.append(bound) }
        }
        return rates.map { rate in
            var level: UInt8 = 0
            for bound in bounds where rate >= bound { level += 1 }
            return level
        }
    }

    /// Bits a bin of one tells of the other, less what chance alone would show (Miller and Madow);
    /// never below 0.
    public func bits(_ first: [UInt8], _ second: [UInt8]) -> Double {
        let count = min(first.count, second.count)
        guard count > 0 else { return 0 }
        var joint = [Double](repeating: 0, count: levelCount * levelCount)
        var (left, right) = (
            [Double](repeating: 0, count: levelCount), [Double](repeating: 0, count: levelCount)
        )
        for index in 0..<count {
            joint[Int(first[index]) * levelCount + Int(second[index])] += 1
            left[Int(first[index])] += 1
            right[Int(second[index])] += 1
        }
        let n = Double(count)
        var sum = 0.0
        for a in 0..<levelCount {
            for b in 0..<levelCount {
                let value = joint[a * levelCount + b]
                guard value > 0 else { continue }
                sum += value / n * log2(value * n / (left[a] * right[b]))
            }
        }
        let used = (left.filter { $0 > 0 }.count, right.filter { $0 > 0 }.count)
        let bias = Double((used.0 - 1) * (used.1 - 1)) / (2 * n * log(2))
        return max(0, sum - bias)
    }

    /// Scores every pair in bins of `width` seconds, the best of delays up to `mostDelay` seconds.
    public func scores(
        earlier: [FlowTrace],
        later: [FlowTrace],
        width: Double,
        mostDelay: Double,
        until end: Double
    ) -> ScoreMatrix {
        let first = earlier.map { levels($0.rates(width: width, until: end)) }
        let second = later.map { levels($0.rates(width: width, until: end)) }
        let mostLag = Int((mostDelay / width).rounded(.up))
        return ScoreMatrix(count: min(first.count, second.count)) { flow, client in
            var best = 0.0
            for lag in 0...mostLag {
                best = max(best, bits(first[flow], Array(second[client].dropFirst(lag))))
            }
            return best
        }
    }
}
