import Anonymity
import CryptoPrimitives
import Simulation
import Testing
import Wire
import Workloads

@Suite("A crowd of the product's own nodes is watched")
struct CrowdTests {
    private func crowd(
        _ clients: Int,
        seconds: Int,
        seed: UInt64,
        shape: TrafficShape = .fast,
        loss: UInt64 = 0
    ) throws -> Crowd {
        var random = RandomGenerator(
            seed: Secret(copying: [UInt8](repeating: UInt8(truncatingIfNeeded: seed), count: 32))
        )
        let transfers = (0..<clients).map { _ in
            // Two transfers for certain, at times of their own, and what chance brings.
            [Double(seconds) * 0.1, Double(seconds) * 0.5].map {
                Transfer(
                    time: $0 + random.unit() * Double(seconds) * 0.2,
                    uploadByteCount: 3_000,
                    downloadByteCount: 60_000 + Int(random.next(below: 100_000))
                )
            } + TrafficModel.lightWeb.transfers(seconds: Double(seconds), random: &random)
        }
        var settings = CrowdSettings(seed: seed, seconds: seconds, transfers: transfers)
        settings.shape = shape
        settings.accessLoss = loss
        return try Crowd(settings)
    }

    @Test("whoever sees both ends of `fast` finds every client")
    func fast() throws {
        let crowd = try crowd(12, seconds: 40, seed: 1)
        try crowd.run()
        let (links, exits) = (crowd.links(.backward), crowd.exits(.backward))
        #expect(links.allSatisfy { $0.times.count > 50 })
        #expect(exits.allSatisfy { $0.volume > 100_000 })
        let scores = LagCorrelation.scores(
            earlier: exits,
            later: links,
            width: 0.5,
            mostDelay: 3,
            until: 40
        )
        #expect(scores.areaUnderCurve > 0.99)
        #expect(scores.topOne > 0.9)
        // Between guards and middles circuits share links, and those who share one tie.
        let between = LagCorrelation.scores(
            earlier: exits,
            later: crowd.middleLinks(.backward),
            width: 0.5,
            mostDelay: 3,
            until: 40
        )
        #expect(between.areaUnderCurve > 0.75)
        #expect(between.areaUnderCurve < scores.areaUnderCurve)
        let cost = crowd.cost(cellByteCount: 1_284)
        #expect(cost.carriedShare > 0.9)
        #expect(cost.overhead > 0.9 && cost.overhead < 4)
        let delay = try #require(cost.idleDelayMedian)
        // Three ways each way jitter by 1 ms in the mean.
        #expect(delay > 0 && delay < 0.05)
    }

    @Test(
        "in `mix` every client gets a cell a slot, whatever it does; in `padded` never less than the least rate"
    )
    func shaped() throws {
        for shape in [TrafficShape.padded, .mix(.tenMilliseconds)] {
            let crowd = try crowd(6, seconds: 20, seed: 3, shape: shape)
            try crowd.run()
            for direction in [Direction.forward, .backward] {
                for link in crowd.links(direction) {
                    let rate = Double(link.times.count) / 20
                    // Pings of links come on top; a slot may fall on either side of a second.
                    let isRight = shape == .padded ? rate > 15 : abs(rate - 100) < 5
                    #expect(isRight, "\(shape) \(direction): \(rate) cells/s")
                }
            }
            #expect(crowd.exits(.backward).allSatisfy { $0.volume > 1_000 }, "\(shape)")
        }
    }

    @Test("what clients' links lose is seen by who sees both ends, and `mix` mends most of it")
    func lossy() throws {
        let crowd = try crowd(8, seconds: 30, seed: 4, shape: .mix(.tenMilliseconds), loss: 100)
        try crowd.run()
        let sent = crowd.recording.observations.filter {
            if case .clientLink = $0.place { $0.direction == .forward } else { false }
        }
        let share = Double(sent.filter(\.isLost).count) / Double(sent.count)
        #expect((0.007...0.013).contains(share), "\(share)")
        for guesses in crowd.causes() {
            #expect(guesses.count == 5)
            // 80 of 100 slots a second carry data; fewer than one in 500 stays lost.
            for guess in guesses { #expect((2_370...2_410).contains(guess.count)) }
        }
        let lost = try #require(crowd.cost(cellByteCount: 1_284).lossShare)
        // 8 times 38 probes: mended both ways, for at 1 % each way six would be missing.
        #expect(lost < 0.01, "\(lost)")
    }

    @Test("a crowd is seen the same from the same seed")
    func seeded() throws {
        let (first, second) = (
            try crowd(3, seconds: 10, seed: 2), try crowd(3, seconds: 10, seed: 2)
        )
        try first.run()
        try second.run()
        #expect(first.world.trace == second.world.trace)
        #expect(first.recording.observations == second.recording.observations)
        #expect(!first.recording.observations.isEmpty)
        #expect(first.paths == second.paths)
        #expect(first.paths.allSatisfy { $0.entry >= 0 && $0.exit > $0.middle })
        // Only who stands at the middle's links sees them.
        let middle = first.paths[0].middle
        let seen = first.recording.seen(from: Vantage(relays: [middle]))
        #expect(!seen.observations.isEmpty)
        #expect(
            seen.traces(.backward, count: 3) { if case .clientLink(let c) = $0 { c } else { nil } }
                .allSatisfy { $0.times.isEmpty }
        )
    }
}
