/// How well each flow at an exit fits each client: rows are flows, columns clients, and row i is
/// truly of client i.
public struct ScoreMatrix: Hashable, Sendable {
    /// Rows, and as many columns.
    public let count: Int
    /// The scores, row by row: more means a better fit, none is NaN.
    public private(set) var scores: [Double]

    /// Fills a matrix; a score that is no number counts as no fit at all.
    public init(count: Int, score: (_ flow: Int, _ client: Int) -> Double) {
        self.count = count
        scores = []
        scores.reserveCapacity(count * count)
        for flow in 0..<count {
            for client in 0..<count {
                let value = score(flow, client)
                scores.append(value.isNaN ? -.greatestFiniteMagnitude : value)
            }
        }
    }

    /// The score of a pair.
    public subscript(flow: Int, client: Int) -> Double {
        scores[flow * count + client]
    }

    /// Scores of pairs that belong together.
    public var truePairs: [Double] {
        (0..<count).map { self[$0, $0] }
    }

    /// Scores of pairs that do not; `count * (count - 1)` of them.
    public var falsePairs: [Double] {
        var pairs: [Double] = []
        pairs.reserveCapacity(count * max(0, count - 1))
        for flow in 0..<count {
            for client in 0..<count where client != flow { pairs.append(self[flow, client]) }
        }
        return pairs
    }

    /// The share of flows whose own client has the best score; ties share the place.
    public var topOne: Double {
        guard count > 0 else { return 0 }
        var sum = 0.0
        for flow in 0..<count {
            let row = scores[flow * count..<(flow + 1) * count]
            guard let best = row.max(), self[flow, flow] == best else { continue }
            sum += 1 / Double(row.filter { $0 == best }.count)
        }
        return sum / Double(count)
    }

    /// The chance that a true pair scores above a false one; a tie counts one half.
    ///
    /// 0.5 is guessing, 1 is certainty. Where there is nothing to compare, 0.5.
    /// - Complexity: O(n² log n) for n flows.
    public var areaUnderCurve: Double {
        RankedPairs(self).area(weights: [Double](repeating: 1, count: count))
    }

    /// The share of true pairs above a threshold that at most `rate` of the false ones pass.
    ///
    /// The threshold is the least that does so; what ties with it does not pass.
    public func truePositiveRate(atFalsePositiveRate rate: Double) -> Double {
        let others = falsePairs.sorted(by: >)
        guard count > 0, !others.isEmpty else { return 0 }
        let allowed = min(Int(rate * Double(others.count)), others.count - 1)
        let threshold = others[allowed]
        return Double(truePairs.filter { $0 > threshold }.count) / Double(count)
    }

    /// Points of the curve of true against false positives, at false rates of 10^-4 to 1, five a
    /// decade.
    public var curve: [(falseRate: Double, trueRate: Double)] {
        let rates = [
            1e-4, 1.6e-4, 2.5e-4, 4e-4, 6.3e-4, 1e-3, 1.6e-3, 2.5e-3, 4e-3, 6.3e-3, 1e-2, 1.6e-2,
            2.5e-2, 4e-2, 6.3e-2, 0.1, 0.16, 0.25, 0.4, 0.63,
        ]
        return rates.map { ($0, truePositiveRate(atFalsePositiveRate: $0)) } + [(1, 1)]
    }
}

/// All pairs of a matrix in the order of their scores, so that areas can be had again and again.
struct RankedPairs {
    private struct Pair {
        var flow: Int32
        var client: Int32
        var score: Double
    }

    private let pairs: [Pair]

    init(_ matrix: ScoreMatrix) {
        var pairs: [Pair] = []
        pairs.reserveCapacity(matrix.count * matrix.count)
        for flow in 0..<matrix.count {
            for client in 0..<matrix.count {
                pairs.append(
                    Pair(flow: Int32(flow), client: Int32(client), score: matrix[flow, client])
                )
            }
        }
        self.pairs = pairs.sorted { $0.score < $1.score }
    }

    /// The area where client i counts `weights[i]` times; 0.5 where nothing can be compared.
    func area(weights: [Double]) -> Double {
        var below = 0.0
        var won = 0.0
        var trueWeight = 0.0
        var index = 0
        while index < pairs.count {
            var (tiedTrue, tiedFalse) = (0.0, 0.0)
            let score = pairs[index].score
            while index < pairs.count, pairs[index].score == score {
                let pair = pairs[index]
                let weight = weights[Int(pair.flow)]
                if pair.flow == pair.client {
                    tiedTrue += weight
                } else {
                    tiedFalse += weight * weights[Int(pair.client)]
                }
                index += 1
            }
            won += tiedTrue * (below + tiedFalse / 2)
            below += tiedFalse
            trueWeight += tiedTrue
        }
        guard trueWeight > 0, below > 0 else { return 0.5 }
        return won / trueWeight / below
    }
}
