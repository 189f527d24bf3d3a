/// One nftables table of ours: put in place whole, read back, taken away.
///
/// Every change is one `nft` transaction, so that the rules before it stay until those after it
/// hold, and a text that does not load changes nothing.
public struct FirewallTable: Hashable, Sendable {
    /// The family nft keeps the table in: `inet` or `netdev`.
    public var family: String
    /// The table's name.
    public var name: String

    /// Names a table, which need not exist yet.
    public init(family: String = "inet", name: String) {
        self.family = family
        self.name = name
    }

    /// The transaction that replaces the table, if any, by `body` (sets and chains).
    public func replacement(body: String) -> String {
        """
        table \(family) \(name)
        delete table \(family) \(name)
        table \(family) \(name) {
        \(body)
        }

        """
    }

    /// Puts `body` in place of whatever the table held.
    ///
    /// - Throws: ``HostNetworkError``; the table is then as it was.
    public func install(
        body: String,
        with runner: CommandRunner
    ) async throws(HostNetworkError) {
        try await runner.run(["nft", "-f", "-"], input: replacement(body: body))
    }

    /// Asks nft whether `body` would load, and changes nothing.
    ///
    /// - Throws: ``HostNetworkError`` with nft's complaint.
    public func check(
        body: String,
        with runner: CommandRunner
    ) async throws(HostNetworkError) {
        try await runner.run(["nft", "-c", "-f", "-"], input: replacement(body: body))
    }

    /// Takes the table away; that there is none is no error.
    ///
    /// - Throws: ``HostNetworkError`` where nft fails.
    public func remove(with runner: CommandRunner) async throws(HostNetworkError) {
        let text = "table \(family) \(name)\ndelete table \(family) \(name)\n"
        try await runner.run(["nft", "-f", "-"], input: text)
    }

    /// The table's rules without counters and set contents; `nil` where there is no such table.
    ///
    /// Two equal listings mean that nobody touched the rules in between.
    ///
    /// - Throws: ``HostNetworkError`` where nft is missing.
    public func listing(with runner: CommandRunner) async throws(HostNetworkError) -> String? {
        let outcome = try await runner.outcome(of: [
            "nft", "-s", "-t", "list", "table", family, name,
        ])
        return outcome.status == 0 ? outcome.output : nil
    }
}
