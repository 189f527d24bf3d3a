import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// Relays that die, stall, end and come back while a connection lasts.
    ///
    /// Test matrix rows 4, 5, 26, 27.
    @Suite("Relays that die", .lab())
    struct Deaths {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        /// How far along the path a relay is.
        enum Place: Int, CaseIterable, CustomTestStringConvertible {
            case guardRelay, middle

            var testDescription: String { self == .guardRelay ? "guard" : "middle" }
        }

        private static let server = SocketAddress(ip: IPAddress(v4: 0xcb00_710a), port: 7000)

        private func stream() async throws -> SteadyStream {
            let stream = try SteadyStream(lab, from: "inet", Self.server, to: "client")
            try await flows(stream, byteCount: 1 << 20)
            return stream
        }

        /// Waits until `byteCount` more have come.
        private func flows(_ stream: SteadyStream, byteCount: Int) async throws {
            let before = stream.progress.byteCount
            try await eventually("the stream goes on") {
                let progress = stream.progress
                try #require(progress.end == nil)
                return progress.byteCount >= before + byteCount
            }
        }

        @Test(
            "rows 26 and 27: a connection outlives its guard and its middle",
            arguments: Place.allCases,
            ["KILL", "STOP", "TERM"]
        )
        func death(of place: Place, by signal: String) async throws {
            try await lab.connect()
            let stream = try await stream()
            let relay = try await lab.path()[place.rawValue]
            try await lab.without(relay, signal) {
                // More than can have been on the way when the relay died.
                try await flows(stream, byteCount: 4 << 20)
                let progress = stream.progress
                print("row 26: \(place.testDescription) \(signal): stall \(progress.longestGap)")
                #expect(progress.isExact)
                #expect(try await !lab.path().contains(relay))
            }
            try await flows(stream, byteCount: 1 << 20)
            #expect(stream.progress.isExact)
        }

        @Test("row 26: an exit's death ends its flows, and another exit serves")
        func exitDeath() async throws {
            try await lab.connect()
            let stream = try await stream()
            let exit = try #require(try await lab.status().exit).nickname
            try await lab.without(exit, "KILL") {
                let outage = try await eventually("another exit serves") {
                    let status = try await lab.status()
                    return status.state == .connected && status.exit?.nickname != exit
                }
                print("row 26: exit KILL: outage \(outage)")
                let web = "curl -sS --max-time 30 -o /dev/null http://203.0.113.10/"
                try await lab.run("client", web)
                let before = stream.progress.byteCount
                #expect(try await holds(for: .seconds(1)) { stream.progress.byteCount == before })
            }
        }

        @Test("a relay that was started again takes circuits again, and no other is in the way")
        func restart() async throws {
            try await lab.connect()
            let relays = ["r1", "r2", "r3", "r4", "r5"]
            for relay in relays { try await lab.kill(relay, "KILL") }
            try await eventually("the loss of all relays is seen") {
                try await lab.state() != .connected
            }
            for relay in relays { try await lab.start(relay) }
            let outage = try await eventually("it is connected again") {
                try await lab.state() == .connected
            }
            print("all relays started again: connected after \(outage)")
            try await lab.expectAnswer(from: "203.0.113.10")
        }

        @Test("row 4: a client whose address changes keeps its connection", arguments: [4, 6])
        func roams(family: Int) async throws {
            try await lab.connect()
            let stream = try await stream()
            let change =
                family == 4
                ? [
                    "address del 198.51.100.10/24 dev eth0",
                    "address add 198.51.100.77/24 dev eth0",
                    "route replace default via 198.51.100.1 dev eth0",
                ]
                : [
                    "address flush dev eth0",
                    "address add 2001:db8:c::77/48 dev eth0 nodad",
                    "-6 route replace default via 2001:db8:c::1 dev eth0",
                ]
            let back = [
                "address flush dev eth0",
                "address add 198.51.100.10/24 dev eth0",
                "address add 2001:db8:c::10/48 dev eth0 nodad",
                "route replace default via 198.51.100.1 dev eth0",
                "-6 route replace default via 2001:db8:c::1 dev eth0",
            ]
            for line in change { try await lab.run("client", "ip \(line)") }
            try await flows(stream, byteCount: 4 << 20)
            let progress = stream.progress
            print("row 4: roaming to IPv\(family): stall \(progress.longestGap)")
            #expect(progress.isExact)
            for line in back { try await lab.run("client", "ip \(line)") }
            try await flows(stream, byteCount: 4 << 20)
            #expect(stream.progress.isExact)
        }

        @Test("row 5: behind a translator that forgets after 1 s, an idle client is served on")
        func idleTranslator() async throws {
            try await lab.connect()
            let rules = """
                table ip lab_nat { chain post {
                type nat hook postrouting priority srcnat;
                ip saddr 198.51.100.0/24 udp dport 4433 masquerade random
                }
                }

                """
            let times = ["", "_stream"].map { "net.netfilter.nf_conntrack_udp_timeout\($0)=1" }
            // The times first: an entry keeps the time it was made with.
            try await lab.run("core", "sysctl -q -w \(times.joined(separator: " "))")
            let nft = try await lab.outcome("core", ["nft", "-f", "-"], input: rules)
            try #require(nft.status == 0, "\(nft.message)")
            for _ in 0..<2 {
                try await eventually("the translator has forgotten us") {
                    let known = try await lab.run("core", "cat /proc/net/nf_conntrack")
                    return !known.contains("198.51.100.10")
                }
                let ping = try await lab.outcome(
                    "client",
                    ["ping", "-n", "-c5", "-i0.2", "-W20", "203.0.113.10"]
                )
                #expect(ping.output.contains(" 5 received"), "\(ping.output)")
            }
            #expect(try await lab.state() == .connected)
            try await lab.run("core", "nft delete table ip lab_nat")
        }
    }
}
