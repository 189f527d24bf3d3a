import Anonymity
import CryptoPrimitives
import Testing
import Workloads

import func Glibc.cos
import func Glibc.log

func logarithm(_ x: Double) -> Double { log(x) }
func cosine(_ x: Double) -> Double { cos(x) }

/// Cells of a Poisson flow.
func poisson(_ rate: Double, _ seconds: Double, _ random: inout RandomGenerator) -> [Double] {
    var times: [Double] = []
    var time = random.exponential(mean: 1 / rate)
    while time < seconds {
        times.append(time)
        time += random.exponential(mean: 1 / rate)
    }
    return times
}

@Suite("Attacks find what is planted, and nothing where there is nothing")
struct AttackTests {
    @Test("cells and bytes are counted into bins")
    func bins() {
        var trace = FlowTrace(times: [0.05, 0.95, 0.1, 2])
        #expect(trace.rates(width: 0.5, until: 1.5) == [2, 1, 0])
        #expect(trace.volume == 4)
        trace = FlowTrace()
        trace.add(0.2, byteCount: 100)
        trace.add(0.6, byteCount: 50)
        // Clocks that step back do not reorder what was seen.
        trace.add(0.4, byteCount: 10)
        #expect(trace.rates(width: 0.5, until: 1) == [100, 60])
        #expect(trace.volume == 160)
        #expect(trace.gaps.map { ($0 * 10).rounded() } == [4, 0])
    }

    @Test("Pearson's r of 1, 2, 3, 4 with 1, 3, 2, 4 is 0.8, and the best shift is found")
    func pearson() {
        let x = LagCorrelation.Series([1, 2, 3, 4])
        let y = LagCorrelation.Series([1, 3, 2, 4])
        #expect(abs(LagCorrelation(mostLag: 0).best(x, y) - 0.8) < 1e-6)
        let flat = LagCorrelation.Series([5, 5, 5, 5])
        #expect(LagCorrelation(mostLag: 1).best(x, flat) == 0)
        let a: [Float] = [0, 5, 1, 0, 7, 2, 0, 0, 3, 9, 0, 1, 4]
        let late = LagCorrelation.Series([3, 3] + a)
        let shifted = LagCorrelation(mostLag: 3).best(LagCorrelation.Series(a), late)
        #expect(abs(shifted - 1) < 1e-6)
        // Without the shift the two differ.
        #expect(LagCorrelation(mostLag: 1).best(LagCorrelation.Series(a), late) < 0.9)
    }

    @Test("the quick sum of products is the plain one", arguments: [3, 8, 9, 64, 100, 1_000])
    func plain(count: Int) {
        var random = generator(UInt8(count % 251))
        var (x, y): ([Float], [Float]) = ([], [])
        for _ in 0..<count {
            x.append(Float(random.unit()))
            y.append(Float(random.unit()))
        }
        func mean(_ v: [Float]) -> Double { v.reduce(0) { $0 + Double($1) } / Double(count) }
        var (xy, xx, yy) = (0.0, 0.0, 0.0)
        for index in 0..<count {
            let (a, b) = (Double(x[index]) - mean(x), Double(y[index]) - mean(y))
            (xy, xx, yy) = (xy + a * b, xx + a * a, yy + b * b)
        }
        let best = LagCorrelation(mostLag: 0).best(
            LagCorrelation.Series(x),
            LagCorrelation.Series(y)
        )
        #expect(abs(best - xy / (xx * yy).squareRoot()) < 1e-5)
    }

    /// Flows of bursts, and links that carry them later; `shift` flows further, links are of others.
    private func flows(_ count: Int, independent: Bool) -> (exits: [FlowTrace], links: [FlowTrace])
    {
        var random = generator(independent ? 7 : 8)
        func bursts() -> [Double] {
            var times: [Double] = []
            for start in poisson(0.1, 200, &random) {
                times += (0..<40).map { start + Double($0) * 0.01 }
            }
            return times
        }
        var (exits, links): ([FlowTrace], [FlowTrace]) = ([], [])
        for _ in 0..<count {
            let times = bursts()
            exits.append(FlowTrace(times: times))
            links.append(FlowTrace(times: (independent ? bursts() : times).map { $0 + 0.3 }))
        }
        return (exits, links)
    }

    @Test("rates, information and volumes tell flows apart that are the same, and no others")
    func planted() {
        for independent in [false, true] {
            let (exits, links) = flows(30, independent: independent)
            var random = generator(1)
            let results = RateExperiment(seconds: 200).attacks(
                exits: exits,
                links: links,
                random: &random
            )
            #expect(Set(results.map(\.attack)) == ["rates", "information", "volume"])
            for result in results {
                let auc = result.verdict.auc
                let text = "\(result.attack), \(result.setting): \(auc)"
                if independent {
                    #expect(abs(auc - 0.5) < 0.17, "\(text)")
                } else {
                    #expect(auc > 0.9, "\(text)")
                }
            }
        }
    }

