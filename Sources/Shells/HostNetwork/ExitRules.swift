public import Base

/// What one exit's firewall must know, and the nftables text that follows from it.
///
/// A value: the same settings always give the same text. ``ExitFirewall`` puts it in place.
public struct ExitRules: Hashable, Sendable {
    /// The node's name; the table is named after it.
    public var node: String
    /// The TUN device clients' packets come out of.
    public var tunnel: String
    /// The TUN device's MTU in bytes; TCP is told to stay below it.
    public var tunnelMTU = 1280
    /// IPv4 leases; the only IPv4 sources let out of the tunnel.
    public var poolV4: IPNetwork
    /// IPv6 leases; `nil` for an exit without IPv6, which then refuses it.
    public var poolV6: IPNetwork?
    /// The only interface clients' packets may leave by; `nil` for whichever the routes choose.
    public var uplink: String?
    /// UDP ports this host listens on for links: never tracked, never a client's source port.
    public var listeningPorts: [UInt16] = []
    /// Addresses of this host that clients' connections show, each client always the same one; where a
    /// family has none, the one the route chooses.
    public var sources: [IPAddress] = []
    /// Where the tunnel's resolver addresses lead, at most one per family; one of a lease pool is a
    /// resolver of this host's for clients alone.
    public var resolvers: [SocketAddress] = []
    /// Networks opened although they are reserved.
    public var allowed: [IPNetwork] = []
    /// Networks refused beyond the reserved ones.
    public var refused: [IPNetwork] = []
    /// TCP ports refused everywhere.
    public var refusedTCPPorts: [UInt16] = [25]
    /// Destination ports of TCP and UDP that are let out.
    public var ports: [ClosedRange<UInt16>] = [1...65_535]
    /// Connections one client may hold open, counted by its lease; more are refused.
    public var flowsPerClient = 4_096
    /// Connections one client may begin in a second; as many more at once, then they are refused.
    public var newFlowsPerSecond = 200
    /// Whether the host forwards for others too; if not, only clients' packets are forwarded.
    public var hostForwards = false

    /// Makes the rules of `node` for the device `tunnel` and its lease pools.
    public init(node: String, tunnel: String, poolV4: IPNetwork, poolV6: IPNetwork?) {
        self.node = node
        self.tunnel = tunnel
        self.poolV4 = poolV4
        self.poolV6 = poolV6
    }

