import ArgumentParser
import ControlAPI
import Testing

@testable import umbel

@Suite("Modes: what is asked for, and what it costs")
struct TrafficTests {
    @Test("a mode and its slot come through; a slot without slots, or one there is not, is refused")
    func options() throws {
        #expect(try TrafficOptions.parse([]).choice == nil)
        let padded = try TrafficOptions.parse(["--mode", "padded"])
        #expect(padded.choice == TrafficChoice(mode: .padded))
        let mix = try TrafficOptions.parse(["--mode", "mix", "--slot", "2.5"])
        #expect(mix.choice == TrafficChoice(mode: .mix, slotMilliseconds: 2.5))
        #expect(try TrafficOptions.parse(mix.arguments).choice == mix.choice)
        #expect(throws: (any Error).self) { try TrafficOptions.parse(["--slot", "10"]) }
        #expect(throws: (any Error).self) {
            try TrafficOptions.parse(["--mode", "fast", "--slot", "10"])
        }
        #expect(throws: (any Error).self) {
            try TrafficOptions.parse(["--mode", "mix", "--slot", "7"])
        }
        #expect(throws: (any Error).self) { try TrafficOptions.parse(["--mode", "slow"]) }
    }

    @Test("slots of 10 ms are 100 cells a second each way, 1.1 Mbit/s, and 5,625 ticks an hour")
    func price() {
        let choice = TrafficChoice(mode: .mix, slotMilliseconds: 10)
        let price = TrafficPrice(of: choice, tickCells: 256)
        #expect(price.cellsPerSecond == 100)
        #expect(price.kilobitsPerSecond == 1_136)
        #expect(price.ticksPerHour == 5_625)
        #expect(price.addedDelayMilliseconds <= 350)
        let text = TrafficText.price(price)
        #expect(text.contains("100 cells/s") && text.contains("1.1 Mbit/s"))
        #expect(text.contains("5625 ticks"))
        let padded = TrafficPrice(of: TrafficChoice(mode: .padded))
        #expect(TrafficText.price(padded).contains("16 to 1024"))
        let fast = TrafficPrice(of: TrafficChoice(mode: .fast))
        #expect(!TrafficText.price(fast).contains("cells/s"))
    }

    @Test("a circuit shows its mode, its price and what its loops found")
    func circuit() {
        let choice = TrafficChoice(mode: .mix, slotMilliseconds: 10)
        var report = TrafficReport(
            mode: .mix,
            slotMilliseconds: 10,
            price: TrafficPrice(of: choice)
        )
        report.cellsPerSecond = 100
        report.coverCells = 7
        report.loopsSent = 3
        report.loopsAnswered = 2
        report.loopMilliseconds = 250
        report.lossForward = 0.5
        report.lossBackward = 1
        let fields = TrafficText.fields(report)
        #expect(fields.map(\.0) == ["Mode", "Price", "Schedule", "Loops", "Lost"])
        #expect(fields[0].1 == "mix, slots of 10 ms")
        #expect(fields[2].1.contains("7 cover"))
        #expect(fields[3].1.hasPrefix("2 of 3 came back"))
    }
}
