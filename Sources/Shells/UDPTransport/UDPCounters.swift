/// What a socket did since it was made; none of the numbers goes down.
public struct UDPCounters: Hashable, Sendable {
    /// recvmmsg calls, those that found nothing included.
    public var receiveCallCount: UInt64 = 0
    /// Messages received, each of one datagram or of several that GRO joined.
    public var receivedMessageCount: UInt64 = 0
    /// Datagrams received.
    public var receivedDatagramCount: UInt64 = 0
    /// Their bytes, without headers.
    public var receivedByteCount: UInt64 = 0
    /// Messages dropped because they did not fit their slot.
    public var truncatedMessageCount: UInt64 = 0
    /// Errors of earlier datagrams the kernel reported on receiving; harmless.
    public var receiveErrorCount: UInt64 = 0

    /// sendmmsg calls.
    public var sendCallCount: UInt64 = 0
    /// Messages sent, each of one datagram or of several the kernel cuts.
    public var sentMessageCount: UInt64 = 0
    /// Datagrams sent.
    public var sentDatagramCount: UInt64 = 0
    /// Their bytes, without headers.
    public var sentByteCount: UInt64 = 0
    /// Messages sent again as single datagrams because the kernel would not cut them.
    public var unsegmentedMessageCount: UInt64 = 0
    /// Times a send waited for room in the socket.
    public var sendWaitCount: UInt64 = 0
    /// Datagrams dropped on sending, by cause.
    public var dropped = Drops()

    /// Datagrams the kernel did not take, by cause.
    public struct Drops: Hashable, Sendable {
        /// The socket's send buffer stayed full.
        public var full: UInt64 = 0
        /// The machine or the network card had no room (`ENOBUFS`, `ENOMEM`).
        public var noMemory: UInt64 = 0
        /// No way to the destination, or it refused.
        public var unreachable: UInt64 = 0
        /// A firewall of this machine forbade it.
        public var forbidden: UInt64 = 0
        /// Too large even for fragments.
        public var tooLarge: UInt64 = 0
        /// The destination has the other address family, or is no address one can send to.
        public var badAddress: UInt64 = 0
        /// Any other error.
        public var other: UInt64 = 0

        /// All of them.
        public var total: UInt64 {
            full + noMemory + unreachable + forbidden + tooLarge + badAddress + other
        }
    }

    /// An empty account.
    public init() {}
}
