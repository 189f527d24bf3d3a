import CryptoPrimitives
import TestSupport
import Testing
import Wire

/// Row 14 and row 16: what fuzzers run for hours runs here for a moment, over the same targets.
@Suite("Fuzz targets")
struct FuzzTests {
    @Test("each target's corpus is there and breaks no promise")
    func corpus() throws {
        for target in FuzzTarget.all {
            let inputs = try Corpus.inputs(of: target)
            #expect(!inputs.isEmpty, "\(target.name)")
            for input in inputs {
                target.run(input)
                for count in 0..<min(input.count, 1500) { target.run(Array(input.prefix(count))) }
                target.run(input + [0])
            }
        }
    }

    @Test(
        "what the corpus has of each document is read, not thrown at the first field",
        arguments: ["descriptor", "consensus", "vote", "diff-chain", "signature-notice"]
    )
    func depth(name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let inputs = try Corpus.inputs(of: target)
        let read = inputs.filter { bytes in
            switch name {
            case "descriptor": (try? Descriptor(parsing: bytes)) != nil
            case "consensus": (try? Consensus(parsing: bytes)) != nil
            case "vote": (try? DirectoryVote(parsing: bytes)) != nil
            case "diff-chain": (try? ConsensusDiffChain(parsing: bytes))?.diffs.isEmpty == false
            default: (try? SignatureNotice(parsing: bytes)) != nil
            }
        }
        #expect(!read.isEmpty)
    }

    @Test("damaged corpus inputs break no promise", arguments: 0..<8 as Range<UInt64>)
    func damaged(seed: UInt64) throws {
        for target in FuzzTarget.all {
            let inputs = try Corpus.inputs(of: target)
            var mutations = Mutations(seed: seed)
            for round in 0..<400 {
                var input = inputs[round % inputs.count]
                for _ in 0..<3 {
                    input = mutations.damage(input, others: inputs)
                    target.run(input)
                }
            }
        }
    }

    @Test("noise breaks no promise", arguments: 0..<4 as Range<UInt64>)
    func noise(seed: UInt64) {
        var random = RandomGenerator(testSeed: seed)
        for target in FuzzTarget.all {
            for _ in 0..<400 {
                target.run(random.bytes(random.next(in: 0...1500)))
            }
        }
    }
}
