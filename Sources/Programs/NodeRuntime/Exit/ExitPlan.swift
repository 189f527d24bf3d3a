import Base
import EventLoop
import Flows
import HostNetwork
import NodeConfiguration
import RelayCore
import Wire

/// An exit as its configuration wants it: what the process lets out, what the kernel lets out, and what
/// the directory is told, all from the same few values.
struct ExitPlan: Hashable, Sendable {
    /// What the relay's operator decided.
    let configuration: RelayConfiguration

    private var exit: RelayConfiguration.Exit { configuration.exit }

    /// The most addresses leased to circuits.
    private static let leaseLimit = 4_096
    /// The MTU of the tunnel's device, in bytes.
    private static let mtu = 1_280

    init(_ configuration: RelayConfiguration) {
        self.configuration = configuration
    }

    /// The exit's own addresses, which no client reaches: where it listens and is reached, and
    /// what flows show.
    var ownAddresses: [IPAddress] {
        var own: [IPAddress] = []
        let reached = configuration.listenAddresses + configuration.announcedAddresses
        for address in reached.map(\.ip) + exit.addresses where !own.contains(address) {
            own.append(address)
        }
        return own
    }

    private var v6Pool: IPNetwork? { exit.carriesIPv6 ? exit.ipv6Pool : nil }

    /// What the packet path needs to know.
    func settings(offload: TunCoalescer.Offload) -> ExitSettings {
        ExitSettings(
            v4Pool: exit.ipv4Pool,
            v6Pool: v6Pool,
            allow: exit.allowedNetworks,
            own: ownAddresses,
            ports: exit.ports,
            leaseLimit: LeasePool.capacity(
                of: [exit.ipv4Pool, exit.ipv6Pool],
                atMost: Self.leaseLimit
            ),
            offload: offload
        )
    }

    /// The kernel's part.
    var firewall: ExitFirewall {
        var rules = ExitRules(
            node: configuration.nickname,
            tunnel: exit.interface,
            poolV4: exit.ipv4Pool,
            poolV6: v6Pool
        )
        rules.tunnelMTU = Self.mtu
        rules.listeningPorts = configuration.listenAddresses.map(\.port)
        rules.sources = exit.addresses
        rules.allowed = exit.allowedNetworks
        rules.ports = exit.ports
        rules.flowsPerClient = exit.flowsPerCircuit
        rules.newFlowsPerSecond = exit.flowsPerSecond
        switch exit.resolver {
        case .address(let address):
            rules.resolvers = [SocketAddress(ip: address, port: 53)]
        case .own, .program:
            rules.resolvers = resolverAddresses.map {
                SocketAddress(ip: $0, port: ExitResolver.port)
            }
        }
        return ExitFirewall(rules: rules, stateFolder: configuration.stateFolder)
    }

    /// What the directory is told.
    var describedPolicy: DescribedPolicy {
        guard exit.isEnabled else { return .none }
        if exit.ports == [1...UInt16.max] { return .standard }
        let anyAddress = IPNetwork(IPAddress(high: 0, low: 0), prefixBitCount: 0)
        return .rules(
            exit.ports.prefix(DescribedPolicy.maximumRuleCount).map { ports in
                PolicyRule(accepts: true, transport: nil, network: anyAddress, ports: ports)
            }
        )
    }

    /// Where the exit's own resolver answers: the first address of each pool, which nobody is leased.
    private var resolverAddresses: [IPAddress] {
        [exit.ipv4Pool, v6Pool].compactMap(\.self).map { pool in
            IPAddress(high: pool.base.high, low: pool.base.low + 1)
        }
    }

    /// The resolver the exit runs; `nil` where another machine answers.
    ///
    /// - Throws: `HostNetworkError` where no program for it is installed.
    func resolver() throws(HostNetworkError) -> ExitResolver? {
        let program: ExitResolver.Program
        switch exit.resolver {
        case .address: return nil
        case .own: program = try ExitResolver.installed()
        case .program(.unbound): program = try ExitResolver.installed([.unbound])
        case .program(.dnsmasq): program = try ExitResolver.installed([.dnsmasq])
        }
        return ExitResolver(
            program,
            addresses: resolverAddresses,
            clients: [exit.ipv4Pool, v6Pool].compactMap(\.self),
            upstreams: exit.upstreams,
            allowed: exit.allowedNetworks
        )
    }

    /// Sees that the addresses flows are to show are this machine's.
    ///
    /// - Throws: ``IOError`` for the first that is not.
    func checkAddresses() throws(IOError) {
        // Any port will do: whether the address is there is all that is asked.
        try ListenCheck.run(exit.addresses.map { SocketAddress(ip: $0, port: 0) })
    }

    /// Gives the TUN device its routes, and the resolver's addresses.
    ///
    /// - Throws: `HostNetworkError`, such as for a pool that another exit has.
    func raiseInterface() async throws(HostNetworkError) {
        var plan = InterfacePlan()
        plan.raise(exit.interface, mtu: Self.mtu)
        plan.route(exit.ipv4Pool, through: exit.interface)
        if let v6Pool { plan.route(v6Pool, through: exit.interface) }
        if case .address = exit.resolver {
            try await plan.apply(with: CommandRunner())
            return
        }
        for address in resolverAddresses {
            let bits = address.isV4 ? 32 : 128
            plan.assign(address, prefixBitCount: bits, to: exit.interface)
        }
        try await plan.apply(with: CommandRunner())
    }
}
