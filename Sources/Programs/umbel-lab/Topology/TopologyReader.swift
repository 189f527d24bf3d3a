import Base
import Foundation
import Yams

/// Reads a topology file and checks that it can be built; the first thing wrong is the error.
struct TopologyReader {
    var file: String

    /// Reads and checks the file.
    ///
    /// - Throws: ``TopologyError`` with the line, ``LabError`` where the file cannot be read.
    static func read(file: String) throws -> Topology {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw LabError(
                "cannot read \(file)",
                why: "there is no such file, or it is closed to us"
            )
        }
        return try read(text: String(decoding: data, as: UTF8.self), file: file)
    }

    /// Reads and checks `text`, naming `file` in errors.
    static func read(text: String, file: String) throws(TopologyError) -> Topology {
        let reader = TopologyReader(file: file)
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            let line = (error as? YamlError).flatMap(Self.line) ?? 1
            throw TopologyError(file: file, line: line, place: "", complaint: "not YAML: \(error)")
        }
        guard let root else {
            throw TopologyError(file: file, line: 1, place: "", complaint: "the file is empty")
        }
        let topology = try reader.topology(TopologyNode(node: root, file: file, place: ""))
        return topology
    }

    private static func line(of error: YamlError) -> Int? {
        switch error {
        case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _):
            mark.line
        default: nil
        }
    }

    private func topology(_ root: TopologyNode) throws(TopologyError) -> Topology {
        let map = try root.mapping([
            "mode", "mtu", "threshold", "payments", "parameters", "subnets", "hosts",
        ])
        let subnets = try self.subnets(try map.required("subnets"))
        var topology = Topology(
            mode: try map["mode"]?.choice(Topology.Mode.self) ?? .fast,
            mtu: try map["mtu"]?.integer(1280...9000) ?? 1500,
            threshold: 0,
            parameters: try map["parameters"].map(parameters) ?? [],
            payments: try map["payments"]?.choice(Topology.Payments.self) ?? .off,
            subnets: subnets,
            hosts: []
        )
        var names: Set<String> = []
        var addresses: Set<IPAddress> = []
        for node in try map.required("hosts").list(limit: 200) {
            let host = try self.host(node)
            let here = TopologyNode(node: node.node, file: file, place: "host \(host.name)")
            guard names.insert(host.name).inserted else { throw here.error("the name is taken") }
            for address in host.addresses {
                guard addresses.insert(address).inserted else {
                    throw here.error("another host has the address \(address)")
                }
                guard let subnet = topology.subnet(of: host) else {
                    throw here.error("no subnet holds all its addresses")
                }
                let reserved = subnet.networks.flatMap {
                    [$0.base, Topology.Subnet.gateway(of: $0)]
                }
                guard !reserved.contains(address) else {
                    throw here.error("\(address) is the net itself or its router")
                }
            }
            topology.hosts.append(host)
        }
        let authorities = topology.hosts.filter { $0.role == .authority }.count
        let relays = topology.hosts.filter { $0.role == .relay }.count
        topology.threshold =
            try map["threshold"]?.integer(1...max(1, authorities)) ?? (authorities * 2 / 3 + 1)
        guard relays == 0 || authorities > 0 else {
            throw root.error("relays need authorities: nobody signs their directory")
        }
        guard topology.hosts.filter({ $0.role == .client }).isEmpty || relays >= 3 else {
            throw root.error("a client needs at least three relays, there are \(relays)")
        }
        let mints = topology.hosts.filter(\.isMint).count
        guard topology.payments == .off || mints > 0 else {
            throw root.error("payments need mints: no host has `mint: true`")
        }
        guard mints == 0 || (mints - 1).isMultiple(of: 3) else {
            throw root.error("\(mints) mints are not 3f + 1: let there be 1, 4, 7 or 10")
        }
        return topology
    }

    private func parameters(_ node: TopologyNode) throws(TopologyError)
        -> [Topology.ParameterSection]
    {
        var sections: [Topology.ParameterSection] = []
        for (name, section) in try node.pairs() {
            var values: [Topology.Setting] = []
            for (key, value) in try section.pairs() {
                values.append(Topology.Setting(key: key, value: try value.toml()))
            }
            sections.append(Topology.ParameterSection(name: name, values: values))
        }
        return sections
    }

    private func subnets(_ node: TopologyNode) throws(TopologyError) -> [Topology.Subnet] {
        var subnets: [Topology.Subnet] = []
        for (name, value) in try node.pairs() {
            guard Self.isName(name) else {
                throw value.error("a name is 1 to 10 lower case letters and digits")
            }
            let place = TopologyNode(node: value.node, file: file, place: "subnet \(name)")
            var networks: [IPNetwork] = []
            for item in try place.list(limit: 2) {
                let network = try item.value("a network such as 192.0.2.0/24") { IPNetwork($0) }
                guard Self.isLabNetwork(network) else {
                    throw item.error("\(network) is not of the documentation ranges a lab may use")
                }
                guard network.familyPrefixBitCount <= (network.base.isV4 ? 29 : 120) else {
                    throw item.error("\(network) is too small for a router and hosts")
                }
                let others = subnets.flatMap(\.networks) + networks
                if let other = others.first(where: {
                    $0.contains(network.base) || network.contains($0.base)
                }) {
                    throw item.error("\(network) overlaps \(other)")
                }
                networks.append(network)
            }
            guard !networks.isEmpty else { throw place.error("has no network") }
            guard Set(networks.map(\.base.isV4)).count == networks.count else {
                throw place.error("has two networks of one family")
            }
            subnets.append(Topology.Subnet(name: name, networks: networks))
        }
        return subnets
    }

    private func host(_ node: TopologyNode) throws(TopologyError) -> Topology.Host {
        let keys = [
            "name", "role", "country", "addresses", "port", "shards", "exit", "services", "link",
            "start", "mint",
        ]
        let bare = try TopologyNode(node: node.node, file: file, place: "host").mapping(keys)
        let name = try bare.required("name").value("a name of 1 to 10 letters and digits") {
            Self.isName($0) && $0 != "core" ? $0 : nil
        }
        let here = TopologyNode(node: node.node, file: file, place: "host \(name)")
        let map = try here.mapping(keys)
        let role = try map.required("role").choice(Topology.Role.self)
        var addresses: [IPAddress] = []
        for item in try map.required("addresses").list(limit: 2) {
            addresses.append(try item.value("an address") { IPAddress($0) })
        }
        guard !addresses.isEmpty, Set(addresses.map(\.isV4)).count == addresses.count else {
            throw here.error("needs one address, or one of each family")
        }
        if let exit = map["exit"], role != .relay {
            throw exit.error("only a relay can be an exit")
        }
        if let shards = map["shards"], role != .relay {
            throw shards.error("only a relay has shards")
        }
        if let mint = map["mint"], role != .authority {
            throw mint.error("a mint runs beside an authority")
        }
        if let services = map["services"], role != .internet {
            throw services.error("only an `internet` host serves")
        }
        let country = try map["country"]?.value("two capital letters") { text in
            text.utf8.count == 2 && text.utf8.allSatisfy { (65...90).contains($0) } ? text : nil
        }
        return Topology.Host(
            name: name,
            role: role,
            country: country,
            addresses: addresses,
            port: UInt16(try map["port"]?.integer(1...65_535) ?? 4433),
            shards: try map["shards"]?.integer(1...64) ?? 1,
            exit: try map["exit"].map(exit),
            services: role == .internet ? try services(map["services"], host: name) : nil,
            isMint: try map["mint"]?.value("true or false") { Bool($0) } ?? false,
            link: try map["link"].map(link) ?? .none,
            startsByItself: try map["start"]?.value("true or false") { Bool($0) } ?? true
        )
    }

    private func exit(_ node: TopologyNode) throws(TopologyError) -> Topology.Exit {
        let map = try node.mapping([
            "allow", "ipv4_pool", "ipv6_pool", "resolver", "upstreams", "ipv6",
        ])
        var allowed: [IPNetwork] = []
        for item in try map["allow"]?.list(limit: 64) ?? [] {
            allowed.append(try item.value("a network") { IPNetwork($0) })
        }
        var upstreams: [IPAddress] = []
        for item in try map["upstreams"]?.list(limit: 8) ?? [] {
            upstreams.append(try item.value("an address") { IPAddress($0) })
        }
        let hasV6 = try map["ipv6"]?.value("true or false") { Bool($0) } ?? true
        let poolV6 = try map["ipv6_pool"]?.value("an IPv6 network") { text in
            IPNetwork(text).flatMap { $0.base.isV4 ? nil : $0 }
        }
        return Topology.Exit(
            allowed: allowed,
            poolV4: try map.required("ipv4_pool").value("an IPv4 network") { text in
                IPNetwork(text).flatMap { $0.base.isV4 ? $0 : nil }
            },
            poolV6: hasV6 ? poolV6 : nil,
            resolver: try map["resolver"]?.value("an address, unbound or dnsmasq") { text in
                ["unbound", "dnsmasq"].contains(text) || IPAddress(text) != nil ? text : nil
            },
            upstreams: upstreams
        )
    }

    private func services(_ node: TopologyNode?, host: String) throws(TopologyError)
        -> Topology.Services
    {
        let map = try node?.mapping(["names", "iperf3_ports", "echo_port"])
        var names: [String] = []
        for item in try map?["names"]?.list(limit: 64) ?? [] {
            names.append(try item.value("a DNS name") { Self.isDomain($0) ? $0 : nil })
        }
        var ports: [UInt16] = []
        for item in try map?["iperf3_ports"]?.list(limit: 16) ?? [] {
            ports.append(UInt16(try item.integer(1024...65_535)))
        }
        return Topology.Services(
            names: names.isEmpty ? ["www.umbel.test"] : names,
            throughputPorts: ports.isEmpty ? [5201] : ports,
            echoPort: UInt16(try map?["echo_port"]?.integer(1...65_535) ?? 7)
        )
    }

    private func link(_ node: TopologyNode) throws(TopologyError) -> LinkFaults {
        let map = try node.mapping(["loss", "delay", "jitter", "rate", "seed"])
        var faults = LinkFaults()
        let time = "a time such as 20ms"
        faults.lossPerMyriad =
            try map["loss"]?.value("a share such as 5%", LinkFaults.perMyriad) ?? 0
        faults.delayMicroseconds = try map["delay"]?.value(time, LinkFaults.microseconds) ?? 0
        faults.jitterMicroseconds = try map["jitter"]?.value(time, LinkFaults.microseconds) ?? 0
        faults.rateBitsPerSecond =
            try map["rate"]?.value("a rate such as 50mbit", LinkFaults.bitsPerSecond) ?? 0
        faults.seed = UInt64(try map["seed"]?.integer(0...Int.max) ?? 1)
        return faults
    }

    /// Whether `text` can name a host or a subnet: it also names interfaces of 15 letters at most.
    static func isName(_ text: String) -> Bool {
        (1...10).contains(text.utf8.count)
            && text.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) }
            && text.utf8.first.map { (97...122).contains($0) } == true
    }

    private static func isDomain(_ text: String) -> Bool {
        (1...253).contains(text.utf8.count)
            && text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
                (1...63).contains(label.utf8.count)
                    && label.allSatisfy {
                        $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-")
                    }
            }
    }

    private static let labRanges = [
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "2001:db8::/32",
    ]

    private static func isLabNetwork(_ network: IPNetwork) -> Bool {
        labRanges.compactMap { IPNetwork($0) }.contains {
            $0.contains(network.base) && $0.prefixBitCount <= network.prefixBitCount
        }
    }
}