    @Test("the mutual information of four even levels with themselves is two bits, with noise none")
    func information() {
        let four: [UInt8] = (0..<4_000).map { UInt8($0 % 4) }
        let estimate = MutualInformation(levelCount: 4)
        // Less (4-1)(4-1)/(2·4000·ln 2).
        #expect(abs(estimate.bits(four, four) - (2 - 9 / (8_000 * 0.693_147))) < 1e-6)
        var random = generator(2)
        var other: [UInt8] = []
        for _ in 0..<4_000 { other.append(UInt8(random.next(below: 4))) }
        #expect(estimate.bits(four, other) < 0.005)
        #expect(estimate.bits([], four) == 0)
        #expect(estimate.levels([0, 0, 0, 0, 1, 2, 3, 4]) == [0, 0, 0, 0, 1, 2, 3, 3])
        #expect(MutualInformation().levels([Float](repeating: 0, count: 99) + [7]).last == 1)
        #expect(estimate.levels([5, 5, 5]) == [0, 0, 0])
    }

    @Test("densities of delays are one in sum, and those of the textbook")
    func densities() {
        let laws: [DelayLaw] = [
            .exponential(mean: 0.015, hops: 2, base: 0.01),
            .exponential(mean: 0.1, hops: 1, base: 0),
            .uniform(most: 0.2, hops: 1, base: 0), .uniform(most: 0.2, hops: 3, base: 0.1),
            .normal(mean: 0.1, deviation: 0.01), .between(least: 0.05, most: 0.25),
        ]
        for law in laws {
            let (least, most) = (law.support.lowerBound, law.support.upperBound)
            let step = (most - least) / 20_000
            var (sum, mean) = (0.0, 0.0)
            for index in 0..<20_000 {
                let x = least + (Double(index) + 0.5) * step
                sum += law.density(at: x) * step
                mean += x * law.density(at: x) * step
            }
            #expect(abs(sum - 1) < 1e-3, "\(law)")
            var random = generator(6)
            var drawn = 0.0
            for _ in 0..<20_000 { drawn += law.draw(random: &random) / 20_000 }
            #expect(abs(drawn / mean - 1) < 0.03, "\(law): \(drawn), \(mean)")
        }
        // Erlang of two of mean 1 at 1: 1/e. Two uniform in 0..<1 at 1: the peak of the triangle.
        let erlang = DelayLaw.exponential(mean: 1, hops: 2, base: 0)
        #expect(abs(erlang.density(at: 1) - 0.367_879_4) < 1e-6)
        #expect(DelayLaw.uniform(most: 1, hops: 2, base: 0).density(at: 1) == 1)
        #expect(abs(DelayLaw.uniform(most: 1, hops: 3, base: 0).density(at: 1.5) - 0.75) < 1e-12)
    }

    @Test("the likelihood ratio is the logarithm of the share a sent cell explains")
    func likelihood() {
        // Two cells in 10 s, any delay below 1 s: the one at 2.5 is explained (density 1 of even 0.2),
        // the one at 9 is not.
        let attack = TimingAttack(.between(least: 0, most: 1), strayShare: 0.01)
        let hit = attack.score(leaving: [2.5], sent: [2, 5], seconds: 10)
        #expect(abs(hit - logarithm(0.99 * 5 + 0.01)) < 1e-4)
        let miss = attack.score(leaving: [9], sent: [2, 5], seconds: 10)
        #expect(abs(miss - logarithm(0.01)) < 1e-9)
        let both = attack.score(leaving: [2.5, 9], sent: [2, 5], seconds: 10)
        #expect(abs(both - hit - miss) < 1e-9)
        #expect(attack.score(leaving: [1], sent: [], seconds: 10) == logarithm(0.01))
        // A cell that left before anything was sent is not explained either.
        #expect(abs(attack.score(leaving: [1], sent: [2], seconds: 10) - logarithm(0.01)) < 1e-9)
    }

