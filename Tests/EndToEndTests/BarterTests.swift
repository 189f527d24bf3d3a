import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

@testable import umbel_lab

extension EndToEnd {
    /// One account earns as a relay and pays as a client.
    @Suite("A relay whose owner is a client too", .lab(Lab.paidTopology))
    struct Barter {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private func report<Report: Decodable>(
            _ words: [String],
            host: String,
            socket: String
        ) async throws -> Report {
            let command = [Lab.umbel] + words + ["--json", "--socket", socket]
            var outcome = try await lab.outcome(host, command, seconds: 100)
            if outcome.status == 69 {
                try await eventually("\(host) answers: \(outcome.message)") {
                    outcome = try await lab.outcome(host, command, seconds: 100)
                    return outcome.status != 69
                }
            }
            try #require(outcome.status == 0, "\(outcome.message)")
            return try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
        }

        private func earnings(_ host: String) async throws -> EarningsReport {
            try await report(["earnings"], host: host, socket: lab.socket(host))
        }

        private func download(_ host: String, _ prefix: [String] = []) async throws {
            let url = "http://www.umbel.test/blob"
            let command = ["curl", "-sS", "-m", "60", url, "-o", "/dev/null"]
            let outcome = try await lab.outcome(host, prefix + command, seconds: 90)
            try #require(outcome.status == 0, "\(outcome.message)")
        }

        /// A relay that has been credited for something.
        private func earner() async throws -> String {
            var found: String?
            try await eventually("a relay has earned something") {
                for host in try lab.hosts(.relay) where try await earnings(host).credited >= 16 {
                    found = host
                }
                return found != nil
            }
            return try #require(found)
        }

        @Test("what a relay earns pays for what its owner does, on one machine, and both go on")
        func barter() async throws {
            try await lab.connect()
            try await download("client")
            let host = try await earner()
            let relay = try await lab.relay(host).identity
            let socket = "\(lab.scratch)/owner.sock"
            let state = "\(lab.scratch)/owner"
            let file = "\(lab.scratch)/owner.toml"
            // Its own relay is no hop of its circuits.
            let text = """
                [client]
                state = "\(state)"
                [directory]
                network = "/run/umbel-lab/\(lab.name)/directory/network.toml"
                [path]
                exclude = ["\(relay)"]
                [payment]
                account = "\(lab.folder(host))/state/identity.key"
                [control]
                socket = "\(socket)"

                """
            try Data(text.utf8).write(to: URL(fileURLWithPath: file))
            let daemon = try BackgroundProgram(
                lab,
                host: host,
                [Lab.umbel, "daemon", "--config", file]
            )
            let granted = UInt64(DaemonLauncher.faucetTicks) * 100
            // 98 of 100 hundredths of each tick are credited.
            try await eventually("the account has what the relay earned: \(daemon.output)") {
                let account: AccountReport = try await report(
                    ["account", "show"],
                    host: host,
                    socket: socket
                )
                #expect(account.account == relay)
                return account.balance ?? 0 >= 16 * 98
            }
            try await download(host, [Lab.umbel, "run", "--socket", socket, "--"])
            let tickets: TicketsReport = try await report(
                ["tickets", "balance"],
                host: host,
                socket: socket
            )
            #expect(tickets.addsUp)
            #expect(tickets.spent > 48)
            // The relay serves and earns as before, and each hundredth of both is on one account.
            try await download("client")
            try await eventually("grant and earnings, less what was bought, are on the account") {
                let earned = try await earnings(host)
                let bought: TicketsReport = try await report(
                    ["tickets", "balance"],
                    host: host,
                    socket: socket
                )
                let account: AccountReport = try await report(
                    ["account", "show"],
                    host: host,
                    socket: socket
                )
                #expect(earned.addsUp)
                return account.balance == granted + earned.credited * 98 - bought.bought * 100
            }
            daemon.send(SIGTERM)
            #expect(try await daemon.status() == 0)
        }
    }
}
