public import Base
import TOMLKit

extension RelayConfiguration {
    /// What an exit lets out, and how.
    public struct Exit: Hashable, Sendable {
        /// Whether the relay is an exit at all; off unless asked for.
        public var isEnabled: Bool
        /// Networks opened although the default policy refuses them.
        public var allowedNetworks: [IPNetwork]
        /// Ports that are let out.
        public var ports: [ClosedRange<UInt16>]
        /// Connections a circuit may begin in a second.
        public var flowsPerSecond: Int
        /// Connections a circuit may hold open.
        public var flowsPerCircuit: Int
        /// Addresses of this machine that flows show, a circuit always the same one of each family;
        /// where a family has none, the one the route chooses.
        public var addresses: [IPAddress]
        /// Addresses leased to circuits.
        public var ipv4Pool: IPNetwork
        /// IPv6 addresses leased to circuits.
        public var ipv6Pool: IPNetwork
        /// Who answers for the circuits.
        public var resolver: Resolver
        /// The resolvers that the exit's own one asks; empty for its own choice.
        public var upstreams: [IPAddress]
        /// Whether IPv6 leaves here; it is refused otherwise.
        public var carriesIPv6: Bool
        /// Name of the exit's TUN interface.
        public var interface: String
    }

    /// Who answers when circuits ask for names.
    public enum Resolver: Hashable, Sendable {
        /// A program that the exit runs: the first of ``ResolverProgram`` that is installed.
        case own
        /// This program, which the exit runs.
        case program(ResolverProgram)
        /// Another one, at this address.
        case address(IPAddress)
    }

    /// Programs that resolve names.
    public enum ResolverProgram: String, CaseIterable, Sendable {
        /// unbound, which asks the world's servers by itself, or dnsmasq, which asks other resolvers.
        case unbound, dnsmasq
    }
}

extension RelayConfiguration.Exit {
    init(_ section: Section) {
        isEnabled = section.value("enabled", .flag, default: false)
        allowedNetworks = section.value("allow", .list(.network, limit: 64), default: [])
        ports = Self.ports(section)
        flowsPerSecond = section.value("flows_per_second", .integer(1...100_000), default: 200)
        flowsPerCircuit = section.value("flows", .integer(16...65_536), default: 4_096)
        addresses = section.value("addresses", .list(.address, limit: 16), default: [])
        ipv4Pool = section.value("ipv4_pool", .ipv4Pool, default: Self.defaultIPv4Pool)
        ipv6Pool = section.value("ipv6_pool", .ipv6Pool, default: Self.defaultIPv6Pool)
        resolver = section.value("resolver", .resolver, default: .own)
        upstreams = section.value("upstreams", .list(.address, limit: 8), default: [])
        carriesIPv6 = section.value("ipv6", .flag, default: true)
        interface = section.value("interface", .interface, default: "umbel-exit")
        noteContradictions(in: section)
    }

    private func noteContradictions(in section: Section) {
        if Set(addresses).count != addresses.count {
            section.note(
                "addresses",
                what: "`addresses` in [exit] names an address twice",
                why: "flows are shared out among them evenly",
                hint: "name each once"
            )
        }
        if !carriesIPv6, let address = addresses.first(where: { !$0.isV4 }) {
            section.note(
                "addresses",
                what: "`addresses` in [exit] has \(address), but `ipv6` is false",
                why: "nothing leaves over IPv6, so nothing shows that address",
                hint: "leave the address out, or set `ipv6 = true`"
            )
        }
        if case .address(let address) = resolver, !upstreams.isEmpty {
            section.note(
                "upstreams",
                what: "`upstreams` in [exit] are for a resolver of the exit's own",
                why: "`resolver` is \(address), which asks whom it wants",
                hint: "leave `upstreams` out, or set `resolver = \"own\"`"
            )
        }
    }

    /// The ports that `ports` names, or `preset`; not both.
    private static func ports(_ section: Section) -> [ClosedRange<UInt16>] {
        let named = section.optional("ports", .list(.ports, limit: 32))
        let preset = section.optional("preset", .choice(RelayConfiguration.PortPreset.self))
        if named != nil, preset != nil {
            section.note(
                "preset",
                what: "`preset` and `ports` in [exit] contradict each other",
                why: "a preset is a list of ports, and so is the other",
                hint: "keep one of the two"
            )
        }
        if let named, named.isEmpty {
            section.note(
                "ports",
                what: "`ports` in [exit] is empty",
                why: "an exit that lets nothing out is no exit",
                hint: "name ports, or set `enabled = false`"
            )
        }
        return named ?? preset?.ports ?? RelayConfiguration.PortPreset.open.ports
    }

    // 100.64.0.0/16
    private static let defaultIPv4Pool = IPNetwork(
        IPAddress(v4: 0x6440_0000),
        prefixBitCount: 112
    )
    // fd75:6d62:656c:e::/64
    private static let defaultIPv6Pool = IPNetwork(
        IPAddress(high: 0xfd75_6d62_656c_000e, low: 0),
        prefixBitCount: 64
    )
}

extension ValueKind where Value == RelayConfiguration.Resolver {
    /// Who answers for names.
    fileprivate static let resolver = Self(
        expectation: "\"own\", \"unbound\", \"dnsmasq\" or an address such as \"198.51.100.53\""
    ) { value in
        guard let text = value.string else { return nil }
        if text == "own" { return .own }
        if let program = RelayConfiguration.ResolverProgram(rawValue: text) {
            return .program(program)
        }
        return IPAddress(text).map { .address($0) }
    } write: { resolver in
        switch resolver {
        case .own: Text.quoted("own")
        case .program(let program): Text.quoted(program.rawValue)
        case .address(let address): Text.quoted("\(address)")
        }
    }
}
