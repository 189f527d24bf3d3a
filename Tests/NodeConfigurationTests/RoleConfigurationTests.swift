import Base
import NodeConfiguration
import Testing

@Suite("Configuration of the roles")
struct RoleConfigurationTests {
    @Test("The relay's example shows the defaults")
    func relayExample() throws {
        let folder = try ScratchFolder()
        let least = try RelayConfiguration(file: folder.write("relay.toml", leastRelay))
        let example = try RelayConfiguration(file: examples + "/relay.toml")
        #expect(example.exit == least.exit)
        #expect(example.limits == least.limits)
        #expect(example.line == least.line)
        #expect(example.metrics == least.metrics)
        #expect(example.control == least.control)
        #expect(example.nickname == "helianthus")
        #expect(example.listenAddresses.map(\.port) == [4433, 4433])
        #expect(example.directory.network == examples + "/network.toml")
        #expect(!example.exit.isEnabled)
    }

    @Test("The client's example shows the defaults")
    func clientExample() throws {
        let folder = try ScratchFolder()
        let least = try ClientConfiguration(
            file: folder.write(
                "client.toml",
                """
                [client]
                state = "/s"
                [directory]
                network = "/n"
                consensus = "/c"
                """
            )
        )
        let example = try ClientConfiguration(file: examples + "/client.toml")
        #expect(example.path == least.path)
        #expect(example.payment == least.payment)
        #expect(example.payment.account == nil)
        #expect(example.tunnel == least.tunnel)
        #expect(example.control == least.control)
        #expect(example.split == least.split)
        #expect(example.split.networks.isEmpty && example.split.names.isEmpty)
        #expect(example.tunnel.mtu == 1280)
        #expect(example.path.build == .pipelined)
    }

    @Test("What goes beside the tunnel is networks, addresses and names, and nothing else")
    func split() throws {
        let folder = try ScratchFolder()
        func read(_ list: String) throws -> ClientConfiguration.Split {
            let text = """
                [client]
                state = "/s"
                [directory]
                network = "/n"
                [split]
                outside = [\(list)]
                """
            return try ClientConfiguration(file: folder.write("client.toml", text)).split
        }
        let split = try read("\"192.0.2.0/24\", \"2001:db8::1\", \"www.example.org\"")
        #expect(split.networks.map(\.description) == ["192.0.2.0/24", "2001:db8::1/128"])
        #expect(split.names == ["www.example.org"])
        for wrong in [
            "192.0.2.300", "192.0.2.0/33", "a b", "", "*.example.org", "a..b", "http://a",
        ] {
            #expect(throws: ConfigurationError.self) { try read("\"\(wrong)\"") }
        }
    }