    @Test("volumes near each other score, and how well they are known is a factor")
    func volumes() throws {
        let exits = [100, 1_000, 10_000].map { FlowTrace(times: (0..<$0).map(Double.init)) }
        let links = [110, 1_050, 9_000].map { FlowTrace(times: (0..<$0).map(Double.init)) }
        let scores = VolumeCount.scores(exits: exits, links: links)
        #expect(scores.areaUnderCurve == 1 && scores.topOne == 1)
        #expect(abs(scores[0, 0] + logarithm(111.0 / 101)) < 1e-9)
        let factor = try #require(VolumeCount.uncertainty(exits: exits, links: links))
        #expect(factor > 1 && factor < 1.1)
        // Links that are all alike tell nothing: the factor is the spread of the flows.
        let even = [FlowTrace](repeating: links[0], count: 3)
        let blind = try #require(VolumeCount.uncertainty(exits: exits, links: even))
        #expect(abs(blind - 10) < 1e-6)
        #expect(VolumeCount.uncertainty(exits: [], links: []) == nil)
    }

    @Test("beginnings and ends name who was there, and nobody who always is")
    func sessions() {
        typealias Session = SessionWatch.Session
        let exits = [Session(start: 10, stop: 20), Session(start: 12, stop: 30)]
        let links = [Session(start: 9, stop: 21), Session(start: 11.5, stop: 31)]
        let scores = SessionWatch.scores(exits: exits, links: links)
        #expect(scores[0, 0] == -2 && scores[1, 1] == -1.5)
        // Client 0 was gone before flow 1 ended.
        #expect(scores[1, 0] < -1e8)
        #expect(scores.topOne == 1)
        let always = [Session](repeating: Session(start: 0, stop: 100), count: 2)
        #expect(SessionWatch.scores(exits: exits, links: always).topOne == 0.5)
        #expect(Session(FlowTrace()) == nil)
        #expect(Session(FlowTrace(times: [3, 1])) == Session(start: 1, stop: 3))
    }

    @Test("who was away in a round is out, and only in rounds that count")
    func intersection() {
        let online = [
            [true, true, false], [true, false, true], [false, true, true], [true, true, true],
        ]
        let counts = Intersection.candidateCounts(
            online: online,
            isSeen: [true, false, true, true]
        )
        #expect(counts == [2, 2, 1, 1])
        #expect(
            Intersection.roundsUntilNamed(online: online, isSeen: [true, false, true, true]) == 3
        )
        #expect(Intersection.roundsUntilNamed(online: online, isSeen: [true, false]) == nil)
        #expect(Intersection.candidateCounts(online: [], isSeen: []).isEmpty)
    }

    @Test("a pattern of drops or delays is found in the flow that bears it")
    func watermark() {
        var random = generator(11)
        for interference: Watermark.Interference in [.drop(share: 0.5), .delay(seconds: 0.5)] {
            var patterns: [Watermark] = []
            var (marked, plain): ([FlowTrace], [FlowTrace]) = ([], [])
            for _ in 0..<20 {
                let pattern = Watermark(seconds: 60, chipSeconds: 1, random: &random)
                let times = poisson(30, 60, &random)
                var passed: [Double] = []
                for time in times {
                    if let time = pattern.passes(interference, time, random: &random) {
                        passed.append(time)
                    }
                }
                patterns.append(pattern)
                marked.append(FlowTrace(times: passed))
                plain.append(FlowTrace(times: times))
            }
            let found = Watermark.scores(exits: marked, patterns: patterns, mostDelay: 0.5)
            let nothing = Watermark.scores(exits: plain, patterns: patterns, mostDelay: 0.5)
            #expect(found.areaUnderCurve > 0.95, "\(interference)")
            #expect(abs(nothing.areaUnderCurve - 0.5) < 0.2, "\(interference)")
        }
        var pattern = Watermark(seconds: 1_000, chipSeconds: 1, random: &random)
        #expect(abs(pattern.lossShare(of: 0.1) - 0.05) < 0.01)
        pattern = Watermark(seconds: 10, chipSeconds: 1, random: &random)
        #expect(!pattern.marks(-1) && !pattern.marks(10))
        for chip in 0..<10 { #expect(pattern.marks(Double(chip) + 0.5) == pattern.chips[chip]) }
    }
}

@Suite("What is seen where")
struct ObservationTests {
    @Test("observers see their links and what passes their relays, and no more")
    func vantage() {
        let places: [Place] = [
            .clientLink(client: 1), .clientLink(client: 2), .relayLink(from: 3, to: 4),
            .exitSide(exit: 5, flow: 0), .exitSide(exit: 6, flow: 0),
        ]
        func seen(_ vantage: Vantage) -> [Bool] { places.map(vantage.sees) }
        #expect(seen(Vantage(clients: [1], exits: [5])) == [true, false, false, true, false])
        #expect(seen(Vantage(relays: [4])) == [false, false, true, false, false])
        // A guard sees the links of its clients, an exit its far side.
        let guards = [1: 3, 2: 7]
        #expect(seen(Vantage(relays: [3], guards: guards)) == [true, false, true, false, false])
        #expect(seen(Vantage(relays: [6], guards: guards)) == [false, false, false, false, true])
    }

