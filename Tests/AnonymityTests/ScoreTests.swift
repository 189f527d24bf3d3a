import Anonymity
import CryptoPrimitives
import Testing
import Workloads

func generator(_ seed: UInt8) -> RandomGenerator {
    RandomGenerator(seed: Secret(copying: [UInt8](repeating: seed, count: 32)))
}

func matrix(_ rows: [[Double]]) -> ScoreMatrix {
    ScoreMatrix(count: rows.count) { rows[$0][$1] }
}

/// Scores that have nothing to do with who is who.
func noise(_ count: Int, seed: UInt8) -> ScoreMatrix {
    var random = generator(seed)
    return ScoreMatrix(count: count) { _, _ in random.unit() }
}

@Suite("Figures of merit are what hand and paper say")
struct ScoreTests {
    @Test("the area counts pairs won, and ties as half")
    func area() {
        // True: 3, 2, 5. False: 1, 4, 2, 0, 5, 1. 3 beats 4 of 6 (1, 2, 0, 1); 2 beats 3 and ties 1;
        // 5 beats 5 and ties 1: 4 + 3.5 + 5.5 of 18.
        let scores = matrix([[3, 1, 4], [2, 2, 0], [5, 1, 5]])
        #expect(abs(scores.areaUnderCurve - 13.0 / 18) < 1e-12)
        #expect(matrix([[2, 1], [0, 3]]).areaUnderCurve == 1)
        #expect(matrix([[1, 2], [3, 0]]).areaUnderCurve == 0)
        #expect(matrix([[7, 7], [7, 7]]).areaUnderCurve == 0.5)
        #expect(matrix([[7]]).areaUnderCurve == 0.5)
        #expect(matrix([]).areaUnderCurve == 0.5)
    }

    @Test("the share found at a false rate is that above the threshold, ties left out")
    func truePositives() {
        // 40 flows: 1,560 false pairs, of which one in a thousand is one.
        let scores = ScoreMatrix(count: 40) { flow, client in
            if flow == client { return flow < 30 ? 10 : flow < 35 ? 8 : 0 }
            return flow == 0 && client == 1 ? 9 : flow == 1 && client == 0 ? 8 : 1
        }
        // The highest false one, 9, is let through; the next, 8, is the threshold.
        #expect(scores.truePositiveRate(atFalsePositiveRate: 1e-3) == 0.75)
        #expect(scores.truePositiveRate(atFalsePositiveRate: 0) == 0.75)
        #expect(scores.truePositiveRate(atFalsePositiveRate: 2e-3) == 0.875)
        let rates = scores.curve.map(\.trueRate)
        #expect(rates == rates.sorted() && rates.last == 1)
    }

    @Test("the best of a row is found, and a tie is a guess among those who tie")
    func top() {
        #expect(matrix([[3, 1, 2], [1, 3, 3], [9, 1, 5]]).topOne == (1 + 0.5) / 3)
        #expect(matrix([[0, 0], [0, 0]]).topOne == 0.5)
    }

    @Test("what is no number fits not at all")
    func notANumber() {
        #expect(matrix([[1, .nan], [.nan, 1]]).areaUnderCurve == 1)
    }

    @Test("entropy of beliefs: even ones have log2 of their number, sure ones none")
    func entropy() {
        #expect(abs(Posterior.entropyBits([0, 0, 0, 0]) - 2) < 1e-12)
        // 1/2, 1/4, 1/4: 1.5 bits.
        let uneven = [2.0, 1, 1].map { $0 == 2 ? 0.693_147_180_56 : 0 }
        #expect(abs(Posterior.entropyBits(uneven) - 1.5) < 1e-9)
        #expect(Posterior.entropyBits([0, -1_000, -1_000]) == 0)
        let even = Posterior(matrix([[5, 5], [5, 5]]), calibration: .fitted)
        #expect(even.meanEntropyBits == 1 && even.degree == 1)
        let sure = Posterior(matrix([[0, -99], [-99, 0]]), calibration: .likelihood)
        #expect(sure.meanEntropyBits < 1e-9)
    }

    @Test("a curve fitted to scores that say much leaves few bits, to noise nearly all of them")
    func fitted() {
        let apart = ScoreMatrix(count: 32) { $0 == $1 ? 1 : Double(($0 * 7 + $1 * 13) % 10) / 20 }
        #expect(Posterior(apart, calibration: .fitted).meanEntropyBits < 0.7)
        let noisy = Posterior(noise(32, seed: 1), calibration: .fitted)
        #expect(noisy.meanEntropyBits > 4.8 && noisy.meanEntropyBits <= 5)
    }

    @Test("the fitted odds are those of two normal distributions one apart")
    func odds() {
        var random = generator(10)
        // True pairs are normal around 1, others around 0, both of deviation 1: the logarithm of the
        // odds is x - 1/2, of slope 1, which takes about 1/2 nat of log2(400) bits.
        let scores = ScoreMatrix(count: 400) { flow, client in
            let radius = (-2 * logarithm(1 - random.unit())).squareRoot()
            return radius * cosine(2 * .pi * random.unit()) + (flow == client ? 1 : 0)
        }
        let verdict = Verdict(scores, random: &random)
        // Φ(1/√2).
        #expect(abs(verdict.auc - 0.760) < 0.05)
        #expect(verdict.aucLow < 0.760 && verdict.aucHigh > 0.760)
        #expect(abs(verdict.entropyBits - 7.92) < 0.3)
    }

    @Test("the interval holds one half of noise, and is a point where all is apart")
    func interval() {
        var inside = 0
        for seed in 0..<20 as Range<UInt8> {
            var random = generator(seed)
            let verdict = Verdict(noise(40, seed: 100 + seed), random: &random)
            #expect(verdict.aucLow <= verdict.auc && verdict.auc <= verdict.aucHigh)
            if verdict.aucLow <= 0.5, verdict.aucHigh >= 0.5 { inside += 1 }
        }
        // 95 in 100; less than 15 of 20 would come of an interval too narrow by half.
        #expect(inside >= 15)
        var random = generator(1)
        let apart = Verdict(ScoreMatrix(count: 40) { $0 == $1 ? 1 : 0 }, random: &random)
        #expect(apart.auc == 1 && apart.aucLow == 1 && apart.aucHigh == 1)
        #expect(apart.topOne == 1 && apart.truePositiveRate == 1)
        #expect(apart.falsePairCount == 1_560)
    }

    @Test("the same seed gives the same interval")
    func seeded() {
        var first = generator(3)
        var second = generator(3)
        let scores = noise(30, seed: 4)
        #expect(Verdict(scores, random: &first) == Verdict(scores, random: &second))
    }

    @Test("the distance of two samples is the greatest between their steps")
    func kolmogorov() throws {
        // At 3 all of the first and a third of the second are behind.
        let test = try #require(KolmogorovSmirnov([1, 2, 3], [3, 4, 5]))
        #expect(abs(test.distance - 2.0 / 3) < 1e-12)
        let same = try #require(KolmogorovSmirnov([1, 2, 3], [1, 2, 3]))
        #expect(same.distance == 0 && same.probability == 1)
        #expect(KolmogorovSmirnov([], [1]) == nil)
        var random = generator(5)
        var (a, b, c): ([Double], [Double], [Double]) = ([], [], [])
        for _ in 0..<1_000 {
            a.append(random.unit())
            b.append(random.unit())
            c.append(random.unit() * 1.2)
        }
        #expect(try #require(KolmogorovSmirnov(a, b)).probability > 0.01)
        #expect(try #require(KolmogorovSmirnov(a, c)).probability < 1e-6)
    }
}
