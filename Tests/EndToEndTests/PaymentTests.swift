import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

@testable import umbel_lab

extension EndToEnd {
    @Suite("Money in a lab with mints", .lab(Lab.paidTopology))
    struct Money {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private func tickets() async throws -> TicketsReport {
            try await answer("tickets", "balance")
        }

        private func account() async throws -> AccountReport {
            try await answer("account", "show")
        }

        /// What a node answers; one that has no time to answer is asked again.
        private func answer<Report: Decodable>(
            _ words: String...,
            host: String = "client",
            socket: String? = nil
        ) async throws -> Report {
            let command = [Lab.umbel] + words + ["--json", "--socket", socket ?? lab.socket(host)]
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

        private func mint(_ host: String) async throws -> MintStatusReport {
            try await answer("status", host: host, socket: "\(lab.folder(host))/mint.sock")
        }

        /// Buys a batch; the answer comes once it is on disk.
        private func buy(_ size: String, relay: String) async throws -> TicketsReport {
            let outcome = try await lab.outcome(
                "client",
                [Lab.umbel, "tickets", "buy", "--size", size, "--relay", relay, "--json"]
                    + ["--socket", lab.socket("client")],
                seconds: 100
            )
            try #require(outcome.status == 0, "\(outcome.message)")
            return try JSONDecoder().decode(TicketsReport.self, from: Data(outcome.output.utf8))
        }

        /// The account's balance, once enough mints have said it.
        private func balance() async throws -> UInt64 {
            var found: UInt64?
            try await eventually("the mints say how the account stands") {
                found = try await account().balance
                return found != nil
            }
            return try #require(found)
        }

        private func large(of relay: String, in report: TicketsReport) -> Int {
            report.vouchers.count { $0.nickname == relay && $0.denomination == "L" }
        }

        /// A relay the daemon buys no large voucher for: none of the guards it has some for.
        private func plainRelay() async throws -> String {
            var guards: Set<String> = []
            try await eventually("the client has large vouchers for its three guards") {
                let large = try await tickets().vouchers.filter { $0.denomination == "L" }
                guards = Set(large.compactMap(\.nickname))
                return guards.count >= 3
            }
            return try #require(["r1", "r2", "r3", "r4", "r5"].first { !guards.contains($0) })
        }

        @Test("a new account was granted money, vouchers are bought with it, and both add up")
        func buying() async throws {
            // The daemon buys by itself too, at any time: sums only ever grow.
            let had = try await tickets()
            #expect(had.addsUp)
            let report = try await buy("S", relay: "r1")
            #expect(report.addsUp)
            #expect(report.bought >= had.bought + 8 * 64)
            #expect(report.vouchers.contains { $0.nickname == "r1" && $0.denomination == "S" })
            let granted = UInt64(DaemonLauncher.faucetTicks) * 100
            // A mint that signs no vouchers of this epoch hears of the order from the others.
            try await eventually("the account was granted money, and is debited") {
                try await account().balance ?? .max <= granted - report.bought * 100
            }
            #expect(try await account().sequence > 0)
        }

        @Test("money goes to another account once, and more than there is does not")
        func transfer() async throws {
            let relay = try await lab.relay("r2").identity
            let before = try await balance()
            let _: AccountReport = try await answer(
                "account",
                "transfer",
                "--to",
                relay,
                "--ticks",
                "12.5"
            )
            let after = try await balance()
            #expect(after <= before - 1_250)
            let poor = try await lab.outcome(
                "client",
                [
                    Lab.umbel, "account", "transfer", "--to", relay, "--ticks", "1000000000",
                    "--socket", lab.socket("client"),
                ],
                seconds: 100
            )
            #expect(poor.status == 1)
            #expect(poor.message.contains("the account has too little"))
            #expect(poor.message.contains("hint: "))
        }

        @Test("row 59: a mint killed in the middle of a purchase and started again ends it, once")
        func killedMint() async throws {
            let relay = try await plainRelay()
            // Of four mints one signs nothing in an epoch, and the one after it in the next. These two
            // sign in both: should the epoch end meanwhile, nothing changes for them.
            let report = try await tickets()
            let epoch = Int(try #require(report.epoch))
            let (host, witness) = ("a\((epoch + 2) % 4 + 1)", "a\((epoch + 3) % 4 + 1)")
            try await lab.kill(host)
            let purchase = Task { try await buy("L", relay: relay) }
            // It is this purchase, or one of the daemon's own that this one waits for.
            try await eventually("another mint has signed for vouchers that are not there") {
                let withdrawn = try await mint(witness).withdrawn
                return try await tickets().bought * 100 < withdrawn
            }
            #expect(large(of: relay, in: try await tickets()) == 0, "no voucher without its mints")
            try await lab.start(host)
            let after = try await purchase.value
            #expect(after.addsUp)
            #expect(large(of: relay, in: after) == 2)
            // Whoever signed and whoever only heard of it: every mint has debited it, and once.
            try await eventually("all mints have the same orders as the wallet") {
                let bought = try await tickets().bought
                for host in ["a1", "a2", "a3", "a4"] {
                    guard try await mint(host).withdrawn == bought * 100 else { return false }
                }
                return try await tickets().bought == bought
            }
            #expect(try await mint(host).problem == nil)
            try await eventually("the books of \(host) agree") { try await isConsistent(host) }
        }

        private func audit() async throws -> [AuditReport.Epoch] {
            let report: AuditReport = try await answer("tickets", "audit")
            #expect(report.holds)
            return report.epochs
        }

        private func isConsistent(_ host: String) async throws -> Bool {
            let socket = "\(lab.folder(host))/mint.sock"
            return try await lab.outcome(host, [Lab.umbel, "mint", "check", "--socket", socket])
                .status
                == 0
        }

        @Test("traffic is paid hop by hop, relays hand it in, and every tick is accounted for")
        func traffic() async throws {
            try await lab.connect()
            let spent = try await tickets().spent
            let web = try await lab.outcome(
                "client",
                ["curl", "-sS", "-m", "100", "http://www.umbel.test/blob", "-o", "/dev/null"],
                seconds: 110
            )
            try #require(web.status == 0, "\(web.message)")
            try await eventually("the client has paid for 16 MiB") {
                try await tickets().spent > spent + 48
            }
            try await eventually("relays have deposited") {
                var credited: UInt64 = 0
                for host in try lab.hosts(.relay) {
                    let report: EarningsReport = try await answer("earnings", host: host)
                    #expect(report.addsUp)
                    credited += report.credited
                }
                return credited > 48
            }
            // Nodes are asked one after the other, and may have no time to answer at first.
            var money = try await lab.lab("money")
            if money.status != 0, !money.output.contains("WRONG") {
                try await eventually("the lab's books add up: \(money.output)\(money.message)") {
                    money = try await lab.lab("money")
                    return money.status == 0 || money.output.contains("WRONG")
                }
            }
            #expect(money.status == 0, "\(money.output)\(money.message)")
            _ = try await audit()
        }
    }
}

extension Lab {
    /// Four authorities that are the mints too, five relays, two exits, a client: everything is paid.
    static let paidTopology =
        topology
        .replacing(
            "  - {name: a1, role: authority, addresses: [192.0.2.11]}\n",
            with: (1...4).map {
                "  - {name: a\($0), role: authority, mint: true, addresses: [192.0.2.1\($0)]}\n"
            }.joined()
        )
        .replacing("directory: {interval: 1h, valid_intervals: 48}", with: paidParameters)
        .replacing("parameters:\n", with: "payments: on\nparameters:\n")

    private static let paidParameters =
        "payment: {epoch: 10m, deposits: 5s, batch: 8}\n  directory: {interval: 10s, valid_intervals: 3}"
}
