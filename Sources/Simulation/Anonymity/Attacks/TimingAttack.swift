import Glibc

/// The likelihood-ratio attack on times: whether a flow's cells at one end fit what was sent at the
/// other.
///
/// For each cell that leaves an exit at y, the density of its time, were it one of the cells this
/// client sent at s₁, s₂, …, is Σ g(y - sᵢ) divided by their number; the score is the sum of the
/// logarithms, against cells sent evenly at the client's own rate. Where every client sends at the
/// same times all scores are equal, and nothing is learnt.
public struct TimingAttack: Sendable {
    private let least: Double
    private let most: Double
    private let step: Double
    private let table: [Float]
    /// What a cell counts that nothing sent explains, as a share of even sending.
    private let floor: Double

    /// An attack that believes in a law of delays.
    ///
    /// - Parameter strayShare: the share of cells that come without a cause the adversary saw;
    ///   above 0, so that one of them does not decide everything.
    public init(_ law: DelayLaw, strayShare: Double = 1e-4) {
        precondition(strayShare > 0, "one stray cell must not decide everything")
        let support = law.support
        let count = 4_096
        let step = (support.upperBound - support.lowerBound) / Double(count)
        (least, most) = (support.lowerBound, support.upperBound)
        self.step = step
        table = (0..<count).map {
            Float(law.density(at: support.lowerBound + (Double($0) + 0.5) * step))
        }
        floor = strayShare
    }

    /// The logarithm of the likelihood ratio, natural.
    ///
    /// - Parameters:
    ///   - leaving: when cells of the flow left, in order.
    ///   - sent: when cells of the client were sent, in order.
    ///   - seconds: for how long the client was watched.
    /// - Complexity: O(cells that left × cells sent within the law's support).
    public func score(leaving: [Double], sent: [Double], seconds: Double) -> Double {
        guard !sent.isEmpty, seconds > 0 else {
            return Double(leaving.count) * log(floor)
        }
        let rate = Double(sent.count) / seconds
        var score = 0.0
        var start = 0
        for time in leaving {
            while start < sent.count, sent[start] < time - most { start += 1 }
            var sum = 0.0
            var index = start
            while index < sent.count {
                let delay = time - sent[index]
                if delay < least { break }
                let cell = Int((delay - least) / step)
                if cell < table.count { sum += Double(table[cell]) }
                index += 1
            }
            score += log((1 - floor) * sum / rate + floor)
        }
        return score
    }

    /// Scores every pair.
    public func scores(
        leaving: [[Double]],
        sent: [[Double]],
        seconds: Double
    ) -> ScoreMatrix {
        scores(leaving: leaving, guesses: sent.map { [$0] }, seconds: seconds)
    }

    /// Scores every pair where there are several guesses at what a client's causes are: the one that
    /// fits best counts.
    public func scores(
        leaving: [[Double]],
        guesses: [[[Double]]],
        seconds: Double
    ) -> ScoreMatrix {
        ScoreMatrix(count: min(leaving.count, guesses.count)) { flow, client in
            guesses[client].map { score(leaving: leaving[flow], sent: $0, seconds: seconds) }
                .max() ?? score(leaving: leaving[flow], sent: [], seconds: seconds)
        }
    }
}
