/// How a ``TunDevice`` is opened.
public struct TunOptions: Hashable, Sendable {
    /// Super-packets both ways and checksums left to the reader.
    public var offloads = true
    /// Lets further devices of the same name share the interface, a queue each.
    public var isMultiQueue = false
    /// The device node of the driver.
    public var devicePath = "/dev/net/tun"

    /// The settings of a client or exit with one thread.
    public init() {}
}

/// What a device did since it was opened; none of the numbers goes down.
public struct TunCounters: Hashable, Sendable {
    /// Packets read, a super-packet counting once.
    public var readPacketCount: UInt64 = 0
    /// Their bytes, virtio headers included.
    public var readByteCount: UInt64 = 0
    /// Packets the kernel took, a super-packet counting once.
    public var writtenPacketCount: UInt64 = 0
    /// Their bytes, virtio headers included.
    public var writtenByteCount: UInt64 = 0
    /// Packets dropped because the kernel had no room (`ENOBUFS`, `ENOMEM`, `EAGAIN`).
    public var fullDropCount: UInt64 = 0
    /// Packets dropped because the interface is down (`EIO`).
    public var downDropCount: UInt64 = 0
    /// Packets the kernel found wrong (`EINVAL` and others).
    public var refusedDropCount: UInt64 = 0

    /// An empty account.
    public init() {}
}
