import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// What goes beside the tunnel of a machine that is up.
    ///
    /// Test matrix row 44.
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
            let file = "\(lab.folder("client"))/client.toml"
            let before = try String(contentsOfFile: file, encoding: .utf8)
            func restart(_ list: String) async throws {
                try await lab.disconnect()
                try await lab.kill("client", "TERM")
                try Data((before + "\n[split]\noutside = [\(list)]\n").utf8)
                    .write(to: URL(fileURLWithPath: file))
                try await lab.start("client")
                try await connect()
            }
            try await restart("\"203.0.113.0/24\"")
            #expect(try await source([], "203.0.113.10") == Self.own)
            #expect(try await source([], "[2001:db8:f::10]") != "2001:db8:c::10")
            try await restart("\"www.umbel.test\"")
            try await eventually("the name's addresses go beside the tunnel") {
                try await source([], "203.0.113.10") == Self.own
            }
            #expect(try await source([], "[2001:db8:f::10]") == "2001:db8:c::10")
            try await lab.disconnect()
            let rules = try await lab.run("client", "nft list ruleset")
            #expect(!rules.contains("umbel_split"))
            try await lab.kill("client", "TERM")
            try Data(before.utf8).write(to: URL(fileURLWithPath: file))
            try await lab.start("client")
        }
    }
}
