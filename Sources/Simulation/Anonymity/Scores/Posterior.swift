import Glibc

/// What an adversary believes of each flow: a probability for every client.
///
/// All clients are equally likely before anything is seen.
public struct Posterior: Sendable {
    /// How scores become odds.
    public enum Calibration: Sendable {
        /// Scores are logarithms of likelihoods (natural) already.
        case likelihood
        /// A logistic curve is fitted to true and false pairs (Platt 1999, with his targets that
        /// keep it finite where both are apart). It is fitted to what it is used on: an adversary
        /// who has trained on this very network.
        case fitted
    }

    /// Mean entropy over flows, in bits; at most log2 of the number of clients.
    public let meanEntropyBits: Double
    /// The mean entropy as a share of log2 of the number of clients; 0 for a single one.
    public let degree: Double

    /// Makes beliefs of scores.
    public init(_ matrix: ScoreMatrix, calibration: Calibration) {
        let count = matrix.count
        let slope: Double
        switch calibration {
        case .likelihood: slope = 1
        case .fitted: slope = Self.fittedSlope(matrix)
        }
        var sum = 0.0
        for flow in 0..<count {
            sum += Self.entropyBits((0..<count).map { slope * matrix[flow, $0] })
        }
        meanEntropyBits = count > 0 ? sum / Double(count) : 0
        degree = count > 1 ? meanEntropyBits / log2(Double(count)) : 0
    }

    /// The entropy in bits of the distribution whose logarithms these are, up to a constant.
    public static func entropyBits(_ logarithms: [Double]) -> Double {
        guard let most = logarithms.max() else { return 0 }
        let weights = logarithms.map { exp($0 - most) }
        let total = weights.reduce(0, +)
        var entropy = 0.0
        for weight in weights where weight > 0 {
            let share = weight / total
            entropy -= share * log2(share)
        }
        return max(0, entropy)
    }

    /// The slope of the logistic curve of best fit, never below 0: less fit is no evidence for.
    ///
    /// Newton's method with a step that is halved until it helps; scores are brought to mean 0 and
    /// deviation 1 first.
    static func fittedSlope(_ matrix: ScoreMatrix) -> Double {
        let finite = matrix.scores.filter { abs($0) < 1e100 }
        guard matrix.count > 1, finite.count > 1 else { return 0 }
        let mean = finite.reduce(0, +) / Double(finite.count)
        let variance = finite.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(finite.count)
        guard variance > 0 else { return 0 }
        let deviation = sqrt(variance)
        let trueCount = Double(matrix.count)
        let falseCount = trueCount * (trueCount - 1)
        let goals = (hit: (trueCount + 1) / (trueCount + 2), miss: 1 / (falseCount + 2))
        var samples: [(x: Double, goal: Double)] = []
        samples.reserveCapacity(matrix.scores.count)
        for flow in 0..<matrix.count {
            for client in 0..<matrix.count {
                let x = min(max((matrix[flow, client] - mean) / deviation, -50), 50)
                samples.append((x, flow == client ? goals.hit : goals.miss))
            }
        }
        var (a, b) = (0.0, log((trueCount + 1) / (falseCount + 1)))
        var loss = logisticLoss(samples, a, b)
        for _ in 0..<100 {
            var (ga, gb, haa, hab, hbb) = (0.0, 0.0, 1e-12, 0.0, 1e-12)
            for (x, goal) in samples {
                let p = 1 / (1 + exp(-(a * x + b)))
                let (error, weight) = (p - goal, p * (1 - p))
                ga += error * x
                gb += error
                haa += weight * x * x
                hab += weight * x
                hbb += weight
            }
            let determinant = haa * hbb - hab * hab
            guard determinant > 0 else { break }
            let (da, db) = (
                (hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant
            )
            var step = 1.0
            var next = logisticLoss(samples, a - da, b - db)
            while next > loss, step > 1e-6 {
                step /= 2
                next = logisticLoss(samples, a - step * da, b - step * db)
            }
            guard next < loss else { break }
            let gained = loss - next
            (a, b, loss) = (a - step * da, b - step * db, next)
            if gained < 1e-10 * loss { break }
        }
        return max(0, a) / deviation
    }

    private static func logisticLoss(
        _ samples: [(x: Double, goal: Double)],
        _ a: Double,
        _ b: Double
    ) -> Double {
        samples.reduce(0) { sum, sample in
            let z = a * sample.x + b
            // log(1 + e^z) without overflow.
            let softened = max(z, 0) + log1p(exp(-abs(z)))
            return sum + softened - sample.goal * z
        }
    }
}
