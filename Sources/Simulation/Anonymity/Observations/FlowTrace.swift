/// One flow as it was seen at one place, one way: times and sizes, in order of time.
public struct FlowTrace: Hashable, Sendable {
    /// When something passed, in seconds; never falling.
    public private(set) var times: [Double] = []
    /// Bytes of each; empty where all are of one size.
    public private(set) var byteCounts: [UInt32] = []

    /// Nothing passed.
    public init() {}

    /// Cells of one size, sorted by time.
    public init(times: [Double]) {
        self.times = times.sorted()
    }

    /// Adds what passed, not before the last.
    public mutating func add(_ time: Double, byteCount: UInt32) {
        times.append(max(time, times.last ?? time))
        byteCounts.append(byteCount)
    }

    /// Bytes in all; where all are of one size, their count.
    public var volume: Double {
        byteCounts.isEmpty
            ? Double(times.count) : byteCounts.reduce(0) { $0 + Double($1) }
    }

    /// What passed in each of the bins of `width` seconds from 0 to `end`, in bytes or in cells.
    ///
    /// - Precondition: `width` is above 0.
    public func rates(width: Double, until end: Double) -> [Float] {
        precondition(width > 0, "a bin has a width")
        var bins = [Float](repeating: 0, count: max(0, Int((end / width).rounded(.up))))
        for (index, time) in times.enumerated() where time >= 0 && time < end {
            let bin = min(Int(time / width), bins.count - 1)
            bins[bin] += byteCounts.isEmpty ? 1 : Float(byteCounts[index])
        }
        return bins
    }

    /// Times between one and the next, in seconds.
    public var gaps: [Double] {
        zip(times, times.dropFirst()).map { $1 - $0 }
    }
}
