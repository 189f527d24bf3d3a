import ControlAPI
import Foundation
import HostNetwork
import NamespaceSupport
import Testing

extension EndToEnd {
    /// What an operator does with a relay, from its first minute on.
    @Suite("Operating a relay", .lab())
    struct RelayOperations {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        /// Runs `umbel` on `host` with just these arguments.
        private func umbel(
            _ host: String,
            _ arguments: [String]
        ) async throws -> CommandRunner.Outcome {
            try await lab.outcome(host, [Lab.umbel] + arguments, seconds: 120)
        }

        private func line(_ host: String) async throws -> RelayLineReport {
            try #require(try await lab.relay(host).line)
        }

        /// Changes the file of the relay on `host` and has it read again.
        private func reload(_ host: String, _ change: (String) -> String) async throws {
            let file = URL(filePath: "\(lab.folder(host))/relay.toml")
            let text = try String(contentsOf: file, encoding: .utf8)
            try change(text).write(to: file, atomically: true, encoding: .utf8)
            try await lab.kill(host, "HUP")
        }

        /// Makes a relay of this name on the stranger's host; the folder of its files.
        private func makeRelay(_ name: String, _ options: [String]) async throws -> String {
            let folder = "\(lab.scratch)/\(name)"
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true
            )
            let made = try await umbel(
                "stranger",
                ["relay", "init", "--name", name] + options + [
                    "--network", "/run/umbel-lab/\(lab.name)/directory/network.toml",
                    "--config", "\(folder)/relay.toml", "--state", "\(folder)/state",
                    "--socket", "\(folder)/control.sock", "--metrics", "", "--yes",
                ]
            )
            try #require(made.status == 0, "\(made.message)")
            return folder
        }

        /// Starts the relay whose files are in `folder` on the stranger's host.
        private func startRelay(_ folder: String) async throws -> BackgroundProgram {
            let relay = try BackgroundProgram(
                lab,
                host: "stranger",
                [Lab.umbel, "relay", "--config", "\(folder)/relay.toml"]
            )
            try await eventually("it is ready: \(relay.output)") {
                relay.output.contains("ready on")
            }
            return relay
        }

        @Test("a relay that drains is left by its clients, and serves again when told to")
        func drain() async throws {
            try await lab.connect()
            let middle = try await lab.path()[1]
            let outcome = try await lab.umbel("relay", "drain", "--within", "0", host: middle)
            #expect(outcome.status == 0, "\(outcome.message)")
            #expect(outcome.output.contains("drains"))
            try await eventually("the client goes over others") {
                guard try await lab.state() == .connected else { return false }
                return try await !lab.path().contains(middle)
            }
            try await lab.expectAnswer(from: "203.0.113.10")
            try await eventually("its circuits have ended") {
                try await lab.relay(middle).circuits == 0
            }
            let status = try await lab.umbel("relay", "status", host: middle)
            #expect(status.status == ExitStatus.notConnected.rawValue)
            let end = try await lab.umbel("relay", "drain", "--end", host: middle)
            #expect(end.output.contains("takes circuits"))
            #expect(try await line(middle).state == .serving)
        }

        @Test("SIGHUP: a bad file changes nothing and says so; a good one limits the line at once")
        func reload() async throws {
            try await lab.connect()
            let guardRelay = try await lab.path()[0]
            let (bad, good) = ("\nrate = \"0\"", "\nrate = \"10 Mbit/s\"")
            try await reload(guardRelay) { $0.replacing("[limits]", with: "[limits]\(bad)") }
            try await eventually("it says what is wrong") {
                lab.log(guardRelay).contains("`rate` is not a rate")
                    && lab.log(guardRelay).contains("stays in force")
            }
            #expect(try await line(guardRelay).limitSent == nil)
            try await reload(guardRelay) { $0.replacing(bad, with: good) }
            try await eventually("the limit is in force") {
                try await self.line(guardRelay).limitSent == 10_000_000
            }
            // Ten seconds and a little more: the report looks back over ten.
            let test = "iperf3 -c 203.0.113.10 -t 13 -J"
            try await lab.run("client", test)
            let carried = try await line(guardRelay)
            #expect((8_500_000...10_300_000).contains(carried.bitRateSent), "\(carried)")
            #expect((8_500_000...10_300_000).contains(carried.bitRateReceived), "\(carried)")
            try await reload(guardRelay) { $0.replacing(good, with: "") }
            try await eventually("the limit is gone") {
                try await self.line(guardRelay).limitSent == nil
            }
        }

