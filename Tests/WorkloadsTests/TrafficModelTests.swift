import CryptoPrimitives
import Testing
import Workloads

func generator(_ seed: UInt8) -> RandomGenerator {
    RandomGenerator(seed: Secret(copying: [UInt8](repeating: seed, count: 32)))
}

@Suite("Traffic is what its sources say, and the same from the same seed")
struct TrafficModelTests {
    @Test(
        "the same seed gives the same transfers, another seed others",
        arguments: TrafficModel.allCases
    )
    func seeded(model: TrafficModel) {
        var first = generator(1)
        var again = generator(1)
        var other = generator(2)
        let transfers = model.transfers(seconds: 600, random: &first)
        #expect(!transfers.isEmpty)
        #expect(transfers == model.transfers(seconds: 600, random: &again))
        #expect(transfers != model.transfers(seconds: 600, random: &other))
    }

    @Test(
        "transfers are in order, within the time, and carry something",
        arguments: TrafficModel.allCases
    )
    func ordered(model: TrafficModel) {
        var random = generator(3)
        for _ in 0..<20 {
            let transfers = model.transfers(seconds: 300, random: &random)
            #expect(transfers.map(\.time) == transfers.map(\.time).sorted())
            #expect(transfers.allSatisfy { (0..<300).contains($0.time) })
            #expect(transfers.allSatisfy { $0.uploadByteCount > 0 && $0.downloadByteCount > 0 })
        }
    }

    private func median(_ values: [Double]) -> Double {
        values.sorted()[values.count / 2]
    }

    @Test(
        "pages of today weigh 2,652 KB in 71 objects in the median, a tenth twice to four times that"
    )
    func pages() {
        var random = generator(4)
        let pages = WebModel.today.transfers(seconds: 300_000, random: &random)
        // 300,000 s of mean 30 s.
        #expect(abs(Double(pages.count) - 10_000) < 500)
        let sizes = pages.map { Double($0.downloadByteCount) }
        #expect(abs(median(sizes) / 2_652_000 - 1) < 0.05)
        #expect(abs(median(pages.map { Double($0.objectCount) }) / 71 - 1) < 0.05)
        let large = sizes.sorted()[sizes.count * 9 / 10]
        #expect(abs(large / 2_652_000 / 3.17 - 1) < 0.1)
    }

    @Test("pages as planned have 5.64 embedded objects in the mean")
    func planning() {
        var random = generator(5)
        let pages = WebModel.planning.transfers(seconds: 600_000, random: &random)
        let embedded = pages.map { Double($0.objectCount - 1) }.reduce(0, +) / Double(pages.count)
        // The model's own table rounds, and so does the count of whole objects: 5.64 less one half.
        #expect(abs(embedded - 5.2) < 0.4)
    }

    @Test("a film's segments come every six seconds and carry one rung of the ladder")
    func film() {
        var random = generator(6)
        let segments = VideoModel().transfers(seconds: 6_000, random: &random)
        let gaps = zip(segments, segments.dropFirst()).map { $1.time - $0.time }
        #expect(gaps.allSatisfy { abs($0 - 6) < 1e-6 })
        let bits = segments.map { Double($0.downloadByteCount) * 8 }.reduce(0, +)
        let rate = bits / Double(segments.count) / 6
        #expect(VideoModel().ladder.contains { abs(rate / $0 - 1) < 0.03 })
    }

    @Test("draws have the means their distributions have")
    func draws() {
        var random = generator(7)
        let count = 100_000
        func mean(_ draw: (inout RandomGenerator) -> Double) -> Double {
            var sum = 0.0
            for _ in 0..<count { sum += draw(&random) }
            return sum / Double(count)
        }
        #expect(abs(mean { $0.unit() } - 0.5) < 0.005)
        #expect(abs(mean { $0.exponential(mean: 3) } - 3) < 0.05)
        #expect(abs(mean { $0.normal() }) < 0.015)
        // e^(σ²/2) for μ 0, σ 0.5.
        #expect(abs(mean { $0.lognormal(mu: 0, sigma: 0.5) } - 1.1331) < 0.02)
        // a/(a-1) for shape a 3 and minimum 1.
        #expect(abs(mean { $0.pareto(shape: 3, minimum: 1) } - 1.5) < 0.03)
    }

    @Test("cells lie on a line one behind the other, and wait for those before")
    func line() {
        // 1,000 bits a cell at 1,000 bits a second: one a second.
        let line = CellLine(bitsPerSecond: 1_000, cellByteCount: 125)
        let transfers = [
            Transfer(time: 1, uploadByteCount: 1, downloadByteCount: 250),
            Transfer(time: 2, uploadByteCount: 126, downloadByteCount: 1),
            Transfer(time: 10, uploadByteCount: 1, downloadByteCount: 500),
        ]
        #expect(line.downloadTimes(of: transfers, before: 12) == [1, 2, 3, 10, 11])
        #expect(line.uploadTimes(of: transfers, before: 100) == [1, 2, 3, 10])
    }
}
