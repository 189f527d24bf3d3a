public import Base

/// Interfaces, addresses and routes to be made, as one `ip` batch that stops at its first error.
public struct InterfacePlan: Hashable, Sendable {
    /// The lines of the batch, in order.
    public private(set) var lines: [String] = []

    /// Makes an empty plan.
    public init() {}

    /// Adds a pair of virtual cables, the far end in `namespace` of the name `peer`.
    public mutating func addPair(_ name: String, peer: String, inNamespace namespace: String) {
        lines.append("link add \(name) type veth peer name \(peer) netns \(namespace)")
    }

    /// Adds a pair of virtual cables with both ends here.
    public mutating func addPair(_ name: String, peer: String) {
        lines.append("link add \(name) type veth peer name \(peer)")
    }

    /// Adds a bridge that forwards at once, without spanning tree.
    public mutating func addBridge(_ name: String) {
        lines.append("link add \(name) type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
    }

    /// Plugs `name` into `bridge`.
    public mutating func plug(_ name: String, into bridge: String) {
        lines.append("link set \(name) master \(bridge)")
    }

    /// Brings `name` up with an MTU of `mtu` bytes.
    public mutating func raise(_ name: String, mtu: Int) {
        lines.append("link set \(name) mtu \(mtu) up")
    }

    /// Gives `name` an address; IPv6 without duplicate detection, so that it serves at once.
    ///
    /// - Parameter prefixBitCount: as written for the address's family.
    public mutating func assign(_ address: IPAddress, prefixBitCount: Int, to name: String) {
        let flags = address.isV4 ? "" : " nodad"
        lines.append("address replace \(address)/\(prefixBitCount) dev \(name)\(flags)")
    }

    /// Sends `network` to the router `gateway`.
    public mutating func route(_ network: IPNetwork, via gateway: IPAddress) {
        lines.append("route replace \(network) via \(gateway)")
    }

    /// Sends `network` out of `name`.
    public mutating func route(_ network: IPNetwork, through name: String) {
        lines.append("route add \(network) dev \(name)")
    }

    /// Moves `name` into the network namespace of the process `pid`.
    public mutating func move(_ name: String, toNamespaceOf pid: Int32) {
        lines.append("link set \(name) netns \(pid)")
    }

    /// Removes `name` and whatever hangs on it.
    public mutating func remove(_ name: String) {
        lines.append("link delete \(name)")
    }

    /// Carries the plan out in the namespace of `runner`.
    ///
    /// - Throws: ``HostNetworkError``, naming the line `ip` stopped at.
    public func apply(with runner: CommandRunner) async throws(HostNetworkError) {
        guard !lines.isEmpty else { return }
        let namespace = runner.namespace.map { ["-n", $0] } ?? []
        let argv = ["ip"] + namespace + ["-batch", "-"]
        let outcome = try await CommandRunner().outcome(
            of: argv,
            input: lines.joined(separator: "\n") + "\n"
        )
        guard outcome.status != 0 else { return }
        // `ip` ends its message with "Command failed -:3", counting from 1.
        let number = outcome.message.split(separator: ":").last.flatMap { Int($0) } ?? 0
        let line = lines.indices.contains(number - 1) ? " at `\(lines[number - 1])`" : ""
        throw HostNetworkError(
            failed: argv,
            status: "ended with status \(outcome.status)",
            message: outcome.message + line
        )
    }
}

/// Moves the interface `name` into the network namespace of the process `pid`.
///
/// - Throws: ``HostNetworkError`` where either is not there.
public func moveInterface(
    _ name: String,
    toNamespaceOf pid: Int32
) async throws(HostNetworkError) {
    var plan = InterfacePlan()
    plan.move(name, toNamespaceOf: pid)
    try await plan.apply(with: CommandRunner())
}
