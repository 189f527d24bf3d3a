public import Base

/// The whole machine as a client: the tunnel's addresses and the rules that lead into it.
///
/// Everything without our mark is looked up in a table whose only route is the tunnel. With the
/// local network allowed, the main table's routes other than its default come first.
public struct ClientRouting: Hashable, Sendable {
    /// The TUN device, which must exist.
    public var tunnel: String
    /// Its MTU in bytes.
    public var mtu: Int
    /// The mark on our own datagrams, which take the machine's usual routes.
    public var mark = TunnelAddresses.mark
    /// The routing table of the tunnel; the rules take this number and the one before as priority.
    public var routingTable = TunnelAddresses.routingTable
    /// Whether routes to the local network come before the tunnel.
    public var allowsLocalNetwork = false
    /// Remembers the kernel settings that were changed.
    public var settings: KernelSettings
    /// Where programs are run.
    public var runner: CommandRunner

    /// Makes the routing into `tunnel`; `stateFolder` (such as /run/umbel) remembers settings.
    public init(
        tunnel: String,
        mtu: Int,
        stateFolder: String,
        runner: CommandRunner = CommandRunner()
    ) {
        self.tunnel = tunnel
        self.mtu = mtu
        self.runner = runner
        settings = KernelSettings(recordPath: "\(stateFolder)/routing.settings.json")
    }

    /// Gives the tunnel its addresses and leads everything into it; safe to repeat.
    ///
    /// Apply ``ClientLock`` before.
    ///
    /// - Throws: ``HostNetworkError`` with the step that failed; ``remove()`` undoes the others.
    public func apply() async throws(HostNetworkError) {
        var plan = InterfacePlan()
        plan.raise(tunnel, mtu: mtu)
        plan.assign(TunnelAddresses.clientV4, prefixBitCount: 32, to: tunnel)
        let families = try await self.families()
        if families.contains("-6") {
            plan.assign(TunnelAddresses.clientV6, prefixBitCount: 128, to: tunnel)
        }
        try await plan.apply(with: runner)
        // Marked replies must pass a strict reverse path filter, and the tunnel's address must
        // not be given away to the local network.
        try await settings.apply(
            ["net/ipv4/conf/all/src_valid_mark": "1", "net/ipv4/conf/all/arp_ignore": "2"],
            with: runner
        )
        for family in families {
            try await removeRules(family)
            try await batch(
                family,
                ["route replace default dev \(tunnel) table \(routingTable)"]
                    + (allowsLocalNetwork
                        ? [
                            "rule add table main suppress_prefixlength 0"
                                + " priority \(routingTable - 1)"
                        ] : [])
                    + [
                        "rule add not fwmark \(mark) table \(routingTable)"
                            + " priority \(routingTable)"
                    ]
            )
        }
    }

    /// Removes rules and routes and puts the settings back; safe to repeat, also after a crash.
    ///
    /// - Throws: ``HostNetworkError`` where `ip` or sysctl fails.
    public func remove() async throws(HostNetworkError) {
        for family in ["-4", "-6"] where await knows(family) {
            try await removeRules(family)
            // Fails where the table was never made, which is what is wanted.
            _ = try await runner.outcome(
                of: ["ip", family, "route", "flush", "table", "\(routingTable)"]
            )
        }
        try await settings.restore(with: runner)
    }

    /// Whether rules and routes that lead into the tunnel are in place, in both families, and those
    /// to the local network where it is allowed.
    ///
    /// - Throws: ``HostNetworkError`` where `ip` fails.
    public func isInPlace() async throws(HostNetworkError) -> Bool {
        for family in try await families() {
            let text = try await runner.run(["ip", family, "rule", "list"])
            guard text.contains("\(routingTable):"),
                !allowsLocalNetwork || text.contains("\(routingTable - 1):")
            else { return false }
            let routes = try await runner.outcome(
                of: ["ip", family, "route", "show", "table", "\(routingTable)"]
            )
            guard routes.output.contains("default dev \(tunnel) ") else { return false }
        }
        return true
    }

    /// The routers of the machine's own default routes, the first of each family first.
    ///
    /// - Throws: ``HostNetworkError`` where `ip` fails.
    public func gateways() async throws(HostNetworkError) -> [IPAddress] {
        var found: [IPAddress] = []
        for family in ["-4", "-6"] where await knows(family) {
            let text = try await runner.run(["ip", family, "route", "show", "default"])
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard let via = words.firstIndex(of: "via"), via + 1 < words.count else { continue }
                // A link's own address names no server without the link.
                if let address = IPAddress(words[via + 1]), !words[via + 1].hasPrefix("fe80") {
                    found.append(address)
                }
            }
        }
        return found
    }

    /// The families the tunnel's interface speaks: a machine without IPv6 has none to lead anywhere.
    private func families() async throws(HostNetworkError) -> [String] {
        let setting = "net/ipv6/conf/\(tunnel)/disable_ipv6"
        let outcome = try await runner.outcome(of: ["sysctl", "-n", setting])
        return outcome.status == 0 && outcome.output.hasPrefix("0") ? ["-4", "-6"] : ["-4"]
    }

    /// Whether the kernel knows rules of this family at all.
    private func knows(_ family: String) async -> Bool {
        guard family == "-6" else { return true }
        let outcome = try? await runner.outcome(of: ["ip", family, "rule", "list"])
        return outcome?.status == 0
    }

    private func removeRules(_ family: String) async throws(HostNetworkError) {
        let text = try await runner.run(["ip", family, "rule", "list"])
        let priorities = text.split(separator: "\n").compactMap { line in
            line.split(separator: ":").first.flatMap { Int($0) }
        }
        let ours = priorities.filter { $0 == routingTable || $0 == routingTable - 1 }
        try await batch(family, ours.map { "rule del priority \($0)" })
    }

    private func batch(_ family: String, _ lines: [String]) async throws(HostNetworkError) {
        guard !lines.isEmpty else { return }
        try await runner.run(
            ["ip", family, "-batch", "-"],
            input: lines.joined(separator: "\n") + "\n"
        )
    }
}
