public import Base

/// A window through the lock: for some minutes one user's web traffic goes beside the tunnel, to log
/// in to a network that wants that.
///
/// Kernel state of its own, which ends by the kernel's clock whatever becomes of the daemon. What
/// passes is given the mark that the lock and the routes let by: TCP to the ports of web servers, and
/// names, which are asked of the network's own resolver.
public struct LoginWindow: Hashable, Sendable {
    /// The TUN device, which the traffic would else take.
    public var tunnel: String
    /// Whose traffic passes.
    public var user: UInt32
    /// How long, in seconds; 1 to ``secondsLimit``.
    public var seconds: Int
    /// The network's resolvers; the first of each family is asked.
    public var resolvers: [IPAddress]

    /// The longest a window may be open, in seconds.
    public static let secondsLimit = 300
    /// Ports of web servers.
    public static let ports = [80, 443, 8080, 8443]
    /// The table the window lives in.
    public static let table = FirewallTable(name: "umbel_login")

    /// Makes a window from its parts.
    ///
    /// - Precondition: `seconds` is in its bounds.
    public init(tunnel: String, user: UInt32, seconds: Int, resolvers: [IPAddress]) {
        precondition((1...Self.secondsLimit).contains(seconds), "a window has its bounds")
        self.tunnel = tunnel
        self.user = user
        self.seconds = seconds
        self.resolvers = resolvers
    }

    /// Sets and chains of the table.
    ///
    /// - Throws: ``HostNetworkError`` where `tunnel` is no interface name.
    public func body() throws(HostNetworkError) -> String {
        guard ExitRules.isInterfaceName(tunnel) else {
            throw HostNetworkError(
                what: "no window beside `\(tunnel)`",
                why: "an interface name is 1 to 15 letters, digits or any of _ . -"
            )
        }
        let tun = "\"\(tunnel)\""
        let mark = "meta mark set \(TunnelAddresses.mark)"
        let web = "tcp dport { \(Self.ports.map(String.init).joined(separator: ", ")) }"
        let names = "meta l4proto { tcp, udp } th dport 53"
        let (own4, own6) = (TunnelAddresses.clientV4, TunnelAddresses.clientV6)
        let (dns4, dns6) = (TunnelAddresses.resolverV4, TunnelAddresses.resolverV6)
        let v4 = resolvers.first { $0.isV4 }.map {
            "meta skuid @users ip daddr \(dns4) \(names) dnat ip to \($0)"
        }
        let v6 = resolvers.first { !$0.isV4 }.map {
            "meta skuid @users ip6 daddr \(dns6) \(names) dnat ip6 to \($0)"
        }
        let lines =
            [
                "set users { type uid; flags timeout;",
                "elements = { \(user) timeout \(seconds)s } }",
                "chain detour { type route hook output priority mangle; policy accept;",
                "oifname \"lo\" accept",
                "meta skuid @users \(web) \(mark)",
                // A family without a resolver stays in the tunnel.
                v4 == nil ? nil : "meta skuid @users meta nfproto ipv4 \(names) \(mark)",
                v6 == nil ? nil : "meta skuid @users meta nfproto ipv6 \(names) \(mark)",
                "}",
                "chain names { type nat hook output priority -100; policy accept;",
                v4, v6, "}",
                // The socket was given the tunnel's address before the packet was led elsewhere.
                "chain source { type nat hook postrouting priority srcnat; policy accept;",
                "oifname != \(tun) ip saddr \(own4) masquerade",
                "oifname != \(tun) ip6 saddr \(own6) masquerade", "}",
            ] as [String?]
        return lines.compactMap(\.self).joined(separator: "\n")
    }

    /// Opens the window, in place of an earlier one.
    ///
    /// - Throws: ``HostNetworkError``; then nothing has changed.
    public func open(with runner: CommandRunner = CommandRunner()) async throws(HostNetworkError) {
        try await Self.table.install(body: try body(), with: runner)
    }

    /// Closes it before its time; that there is none is no error.
    ///
    /// - Throws: ``HostNetworkError`` where nft fails.
    public static func close(
        with runner: CommandRunner = CommandRunner()
    ) async throws(HostNetworkError) {
        try await table.remove(with: runner)
    }
}
