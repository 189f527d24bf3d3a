import Base

/// A network to be built: subnets around one router, hosts on them, and what runs on each host.
struct Topology: Hashable, Sendable {
    /// How the client's circuits behave; also what `--mode` takes.
    enum Mode: String, CaseIterable, Codable, Sendable {
        case fast, padded, mix
    }

    /// The mode the client asks for.
    var mode: Mode
    /// The MTU of every cable in bytes.
    var mtu: Int
    /// Signatures a consensus needs.
    var threshold: Int
    /// What the authorities put into the consensus: sections of `parameters.toml`, as written.
    var parameters: [ParameterSection]
    /// Whether relays are paid: `on` or `off`.
    var payments: Payments
    /// Whether relays tell what they count, at ``metricsPort`` of their loopbacks; for measurements.
    var servesMetrics = false
    /// The nets, in the order of the file.
    var subnets: [Subnet]
    /// The hosts, in the order of the file.
    var hosts: [Host]

    /// The port of relays' metrics.
    static let metricsPort: UInt16 = 9_464

    /// Whether relays serve nobody who does not pay.
    enum Payments: String, CaseIterable, Sendable {
        case on, off
    }

    /// One section of `parameters.toml`: keys and TOML values.
    struct ParameterSection: Hashable, Sendable {
        var name: String
        var values: [Setting]
    }

    /// A key and its value as TOML writes it.
    struct Setting: Hashable, Sendable {
        var key: String
        var value: String
    }

    /// A net of one or two families; its first address is the router's.
    struct Subnet: Hashable, Sendable {
        var name: String
        var networks: [IPNetwork]

        /// The router's address in `network`.
        static func gateway(of network: IPNetwork) -> IPAddress {
            IPAddress(high: network.base.high, low: network.base.low + 1)
        }
    }

    /// What a host is for.
    enum Role: String, CaseIterable, Codable, Sendable {
        /// Runs `umbel authority run`, which votes with the others.
        case authority
        /// Runs `umbel relay`; an exit where it has exit settings.
        case relay
        /// Runs `umbel daemon` and leads its whole traffic into the tunnel.
        case client
        /// Web, names, throughput and echo servers: what clients want to reach.
        case internet
        /// Runs nothing; for the user's own programs.
        case plain
    }

    /// A host: a namespace with one interface, `eth0`.
    struct Host: Hashable, Sendable {
        var name: String
        var role: Role
        /// Two letters, for relays.
        var country: String?
        var addresses: [IPAddress]
        /// The UDP port a relay receives on.
        var port: UInt16
        /// Packet threads of a relay.
        var shards: Int
        var exit: Exit?
        var services: Services?
        /// Whether `umbel mint run` runs here too.
        var isMint: Bool
        /// Faults the cable has from the start.
        var link: LinkFaults
        /// Whether `up` starts its programs; `start` does else.
        var startsByItself: Bool
    }

    /// What makes a relay an exit.
    struct Exit: Hashable, Sendable {
        var allowed: [IPNetwork]
        var poolV4: IPNetwork
        var poolV6: IPNetwork?
        /// Who answers for names, as the relay's configuration says it: an address or a program.
        var resolver: String?
        /// Whom a resolver of the exit's own asks.
        var upstreams: [IPAddress]
    }

    /// What the `internet` host serves.
    struct Services: Hashable, Sendable {
        /// Names its resolver answers with the host's own addresses; all others are refused.
        var names: [String]
        /// TCP and UDP ports of the iperf3 servers, one run at a time each.
        var throughputPorts: [UInt16]
        /// The port of the UDP echo.
        var echoPort: UInt16
    }

    /// The host `name`.
    func host(_ name: String) -> Host? {
        hosts.first { $0.name == name }
    }

    /// The subnet all addresses of `host` lie in.
    func subnet(of host: Host) -> Subnet? {
        subnets.first { subnet in
            host.addresses.allSatisfy { address in
                subnet.networks.contains { $0.contains(address) }
            }
        }
    }
}
