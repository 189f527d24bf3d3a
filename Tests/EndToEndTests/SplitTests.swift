import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// What goes beside the tunnel of a machine that is up.
    ///
    /// Test matrix rows 43 and 44.
    @Suite("Split tunnels", .lab())
    struct Splits {
        private let lab: Lab
        /// The client's own address, and that of the exit in DE.
        private static let own = "198.51.100.10"
        private static let exit = "198.19.7.10"

        init() throws {
            lab = try Lab.shared()
        }

        /// Who the web server on `address` says has asked.
        private func source(_ prefix: [String], _ address: String) async throws -> String {
            let curl = ["curl", "-sS", "--max-time", "10", "http://\(address)/"]
            let outcome = try await lab.outcome("client", prefix + curl)
            #expect(outcome.status == 0, "\(prefix) \(outcome.message)")
            return outcome.output.split(separator: " ").first.map(String.init) ?? ""
        }

        private var outside: [String] {
            [Lab.umbel, "run", "--outside", "--socket", lab.socket("client"), "--"]
        }

        private func connect() async throws {
            let up = try await lab.umbel("up", "--exit", "DE", "--wait")
            try #require(up.status == 0, "\(up.message)\n\(lab.log("client"))")
        }

        @Test("umbel run --outside: that command and its children go beside the tunnel, others not")
        func programs() async throws {
            try await connect()
            let server = "203.0.113.10"
            #expect(try await source([], server) == Self.exit)
            #expect(try await source(outside, server) == Self.own)
            #expect(
                try await source(outside + ["sh", "-c", "\"$0\" \"$@\" && true"], server)
                    == Self.own
            )
            // Names are asked for in the tunnel, and ports of names lead nowhere else.
            #expect(try await source(outside, "www.umbel.test") == Self.own)
            let dig = ["dig", "+time=2", "+tries=1", "+short", "www.umbel.test", "@\(server)"]
            let leaked = try await lab.outcome("client", outside + dig)
            #expect(leaked.status != 0, "\(leaked.output)")
            // Beside it, and nobody else's business.
            #expect(try await source([], server) == Self.exit)
            let failed = try await lab.outcome("client", outside + ["sh", "-c", "exit 7"])
            #expect(failed.status == 7)
            let missing = try await lab.outcome("client", outside + ["/no/such/program"])
            #expect(missing.status == 127)
            try await lab.disconnect()
            #expect(try await source(outside, server) == Self.own)
            try await connect()
            #expect(try await source(outside, server) == Self.own)
        }

        @Test(
            "networks and names of the configuration go beside the tunnel, what is not listed in it"
        )
        func lists() async throws {
            try await withSplit("outside = [\"203.0.113.0/24\"]") {
                let (listed, other) = try await (
                    source([], "203.0.113.10"), source([], "[2001:db8:f::10]")
                )
                #expect(listed == Self.own)
                #expect(other != "2001:db8:c::10")
            }
            try await withSplit("outside = [\"www.umbel.test\"]") {
                try await eventually("the name's addresses go beside the tunnel") {
                    try await source([], "203.0.113.10") == Self.own
                }
                #expect(try await source([], "[2001:db8:f::10]") == "2001:db8:c::10")
            }
            try await lab.disconnect()
            let rules = try await lab.run("client", "nft list ruleset")
            #expect(!rules.contains("umbel_split"))
            try await connect()
        }

        /// Runs `body` while the client is up with these lines in `[split]`.
        private func withSplit(_ lines: String, _ body: () async throws -> Void) async throws {
            let file = "\(lab.folder("client"))/client.toml"
            let before = try String(contentsOfFile: file, encoding: .utf8)
            func restart(with text: String) async throws {
                try await lab.disconnect()
                try await lab.kill("client", "TERM")
                try Data(text.utf8).write(to: URL(fileURLWithPath: file))
                try await lab.start("client")
            }
            try await restart(with: before + "\n[split]\n\(lines)\n")
            try await connect()
            try await body()
            try await restart(with: before)
        }

        @Test("the local network is reached where the configuration says so, and only it (row 43)")
        func localNetwork() async throws {
            // A printer on the net the client is in, and its resolver's port.
            try await lab.run("core", "ip address add 192.168.77.1/24 dev client")
            try await lab.run("client", "ip address add 192.168.77.2/24 dev eth0")
            let services = try ["8088", "53"].map { port in
                let listen = "TCP-LISTEN:\(port),fork,reuseaddr,bind=192.168.77.1"
                let socat = try CommandRunner.locate("socat")
                return try BackgroundProgram(
                    lab,
                    host: "core",
                    [socat, listen, "SYSTEM:echo here"]
                )
            }
            func ask(_ port: String) async throws -> String {
                try await lab.outcome(
                    "client",
                    ["socat", "-T5", "-", "TCP4:192.168.77.1:\(port),connect-timeout=5"]
                ).output
            }
            try await lab.disconnect()
            for port in ["8088", "53"] {
                try await eventually("port \(port) serves") { try await ask(port) == "here\n" }
            }
            try await connect()
            #expect(try await ask("8088") == "")
            try await withSplit("local_network = true") {
                #expect(try await ask("8088") == "here\n")
                #expect(try await ask("53") == "", "names are asked for in the tunnel")
                #expect(try await source([], "203.0.113.10") == Self.exit)
                // Somebody deletes the rule that leads there: it comes back.
                let rules = try await lab.run("client", "ip rule")
                let rule = try #require(
                    rules.split(separator: "\n").first { $0.contains("suppress_prefixlength") }
                )
                let priority = try #require(rule.split(separator: ":").first)
                try await lab.run("client", "ip rule del priority \(priority)")
                try await eventually("the rule is back") {
                    try await lab.run("client", "ip rule") == rules
                }
            }
            for service in services {
                service.send(SIGKILL)
                _ = try await service.status()
            }
            try await lab.run("core", "ip address del 192.168.77.1/24 dev client")
            try await lab.run("client", "ip address del 192.168.77.2/24 dev eth0")
            try await connect()
        }
    }
}
