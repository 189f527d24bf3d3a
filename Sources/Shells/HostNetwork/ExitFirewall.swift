import Base

/// The kernel's part of an exit: translation, refusals and forwarding, put in place and taken away.
///
/// One table of its own named after the node, so that a start removes what a crash left behind and
/// several nodes stand side by side. Forwarding is switched on only after the rules hold.
public struct ExitFirewall: Hashable, Sendable {
    /// What the rules are made of.
    public var rules: ExitRules
    /// Where this node runs programs.
    public var runner: CommandRunner
    /// Remembers the kernel settings that were changed.
    public var settings: KernelSettings

    /// Makes the firewall of `rules`; `stateFolder` (such as /run/umbel) remembers settings.
    public init(rules: ExitRules, stateFolder: String, runner: CommandRunner = CommandRunner()) {
        self.rules = rules
        self.runner = runner
        settings = KernelSettings(recordPath: "\(stateFolder)/\(rules.tableName).settings.json")
    }

    /// The table the rules live in.
    public var table: FirewallTable {
        FirewallTable(name: rules.tableName)
    }

    /// Puts the rules in place of those of an earlier run and starts forwarding.
    ///
    /// - Throws: ``HostNetworkError``; then nothing is forwarded that was not before.
    public func install() async throws(HostNetworkError) {
        var rules = rules
        let forwarding = try await KernelSettings.read(Self.forwardV4, with: runner)
        rules.hostForwards = (settings.originals()[Self.forwardV4] ?? forwarding) != "0"
        try await table.install(body: try rules.body(), with: runner)
        try await settings.apply(try await wantedSettings(), with: runner)
    }

    /// Takes the rules away and puts the settings back; safe to repeat.
    ///
    /// The settings stay while another exit of ours still needs them.
    ///
    /// - Throws: ``HostNetworkError`` where nft or sysctl fails.
    public func remove() async throws(HostNetworkError) {
        // Forwarding ends before the rules do, so that no moment forwards without them.
        let tables = try await runner.run(["nft", "list", "tables"])
        let others = tables.split(separator: "\n").contains {
            $0.contains("umbel_exit_") && !$0.hasSuffix(" \(rules.tableName)")
        }
        if !others { try await settings.restore(with: runner) }
        try await table.remove(with: runner)
    }

    private static let forwardV4 = "net/ipv4/ip_forward"

    /// Forwarding for the families served; hosts that learn IPv6 routes by advertisement keep them.
    private func wantedSettings() async throws(HostNetworkError) -> [String: String] {
        var wanted = [Self.forwardV4: "1"]
        if rules.resolvers.contains(where: { $0.ip.v4.map { $0 >> 24 } == 127 }) {
            wanted["net/ipv4/conf/\(rules.tunnel)/route_localnet"] = "1"
        }
        guard rules.poolV6 != nil else { return wanted }
        wanted["net/ipv6/conf/all/forwarding"] = "1"
        // A forwarding host ignores router advertisements at 1 and obeys them at 2.
        let listed = try await runner.run(
            ["sysctl", "-a", "-r", "^net\\.ipv6\\.conf\\..*\\.accept_ra$"]
        )
        for line in listed.split(separator: "\n") where line.hasSuffix("= 1") {
            guard let name = line.split(separator: " ").first else { continue }
            let parts = name.split(separator: ".")
            let interface = parts.dropFirst(3).dropLast().joined(separator: ".")
            guard interface != rules.tunnel, interface != "lo" else { continue }
            // sysctl prints a dot inside an interface's name as a slash.
            let plain = interface.replacing("/", with: ".")
            wanted["net/ipv6/conf/\(plain)/accept_ra"] = "2"
        }
        return wanted
    }
}
