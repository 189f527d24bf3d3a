import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

@testable import umbel

extension EndToEnd {
    /// What the client says of itself and of the network it is in, and whether that is so.
    @Suite("What the client says is wrong", .lab())
    struct Diagnoses {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private func doctor() async throws -> (report: DoctorReport, status: Int32) {
            let config = "\(lab.folder("client"))/client.toml"
            let outcome = try await lab.umbel("doctor", "--json", "--config", config)
            let data = Data(outcome.output.utf8)
            return (try JSONDecoder().decode(DoctorReport.self, from: data), outcome.status)
        }

        private func netcheck() async throws -> (report: NetworkReport, status: Int32) {
            let outcome = try await lab.umbel("netcheck", "--json")
            let data = Data(outcome.output.utf8)
            return (try JSONDecoder().decode(NetworkReport.self, from: data), outcome.status)
        }

        /// Expects that `doctor` names `check`, says what to do, and leaves out what hangs on it.
        private func expectFailure(
            at check: String,
            leavingOut others: String...,
            sourceLocation: SourceLocation = #_sourceLocation
        ) async throws {
            let (report, status) = try await doctor()
            #expect(status == 1, "\(report)", sourceLocation: sourceLocation)
            #expect(report.failed == check, "\(report)", sourceLocation: sourceLocation)
            let failed = try #require(report.checks.first { $0.name == check })
            #expect(failed.fix?.isEmpty == false, sourceLocation: sourceLocation)
            for other in others {
                let result = report.checks.first { $0.name == other }?.result
                #expect(result == .skipped, "\(other): \(report)", sourceLocation: sourceLocation)
            }
        }

        @Test("where all is well the doctor says so of every check, in the order of the way out")
        func healthy() async throws {
            try await lab.connect()
            let (report, status) = try await doctor()
            #expect(status == 0, "\(report)")
            #expect(report.failed == nil)
            #expect(report.checks.allSatisfy { $0.result == .passed }, "\(report)")
            let names = report.checks.map(\.name)
            let route = try #require(names.firstIndex(of: "route"))
            #expect(route < names.count - 1 && names.last == "names")
            let text = try await lab.umbel("doctor")
            #expect(text.output.hasSuffix("all is well\n"))
        }

        @Test("the step that fails is named, with what to do about it")
        func failures() async throws {
            try await lab.connect()
            let rules = """
                table inet lab_names {
                chain pass {
                type filter hook input priority filter
                meta l4proto { tcp, udp } th dport 53 drop
                }
                }

                """
            let deaf = try await lab.outcome("inet", ["nft", "-f", "-"], input: rules)
            try #require(deaf.status == 0, "\(deaf.message)")
            try await expectFailure(at: "names")
            try await lab.run("inet", "nft delete table inet lab_names")

            try await lab.cutOff {
                try await eventually("the loss is seen") { try await lab.state() != .connected }
                try await expectFailure(at: "guards", leavingOut: "circuit", "hops", "names")
                let (network, status) = try await netcheck()
                #expect(status == 1)
                #expect(network.ipv4 && network.ipv6)
                #expect(network.udp == false)
                #expect(network.guards.allSatisfy { $0.roundTrip == nil })
            }
            for family in ["-4", "-6"] {
                try await lab.run("client", "ip \(family) route del default")
            }
            try await expectFailure(at: "route", leavingOut: "guards", "circuit")
            try await lab.run("client", "ip route add default via 198.51.100.1 dev eth0")
            try await lab.run("client", "ip -6 route add default via 2001:db8:c::1 dev eth0")

            try await lab.kill("client")
            try await expectFailure(at: "daemon", leavingOut: "clock", "circuit", "names")
            try await lab.start("client")
            try await lab.disconnect()
            let (idle, status) = try await doctor()
            #expect(status == 2, "nothing is wrong, but nobody is connected")
            #expect(idle.failed == nil)
            try await lab.connect()
        }

        @Test("row 3: netcheck measures ways out, guards, and the size of packets that pass")
        func network() async throws {
            try await lab.connect()
            let (whole, status) = try await netcheck()
            #expect(status == 0)
            #expect(whole.ipv4 && whole.ipv6 && whole.udp == true)
            #expect(whole.nat == .none)
            #expect(whole.mtu == 1_500)
            #expect(whole.guards.count == 6, "three guards of two addresses each")
            for entry in whole.guards {
                #expect(entry.isWhole == true, "\(entry)")
                #expect((0.01..<1_000).contains(try #require(entry.roundTrip)))
            }
            // Both ends of the cable: what is too large for the far one would be lost on it.
            try await lab.run("client", "ip link set eth0 mtu 1400")
            try await lab.run("core", "ip link set client mtu 1400")
            let (small, _) = try await netcheck()
            #expect(small.udp == true)
            #expect(small.mtu == 1_400)
            #expect(small.guards.allSatisfy { $0.isWhole == false }, "\(small)")
            let text = try await lab.umbel("netcheck")
            #expect(text.output.contains("1400 bytes; datagrams are cut on the way"))
            try await lab.run("core", "ip link set client mtu 1500")
            try await lab.run("client", "ip link set eth0 mtu 1500")
        }

