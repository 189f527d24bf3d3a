/// Cells of a circuit as its client counts them, by the hop that they were for or from.
public struct HopCounts: Sendable {
    private var cells: [3 of UInt64] = [0, 0, 0]
    /// Cells in all.
    public private(set) var total: UInt64 = 0

    /// Nothing counted yet.
    public init() {}

    /// Counts a cell for, or from, the hop at `offset`, 0 to 2.
    mutating func note(_ offset: Int) {
        cells[offset] += 1
        total += 1
    }

    /// Cells that the hop at `offset` carried, if none was lost: its own, and those of hops beyond.
    public func through(_ offset: Int) -> UInt64 {
        var sum: UInt64 = 0
        for place in offset..<3 { sum += cells[place] }
        return sum
    }
}
