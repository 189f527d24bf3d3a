import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// Nothing of a machine that is up leaves it but through the tunnel, whatever happens.
    ///
    /// Test matrix rows 33, 36, 37, 38, 42, 75. Each test first shows that it would see a leak.
    @Suite("The lock", .lab())
    struct Locks {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        /// What the kernel and the resolver's file say of a machine.
        private func picture() async throws -> String {
            let commands = [
                "ip -4 rule", "ip -6 rule", "ip -4 route show table all",
                "ip -6 route show table all", "ip -brief link", "nft list ruleset",
                "sysctl -n net.ipv4.conf.all.src_valid_mark net.ipv4.conf.all.arp_ignore",
                "cat /etc/resolv.conf", "stat -c %a:%U:%G /etc/resolv.conf",
            ]
            var texts: [String] = []
            for command in commands {
                let text = try await lab.run("client", command)
                // A route that was learnt counts down; neighbours come and go.
                texts.append("$ \(command)\n" + text.replacing(/\ expires \d+sec/, with: ""))
            }
            return texts.joined()
        }

        /// Gives the client a resolver's file of its own, as a machine has one.
        private func writeResolver(_ text: String) throws {
            let path = "/etc/netns/\(lab.namespace("client"))/resolv.conf"
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        }

        private static let resolver = "# by hand\nnameserver 203.0.113.10\noptions timeout:1\n\n"

        @Test("rows 36 and 42: in no state does a packet leave, not even to a guard's own port")
        func states() async throws {
            let oracle = try await LeakOracle(lab)
            try await lab.cutOff {
                let up = try await lab.umbel("up")
                #expect(up.status == 0)
                oracle.wiretap.clear()
                #expect(try await lab.state() == .connecting)
                try await oracle.expectSilence("while connecting")
            }
            try await lab.connect()
            try await oracle.expectSilence("while connected")
            let middle = try await lab.path()[1]
            try await lab.without(middle, "KILL") {
                try await eventually("another middle serves") {
                    try await oracle.expectSilence("while recovering")
                    return try await !lab.path().contains(middle)
                }
            }
            for country in ["DE", "NL"] {
                let up = try await lab.umbel("up", "--exit", country, "--wait")
                #expect(up.status == 0, "\(up.message)")
                #expect(try await lab.status().exit?.country == country)
            }
            try await oracle.expectSilence("while switching exits")
            // `down` lets it sing again: the wiretap was not deaf.
            try await lab.disconnect()
            try await oracle.expectSong("after down")
        }

        @Test("row 33: a daemon that is killed and started again lets nothing out until down")
        func daemonKilled() async throws {
            let oracle = try await LeakOracle(lab)
            try await lab.connect()
            oracle.wiretap.clear()
            try await lab.kill("client")
            try await oracle.expectSilence("while no daemon runs")

            let daemon = try startDaemon()
            try await eventually("the daemon answers") {
                try await lab.umbel("status").status == 2
            }
            let status = try await lab.status()
            #expect(status.state == .blocked)
            #expect(status.reason?.contains("umbel down") == true)
            try await oracle.expectSilence("while the new daemon waits")
            try await lab.connect()
            try await lab.expectAnswer(from: "203.0.113.10")
            try await oracle.expectSilence("while it is connected again")

            daemon.send(SIGTERM)
            #expect(try await daemon.status() == 0)
            try await oracle.expectSilence("after the daemon has ended in order")
            try await lab.start("client")
            try await lab.disconnect()
            try await oracle.expectSong("after down")
            try await lab.connect()
        }

        /// Starts the client's daemon by hand, without connecting it.
        private func startDaemon() throws -> BackgroundProgram {
            try BackgroundProgram(
                lab,
                host: "client",
                [Lab.umbel, "daemon", "--config", "\(lab.folder("client"))/client.toml"]
            )
        }

        @Test("row 38: down restores rules, routes, settings and resolver, also after a crash")
        func restores() async throws {
            try await lab.disconnect()
            try writeResolver(Self.resolver)
            let before = try await picture()
            try await lab.connect()
            let during = try await picture()
            #expect(during != before)
            #expect(during.contains("nameserver 10.111.0.1\n"))
            #expect(!during.contains("by hand"))
            try await lab.disconnect()
            #expect(try await picture() == before)

            try await lab.connect()
            try await lab.kill("client")
            let daemon = try startDaemon()
            try await eventually("the daemon answers") {
                try await lab.umbel("status").status == 2
            }
            try await lab.disconnect()
            #expect(try await picture() == before)
            daemon.send(SIGTERM)
            #expect(try await daemon.status() == 0)
            try writeResolver(ResolverFile.tunnelText)
            try await lab.start("client")
        }

        @Test("row 38: names are asked for in the tunnel and nowhere else")
        func names() async throws {
            try await lab.disconnect()
            try writeResolver(Self.resolver)
            let dig = ["dig", "+short", "+time=2", "+tries=1", "www.umbel.test"]
            let tcp = dig + ["+tcp"]
            // Where an answer is expected, time is no matter.
            let patient = ["+time=10", "+tries=3"]
            for command in [dig, tcp] {
                #expect(
                    try await lab.outcome("client", command + patient).output == "203.0.113.10\n"
                )
            }
            let wiretap = try Wiretap(lab, host: "client")
            try await lab.connect()
            wiretap.clear()
            for command in [dig, tcp] {
                let inside = try await lab.outcome("client", command + patient)
                #expect(inside.output == "203.0.113.10\n", "\(inside.output) \(inside.message)")
                for server in ["203.0.113.10", "2001:db8:f::10"] {
                    let outside = try await lab.outcome("client", command + ["@\(server)"])
                    #expect(outside.status != 0 && !outside.output.contains("203.0.113.10\n"))
                }
            }
            let tls = try await lab.outcome(
                "client",
                ["curl", "-sS", "--max-time", "3", "http://203.0.113.10:853/"]
            )
            #expect(tls.status == 7)
            #expect(wiretap.leaks().map(\.text) == [])
            try await lab.disconnect()
            try writeResolver(ResolverFile.tunnelText)
            try await lab.connect()
        }

        @Test("row 37: rules that somebody flushes or deletes come back")
        func flushed() async throws {
            let oracle = try await LeakOracle(lab)
            try await lab.connect()
            // A table that is put back comes behind those that stand.
            let list = "nft list table inet umbel_lock && nft list table inet umbel_split"
            let rules = try await lab.outcome("client", ["sh", "-c", list]).output
            try await lab.run("client", "nft flush ruleset")
            let outage = try await eventually("the lock is back, and what goes beside it") {
                try await lab.outcome("client", ["sh", "-c", list]).output == rules
            }
            print("row 37: the lock was back after \(outage)")
            oracle.wiretap.clear()
            try await oracle.expectSilence("after the lock was put back")

            try await lab.run("client", "nft flush chain inet umbel_lock leave")
            try await lab.run("client", "nft flush chain inet umbel_split choose")
            try await eventually("the chains are back") {
                try await lab.outcome("client", ["sh", "-c", list]).output == rules
            }
            // The routes alone lead nothing out: the lock stands.
            oracle.wiretap.clear()
            for family in ["-4", "-6"] {
                try await lab.run("client", "ip \(family) rule del priority 7565")
            }
            try await eventually("the rules of routing are back") {
                try await lab.outcome("client", ["ping", "-c1", "-W2", "203.0.113.10"]).status == 0
            }
            try await oracle.expectSilence("while the routes were gone")
            try await lab.run("client", "ip link delete umbel0")
            try await eventually("the interface is back") {
                try await lab.outcome("client", ["ping", "-c1", "-W2", "203.0.113.10"]).status == 0
            }
            try await oracle.expectSilence("while the interface was gone")
            #expect(try await lab.state() == .connected)
        }

        @Test("row 75: Ctrl-C while connecting leaves a daemon that blocks, and that down unlocks")
        func interrupted() async throws {
            try await lab.disconnect()
            let before = try await picture()
            try await lab.cutOff {
                let up = try BackgroundProgram(
                    lab,
                    host: "client",
                    [Lab.umbel, "up", "--wait", "--socket", lab.socket("client")]
                )
                try await eventually("it waits") {
                    try await lab.state() == .connecting && up.output.contains("%")
                }
                up.send(SIGINT)
                #expect(try await up.status() == 128 + 2)
                #expect(try await lab.state() == .connecting)
                try await lab.disconnect()
                #expect(try await lab.state() == .disconnected)
                #expect(try await picture() == before)
            }
            try await lab.connect()
        }
    }
}