        @Test("a relay stopped by SIGTERM says goodbye: the client's next packets go another way")
        func goodbye() async throws {
            try await lab.connect()
            let middle = try await lab.path()[1]
            try await lab.without(middle, "TERM") {
                try await eventually("the client goes over others") {
                    guard try await lab.state() == .connected else { return false }
                    return try await !lab.path().contains(middle)
                }
                try await lab.expectAnswer(from: "203.0.113.10")
            }
            #expect(lab.log(middle).contains("ready on"))
        }

        @Test("keys are rotated at once, and circuits are built with the new one")
        func rotation() async throws {
            let first = try await lab.umbel("relay", "rotate-keys", host: "r5")
            // In the minute of its start it has one already.
            #expect([0, ExitStatus.temporary.rawValue].contains(first.status), "\(first.message)")
            try await eventually("a new key is made") {
                let outcome = try await lab.umbel("relay", "rotate-keys", "--json", host: "r5")
                return outcome.status == 0 || first.status == 0
            }
            #expect(try await lab.relay("r5").listing?.isListed == true)
        }

        /// The port is taken now: by an init that wants it too, and by a second relay.
        private func expectPortTaken(_ folder: String, given: [String], run: [String]) async throws
        {
            let other = "\(folder)/other"
            let files = FileManager.default
            let second = try await umbel(
                "stranger",
                given.map { $0.replacing("\(folder)/", with: "\(other)-") }
            )
            #expect(second.status == ExitStatus.unavailable.rawValue, "\(second.message)")
            #expect(second.message.contains("198.18.99.9:4433"))
            #expect(second.message.contains("address already in use"))
            #expect(second.message.split(separator: "\n").count == 3, "\(second.message)")
            let left = try files.contentsOfDirectory(atPath: folder)
            #expect(!left.contains { $0.hasPrefix("other-") }, "\(left)")

            let text = try String(contentsOfFile: "\(folder)/relay.toml", encoding: .utf8)
            try Data(
                text.replacing("control.sock", with: "other.sock")
                    .replacing("127.0.0.1:9464", with: "127.0.0.1:9465").utf8
            ).write(to: URL(fileURLWithPath: "\(other).toml"))
            let third = try await umbel("stranger", run.dropLast() + ["\(other).toml"])
            #expect(third.status == ExitStatus.unavailable.rawValue, "\(third.message)")
            #expect(third.message.contains("4433") && third.message.contains("in use"))
            #expect(third.message.contains("hint: "))
            #expect(!files.fileExists(atPath: "\(folder)/other.sock"))
        }

        @Test(
            "where one of a relay's two ports does not get through, `umbel relay check` names it",
            arguments: [("TCP", 4_440), ("UDP", 4_441)]
        )
        func namedPort(transport: String, port: Int) async throws {
            let rules = """
                table inet cut
                delete table inet cut
                table inet cut {
                chain arrive {
                type filter hook input priority -10;
                \(transport.lowercased()) dport \(port) drop
                }
                }

                """
            let cut = try await lab.outcome("stranger", ["nft", "-f", "-"], input: rules)
            try #require(cut.status == 0, "\(cut.message)")
            let address = "198.18.99.9:\(port)"
            let folder = try await makeRelay("port\(port)", ["--address", address])
            let relay = try await startRelay(folder)
            let check = try await umbel(
                "stranger",
                ["relay", "check", "--wait", "100", "--socket", "\(folder)/control.sock"]
            )
            #expect(check.status == ExitStatus.failed.rawValue, "\(check.message)")
            #expect(check.message.contains("cannot reach the relay's \(transport) port"))
            #expect(check.message.contains("\(transport) \(address)"), "\(check.message)")
            relay.send(SIGTERM)
            #expect(try await relay.status() == 0)
            try await lab.run("stranger", "nft delete table inet cut")
        }

