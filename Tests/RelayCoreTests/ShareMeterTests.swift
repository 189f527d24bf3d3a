import Testing

@testable import RelayCore

@Suite("Shares of a queue")
struct ShareMeterTests {
    /// Counts `cells` of each circuit in turn, one batch, and says how many were over their share.
    private func count(
        _ cells: [Int],
        _ meter: inout ShareMeter,
        _ shares: inout [ShareMeter.Share]
    ) -> [Int] {
        meter.beginBatch()
        var over = Array(repeating: 0, count: cells.count)
        for round in 0..<(cells.max() ?? 0) {
            for circuit in cells.indices where round < cells[circuit] {
                if meter.count(&shares[circuit]) { over[circuit] += 1 }
            }
        }
        return over
    }

    @Test("a circuit alone is over its share with every cell")
    func alone() {
        var meter = ShareMeter()
        var shares = [ShareMeter.Share()]
        for _ in 0..<3 { #expect(count([100], &meter, &shares) == [100]) }
    }

    @Test("a conversation beside a flood is never over its share, the flood is from the first cell")
    func conversation() {
        var meter = ShareMeter()
        var shares = [ShareMeter.Share(), ShareMeter.Share()]
        _ = count([180, 3], &meter, &shares)
        for _ in 0..<5 { #expect(count([180, 3], &meter, &shares) == [180, 0]) }
    }

    @Test("equal circuits are all over their share")
    func equal() {
        var meter = ShareMeter()
        var shares = Array(repeating: ShareMeter.Share(), count: 4)
        _ = count([47, 47, 47, 47], &meter, &shares)
        #expect(count([47, 47, 47, 47], &meter, &shares) == [47, 47, 47, 47])
    }

    @Test("who brought nothing in the last batch begins anew")
    func pause() {
        var meter = ShareMeter()
        var shares = [ShareMeter.Share(), ShareMeter.Share()]
        _ = count([100, 100], &meter, &shares)
        _ = count([100, 0], &meter, &shares)
        let over = count([100, 10], &meter, &shares)
        #expect(over == [100, 0])
    }
}
