public import Wire

/// What a circuit costs, as people look at it.
public struct CircuitPayReport: Hashable, Sendable {
    /// Ticks paid to each hop, the guard first.
    public let paidTicks: [UInt64]
    /// Hops the wallet has no voucher for.
    public let lacking: [NodeID]
}