        @Test("a relay behind a router that forwards to it is reached by the router's address")
        func behindRouter() async throws {
            // The relay knows its own address only; what comes for the host's goes there.
            let rules = """
                table ip router {
                chain arrive {
                type nat hook prerouting priority dstnat;
                ip daddr 198.18.99.9 meta l4proto { tcp, udp } th dport 4470 dnat to 192.168.7.2:4433
                }
                chain leave {
                type nat hook postrouting priority srcnat;
                ip saddr 192.168.7.2 snat to 198.18.99.9
                }
                }

                """
            try await lab.run("stranger", "ip address add 192.168.7.2/32 dev lo")
            let made = try await lab.outcome("stranger", ["nft", "-f", "-"], input: rules)
            try #require(made.status == 0, "\(made.message)")
            let folder = try await makeRelay(
                "inside",
                ["--address", "192.168.7.2:4433", "--announce", "198.18.99.9:4470"]
            )
            let relay = try await startRelay(folder)
            let check = try await umbel(
                "stranger",
                ["relay", "check", "--wait", "100", "--socket", "\(folder)/control.sock"]
            )
            #expect(check.status == 0, "\(check.message) \(check.output) \(relay.output)")
            relay.send(SIGTERM)
            #expect(try await relay.status() == 0)
            try await lab.run("stranger", "nft delete table ip router")
            try await lab.run("stranger", "ip address delete 192.168.7.2/32 dev lo")
        }

        @Test("a service manager hears that a relay is ready, what it carries, and that it lives")
        func managed() async throws {
            let folder = try await makeRelay("managed", ["--address", "198.18.99.9:4460"])
            let manager = try ServiceManagerSocket()
            let relay = try BackgroundProgram(
                lab,
                host: "stranger",
                ["env", "NOTIFY_SOCKET=\(manager.path)", "WATCHDOG_USEC=400000"]
                    + [Lab.umbel, "relay", "--config", "\(folder)/relay.toml"]
            )
            var missing: Set = [
                "READY=1", "WATCHDOG=1", "STATUS=managed takes circuits, 0 circuits",
            ]
            while !missing.isEmpty {
                let message = try #require(manager.next(milliseconds: 60_000), "no \(missing)")
                missing = missing.filter { !message.hasPrefix($0) }
            }
            relay.send(SIGTERM)
            #expect(try await relay.status() == 0)
            var last: String?
            while let message = manager.next(milliseconds: 100) { last = message }
            #expect(last == "STOPPING=1")
        }

        @Test("row 71: from `umbel relay init` to a relay the authorities reach, metrics and all")
        func initialise() async throws {
            let folder = "\(lab.scratch)/dahlia"
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true
            )
            let network = "/run/umbel-lab/\(lab.name)/directory/network.toml"
            let given = [
                "relay", "init", "--name", "dahlia", "--address", "198.18.99.9:4433", "--rate",
                "50 Mbit/s", "--network", network, "--config", "\(folder)/relay.toml", "--state",
                "\(folder)/state", "--socket", "\(folder)/control.sock", "--yes",
            ]
            // What is wrong is said, with nothing left behind.
            var notOurs = given
            notOurs[5] = "198.18.98.9:4433"
            let refused = try await umbel("stranger", notOurs)
            #expect(refused.status == ExitStatus.unavailable.rawValue)
            #expect(refused.message.contains("no interface of this machine has that address"))
            var zero = given
            zero[7] = "0 Mbit/s"
            let stopped = try await umbel("stranger", zero)
            #expect(stopped.status == ExitStatus.configuration.rawValue)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])

            let begin = ContinuousClock.now
            let made = try await umbel("stranger", given)
            #expect(made.status == 0, "\(made.message)")
            #expect(made.message.contains("umbel-relay.service"))
            #expect(made.message.contains("198.18.99.9:4433"))
            let again = try await umbel("stranger", given)
            #expect(again.status == ExitStatus.failed.rawValue)

            let run = ["relay", "--config", "\(folder)/relay.toml"]
            let relay = try await startRelay(folder)
            try await expectPortTaken(folder, given: given, run: run)
            let check = try await umbel(
                "stranger",
                ["relay", "check", "--wait", "100", "--socket", "\(folder)/control.sock"]
            )
            #expect(check.status == 0, "\(check.message) \(check.output)")
            #expect(check.output.contains("a1: running"))
            print("from `umbel relay init` until others reach it: \(ContinuousClock.now - begin)")
            let metrics = try await lab.run("stranger", "curl -s http://127.0.0.1:9464/metrics")
            #expect(metrics.contains("umbel_serving 1\n"))
            #expect(!metrics.contains("198.1"))
            relay.send(SIGTERM)
            #expect(try await relay.status() == 0)
        }
    }
}
