/// Round trips as people judge them.
public struct RoundTrips: Codable, Hashable, Sendable {
    /// Shortest, in milliseconds; `nil` without an answer.
    public var minimum: Double?
    /// Mean, in milliseconds; `nil` without an answer.
    public var average: Double?
    /// What 99 of 100 do not exceed, in milliseconds; `nil` without an answer.
    public var percentile99: Double?
    /// Longest, in milliseconds; `nil` without an answer.
    public var maximum: Double?

    /// Judges round trips in milliseconds.
    public init(_ roundTrips: [Double]) {
        let sorted = roundTrips.sorted()
        minimum = sorted.first
        maximum = sorted.last
        guard !sorted.isEmpty else { return }
        average = sorted.reduce(0, +) / Double(sorted.count)
        // The smallest value that at least 99 in 100 do not exceed.
        let rank = (sorted.count * 99 + 99) / 100
        percentile99 = sorted[min(max(rank, 1), sorted.count) - 1]
    }

    private enum CodingKeys: String, CodingKey {
        case minimum = "min_ms"
        case average = "avg_ms"
        case percentile99 = "p99_ms"
        case maximum = "max_ms"
    }
}