    @Test("The mint's example shows the defaults")
    func mintExample() throws {
        let folder = try ScratchFolder()
        let least = try MintConfiguration(
            file: folder.write(
                "mint.toml",
                """
                [node]
                state = "/s"
                key = "/k"
                [listen]
                addresses = ["192.0.2.1:7001"]
                [directory]
                network = "/n"
                """
            )
        )
        let example = try MintConfiguration(file: examples + "/mint.toml")
        #expect(example.control == least.control)
        #expect(example.parameters == nil)
        #expect(example.listenAddresses.map(\.port) == [7001, 7001])
        #expect(example.key == examples + "/mint.key")
        #expect(throws: ConfigurationError.self) {
            try MintConfiguration(
                file: folder.write("mint.toml", "[listen]\naddresses = []\n[mints]\n")
            )
        }
    }

    @Test("Mints and admins are numbered from 0, each with its key, and enough admins must sign")
    func bodies() throws {
        let folder = try ScratchFolder()
        func body(_ title: String, _ index: Int, _ digit: String) -> String {
            """

            [[\(title)]]
            index = \(index)
            name = "n\(digit)"
            key = "\(String(repeating: digit, count: 64))"

            """
        }
        func network(_ text: String, top: String = "") throws -> NetworkConfiguration {
            let head = "network_id = \"\(String(repeating: "0", count: 64))\"\nthreshold = 1\n"
            let authority = body("authority", 0, "1")
            return try NetworkConfiguration(
                file: folder.write("network.toml", head + top + authority + text)
            )
        }
        let none = try network("")
        #expect(none.mints.isEmpty && none.admins.isEmpty)
        let mints = body("mint", 1, "3") + body("mint", 0, "2")
        let admins = body("admin", 0, "4") + body("admin", 1, "5") + body("admin", 2, "6")
        let both = try network(mints + admins)
        #expect(both.mints.map(\.name) == ["n2", "n3"])
        #expect(both.grantThreshold == 3)
        #expect(try network(mints + admins, top: "grant_threshold = 2\n").grantThreshold == 2)
        for wrong in [
            body("mint", 1, "2"), body("mint", 0, "2") + body("mint", 0, "3"),
            body("mint", 0, "2") + body("mint", 1, "2"),
        ] {
            #expect(throws: ConfigurationError.self) { try network(wrong) }
        }
        #expect(throws: ConfigurationError.self) {
            try network(admins, top: "grant_threshold = 4\n")
        }
    }

    @Test("The trust root's example has four authorities, three of which sign")
    func networkExample() throws {
        let example = try NetworkConfiguration(file: examples + "/network.toml")
        #expect(example.threshold == 3)
        #expect(example.authorities.map(\.index) == [0, 1, 2, 3])
    }

    @Test("The parameters' example shows the defaults")
    func parametersExample() throws {
        let folder = try ScratchFolder()
        var least = try ParametersConfiguration(file: folder.write("parameters.toml", ""))
        let example = try ParametersConfiguration(file: examples + "/parameters.toml")
        least.file = example.file
        #expect(example == least)
        #expect(example.interval == .seconds(3600))
    }

    @Test("What a relay's file says is what is read")
    func relayValues() throws {
        let folder = try ScratchFolder()
        let text =
            leastRelay.replacing("[listen]", with: "country = \"de\"\n[listen]") + """

                [exit]
                enabled = true
                allow = ["198.51.100.0/24", "2001:db8::/32"]
                ports = ["443", "1000-2000"]
                ipv4_pool = "100.65.0.0/24"
                resolver = "198.51.100.53"
                ipv6 = false
                [control]
                group = "staff"
                """
        let relay = try RelayConfiguration(file: folder.write("relay.toml", text))
        #expect(relay.country == "DE")
        #expect(relay.stateFolder == folder.path + "/state")
        #expect(relay.directory.consensus == "/var/consensus")
        #expect(relay.exit.isEnabled)
        #expect(!relay.exit.carriesIPv6)
        #expect(relay.exit.ports == [443...443, 1000...2000])
        #expect(relay.exit.ipv4Pool.description == "100.65.0.0/24")
        #expect(
            relay.exit.allowedNetworks.map(\.description) == ["198.51.100.0/24", "2001:db8::/32"]
        )
        #expect(relay.exit.resolver == IPAddress("198.51.100.53").map { .address($0) })
        #expect(relay.control.group == "staff")
    }

    @Test("A variable overrides its key, and an unknown one is refused")
    func environment() throws {
        let folder = try ScratchFolder()
        let file = try folder.write("relay.toml", leastRelay)
        let overridden = try RelayConfiguration(
            file: file,
            environment: [
                "UMBEL_LIMITS_SHARDS": "4", "UMBEL_NODE_NICKNAME": "rose",
                "UMBEL_EXIT_PORTS": "[\"80\"]", "UMBEL_SOCKET": "/elsewhere", "PATH": "/bin",
            ]
        )
        #expect(overridden.limits.shards == 4)
        #expect(overridden.nickname == "rose")
        #expect(overridden.exit.ports == [80...80])

        let error = #expect(throws: ConfigurationError.self) {
            try RelayConfiguration(file: file, environment: ["UMBEL_LIMIT_SHARDS": "4"])
        }
        #expect(error?.problems.map(\.hint) == ["did you mean `UMBEL_LIMITS_SHARDS`?"])
        let wrong = #expect(throws: ConfigurationError.self) {
            try RelayConfiguration(file: file, environment: ["UMBEL_LIMITS_SHARDS": "many"])
        }
        #expect(
            wrong?.problems.map(\.what) == [
                "environment: UMBEL_LIMITS_SHARDS is not a whole number from 1 to 64"
            ]
        )
    }

    @Test(
        "Durations are whole numbers with a unit",
        arguments: [
            ("10s", 10), ("5m", 300), ("2h", 7200), ("1d", 86_400), ("7000ms", 7),
        ]
    )
    func durations(text: String, seconds: UInt64) throws {
        let folder = try ScratchFolder()
        let file = try folder.write("parameters.toml", "[directory]\ninterval = \"\(text)\"")
        #expect(try ParametersConfiguration(file: file).interval == .seconds(seconds))
    }

    @Test(
        "What is no duration within range is refused",
        arguments: ["10", "s", "1.5m", "-5s", "10 s", "4s", "2d", "99999999999999999999s", "5M"]
    )
    func badDurations(text: String) throws {
        let folder = try ScratchFolder()
        let file = try folder.write("parameters.toml", "[directory]\ninterval = \"\(text)\"")
        #expect(throws: ConfigurationError.self) { try ParametersConfiguration(file: file) }
    }
}
