import Glibc

/// Pearson's correlation of two rates, one shifted against the other: the best of all shifts.
///
/// An adversary counts bytes in bins at an exit and at a client's link; what comes later on the link
/// is looked for at every delay up to a limit.
public struct LagCorrelation: Sendable {
    /// A rate made ready: mean taken off, sums kept.
    public struct Series: Sendable {
        let values: [Float]
        /// Sums of the first k values and of their squares.
        let sums: [Double]
        let squares: [Double]

        /// Makes a rate ready.
        public init(_ rates: [Float]) {
            let mean = rates.isEmpty ? 0 : rates.reduce(0, +) / Float(rates.count)
            values = rates.map { $0 - mean }
            var (sum, square) = (0.0, 0.0)
            var (sums, squares) = ([0.0], [0.0])
            sums.reserveCapacity(rates.count + 1)
            squares.reserveCapacity(rates.count + 1)
            for value in values {
                sum += Double(value)
                square += Double(value) * Double(value)
                sums.append(sum)
                squares.append(square)
            }
            self.sums = sums
            self.squares = squares
        }
    }

    /// The greatest shift, in bins.
    public let mostLag: Int

    /// Shifts from 0 to `mostLag` bins.
    ///
    /// - Precondition: `mostLag` is not negative.
    public init(mostLag: Int) {
        precondition(mostLag >= 0, "what comes later is compared with what came before")
        self.mostLag = mostLag
    }

    /// The best correlation, -1...1, of `earlier` with `later` shifted back by 0 to `mostLag` bins.
    ///
    /// 0 where one of them does not vary, or fewer than three bins overlap.
    /// - Complexity: O(bins × shifts).
    public func best(_ earlier: Series, _ later: Series) -> Double {
        var best = -Double.infinity
        for lag in 0...mostLag {
            let count = min(earlier.values.count, later.values.count - lag)
            guard count >= 3 else { break }
            best = max(best, Self.correlation(earlier, later, lag: lag, count: count))
        }
        return best == -.infinity ? 0 : best
    }

    private static func correlation(
        _ earlier: Series,
        _ later: Series,
        lag: Int,
        count: Int
    ) -> Double {
        let n = Double(count)
        let (sumX, sumY) = (earlier.sums[count], later.sums[lag + count] - later.sums[lag])
        let varianceX = earlier.squares[count] - sumX * sumX / n
        let varianceY = later.squares[lag + count] - later.squares[lag] - sumY * sumY / n
        // Rounding leaves something of rates that do not vary.
        let least = 1e-9 * n
        guard varianceX > least, varianceY > least else { return 0 }
        let product = dot(earlier.values, later.values, lag: lag, count: count)
        return min(max((product - sumX * sumY / n) / sqrt(varianceX * varianceY), -1), 1)
    }

    private static func dot(_ x: [Float], _ y: [Float], lag: Int, count: Int) -> Double {
        precondition(count <= x.count && lag + count <= y.count, "both overlap")
        return unsafe x.withUnsafeBytes { x in
            unsafe y.withUnsafeBytes { y in
                var sums = SIMD8<Float>.zero
                var index = 0
                while index + 8 <= count {
                    let a = unsafe x.loadUnaligned(
                        fromByteOffset: index * 4,
                        as: SIMD8<Float>.self
                    )
                    let b = unsafe y.loadUnaligned(
                        fromByteOffset: (lag + index) * 4,
                        as: SIMD8<Float>.self
                    )
                    sums += a * b
                    index += 8
                }
                var sum = 0.0
                for lane in 0..<8 { sum += Double(sums[lane]) }
                while index < count {
                    let a = unsafe x.loadUnaligned(fromByteOffset: index * 4, as: Float.self)
                    let b = unsafe y.loadUnaligned(
                        fromByteOffset: (lag + index) * 4,
                        as: Float.self
                    )
                    sum += Double(a * b)
                    index += 1
                }
                return sum
            }
        }
    }

    /// Scores every pair: rates in bins of `width` seconds, delays up to `mostDelay` seconds.
    ///
    /// - Parameter earlier: where a flow passes first, the exit for what goes to clients.
    public static func scores(
        earlier: [FlowTrace],
        later: [FlowTrace],
        width: Double,
        mostDelay: Double,
        until end: Double
    ) -> ScoreMatrix {
        let first = earlier.map { Series($0.rates(width: width, until: end)) }
        let second = later.map { Series($0.rates(width: width, until: end)) }
        let attack = LagCorrelation(mostLag: Int((mostDelay / width).rounded(.up)))
        return ScoreMatrix(count: min(first.count, second.count)) { flow, client in
            attack.best(first[flow], second[client])
        }
    }

    /// The widths of bins that are tried, in seconds.
    public static let widths = [0.1, 0.5, 2]
}
