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

        private func answer<Report: Decodable>(_ words: String..., host: String = "client")
            async throws -> Report
        {
            let outcome = try await lab.outcome(
                host,
                [Lab.umbel] + words + ["--json", "--socket", lab.socket(host)],
                seconds: 60
            )
            try #require(outcome.status == 0, "\(outcome.message)")
            return try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
        }

        private func mint(_ host: String) async throws -> MintStatusReport {
            let socket = "\(lab.folder(host))/mint.sock"
            let outcome = try await lab.outcome(
                host,
                [Lab.umbel, "status", "--json", "--socket", socket]
            )
            try #require(outcome.status == 0, "\(outcome.message)")
            return try JSONDecoder().decode(MintStatusReport.self, from: Data(outcome.output.utf8))
        }

        /// Buys a batch; the answer comes once it is on disk.
        private func buy(_ size: String, relay: String? = nil) async throws -> TicketsReport {
            var words = ["tickets", "buy", "--size", size, "--json"]
            if let relay { words += ["--relay", relay] }
            let outcome = try await lab.outcome(
                "client",
                [Lab.umbel] + words + ["--socket", lab.socket("client")],
                seconds: 60
            )
            try #require(outcome.status == 0, "\(outcome.message)")
            return try JSONDecoder().decode(TicketsReport.self, from: Data(outcome.output.utf8))
        }

        @Test("a new account was granted money, vouchers are bought with it, and both add up")
        func buying() async throws {
            let before = try await account()
            let had = try await tickets()
            #expect(had.addsUp)
            let balance = try #require(before.balance)
            let report = try await buy("S", relay: "r1")
            #expect(report.addsUp)
            #expect(report.bought >= had.bought + 8 * 64)
            #expect(report.vouchers.contains { $0.nickname == "r1" && $0.denomination == "S" })
            let paid = (report.bought - had.bought) * 100
            // A mint that signs no vouchers of this epoch hears of the order from the others.
            try await eventually("the account is debited") {
                let after = try await account()
                return after.sequence > before.sequence && after.balance ?? .max <= balance - paid
            }
        }

        @Test("money goes to another account once, and more than there is does not")
        func transfer() async throws {
            let relay = try await lab.relay("r2").identity
            let before = try #require(try await account().balance)
            let report: AccountReport = try await answer(
                "account",
                "transfer",
                "--to",
                relay,
                "--ticks",
                "12.5"
            )
            #expect(try #require(report.balance) <= before - 1_250)
            let poor = try await lab.outcome(
                "client",
                [
                    Lab.umbel, "account", "transfer", "--to", relay, "--ticks", "1000000000",
                    "--socket", lab.socket("client"),
                ],
                seconds: 60
            )
            #expect(poor.status == 1)
            #expect(poor.message.contains("the account has too little"))
            #expect(poor.message.contains("hint: "))
        }

        @Test("row 59: a mint killed in the middle of a purchase and started again ends it, once")
        func killedMint() async throws {
            // The next document shows who signed.
            _ = try await buy("T", relay: "r4")
            var signers: [Int] = []
            try await eventually("three mints say what they signed") {
                let epochs = try await audit().map { $0.mints.filter(\.isDesignated).map(\.index) }
                signers = epochs.last { $0.count == 3 } ?? []
                return signers.count == 3
            }
            let before = try await tickets()
            let (host, witness) = ("a\(signers[0] + 1)", "a\(signers[1] + 1)")
            let withdrawn = try await mint(witness).withdrawn
            try await lab.kill(host)
            let purchase = Task { try await buy("S", relay: "r3") }
            try await eventually("another mint has signed for the order") {
                try await mint(witness).withdrawn > withdrawn
            }
            #expect(try await tickets().bought == before.bought, "no voucher without all its mints")
            try await lab.start(host)
            let after = try await purchase.value
            #expect(after.addsUp)
            #expect(after.bought >= before.bought + 8 * 64)
            let status = try await mint(host)
            #expect(status.problem == nil)
            #expect(try await isConsistent(host))
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
                ["curl", "-sS", "-m", "60", "http://www.umbel.test/blob", "-o", "/dev/null"],
                seconds: 70
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
            let money = try await lab.lab("money")
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
        "payment: {epoch: 10m, deposits: 5s}\n  directory: {interval: 10s, valid_intervals: 3}"
}
