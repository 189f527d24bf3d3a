import Base
import Foundation
import Testing

@Suite("RFC 6479 replay window")
struct ReplayWindowTests {
    struct Vectors: Decodable {
        struct Range: Decodable {
            var from: String
            var to: String
            var accept: Int
        }
        struct Case: Decodable {
            var name: String
            var steps: [[Step]]?
            var ranges: [Range]?
            var then: [[Step]]?
        }
        enum Step: Decodable {
            case counter(UInt64)
            case verdict(Bool)
            init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                if let text = try? container.decode(String.self), let counter = UInt64(text) {
                    self = .counter(counter)
                } else {
                    self = .verdict(try container.decode(Int.self) == 1)
                }
            }
        }
        var reject_after_messages: String
        var cases: [Case]
    }

    @Test("row 8: the published cases of WireGuard's counter test hold")
    func published() throws {
        let url = try #require(
            Bundle.module.url(
                forResource: "rfc6479_replay",
                withExtension: "json",
                subdirectory: "Vectors"
            )
        )
        let vectors = try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: url))
        let limit = try #require(UInt64(vectors.reject_after_messages))
        for testCase in vectors.cases {
            var window = ReplayWindow(bitCount: 8192)
            func judge(_ counter: UInt64, _ window: inout ReplayWindow) -> Bool {
                guard counter < limit, window.isFresh(counter) else { return false }
                window.commit(counter)
                return true
            }
            for range in testCase.ranges ?? [] {
                let from = try #require(UInt64(range.from))
                let to = try #require(UInt64(range.to))
                for counter in from <= to ? Array(from...to) : Array((to...from).reversed()) {
                    let verdict = judge(counter, &window)
                    #expect(verdict == (range.accept == 1), "\(testCase.name) \(counter)")
                }
            }
            for step in (testCase.steps ?? []) + (testCase.then ?? []) {
                guard case .counter(let counter) = step[0], case .verdict(let accept) = step[1]
                else {
                    Issue.record("step of \(testCase.name) is not [counter, verdict]")
                    continue
                }
                let verdict = judge(counter, &window)
                #expect(verdict == accept, "\(testCase.name) \(counter)")
            }
        }
        #expect(vectors.cases.count == 7)
    }

    @Test("a window agrees with a plain set of counters", arguments: 0..<20)
    func model(seed: Int) {
        var random = SplitMix(state: UInt64(seed))
        var window = ReplayWindow(bitCount: 128)
        var seen: Set<UInt64> = []
        var top: UInt64?
        var base = random.next() >> 40
        for _ in 0..<2_000 {
            base &+= random.next() % 7
            let counter = base &- min(base, random.next() % 90)
            let inReach = top.map { counter > $0 || $0 - counter <= 64 } ?? true
            let expected = inReach && !seen.contains(counter)
            let isFresh = window.isFresh(counter)
            #expect(isFresh == expected)
            guard expected else { continue }
            window.commit(counter)
            seen.insert(counter)
            top = max(top ?? 0, counter)
        }
    }
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
