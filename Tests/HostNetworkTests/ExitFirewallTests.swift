import Base
import Foundation
import HostNetwork
import Testing

@Suite("The exit's rules as text")
struct ExitRulesTests {
    private func rules() throws -> ExitRules {
        ExitRules(
            node: "r7",
            tunnel: "umbel-exit",
            poolV4: try #require(IPNetwork("100.64.0.0/16")),
            poolV6: IPNetwork("fd00:7::/64")
        )
    }

    @Test(
        "source ports avoid every listening port (row 45)",
        arguments: [
            ([], 32_768, 60_999), ([4433], 32_768, 60_999), ([32_768], 32_769, 60_999),
            ([51_820, 40_000], 40_001, 51_819), ([60_999, 61_000], 32_768, 60_998),
        ] as [([UInt16], UInt16, UInt16)]
    )
    func ports(listening: [UInt16], lower: UInt16, upper: UInt16) throws {
        var rules = try rules()
        rules.listeningPorts = listening
        #expect(try rules.sourcePorts() == lower...upper)
    }

    @Test("listeners that leave no room for clients are an error that says so")
    func crowded() throws {
        var rules = try rules()
        rules.listeningPorts = stride(from: 33_000, to: 61_000, by: 2_000).map { UInt16($0) }
        let error = #expect(throws: HostNetworkError.self) { try rules.body() }
        #expect(error?.hint != nil)
    }

    @Test(
        "settings that contradict each other are refused",
        arguments: [
            { $0.tunnel = "no\"quotes" }, { $0.tunnel = "" }, { $0.uplink = "x y" },
            { $0.tunnelMTU = 100 }, { $0.poolV6 = $0.poolV4 },
            { $0.resolvers = [SocketAddress("[::1]:53")].compactMap(\.self) },
            { $0.sources = [IPAddress("192.0.2.1"), IPAddress("192.0.2.1")].compactMap(\.self) },
            { $0.sources = [IPAddress("100.64.3.1")].compactMap(\.self) },
            { $0.sources = (1...17).map { IPAddress(v4: $0) } },
            {
                $0.resolvers = [SocketAddress("192.0.2.1:53"), SocketAddress("192.0.2.2:53")]
                    .compactMap(\.self)
            },
        ] as [@Sendable (inout ExitRules) -> Void]
    )
    func contradictions(change: @Sendable (inout ExitRules) -> Void) throws {
        var rules = try rules()
        change(&rules)
        #expect(throws: HostNetworkError.self) { try rules.body() }
    }

    @Test(
        "reserved addresses are refused, public ones are not (row 47)",
        arguments: [
            ("127.0.0.1", true), ("10.1.2.3", true), ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("192.168.0.1", true), ("100.64.0.1", true), ("100.100.100.200", true),
            ("100.128.0.0", false), ("169.254.169.254", true), ("224.0.0.1", true),
            ("255.255.255.255", true), ("::1", true), ("fc00::1", true), ("fe80::1", true),
            ("::ffff:100.64.0.1", true), ("64:ff9b::a9fe:a9fe", true), ("2002:7f00:1::", true),
            ("ff02::1", true), ("9.9.9.9", false), ("2620:fe::9", false), ("2a00::1", false),
            ("2001:200::1", false), ("2001::1", true),
        ]
    )
    func reserved(text: String, refused: Bool) throws {
        #expect(ReservedNetworks.contain(try #require(IPAddress(text))) == refused)
    }

    @Test(
        "every combination of settings loads",
        .enabled(if: obstacle == nil, "needs root, ip, nft, socat")
    )
    func loads() async throws {
        try await withNetwork { network in
            let runner = try await network.add("a")
            for variant in 0..<128 {
                var rules = try rules()
                if variant & 1 != 0 { rules.poolV6 = nil }
                if variant & 2 != 0 { rules.uplink = "eth0" }
                if variant & 4 != 0 { rules.listeningPorts = [4433, 51_820] }
                if variant & 8 != 0 {
                    rules.resolvers = [
                        try #require(SocketAddress("127.0.0.1:5353")),
                        try #require(SocketAddress("[2001:db8::53]:53")),
                    ]
                }
                if variant & 16 != 0 {
                    rules.allowed = [
                        try #require(IPNetwork("192.0.2.0/24")),
                        try #require(IPNetwork("2001:db8:1::/48")),
                    ]
                }
                if variant & 32 != 0 {
                    rules.refused = rules.allowed
                    rules.refusedTCPPorts = []
                    rules.hostForwards = true
                }
                if variant & 64 != 0 {
                    rules.sources = ["192.0.2.7", "192.0.2.8", "192.0.2.9", "2001:db8::7"]
                        .compactMap { IPAddress($0) }
                    rules.resolvers = ["100.64.0.1", "fd00:7::1"].compactMap { IPAddress($0) }
                        .map { SocketAddress(ip: $0, port: ExitResolver.port) }
                    if rules.poolV6 == nil { rules.resolvers.removeLast() }
                }
                let table = FirewallTable(name: rules.tableName)
                try await table.check(body: try rules.body(), with: runner)
            }
        }
    }

