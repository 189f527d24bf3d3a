/// A line of a fixed rate, onto which transfers are laid as cells, one behind the other.
public struct CellLine: Sendable {
    /// Bits a second of payload.
    public var bitsPerSecond: Double
    /// Bytes of payload in a cell.
    public var cellByteCount: Int

    /// A line; the default is a server's burst of 20 Mbit/s in cells of 1,284 bytes of payload.
    public init(bitsPerSecond: Double = 20e6, cellByteCount: Int = 1_284) {
        precondition(bitsPerSecond > 0 && cellByteCount > 0, "a line carries something")
        self.bitsPerSecond = bitsPerSecond
        self.cellByteCount = cellByteCount
    }

    /// When the cells of what is downloaded come, in seconds, in order, those before `end` only.
    ///
    /// - Complexity: O(cells).
    public func downloadTimes(of transfers: [Transfer], before end: Double) -> [Double] {
        times(of: transfers, before: end, byteCount: \.downloadByteCount)
    }

    /// When the cells of what is uploaded come, in seconds, in order, those before `end` only.
    public func uploadTimes(of transfers: [Transfer], before end: Double) -> [Double] {
        times(of: transfers, before: end, byteCount: \.uploadByteCount)
    }

    private func times(
        of transfers: [Transfer],
        before end: Double,
        byteCount: KeyPath<Transfer, Int>
    ) -> [Double] {
        let step = Double(cellByteCount) * 8 / bitsPerSecond
        var times: [Double] = []
        var free = 0.0
        for transfer in transfers.sorted(by: { $0.time < $1.time }) {
            free = max(free, transfer.time)
            let bytes = transfer[keyPath: byteCount]
            for _ in 0..<(bytes + cellByteCount - 1) / cellByteCount {
                guard free < end else { return times }
                times.append(free)
                free += step
            }
        }
        return times
    }
}
