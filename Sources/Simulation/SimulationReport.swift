public import Base

/// What happened in a world, in numbers.
public struct SimulationReport: Sendable {
    /// Virtual time that passed.
    public internal(set) var elapsed: TimeSpan = .zero
    /// Events that were handled.
    public internal(set) var events: UInt64 = 0
    /// Datagrams nodes sent.
    public internal(set) var datagrams: UInt64 = 0
    /// Datagrams that arrived, copies included.
    public internal(set) var deliveredDatagrams: UInt64 = 0
    /// Packets clients' hosts wrote.
    public internal(set) var tunnelPackets: UInt64 = 0
    /// Packets that left exits.
    public internal(set) var exitPackets: UInt64 = 0
    /// Packets that entered exits.
    public internal(set) var returnPackets: UInt64 = 0
    /// Cells relays passed on or took, both ways.
    public internal(set) var cells: UInt64 = 0
    /// Round trips of answered UDP packets, unsorted.
    public internal(set) var roundTrips: [TimeSpan] = []

    /// Round trips kept at most.
    public static let roundTripLimit = 1_000_000

    /// The round trip that `share` of all do not exceed; `nil` where there is none.
    public func roundTrip(share: Double) -> TimeSpan? {
        guard !roundTrips.isEmpty else { return nil }
        let sorted = roundTrips.sorted()
        let place = Int(Double(sorted.count - 1) * min(max(share, 0), 1))
        return sorted[place]
    }
}
