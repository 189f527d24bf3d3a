public import Base

/// Addresses every client sees inside its tunnel, the same for all (design §4).
public enum TunnelAddresses {
    /// The client's IPv4 address, 10.111.0.2.
    public static let clientV4 = IPAddress(v4: 0x0a6f_0002)
    /// The client's IPv6 address, fd75:6d62:656c::2.
    public static let clientV6 = IPAddress(high: 0xfd75_6d62_656c_0000, low: 2)
    /// The resolver's IPv4 address, 10.111.0.1: the exit sends on what comes to its port 53.
    public static let resolverV4 = IPAddress(v4: 0x0a6f_0001)
    /// The resolver's IPv6 address, fd75:6d62:656c::1.
    public static let resolverV6 = IPAddress(high: 0xfd75_6d62_656c_0000, low: 1)
    /// The mark on our own datagrams, which alone pass beside the tunnel ("um").
    public static let mark: UInt32 = 0x756d
    /// The routing table whose only route is the tunnel.
    public static let routingTable = 7565
}