    @Test("the table's name takes any nickname")
    func name() throws {
        var rules = try rules()
        rules.node = "r-7 ü/"
        #expect(rules.tableName == "umbel_exit_r_7___")
    }
}

/// A client's packets enter `exit` by `tun0`, as if a TUN device gave them out.
@Suite("An exit for real", .enabled(if: obstacle == nil, "needs root, ip, nft, socat"), .serialized)
struct ExitFirewallTests {
    struct Place {
        var inside: CommandRunner
        var exit: CommandRunner
        var outside: CommandRunner
        var firewall: ExitFirewall
    }

    private func withExit(
        _ change: (inout ExitRules) throws -> Void = { _ in },
        _ body: (Place, TestNetwork) async throws -> Void
    ) async throws {
        try await withFolder { folder in
            try await withNetwork { network in
                let inside = try await network.add("in")
                let exit = try await network.add("exit")
                let outside = try await network.add("out")
                try await network.join(
                    inside,
                    "c0",
                    ["100.64.0.2/32", "fd00:7::2/128", "10.9.9.9/32"],
                    exit,
                    "tun0",
                    []
                )
                try await network.join(
                    exit,
                    "eth0",
                    ["192.0.2.1/24", "2001:db8::1/64"],
                    outside,
                    "eth0",
                    [
                        "192.0.2.2/24", "2001:db8::2/64", "9.9.9.9/32", "2620:fe::9/128",
                        "192.168.7.7/32",
                    ]
                )
                try await run(
                    inside,
                    [
                        "ip route add default dev c0 src 100.64.0.2",
                        "ip -6 route add default dev c0 src fd00:7::2",
                        "sysctl -qw net.ipv4.conf.all.proxy_arp=1",
                    ]
                )
                // The cable stands in for a TUN device, which knows no neighbours.
                try await neighbours(of: inside, "c0", exit, "tun0")
                try await run(
                    exit,
                    [
                        "ip route add 100.64.0.0/16 dev tun0 via 100.64.0.2 onlink",
                        "ip -6 route add fd00:7::/64 dev tun0 via fd00:7::2 onlink",
                        "ip route add 10.9.9.9/32 dev tun0 via 100.64.0.2 onlink",
                        "ip route add 9.9.9.9/32 via 192.0.2.2",
                        "ip route add 192.168.7.7/32 via 192.0.2.2",
                        "ip -6 route add 2620:fe::9/128 via 2001:db8::2",
                    ]
                )
                // The way back, were a packet to get out under its own address.
                try await run(
                    outside,
                    [
                        "ip route add 100.64.0.0/16 via 192.0.2.1",
                        "ip route add 10.9.9.9/32 via 192.0.2.1",
                        "ip -6 route add fd00:7::/64 via 2001:db8::1",
                    ]
                )
                var rules = ExitRules(
                    node: "r7",
                    tunnel: "tun0",
                    poolV4: try #require(IPNetwork("100.64.0.0/16")),
                    poolV6: IPNetwork("fd00:7::/64")
                )
                try change(&rules)
                let firewall = ExitFirewall(rules: rules, stateFolder: folder, runner: exit)
                let place = Place(
                    inside: inside,
                    exit: exit,
                    outside: outside,
                    firewall: firewall
                )
                try await body(place, network)
            }
        }
    }

    private func run(_ runner: CommandRunner, _ commands: [String]) async throws {
        for command in commands {
            try await runner.run(command.split(separator: " ").map(String.init))
        }
    }

