import Base
import NodeConfiguration
import Testing

@Suite("A configuration in force as text")
struct ConfigurationTextTests {
    @Test("What a role's file comes to reads as the same again")
    func sameAgain() throws {
        let folder = try ScratchFolder()
        let environment = ["UMBEL_CONTROL_SOCKET": "/run/other.sock"]

        let client = try folder.write(
            "client.toml",
            """
            [directory]
            network = "network.toml"
            [path]
            exit_countries = ["de", "NL"]
            exclude = ["\(String(repeating: "ab", count: 32))"]
            [tunnel]
            mode = "mix"
            slot = "2.5ms"
            session_offset = "90s"
            [split]
            local_network = true
            outside = ["192.0.2.0/24", "www.example.org"]
            """
        )
        var first = try ClientConfiguration(file: client, environment: environment)
        let text = try ClientConfiguration.text(file: client, environment: environment)
        first.file = ""
        var second = try ClientConfiguration(file: folder.write("client-2.toml", text))
        second.file = ""
        #expect(first == second, "\(text)")

        let relay = try folder.write(
            "relay.toml",
            leastRelay + """

                [limits]
                rate = "1.5 Mbit/s"
                quota = "2 TB"
                hours = ["22:00-07:00", "12:00-24:00"]
                [exit]
                enabled = true
                ports = ["443", "1000-2000", "*"]
                resolver = "198.51.100.53"
                [metrics]
                listen = "[::1]:9100"
                """
        )
        var relays = [
            try RelayConfiguration(file: relay, environment: environment),
            try RelayConfiguration(
                file: folder.write(
                    "relay-2.toml",
                    try RelayConfiguration.text(file: relay, environment: environment)
                )
            ),
        ]
        for index in relays.indices { relays[index].file = "" }
        #expect(relays[0] == relays[1])

        let authority = "\(examples)/authority.toml"
        var authorities = [
            try AuthorityConfiguration(file: authority),
            try AuthorityConfiguration(
                file: folder.write(
                    "authority.toml",
                    try AuthorityConfiguration.text(file: authority)
                )
            ),
        ]
        for index in authorities.indices { authorities[index].file = "" }
        #expect(authorities[0] == authorities[1])

        let mint = "\(examples)/mint.toml"
        var mints = [
            try MintConfiguration(file: mint),
            try MintConfiguration(
                file: folder.write("mint.toml", try MintConfiguration.text(file: mint))
            ),
        ]
        for index in mints.indices { mints[index].file = "" }
        #expect(mints[0] == mints[1])
    }

    @Test("It tells what the file says, what a variable says, and what is a default")
    func origins() throws {
        let folder = try ScratchFolder()
        let file = try folder.write(
            "client.toml",
            "[directory]\nnetwork = \"n.toml\"\n[tunnel]\nmtu = 1300\nname = \"tun-a\"\n"
        )
        let text = try ClientConfiguration.text(
            file: file,
            environment: ["UMBEL_TUNNEL_NAME": "tun-b"]
        )
        let lines = text.split(separator: "\n")
        #expect(lines.first?.contains(file) == true)
        #expect(lines.contains("state = \"/var/lib/umbel/client\"  # default"))
        #expect(lines.contains("network = \"\(folder.path)/n.toml\""))
        #expect(lines.contains("# consensus is not set"))
        #expect(lines.contains("mtu = 1300"))
        #expect(lines.contains("name = \"tun-b\"  # UMBEL_TUNNEL_NAME"))
        #expect(lines.contains("build = \"pipelined\"  # default"))
    }

    @Test("Quotes and control bytes in a text are written so that they read as they were")
    func quoting() throws {
        let folder = try ScratchFolder()
        let contact = "a \\\"b\\\" \\\\ \\u0007 \\t é"
        let file = try folder.write(
            "relay.toml",
            leastRelay.replacing("[node]", with: "[node]\ncontact = \"\(contact)\"")
        )
        let first = try RelayConfiguration(file: file)
        let text = try RelayConfiguration.text(file: file)
        let second = try RelayConfiguration(file: folder.write("again.toml", text))
        #expect(first.contact == "a \"b\" \\ \u{7} \t é")
        #expect(second.contact == first.contact)
    }
}
