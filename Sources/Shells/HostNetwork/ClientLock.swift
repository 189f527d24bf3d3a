/// The kill switch: while it stands, nothing leaves this machine but through the tunnel.
///
/// Kernel state, applied before the routes and outliving the process that applied it; only
/// ``remove(with:)`` ends it. Passes: loopback, the tunnel, packets with our mark (datagrams to
/// guards, and the fetch of a directory to begin with), DHCP, IPv6 neighbour discovery, and the
/// local network where the user asked for it. Spec: design §4, test matrix rows 36–43.
public struct ClientLock: Hashable, Sendable {
    /// The TUN device everything else leaves by; need not exist yet.
    public var tunnel: String
    /// The mark on our own packets; setting it needs CAP_NET_ADMIN.
    public var mark = TunnelAddresses.mark
    /// Whether addresses of the local network may be reached beside the tunnel.
    public var allowsLocalNetwork = false

    /// Makes the lock around the device `tunnel`.
    public init(tunnel: String) {
        self.tunnel = tunnel
    }

    /// The table the lock lives in; one per network namespace.
    public static let table = FirewallTable(name: "umbel_lock")

    /// Local networks, as far as ``allowsLocalNetwork`` opens them.
    public static let localV4 = [
        "10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4",
        "255.255.255.255/32",
    ]
    /// The same for IPv6; unique local addresses without our own.
    public static let localV6 = ["fc00::/7", "fe80::/10", "ff00::/8"]

    /// Chains of the table.
    ///
    /// - Throws: ``HostNetworkError`` where `tunnel` is no interface name.
    public func body() throws(HostNetworkError) -> String {
        guard ExitRules.isInterfaceName(tunnel) else {
            throw HostNetworkError(
                what: "cannot lock this machine to `\(tunnel)`",
                why: "an interface name is 1 to 15 letters, digits or any of _ . -"
            )
        }
        let tun = "\"\(tunnel)\""
        let (own4, own6) = (TunnelAddresses.clientV4, TunnelAddresses.clientV6)
        let (dns4, dns6) = (TunnelAddresses.resolverV4, TunnelAddresses.resolverV6)
        let ours = "meta l4proto { tcp, udp }"
        let names = "meta l4proto { tcp, udp } th dport { 53, 853 }"
        let local =
            allowsLocalNetwork
            ? [
                "\(names) \(Self.refuse)",
                "ip daddr { \(Self.localV4.joined(separator: ", ")) } accept",
                "ip6 daddr { \(Self.localV6.joined(separator: ", ")) } accept",
            ] : []
        let lines =
            [
                // Replies to marked packets get the mark back, for the reverse path filter.
                "chain remember { type filter hook postrouting priority mangle; policy accept;",
                "meta mark \(mark) \(ours) ct mark set meta mark", "}",
                "chain recall { type filter hook prerouting priority mangle; policy accept;",
                "\(ours) ct mark \(mark) meta mark set ct mark", "}",
                // Nobody on the local network may probe the tunnel's address (CVE-2019-14899).
                "chain shield { type filter hook prerouting priority raw; policy accept;",
                "iifname != \(tun) ip daddr \(own4) fib saddr type != local drop",
                "iifname != \(tun) ip6 daddr \(own6) fib saddr type != local drop", "}",
                // The exit may answer, not call.
                "chain arrive { type filter hook input priority filter; policy accept;",
                "iifname \(tun) ct state != { established, related } drop", "}",
                "chain pass { type filter hook forward priority filter; policy drop; }",
                "chain leave { type filter hook output priority filter; policy drop;",
                "oifname \"lo\" accept",
                // First: what was marked on its way still counts as leaving by where it began.
                "meta mark \(mark) \(ours) accept",
                "oifname \(tun) ip daddr \(dns4) accept",
                "oifname \(tun) ip6 daddr \(dns6) accept",
                "oifname \(tun) \(names) \(Self.refuse)",
                "oifname \(tun) accept",
                "udp sport 68 udp dport 67 accept",
                "ip6 daddr { fe80::/10, ff02::1:2 } udp sport 546 udp dport 547 accept",
                "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }"
                    + " ip6 hoplimit 255 accept",
            ] + local + [Self.refuse, "}"]
        return lines.joined(separator: "\n")
    }

    /// Locks the machine, in place of an earlier lock, in one step.
    ///
    /// - Throws: ``HostNetworkError``; an earlier lock then still stands.
    public func apply(with runner: CommandRunner = CommandRunner()) async throws(HostNetworkError) {
        try await Self.table.install(body: try body(), with: runner)
    }

    /// Unlocks the machine; that it was not locked is no error.
    ///
    /// - Throws: ``HostNetworkError`` where nft fails: then the lock stands.
    public static func remove(
        with runner: CommandRunner = CommandRunner()
    ) async throws(HostNetworkError) {
        try await table.remove(with: runner)
    }

    private static let refuse = "reject with icmpx admin-prohibited"
}
