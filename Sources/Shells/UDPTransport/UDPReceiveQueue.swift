/// What a socket's receive queue holds at one moment.
public struct UDPReceiveQueue: Hashable, Sendable {
    /// Bytes booked, the kernel's overhead included.
    public let byteCount: Int
    /// The bookings at which the kernel begins to drop: twice the buffer asked for.
    public let limitByteCount: Int
    /// Messages dropped for want of room since the socket was made; wraps at 2³².
    public let droppedMessageCount: UInt32
}
