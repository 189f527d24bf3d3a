public import CryptoPrimitives

/// What an attack comes to.
public struct Verdict: Codable, Hashable, Sendable {
    /// The chance that a true pair scores above a false one.
    public var auc: Double
    /// The lower end of the area's 95 % interval.
    public var aucLow: Double
    /// The upper end of the area's 95 % interval.
    public var aucHigh: Double
    /// The share of flows found where one in a thousand false pairs is taken for true.
    public var truePositiveRate: Double
    /// False pairs compared: below 1,000 the rate above is that without any false pair.
    public var falsePairCount: Int
    /// The share of flows whose own client scores best.
    public var topOne: Double
    /// Mean entropy of the posterior over clients, in bits.
    public var entropyBits: Double
    /// Entropy as a share of what there can be, log2 of the number of clients.
    public var degree: Double

    /// Resamplings behind the interval.
    public static let resamplingCount = 400

    /// Judges scores.
    ///
    /// The interval is from a bootstrap over clients: each resampling draws as many clients as there
    /// are, with repetition, and compares the flows of those drawn, never a client with itself. Pairs
    /// that share a client are not independent, so pairs must not be drawn one by one.
    ///
    /// - Complexity: O(400 n²) for n clients.
    public init(
        _ matrix: ScoreMatrix,
        calibration: Posterior.Calibration = .fitted,
        random: inout RandomGenerator
    ) {
        let pairs = RankedPairs(matrix)
        auc = pairs.area(weights: [Double](repeating: 1, count: matrix.count))
        var areas: [Double] = []
        if matrix.count > 1 {
            for _ in 0..<Self.resamplingCount {
                var weights = [Double](repeating: 0, count: matrix.count)
                for _ in 0..<matrix.count {
                    weights[Int(random.next(below: UInt64(matrix.count)))] += 1
                }
                areas.append(pairs.area(weights: weights))
            }
        }
        areas.sort()
        aucLow = areas.isEmpty ? auc : areas[areas.count / 40]
        aucHigh = areas.isEmpty ? auc : areas[areas.count - 1 - areas.count / 40]
        truePositiveRate = matrix.truePositiveRate(atFalsePositiveRate: 1e-3)
        falsePairCount = matrix.count * max(0, matrix.count - 1)
        topOne = matrix.topOne
        let posterior = Posterior(matrix, calibration: calibration)
        entropyBits = posterior.meanEntropyBits
        degree = posterior.degree
    }
}