    @Test("a recording gives each flow its trace, one way")
    func recording() {
        var recording = Recording()
        for (time, client, direction) in [
            (1.0, 0, Direction.backward), (2, 1, .backward), (3, 0, .forward), (4, 0, .backward),
        ] {
            recording.add(
                Observation(
                    time: time,
                    byteCount: 100,
                    direction: direction,
                    place: .clientLink(client: client)
                )
            )
        }
        let traces = recording.traces(.backward, count: 2) {
            if case .clientLink(let client) = $0 { client } else { nil }
        }
        #expect(traces.map(\.times) == [[1, 4], [2]])
        let seen = recording.seen(from: Vantage(clients: [1]))
        #expect(seen.observations.map(\.time) == [2])
    }

    @Test("a link between guard and middle shows all its circuits together, and no other's")
    func middleLinks() {
        var recording = Recording()
        for (time, from, to) in [(1.0, 4, 7), (2, 7, 4), (3, 7, 4), (4, 7, 5)] {
            recording.add(
                Observation(
                    time: time,
                    byteCount: 100,
                    direction: .forward,
                    place: .relayLink(from: from, to: to)
                )
            )
        }
        let path = CircuitPath(entry: 4, middle: 7, exit: 9)
        let other = CircuitPath(entry: 5, middle: 7, exit: 9)
        let unknown = CircuitPath(entry: -1, middle: -1, exit: -1)
        let paths = [path, path, other, unknown]
        #expect(
            recording.middleLinks(of: paths, .backward).map(\.times) == [[2, 3], [2, 3], [4], []]
        )
        #expect(recording.middleLinks(of: paths, .forward).map(\.times) == [[1], [1], [], []])
    }

    @Test("who sees both ends of a link knows which cells of a grid reached the middle")
    func gridKnowledge() {
        // Slots of 10 ms; the parity in truth is in slots 4, 9, 14. Lost: 1 alone, 6 and 8 together.
        let lost: Set = [1, 6, 8]
        let cells = (0..<15).map {
            GridKnowledge.Cell(time: 5 + Double($0) * 0.01, isLost: lost.contains($0))
        }
        let guesses = GridKnowledge(slotSeconds: 0.01, groupCount: 4).causes(cells)
            .map { $0.map { Int((($0 - 5) * 100).rounded()) } }
        #expect(guesses.count == 5)
        #expect(guesses[0] == [0, 1, 2, 3, 5, 7, 10, 11, 12, 13])
        // Were it one slot later for the first group to begin, 6 and 8 would still be one group's.
        #expect(guesses[1] == [0, 1, 2, 4, 5, 7, 9, 10, 11, 12, 14])
        // With groups 3...7 and 8...12 each has lost one alone.
        #expect(guesses[2] == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14])
        #expect(GridKnowledge(slotSeconds: 0.01, groupCount: 4).causes([]) == [[]])
    }

    @Test("of several guesses at what caused a flow, the best counts")
    func guesses() {
        let attack = TimingAttack(.between(least: 0, most: 0.01))
        let leaving = [[1.005], [2.005]]
        let scores = attack.scores(
            leaving: leaving,
            guesses: [[[5], [1]], [[2]]],
            seconds: 10
        )
        let alone = attack.scores(leaving: leaving, sent: [[1], [2]], seconds: 10)
        #expect(scores == alone)
        #expect(scores.topOne == 1)
    }

    @Test("relays that collude see circuits of which they have both ends")
    func collusion() {
        let paths = [
            CircuitPath(entry: 1, middle: 2, exit: 3), CircuitPath(entry: 1, middle: 3, exit: 4),
            CircuitPath(entry: 5, middle: 1, exit: 3), CircuitPath(entry: 5, middle: 2, exit: 4),
        ]
        let set = ColludingSet([1, 3])
        #expect(paths.map(set.exposure) == [.both, .entry, .exit, .none])
        #expect(set.shareSeenAtBothEnds(of: paths) == 0.25)
        #expect(set.shareSeenAtBothEnds(of: []) == 0)
        #expect(ColludingSet.worst(4, against: paths).shareSeenAtBothEnds(of: paths) == 1)
        #expect(ColludingSet.worst(2, against: paths).shareSeenAtBothEnds(of: paths) == 0.25)
        // There are no more relays than at ends of circuits.
        #expect(ColludingSet.worst(9, against: paths).relays == [1, 3, 4, 5])
    }
}
