public import Base

/// How a ``UDPSocket`` is set up.
public struct UDPOptions: Hashable, Sendable {
    /// Room for datagrams not yet received, in bytes.
    ///
    /// The kernel books twice as much, to cover its overhead. Without CAP_NET_ADMIN the kernel caps it at `net.core.rmem_max`.
    public var receiveBufferByteCount = 2 << 20
    /// Room for datagrams not yet on the wire; as ``receiveBufferByteCount``.
    public var sendBufferByteCount = 4 << 20
    /// The firewall mark of all that is sent; needs CAP_NET_ADMIN.
    public var mark: UInt32?
    /// Lets further sockets, of the same user, bind the same address.
    public var reusesPort = false
    /// GSO and GRO: many datagrams of one size pass through the kernel as one.
    public var segments = true
    /// Keeps a socket bound to `::` from serving IPv4 too.
    public var isV6Only = false
    /// How long one ``UDPSocket/send(_:from:now:)`` waits, once, for a full socket; zero drops.
    public var sendWaitLimit = TimeSpan.milliseconds(5)
    /// Messages one receive takes at most, 1 to 256.
    public var receiveMessageCount = 16

    /// The settings of a relay.
    public init() {}
}
