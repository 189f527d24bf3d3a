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
        #expect(example.tunnel == least.tunnel)
        #expect(example.control == least.control)
        #expect(example.tunnel.mtu == 1280)
        #expect(example.path.build == .pipelined)
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
        #expect(relay.exit.resolver == IPAddress("198.51.100.53"))
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
