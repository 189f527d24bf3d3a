import Wire

/// What a client said to hops and heard of them about pay: vouchers, ticks, their answers, reports.
public struct PayTraffic: Hashable, Sendable {
    /// Messages, both ways, each counted once.
    public private(set) var messageCount: UInt64 = 0
    /// Bytes of their records in cells.
    public private(set) var byteCount: UInt64 = 0

    /// Nothing yet.
    public init() {}

    /// Counts a message where it is about pay.
    mutating func note(_ message: ControlMessage) {
        switch message {
        case .payOpen, .payTick, .payAttach, .payResult, .report, .reportAsk, .payPass:
            messageCount += 1
            // Kind and length of the record stand before it.
            byteCount += UInt64(3 + ControlRecord.headerByteCount + message.encoded.count)
        case .extend, .extended, .openTunnel, .tunnelOpened, .echo, .directoryAsk, .directoryPart,
            .close, .mintAsk, .mintAnswer:
            break
        }
    }
}
