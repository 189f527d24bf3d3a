public import Base

/// The firewall's part of split tunnels: which connections go beside the tunnel while a machine is up.
///
/// Chosen are TCP and UDP of the programs in one control group, and to listed networks and the
/// addresses of listed names. Such packets get the mark ``ClientLock`` lets pass and
/// ``ClientRouting`` leads past the tunnel; whatever is not chosen stays in. What is decided for a
/// connection's first packet holds for the connection. Names are asked for in the tunnel by everybody:
/// ports 53 and 853 are never chosen. Spec: design §4, test matrix row 44.
public struct SplitRules: Hashable, Sendable {
    /// The TUN device.
    public var tunnel: String
    /// Networks beside the tunnel.
    public var networks: [IPNetwork]
    /// How the kernel knows the programs beside the tunnel; `nil` for none.
    public var programs: OutsideGroup.Match?
    /// The mark that passes the lock.
    public var mark = TunnelAddresses.mark

    /// Makes rules that let nothing out yet but `networks`.
    public init(tunnel: String, networks: [IPNetwork] = []) {
        self.tunnel = tunnel
        self.networks = networks
    }

    /// The table the rules live in.
    public static let table = FirewallTable(name: "umbel_split")

    /// Chains and sets of the table.
    ///
    /// - Throws: ``HostNetworkError`` where `tunnel` is no interface name.
    public func body() throws(HostNetworkError) -> String {
        guard ExitRules.isInterfaceName(tunnel) else {
            throw HostNetworkError(
                what: "cannot lead anything past `\(tunnel)`",
                why: "an interface name is 1 to 15 letters, digits or any of _ . -"
            )
        }
        let lists = [(4, "ipv4_addr", true), (6, "ipv6_addr", false)].map { family, type, isV4 in
            let texts = networks.filter { $0.base.isV4 == isV4 }.map(\.description)
            let elements =
                texts.isEmpty ? "" : " elements = { \(texts.joined(separator: ", ")) }"
            return """
                set networks\(family) { type \(type); flags interval; auto-merge;\(elements) }
                set named\(family) { type \(type); flags timeout; size 8192; }
                """
        }
        let pass = "meta mark set \(mark) ct mark set \(mark)"
        let lines = [
            "chain choose { type route hook output priority mangle; policy accept;",
            "meta mark != 0 return",
            "meta l4proto != { tcp, udp } return",
            "th dport { 53, 853 } return",
            "ct state established,related ct mark \(mark) meta mark set \(mark) return",
            "ct state established,related return",
            "ip daddr @networks4 \(pass) return",
            "ip6 daddr @networks6 \(pass) return",
            "ip daddr @named4 \(pass) return",
            "ip6 daddr @named6 \(pass) return",
            programs.map { "\($0.expression) \(pass)" },
            "}",
            // The address was chosen before the way was.
            "chain leave { type nat hook postrouting priority srcnat; policy accept;",
            "meta mark \(mark) oifname != \"\(tunnel)\" ip saddr \(TunnelAddresses.clientV4) masquerade",
            "meta mark \(mark) oifname != \"\(tunnel)\" ip6 saddr \(TunnelAddresses.clientV6) masquerade",
            "}",
        ]
        return (lists + lines.compactMap(\.self)).joined(separator: "\n")
    }

    /// Puts the rules in place of earlier ones; what names were resolved to is forgotten.
    ///
    /// - Throws: ``HostNetworkError``; the rules are then as they were.
    public func apply(with runner: CommandRunner = CommandRunner()) async throws(HostNetworkError) {
        try await Self.table.install(body: try body(), with: runner)
    }

    /// Takes the rules away; that there are none is no error.
    ///
    /// - Throws: ``HostNetworkError`` where nft fails.
    public static func remove(
        with runner: CommandRunner = CommandRunner()
    ) async throws(HostNetworkError) {
        try await table.remove(with: runner)
    }

    /// Leads connections to `addresses` past the tunnel for `seconds` from now.
    ///
    /// - Throws: ``HostNetworkError`` where the rules are not in place.
    public static func add(
        _ addresses: [IPAddress],
        seconds: Int,
        with runner: CommandRunner = CommandRunner()
    ) async throws(HostNetworkError) {
        guard !addresses.isEmpty else { return }
        let lines = addresses.map { address in
            let set = "\(table.family) \(table.name) named\(address.isV4 ? 4 : 6)"
            let element = "{ \(address) timeout \(seconds)s }"
            // An element that is there keeps its time: it is made anew, within one transaction.
            return """
                add element \(set) \(element)
                delete element \(set) { \(address) }
                add element \(set) \(element)
                """
        }
        try await runner.run(["nft", "-f", "-"], input: lines.joined(separator: "\n") + "\n")
    }
}
