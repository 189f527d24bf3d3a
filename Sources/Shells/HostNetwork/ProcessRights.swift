import CLinux

/// What the kernel lets this process do to the network it is in; asked once.
///
/// A process that gave rights up after it had asked would be wrong about itself: nothing of ours does.
public enum ProcessRights {
    /// Whether it may change interfaces, routes and rules (CAP_NET_ADMIN over this network).
    public static let isNetworkAdministrator = clinux_is_network_administrator()

    /// Keeps keys in memory from core files and from other programs of this user.
    public static func hideMemory() {
        clinux_hide_memory()
    }

    /// The mark on this process's own datagrams; `nil` where it may not set one, and so cannot have
    /// made a lock that asks for it.
    public static let mark: UInt32? = isNetworkAdministrator ? TunnelAddresses.mark : nil
}
