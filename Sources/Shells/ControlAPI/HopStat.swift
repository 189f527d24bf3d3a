/// What a hop said it carried for a circuit, its STAT: counts since the circuit began.
///
/// Sealed for the client, so no other hop can alter it; but it is the hop's word. Counts run modulo
/// 2^32.
public struct HopStat: Codable, Hashable, Sendable {
    /// Ticks it has been paid.
    public var paidTicks: UInt32
    /// Forward cells that opened.
    public var forwardIn: UInt32
    /// Forward cells passed on.
    public var forwardOut: UInt32
    /// Backward cells taken from the next hop.
    public var backwardIn: UInt32
    /// Backward cells sent.
    public var backwardOut: UInt32
    /// Cells dropped for a queue that was too long.
    public var queueDrops: UInt16
    /// Delay of its queue in milliseconds.
    public var queueDelay: Double

    /// Makes a statement from its parts.
    public init(
        paidTicks: UInt32,
        forwardIn: UInt32,
        forwardOut: UInt32,
        backwardIn: UInt32,
        backwardOut: UInt32,
        queueDrops: UInt16,
        queueDelay: Double
    ) {
        self.paidTicks = paidTicks
        self.forwardIn = forwardIn
        self.forwardOut = forwardOut
        self.backwardIn = backwardIn
        self.backwardOut = backwardOut
        self.queueDrops = queueDrops
        self.queueDelay = queueDelay
    }

    private enum CodingKeys: String, CodingKey {
        case paidTicks = "paid_ticks"
        case forwardIn = "forward_in"
        case forwardOut = "forward_out"
        case backwardIn = "backward_in"
        case backwardOut = "backward_out"
        case queueDrops = "queue_drops"
        case queueDelay = "queue_delay_ms"
    }
}
