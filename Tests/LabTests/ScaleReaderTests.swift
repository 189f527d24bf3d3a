import FlowModel
import Foundation
import Testing

@testable import umbel_lab

@Suite("Networks by numbers, as text")
struct ScaleReaderTests {
    private static func text(_ name: String) throws -> String {
        try String(contentsOfFile: "\(TopologyTests.folder)/\(name)", encoding: .utf8)
    }

    @Test("the files that come with it are what they say")
    func files() throws {
        let thousand = try ScaleReader.read(text: Self.text("thousand.yaml"), file: "t")
        #expect(thousand.relayCount == 1_000 && thousand.clientCount == 10_000)
        #expect(thousand.load.isMix && thousand.load.cellsPerSecond == 100)
        let internet = try ScaleReader.read(text: Self.text("internet.yaml"), file: "i")
        #expect(internet.relayCount == 10_000 && internet.clientCount == 1_000_000)
        #expect(internet.duration == 3_600 && internet.countries.count == 16)
        #expect(ScaleReader.describes(try Self.text("internet.yaml")))
        #expect(!ScaleReader.describes(try Self.text("lab.yaml")))
    }

    @Test(
        "an unknown key or a network that cannot be is refused with its line",
        arguments: [
            ("  guards: 0.5", "  gards: 0.5", "t:9: relays: unknown key `gards`"),
            ("  exits: 0.2", "  exits: 0.7", "make no circuit"),
            ("  count: 1000\n", "  count: 2\n", "t:8: relays, count: `2` is not a number"),
            ("step: 10s", "step: 2h", "`step` is 1s or more"),
            ("DE: {relays: 27", "Germany: {relays: 27", "`Germany` is not a country"),
            ("  guards: 0.5", "  guards: 0", "make no circuit"),
            ("least: 2mbit", "least: 20000mbit", "`least` is above 0 and not above `most`"),
            ("  mode: mix", "  mode: padded", "`padded` is not modelled"),
            ("  mode: mix", "  moed: mix", "unknown key `moed`"),
            ("at: [51, 10]", "at: [151, 10]", "`151` is not a number in -90.0...90.0"),
            ("at: [51, 10]", "at: [51]", "`at` is degrees north and east"),
        ]
    )
    func refusals(was: String, now: String, complaint: String) throws {
        let text = try Self.text("thousand.yaml").replacingOccurrences(of: was, with: now)
        do {
            _ = try ScaleReader.read(text: text, file: "t")
            Issue.record("taken: \(now)")
        } catch {
            #expect("\(error)".contains(complaint), "\(error)")
            // File and line, where it says what is wrong.
            #expect("\(error)".prefixMatch(of: #/t:[0-9]+: /#) != nil, "\(error)")
        }
    }
}