    private func neighbours(
        of left: CommandRunner,
        _ leftName: String,
        _ right: CommandRunner,
        _ rightName: String
    ) async throws {
        let mac = { (runner: CommandRunner, name: String) in
            try await runner.run(["cat", "/sys/class/net/\(name)/address"])
                .trimmingCharacters(in: .whitespacesAndNewlines)
        }
        let there = try await mac(right, rightName)
        for address in [
            "9.9.9.9", "192.168.7.7", "10.111.0.1", "192.0.2.1", "192.0.2.2", "100.64.0.3",
            "2620:fe::9", "fd75:6d62:656c::1",
        ] {
            try await run(
                left,
                ["ip neigh replace \(address) lladdr \(there) dev \(leftName) nud permanent"]
            )
        }
        let here = try await mac(left, leftName)
        for address in ["100.64.0.2", "fd00:7::2"] {
            try await run(
                right,
                ["ip neigh replace \(address) lladdr \(here) dev \(rightName) nud permanent"]
            )
        }
    }

    @Test("clients go out under the exit's address and a port no listener has, v4 and v6")
    func masquerade() async throws {
        try await withExit({ $0.listeningPorts = [51_820, 4_433] }) { place, network in
            try await network.serveOrigin(place.outside, at: "9.9.9.9", "2620:fe::9", port: 7_000)
            #expect(try await place.inside.ask("9.9.9.9:7000") == "")
            try await place.firewall.install()
            let four = try await place.inside.ask("9.9.9.9:7000", options: ",sourceport=51820")
            let parts = four.split(separator: " ")
            #expect(parts.first == "192.0.2.1")
            let port = try #require(parts.last.flatMap { UInt16($0) })
            #expect(try place.firewall.rules.sourcePorts().contains(port))
            let six = try await place.inside.ask("[2620:fe::9]:7000")
            #expect(six.contains("2001:0db8:0000:0000:0000:0000:0000:0001"))
            #expect(try await place.inside.reaches("9.9.9.9"))
            #expect(try await place.inside.reaches("2620:fe::9"))
        }
    }

    @Test("of several addresses a client always shows the same one, and all are used")
    func sources() async throws {
        let shown = ["192.0.2.1", "192.0.2.11", "192.0.2.12", "2001:db8::1", "2001:db8::11"]
        try await withExit({ $0.sources = shown.compactMap { IPAddress($0) } }) { place, network in
            try await run(
                place.exit,
                [
                    "ip address add 192.0.2.11/24 dev eth0",
                    "ip address add 192.0.2.12/24 dev eth0",
                    "ip address add 2001:db8::11/64 dev eth0 nodad",
                ]
            )
            try await network.serveOrigin(place.outside, at: "9.9.9.9", "2620:fe::9", port: 7_000)
            try await place.firewall.install()
            let rules = place.firewall.rules
            let ports = try rules.sourcePorts()
            var seen: Set<Substring> = []
            for (number, target) in [
                (2, "9.9.9.9:7000"), (2, "9.9.9.9:7000"), (3, "9.9.9.9:7000"),
                (4, "9.9.9.9:7000"), (2, "[2620:fe::9]:7000"), (3, "[2620:fe::9]:7000"),
            ] {
                let isV6 = target.hasPrefix("[")
                let lease = isV6 ? "fd00:7::\(number)" : "100.64.0.\(number)"
                let route = isV6 ? "ip -6 route" : "ip route"
                let bits = isV6 ? 128 : 32
                let nodad = isV6 ? " nodad" : ""
                try await run(
                    place.inside,
                    [
                        "ip address replace \(lease)/\(bits) dev c0\(nodad)",
                        "\(route) replace default dev c0 src \(lease)",
                    ]
                )
                try await place.exit.run([
                    "ip", "neigh", "replace", lease, "lladdr",
                    try await address(of: "c0", place.inside), "dev", "tun0", "nud", "permanent",
                ])
                let answer = try await place.inside.ask(target)
                let parts = answer.split(separator: " ")
                let leased = try #require(IPAddress(lease))
                let expected = try #require(rules.source(of: leased))
                let found = parts.first.map { $0.drop { $0 == "[" }.prefix { $0 != "]" } } ?? ""
                #expect(IPAddress(String(found)) == expected, "\(lease): \(answer)")
                #expect(parts.last.flatMap { UInt16($0) }.map(ports.contains) == true)
                seen.insert(found)
            }
            #expect(seen.count == shown.count)
        }
    }

