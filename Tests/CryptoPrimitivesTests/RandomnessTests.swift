import Base
import CryptoPrimitives
import Foundation
import Testing

@Suite("Randomness from a seed")
struct RandomnessTests {
    struct Streams: Decodable {
        let randomFirst, randomSHA256, fillerFirst, fillerSHA256: Hex
        let randomByteCount, fillerByteCount: Int
    }

    private func streams() throws -> Streams {
        try JSONDecoder().decode(Streams.self, from: vectorData("streams"))
    }

    private var seed: Secret { Secret(copying: [UInt8](0..<32)) }

    @Test("the stream is the one defined, over several blocks")
    func definedStream() throws {
        let expected = try streams()
        var random = RandomGenerator(seed: seed)
        let bytes = random.bytes(expected.randomByteCount)
        #expect(Array(bytes.prefix(64)) == expected.randomFirst.bytes)
        #expect(SHA256.digest(bytes).bytes == expected.randomSHA256.bytes)
    }

    @Test("what is drawn does not depend on how it is drawn")
    func oneStream() {
        var whole = RandomGenerator(seed: seed)
        let bytes = whole.bytes(5_000)
        var parts = RandomGenerator(seed: seed)
        var drawn: [UInt8] = []
        for step in 0..<40 {
            drawn += parts.bytes(step)
            let number = parts.next()
            drawn += (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) }
            drawn += parts.bytes32().bytes
            drawn += parts.secret(byteCount: 3).exposed
            var filled = [UInt8](repeating: 0, count: 21)
            var elements = filled.mutableSpan
            var span = elements.mutableBytes
            parts.fill(&span, range: 2..<19)
            #expect([filled[0], filled[1], filled[19], filled[20]] == [0, 0, 0, 0])
            drawn += filled[2..<19]
        }
        #expect(drawn == Array(bytes.prefix(drawn.count)))
    }

    @Test("another seed, and a generator split off, draw other bytes")
    func independence() {
        var first = RandomGenerator(seed: seed)
        var second = RandomGenerator(seed: Secret(copying: [UInt8](1..<33)))
        #expect(first.bytes(64) != second.bytes(64))
        var child = first.split()
        var sibling = first.split()
        let drawn = [first.bytes(64), child.bytes(64), sibling.bytes(64)]
        #expect(Set(drawn).count == 3)
    }

    @Test("numbers below a bound stay below it and meet every value", arguments: [1, 2, 3, 7, 100])
    func bounded(bound: UInt64) {
        var random = RandomGenerator(testSeed: bound)
        var counts = [Int](repeating: 0, count: Int(bound))
        let draws = 20_000
        for _ in 0..<draws {
            let value = random.next(below: bound)
            #expect(value < bound)
            counts[Int(value)] += 1
        }
        // Chi-squared with bound - 1 degrees of freedom: mean bound - 1, six deviations above.
        let expected = Double(draws) / Double(bound)
        let statistic = counts.reduce(0.0) { sum, count in
            sum + (Double(count) - expected) * (Double(count) - expected) / expected
        }
        let freedom = Double(bound - 1)
        #expect(statistic <= freedom + 6 * (2 * freedom).squareRoot())
    }

    @Test("a bound that does not divide 2^64 favours no number")
    func unbiased() {
        // Without drawing again, four draws would share three numbers here, so that half of the
        // results, not a third, would be multiples of three.
        var random = RandomGenerator(testSeed: 4)
        let bound: UInt64 = 3 << 62
        let draws = 30_000
        var multiples = 0
        for _ in 0..<draws where random.next(below: bound).isMultiple(of: 3) { multiples += 1 }
        #expect(abs(multiples - draws / 3) < 600)
    }

    @Test("filler is the stream defined, whatever the pieces")
    func filler() throws {
        let expected = try streams()
        var filler = FillerGenerator(key: seed)
        var bytes = [UInt8](repeating: 0, count: expected.fillerByteCount)
        var elements = bytes.mutableSpan
        var span = elements.mutableBytes
        var offset = 0
        var step = 1
        while offset < expected.fillerByteCount {
            let end = min(offset + step, expected.fillerByteCount)
            filler.fill(&span, range: offset..<end)
            offset = end
            step = step % 1_400 + 13
        }
        #expect(Array(bytes.prefix(64)) == expected.fillerFirst.bytes)
        #expect(SHA256.digest(bytes).bytes == expected.fillerSHA256.bytes)
    }

    @Test("filler and randomness leave the bytes around their range alone")
    func surroundings() {
        var filler = FillerGenerator(key: seed)
        var bytes = [UInt8](repeating: 0x11, count: 100)
        var elements = bytes.mutableSpan
        var span = elements.mutableBytes
        filler.fill(&span, range: 10..<10)
        filler.fill(&span, range: 40..<60)
        #expect(bytes[..<40].allSatisfy { $0 == 0x11 })
        #expect(bytes[60...].allSatisfy { $0 == 0x11 })
        #expect(bytes[40..<60].contains { $0 != 0x11 })
    }

    @Test("filling outside the span ends the process")
    func outside() async {
        await #expect(processExitsWith: .failure) {
            var random = RandomGenerator(testSeed: 1)
            var bytes = [UInt8](repeating: 0, count: 10)
            var elements = bytes.mutableSpan
            var span = elements.mutableBytes
            random.fill(&span, range: 5..<11)
        }
        await #expect(processExitsWith: .failure) {
            var filler = FillerGenerator(key: Secret(copying: [UInt8](0..<32)))
            var bytes = [UInt8](repeating: 0, count: 10)
            var elements = bytes.mutableSpan
            var span = elements.mutableBytes
            filler.fill(&span, range: 5..<11)
        }
    }
}