    /// The table's name, `umbel_exit_` and the node's name in letters nft takes.
    public var tableName: String {
        "umbel_exit_" + String(node.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
    }

    /// The source ports clients' connections get: the widest run without a listening port.
    ///
    /// A translated connection can then never shadow a listener (CVE-2021-3773).
    ///
    /// - Throws: ``HostNetworkError`` where fewer than 4 096 ports remain.
    public func sourcePorts() throws(HostNetworkError) -> ClosedRange<UInt16> {
        let inside = listeningPorts.map(Int.init).filter { (32_768...60_999).contains($0) }.sorted()
        var best = 0..<0
        var start = 32_768
        for port in inside + [61_000] {
            if port - start > best.count { best = start..<port }
            start = port + 1
        }
        guard best.count >= 4_096 else {
            throw HostNetworkError(
                what: "no run of 4096 source ports is left for the clients of \(node)",
                why: "the node listens on \(inside.count) ports between 32768 and 60999",
                hint: "listen on ports below 32768"
            )
        }
        return UInt16(best.lowerBound)...UInt16(best.upperBound - 1)
    }

    /// Sets and chains of the table.
    ///
    /// - Throws: ``HostNetworkError`` where the settings contradict each other.
    public func body() throws(HostNetworkError) -> String {
        try check()
        let ports = try sourcePorts()
        return (sets + ingress + translation(ports: ports) + forwarding).joined(separator: "\n")
    }

    private func check() throws(HostNetworkError) {
        let complaint: String? =
            if !poolV4.base.isV4 || poolV6?.base.isV4 == true {
                "a lease pool is of the wrong family"
            } else if !Self.isInterfaceName(tunnel) || uplink.map(Self.isInterfaceName) == false {
                "an interface name is 1 to 15 letters, digits or any of _ . -"
            } else if Set(resolvers.map(\.ip.isV4)).count != resolvers.count {
                "there may be one resolver per family"
            } else if resolvers.contains(where: { !$0.ip.isV4 && $0.ip.high == 0 }) {
                "an IPv6 resolver on the loopback cannot be reached from the tunnel"
            } else if Set(sources).count != sources.count || sources.count > Self.sourceLimit {
                "the addresses that connections show are up to \(Self.sourceLimit) different ones"
            } else if sources.contains(where: isLeased) {
                "connections cannot show an address of a lease pool"
            } else if !(576...9_000).contains(tunnelMTU) {
                "a tunnel MTU of \(tunnelMTU) bytes is out of 576...9000"
            } else {
                nil
            }
        if let complaint {
            throw HostNetworkError(what: "the exit rules of \(node) do not hold", why: complaint)
        }
    }

    static func isInterfaceName(_ name: String) -> Bool {
        (1...15).contains(name.utf8.count)
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "_.-".contains($0)) }
    }

    // MARK: - The chains, in the order a client's packet meets them

    private var sets: [String] {
        let reserved = [
            AddressSet(
                name: "refused4",
                isV4: true,
                elements: ReservedNetworks.v4 + refused.filter(\.base.isV4).map(\.description)
            ),
            AddressSet(
                name: "refused6",
                isV4: false,
                elements: ReservedNetworks.v6 + refused.filter { !$0.base.isV4 }.map(\.description)
            ),
        ]
        let counters = ["ipv4_addr", "ipv6_addr"].enumerated().map { index, type in
            "set flows\(index == 0 ? 4 : 6) { type \(type); size 65536; flags dynamic; }"
        }
        let rates = ["ipv4_addr", "ipv6_addr"].enumerated().map { index, type in
            "set rates\(index == 0 ? 4 : 6)"
                + " { type \(type); size 65536; flags dynamic, timeout; timeout 1m; }"
        }
        return (reserved + AddressSet.pair("allowed", allowed)).map(\.text) + counters + rates
    }

    /// What enters: sources that are no lease go at once, our own links stay untracked.
    private var ingress: [String] {
        let v6 = poolV6.map { "ip6 saddr != \($0)" } ?? "meta nfproto ipv6"
        let list = listeningPorts.sorted().map(String.init).joined(separator: ", ")
        let untracked =
            listeningPorts.isEmpty
            ? []
            : [
                "iifname != \"\(tunnel)\" udp dport { \(list) } fib daddr type local notrack",
                "}", "chain own { type filter hook output priority raw; policy accept;",
                "udp sport { \(list) } fib saddr type local notrack",
            ]
        return [
            "chain enter { type filter hook prerouting priority raw; policy accept;",
            "iifname \"\(tunnel)\" ip saddr != \(poolV4) drop",
            "iifname \"\(tunnel)\" \(v6) drop",
        ] + untracked + ["}"]
    }

    /// The tunnel's resolver becomes ours; what leaves shows the host's address and a random port.
    private func translation(ports: ClosedRange<UInt16>) -> [String] {
        let redirections = resolvers.flatMap { resolver -> [String] in
            let family = resolver.ip.isV4 ? "ip" : "ip6"
            let inside =
                resolver.ip.isV4 ? TunnelAddresses.resolverV4 : TunnelAddresses.resolverV6
            return [
                "iifname \"\(tunnel)\" \(family) daddr \(inside) meta l4proto { tcp, udp }"
                    + " th dport 53 dnat \(family) to \(resolver)"
            ]
        }
        let pools = [("ip", "icmp", poolV4)] + (poolV6.map { [("ip6", "ipv6-icmp", $0)] } ?? [])
        let masquerades = pools.flatMap { family, icmp, pool in
            let client = "oifname != { \"lo\", \"\(tunnel)\" } \(family) saddr \(pool)"
            let range = ":\(ports.lowerBound)-\(ports.upperBound)"
            let shown = sources.filter { $0.isV4 == pool.base.isV4 }
            guard !shown.isEmpty else {
                return [
                    "\(client) meta l4proto { tcp, udp } masquerade to \(range) fully-random",
                    "\(client) meta l4proto \(icmp) masquerade fully-random",
                ]
            }
            return shown.enumerated().flatMap { index, address in
                let mine = client + Self.part(index, of: shown.count, family: family)
                let place = address.isV4 ? "\(address)" : "[\(address)]"
                return [
                    "\(mine) meta l4proto { tcp, udp } snat \(family) to \(place)\(range)"
                        + " fully-random",
                    "\(mine) meta l4proto \(icmp) snat \(family) to \(address) fully-random",
                ]
            }
        }
        return ["chain resolve { type nat hook prerouting priority dstnat; policy accept;"]
            + redirections
            + ["}", "chain hide { type nat hook postrouting priority srcnat; policy accept;"]
            + masquerades + ["}"]
    }

    /// The address of `sources` that the client with `lease` shows; `nil` where the route chooses.
    public func source(of lease: IPAddress) -> IPAddress? {
        let shown = sources.filter { $0.isV4 == lease.isV4 }
        return shown.isEmpty ? nil : shown[Int(lease.low & 0xff) % shown.count]
    }

    private static let sourceLimit = 16

    /// Which leases show the address numbered `index` of `count`: by their last byte, so that it is the
    /// same one as long as the lease lives, and as many for each.
    private static func part(_ index: Int, of count: Int, family: String) -> String {
        guard count > 1 else { return "" }
        let (mask, prefix) = family == "ip" ? ("0.0.0.255", "0.0.0.") : ("::ff", "::")
        let bytes = stride(from: index, to: 256, by: count).map { byte in
            prefix + String(byte, radix: family == "ip" ? 10 : 16)
        }
        return " \(family) saddr & \(mask) { \(bytes.joined(separator: ", ")) }"
    }

    private func isLeased(_ address: IPAddress) -> Bool {
        poolV4.contains(address) || poolV6?.contains(address) == true
    }

    private var forwarding: [String] {
        let tun = "\"\(tunnel)\""
        let clamp = [("ipv4", 40), ("ipv6", 60)].flatMap { family, headers in
            ["iifname", "oifname"].map { side in
                "\(side) \(tun) meta nfproto \(family) tcp flags & (syn | rst) == syn"
                    + " tcp option maxseg size set \(tunnelMTU - headers)"
            }
        }
        let elsewhere = uplink.map { ["iifname \(tun) oifname != \"\($0)\" \(Self.refuse)"] } ?? []
        let others = hostForwards ? [] : ["iifname != \(tun) oifname != \(tun) drop"]
        let smtp = refusedTCPPorts.sorted().map(String.init).joined(separator: ", ")
        let ports = refusedTCPPorts.isEmpty ? [] : ["tcp dport { \(smtp) } \(Self.refuse)"]
        let resolver = ["ip", "ip6"].map { family in
            let inside = family == "ip" ? TunnelAddresses.resolverV4 : TunnelAddresses.resolverV6
            return "ct status dnat ct original \(family) daddr \(inside) accept"
        }
        // Of the host itself clients reach what its operator named, address by address.
        let named = allowed.filter { $0.prefixBitCount == 128 }.map { address in
            "\(address.base.isV4 ? "ip" : "ip6") daddr \(address.base) accept"
        }
        return ["chain client {"] + [
            "meta l4proto != { tcp, udp, icmp, ipv6-icmp } \(Self.refuse)",
            "ct state invalid drop",
        ] + bounds + resolver + servedPorts + [
            "ip daddr @allowed4 accept", "ip6 daddr @allowed6 accept",
        ] + ports + [
            "ip daddr @refused4 \(Self.refuse)", "ip6 daddr @refused6 \(Self.refuse)",
            "}",
            "chain shrink { type filter hook forward priority mangle; policy accept;",
        ] + clamp + [
            "}",
            "chain pass { type filter hook forward priority filter; policy accept;",
            "iifname \(tun) oifname \(tun) drop",
        ] + elsewhere + [
            "iifname \(tun) jump client",
            "oifname \(tun) ct state != { established, related } drop",
        ] + others + [
            "}",
            "chain arrive { type filter hook input priority filter; policy accept;",
            "iifname \(tun) ct state invalid drop",
        ] + ownResolvers + (bounds + resolver + named).map { "iifname \(tun) \($0)" } + [
            "iifname \(tun) \(Self.refuse)", "}",
        ]
    }

    /// Keeps all but the tunnel and this host from a resolver that is for clients.
    private var ownResolvers: [String] {
        resolvers.map(\.ip).filter(isLeased).map { address in
            "iifname != { \"lo\", \"\(tunnel)\" } \(address.isV4 ? "ip" : "ip6") daddr \(address) drop"
        }
    }

    /// What refuses connections beyond those a client may hold open, and those begun too fast.
    private var bounds: [String] {
        let families = [("ipv4", "ip", 4), ("ipv6", "ip6", 6)]
        let counts = families.map { protocolName, family, number in
            "ct state new meta nfproto \(protocolName) add @flows\(number)"
                + " { \(family) saddr ct count over \(flowsPerClient) } \(Self.refuse)"
        }
        return counts
            + families.map { protocolName, family, number in
                "ct state new meta nfproto \(protocolName) update @rates\(number)"
                    + " { \(family) saddr limit rate over \(newFlowsPerSecond)/second"
                    + " burst \(newFlowsPerSecond) packets } \(Self.refuse)"
            }
    }

    /// What refuses ports that are not let out, as the process and the descriptor do.
    private var servedPorts: [String] {
        guard ports != [1...65_535] else { return [] }
        let list = ports.sorted { $0.lowerBound < $1.lowerBound }.map { range in
            range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)"
        }
        return [
            "meta l4proto { tcp, udp } th dport != { \(list.joined(separator: ", ")) }"
                + " \(Self.refuse)"
        ]
    }

    private static let refuse = "reject with icmpx admin-prohibited"
}