    private func address(of name: String, _ runner: CommandRunner) async throws -> String {
        try await runner.run(["cat", "/sys/class/net/\(name)/address"])
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @Test("a reserved address is refused until the operator opens it")
    func reserved() async throws {
        try await withExit { place, _ in
            try await place.firewall.install()
            let refused = try await place.inside.outcome(
                of: ["ping", "-n", "-c1", "-W1", "192.168.7.7"]
            )
            #expect(refused.status == 1)
            #expect(refused.output.contains("filtered"))
            var firewall = place.firewall
            firewall.rules.allowed = [try #require(IPNetwork("192.168.7.0/24"))]
            try await firewall.install()
            #expect(try await place.inside.reaches("192.168.7.7"))
        }
    }

    @Test("the exit's own addresses are refused, as is mail")
    func own() async throws {
        try await withExit { place, network in
            try await network.serve(
                place.outside,
                port: 25,
                ["socat", "TCP6-LISTEN:25,fork,ipv6only=0", "SYSTEM:echo mail"]
            )
            try await network.serveOrigin(place.exit, at: "192.0.2.1", port: 7_001)
            #expect(try await place.inside.ask("192.0.2.1:7001") != "")
            try await place.firewall.install()
            #expect(try await !place.inside.reaches("192.0.2.1"))
            #expect(try await place.inside.ask("192.0.2.1:7001") == "")
            let mail = ["socat", "-T1", "-", "TCP:9.9.9.9:25,connect-timeout=1"]
            #expect(try await place.inside.outcome(of: mail).status != 0)
            var open = place.firewall
            open.rules.refusedTCPPorts = []
            try await open.install()
            #expect(try await place.inside.outcome(of: mail).output == "mail\n")
        }
    }

    @Test("the tunnel's resolver leads to the exit's, over UDP and TCP, v4 and v6")
    func resolver() async throws {
        try await withExit({ rules in
            rules.resolvers = [
                try #require(SocketAddress("192.0.2.2:53")),
                try #require(SocketAddress("[2001:db8::2]:53")),
            ]
        }) { place, network in
            try await network.serveOrigin(place.outside, at: "192.0.2.2", port: 53)
            try await network.serve(
                place.outside,
                port: 53,
                ["socat", "TCP6-LISTEN:53,fork,ipv6only=0", "SYSTEM:echo tcp"],
                count: 3
            )
            #expect(try await place.inside.ask("10.111.0.1:53") == "")
            try await place.firewall.install()
            #expect(try await place.inside.ask("10.111.0.1:53").isEmpty == false)
            #expect(try await place.inside.ask("[fd75:6d62:656c::1]:53").isEmpty == false)
            #expect(try await place.inside.ask("10.111.0.1:54") == "")
            let tcp = ["socat", "-T1", "-", "TCP:10.111.0.1:53,connect-timeout=1"]
            let answer = try await place.inside.outcome(of: tcp).output
            #expect(answer == "tcp\n")
        }
    }

    @Test("a resolver of the exit's own is there for its clients, and for nobody outside")
    func ownResolver() async throws {
        try await withExit({ rules in
            rules.resolvers = ["100.64.0.1", "fd00:7::1"].compactMap { IPAddress($0) }
                .map { SocketAddress(ip: $0, port: ExitResolver.port) }
        }) { place, network in
            try await run(
                place.exit,
                [
                    "ip address add 100.64.0.1/32 dev tun0",
                    "ip address add fd00:7::1/128 dev tun0 nodad",
                ]
            )
            let port = Int(ExitResolver.port)
            try await network.serveOrigin(
                place.exit,
                at: "100.64.0.1",
                "fd00:7::1",
                port: port
            )
            let outside = ["100.64.0.1:\(port)", "[fd00:7::1]:\(port)"]
            // Who would hear them without the rules: neighbours may have to be found first.
            for target in outside {
                var isHeard = false
                for _ in 0..<20 where !isHeard {
                    isHeard = try await place.outside.ask(target) != ""
                }
                #expect(isHeard, "\(target)")
            }
            try await place.firewall.install()
            #expect(try await place.inside.ask("10.111.0.1:53").hasPrefix("100.64.0.2"))
            #expect(try await place.inside.ask("[fd75:6d62:656c::1]:53") != "")
            for target in outside {
                #expect(try await place.outside.ask(target) == "")
                #expect(try await place.inside.ask(target) == "")
            }
        }
    }

    @Test("a source that is no lease goes nowhere, nor does one client to another (row 49)")
    func spoofing() async throws {
        try await withExit { place, _ in
            // Forwarding without the rules lets both through: the rules are what stops them.
            try await place.exit.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
            try await place.inside.run(
                ["nft", "-f", "-"],
                input: """
                    table inet seen {
                      counter asked { }
                      chain in { type filter hook prerouting priority raw;
                        iifname "c0" icmp type echo-request counter name asked; }
                    }
                    """
            )
            let asked = {
                try await place.inside.run(["nft", "list", "counter", "inet", "seen", "asked"])
            }
            #expect(try await place.inside.reaches("9.9.9.9", ["-I", "10.9.9.9"]))
            _ = try await place.inside.reaches("100.64.0.3")
            let before = try await asked()
            #expect(before.contains("packets 1 "))
            try await place.firewall.install()
            #expect(try await !place.inside.reaches("9.9.9.9", ["-I", "10.9.9.9"]))
            _ = try await place.inside.reaches("100.64.0.3")
            #expect(try await asked() == before)
        }
    }

    @Test("nobody outside opens a connection to a lease")
    func unsolicited() async throws {
        try await withExit { place, _ in
            try await place.exit.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
            #expect(try await place.outside.reaches("100.64.0.2", ["-I", "192.0.2.2"]))
            try await place.firewall.install()
            #expect(try await !place.outside.reaches("100.64.0.2", ["-I", "192.0.2.2"]))
        }
    }

    @Test("one client's connections are bounded (row 46)")
    func bounded() async throws {
        try await withExit({ $0.flowsPerClient = 3 }) { place, network in
            try await network.serveOrigin(place.outside, at: "9.9.9.9", "2620:fe::9", port: 7_000)
            try await place.firewall.install()
            var answers = 0
            for _ in 0..<5 where try await place.inside.ask("9.9.9.9:7000") != "" { answers += 1 }
            #expect(answers == 3)
        }
    }

    @Test("ports that are not let out are refused by the firewall too, on allowed networks as well")
    func servedPorts() async throws {
        try await withExit({ $0.ports = [443...443, 7_000...7_001] }) { place, network in
            for port in [7_000, 7_002] {
                try await network.serveOrigin(place.outside, at: "9.9.9.9", port: port)
            }
            var firewall = place.firewall
            firewall.rules.allowed = [try #require(IPNetwork("9.9.9.9/32"))]
            for firewall in [place.firewall, firewall] {
                try await firewall.install()
                #expect(try await place.inside.ask("9.9.9.9:7000") != "")
                #expect(try await place.inside.ask("9.9.9.9:7002") == "")
            }
        }
    }

    @Test("connections begun too fast are refused, and later ones are not (row 46)")
    func rate() async throws {
        try await withExit({ $0.newFlowsPerSecond = 2 }) { place, network in
            try await network.serveOrigin(place.outside, at: "9.9.9.9", port: 7_000)
            try await place.firewall.install()
            // All at once: two places, and one or two more while they are asked for.
            let ask = "echo ask | socat -t1 -T1 - UDP:9.9.9.9:7000"
            let command = "for i in 1 2 3 4 5 6 7 8; do (\(ask)) 2>/dev/null & done; wait"
            let burst = try await place.inside.run(["bash", "-c", command])
            let answers = burst.split(whereSeparator: \.isNewline).count
            #expect((2...4).contains(answers), "\(burst)")
            // A place is free each half second; asking takes some of them.
            var isServed = false
            for _ in 0..<20 where !isServed {
                try await Task.sleep(for: .milliseconds(600))
                isServed = try await place.inside.ask("9.9.9.9:7000") != ""
            }
            #expect(isServed)
        }
    }

    @Test("an exit without IPv6 refuses it and leaves IPv6 forwarding alone")
    func withoutV6() async throws {
        try await withExit({ $0.poolV6 = nil }) { place, _ in
            try await place.firewall.install()
            #expect(try await place.inside.reaches("9.9.9.9"))
            #expect(try await !place.inside.reaches("2620:fe::9"))
            let forwarding = try await KernelSettings.read(
                "net/ipv6/conf/all/forwarding",
                with: place.exit
            )
            #expect(forwarding == "0")
        }
    }

    @Test("starting twice is one table; removing twice leaves everything as it was")
    func cleanUp() async throws {
        try await withExit { place, _ in
            let keys = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"]
            try await place.firewall.install()
            // A crash: the next start knows nothing but the file and the table's name.
            try await place.firewall.install()
            let tables = try await place.exit.run(["nft", "list", "tables"])
            #expect(tables == "table inet umbel_exit_r7\n")
            let listing = try await place.firewall.table.listing(with: place.exit)
            #expect(listing != nil)
            for key in keys {
                #expect(try await KernelSettings.read(key, with: place.exit) == "1")
            }
            try await place.firewall.remove()
            try await place.firewall.remove()
            #expect(try await place.firewall.table.listing(with: place.exit) == nil)
            for key in keys {
                #expect(try await KernelSettings.read(key, with: place.exit) == "0")
            }
        }
    }
}