        @Test("netcheck tells whether a router maps a socket once, or anew for each guard")
        func translation() async throws {
            try await lab.connect()
            func mapping(_ rule: String) async throws -> NetworkReport.Mapping? {
                let rules = """
                    table ip lab_nat {
                    chain post {
                    type nat hook postrouting priority srcnat
                    iifname "client" udp dport 4433 \(rule)
                    }
                    }

                    """
                let made = try await lab.outcome("core", ["nft", "-f", "-"], input: rules)
                try #require(made.status == 0, "\(made.message)")
                let (report, status) = try await netcheck()
                try await lab.run("core", "nft delete table ip lab_nat")
                #expect(status == 0)
                #expect(report.nat == .translated)
                return report.mappings?.first
            }
            let fixed = try #require(try await mapping("snat to 198.51.100.1"))
            #expect(fixed.kind == .fixed, "\(fixed)")
            #expect(fixed.local.hasPrefix("198.51.100.10:"))
            #expect(fixed.seen.count == 2)
            #expect(fixed.seen.allSatisfy { $0.hasPrefix("198.51.100.1:") }, "\(fixed)")
            let random = "snat to 198.51.100.1:20000-60000 fully-random"
            let varying = try #require(try await mapping(random))
            #expect(varying.kind == .varies, "\(varying)")
            #expect(Set(varying.seen).count == 2)
            let (plain, _) = try await netcheck()
            #expect(plain.nat == .none)
            #expect(plain.mappings?.map(\.kind) == [.none, .none], "both families")
        }

        @Test("events are told of before and after one asks")
        func events() async throws {
            try await lab.connect()
            try await lab.disconnect()
            let all = try await lab.umbel("logs")
            #expect(all.status == 0)
            #expect(all.output.contains(" info connected\n"))
            #expect(all.output.contains(" info disconnected\n"))
            let follow = try BackgroundProgram(
                lab,
                host: "client",
                [Lab.umbel, "logs", "-f", "--json", "--socket", lab.socket("client")]
            )
            let mark = "lockdown is on"
            try await eventually("what happened is told") { follow.output.contains("disconnected") }
            #expect(!follow.output.contains(mark))
            #expect(try await lab.umbel("lockdown", "on").status == 0)
            try await eventually("what happens is told") { follow.output.contains(mark) }
            follow.send(SIGINT)
            _ = try await follow.status()
            var numbers: [UInt64] = []
            for line in follow.output.split(separator: "\n") {
                let event = try JSONDecoder().decode(EventReport.self, from: Data(line.utf8))
                #expect(event.schema == 1)
                numbers.append(event.number)
            }
            #expect(numbers == Array(1...UInt64(numbers.count)), "nothing is left out")
            // Row 79: neither this client's address nor what it reaches.
            #expect(!follow.output.contains("198.51.100.10"))
            #expect(!follow.output.contains("203.0.113.10"))
            #expect(try await lab.umbel("lockdown", "off").status == 0)
            try await lab.connect()
        }

        @Test("up --wait tells each step once, and why it does not come further, once")
        func progress() async throws {
            try await lab.disconnect()
            try await lab.cutOff {
                let up = try BackgroundProgram(
                    lab,
                    host: "client",
                    [Lab.umbel, "up", "--wait", "--socket", lab.socket("client")]
                )
                try await eventually("it says that it is stuck") { up.output.contains("(stuck") }
                // Twice the time a try takes: nothing alternates.
                #expect(try await holds(for: .seconds(6)) { up.isRunning })
                up.send(SIGINT)
                _ = try await up.status()
                let lines = up.output.split(separator: "\n").map(String.init)
                #expect(Set(lines).count == lines.count, "\(up.output)")
                let percents = lines.compactMap { line in
                    line.split(separator: " ").dropFirst().first.flatMap { Int($0.dropLast()) }
                }
                #expect(percents == percents.sorted(), "\(up.output)")
                #expect(lines.last?.contains("(stuck: ") == true, "\(up.output)")
            }
            try await lab.connect()
        }
    }
}
