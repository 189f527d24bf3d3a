import Testing

@testable import RelayCore

@Suite("A circuit's cells are counted against what is paid")
struct CellMeterTests {
    private func allowance(_ limit: UInt64, tick: UInt32 = 10) -> CellAllowance {
        CellAllowance(cellLimit: limit, tickCells: tick, carriesPackets: true)
    }

    @Test("without an allowance everything is carried and nothing reported")
    func free() {
        var meter = CellMeter()
        for _ in 0..<10_000 {
            #expect(meter.takeForward() == .carried)
            #expect(meter.takeBackward() == .carried)
        }
        #expect(meter.counts.used == 20_000)
        #expect(!meter.isRefusing)
    }

    @Test("so many cells are carried as the limit says, and one report is due for each tick")
    func limit() {
        var meter = CellMeter()
        meter.set(allowance(100))
        var verdicts: [CellMeter.Verdict] = []
        for index in 0..<120 {
            verdicts.append(index.isMultiple(of: 2) ? meter.takeForward() : meter.takeBackward())
        }
        #expect(verdicts.count { $0 != .refused } == 100)
        #expect(verdicts.count { $0 == .due } == 9)
        #expect(verdicts.suffix(20).allSatisfy { $0 == .refused })
        #expect(meter.isRefusing)
        #expect(meter.counts.used == 100)
        meter.set(allowance(110))
        #expect(!meter.isRefusing)
        #expect((0..<20).count { _ in meter.takeForward() != .refused } == 10)
    }

    @Test("the hop's own words count and are never refused; of a client's, 64 are heard")
    func conversation() {
        var meter = CellMeter()
        meter.set(allowance(5))
        for _ in 0..<10 { meter.countOwn() }
        #expect(meter.takeForward() == .refused)
        #expect((0..<100).count { _ in meter.takesControl() } == 64)
        #expect(meter.counts.used == 74)
        meter.set(allowance(6))
        #expect(meter.isRefusing)
        #expect((0..<100).count { _ in meter.takesControl() } == 64)
    }
}
