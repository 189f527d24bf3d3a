import Base
import Testing

@testable import NodeRuntime

@Suite("A relay's clock beside the authorities'")
struct ClockComparisonTests {
    private func comparison(_ offsets: [Int64]) -> ClockComparison {
        var comparison = ClockComparison()
        for (index, offset) in offsets.enumerated() { comparison.note(offset, of: "a\(index)") }
        return comparison
    }

    @Test("the middle one counts, so that one who lies moves nothing")
    func middle() {
        #expect(comparison([]).offsetSeconds == nil)
        #expect(comparison([3_600]).offsetSeconds == 3_600)
        #expect(comparison([0, 3_600]).offsetSeconds == 0)
        #expect(comparison([3_600, 3_601, 0]).offsetSeconds == 3_600)
        #expect(comparison([0, 1, -1, Int64.min]).offsetSeconds == 0)
        #expect(comparison([0, 1, -1, Int64.max]).offsetSeconds == 0)
        #expect(comparison([-3_600, -3_599, -3_601, 9]).offsetSeconds == -3_599)
    }

    @Test("a clock that goes wrong is told once, and once when it is right again")
    func told() {
        var clocks = comparison([120, 120, -120])
        #expect(!clocks.isWrong)
        #expect(clocks.takeChange() == nil)
        for index in 0..<3 { clocks.note(3_600, of: "a\(index)") }
        #expect(clocks.isWrong)
        #expect(clocks.takeChange()?.contains("3600 s behind") == true)
        #expect(clocks.takeChange() == nil)
        for index in 0..<3 { clocks.note(-121, of: "a\(index)") }
        #expect(clocks.isWrong)
        for index in 0..<3 { clocks.note(1, of: "a\(index)") }
        #expect(clocks.takeChange()?.contains("agrees") == true)
    }

    @Test("what is not to be believed is no fault")
    func nonsense() {
        let note = ClockNote()
        #expect(note.offsetSeconds == nil)
        note.note(WallTime(seconds: .max))
        #expect(note.offsetSeconds.map { $0 > 1 << 60 } == true)
        note.note(WallTime(seconds: 0))
        #expect(note.offsetSeconds.map { $0 < -1_000_000_000 } == true)
    }
}
