import ControlAPI
import Foundation
import Testing

@Suite("The JSON of schema 1 about money never changes")
struct PaymentSchemaTests {
    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    @Test("Account")
    func account() throws {
        let report = AccountReport(
            account: "ab",
            balance: 1_250,
            sequence: 3,
            isBuying: true,
            grantsWaiting: 1,
            problem: nil
        )
        #expect(
            try json(report) == """
                {"account":"ab","balance":1250,"buying":true,"grants_waiting":1,"schema":1,\
                "sequence":3}
                """
        )
    }

    @Test("Tickets, which add up or do not")
    func tickets() throws {
        var report = TicketsReport(
            outstanding: 10,
            bought: 16,
            reclaimed: 4,
            spent: 6,
            givenBack: 3,
            expired: 1,
            epoch: 9,
            vouchers: [
                .init(
                    relay: "cd",
                    nickname: "iris",
                    denomination: "T",
                    ticks: 16,
                    spent: 6,
                    epoch: 9,
                    expires: 6_600
                )
            ]
        )
        #expect(report.addsUp)
        #expect(
            try json(report) == """
                {"bought":16,"epoch":9,"expired":1,"given_back":3,"outstanding":10,"reclaimed":4,\
                "schema":1,"spent":6,"vouchers":[{"denomination":"T","epoch":9,"expires":6600,\
                "nickname":"iris","relay":"cd","spent":6,"ticks":16}]}
                """
        )
        report.spent = 7
        #expect(!report.addsUp)
    }

    @Test("Earnings, which add up or do not")
    func earnings() throws {
        var report = EarningsReport(
            account: "ef",
            served: 10,
            deposited: 8,
            credited: 7,
            expired: 1,
            waiting: 2,
            vouchers: 3,
            burnPerMille: 20,
            problems: ["a1": "silent"],
            days: [.init(day: 20_783, served: 10, deposited: 8, credited: 7, expired: 1)]
        )
        #expect(report.addsUp)
        #expect(
            try json(report) == """
                {"account":"ef","burn_per_mille":20,"credited":7,"days":[{"credited":7,"day":20783,\
                "deposited":8,"expired":1,"served":10}],"deposited":8,"expired":1,\
                "problems":{"a1":"silent"},"schema":1,"served":10,"vouchers":3,"waiting":2}
                """
        )
        report.waiting = 1
        #expect(!report.addsUp)
    }

    @Test("An audit holds unless a mint that signs saw more come back than it signed")
    func audit() throws {
        func report(issued: UInt64, isDesignated: Bool) -> AuditReport {
            AuditReport(epochs: [
                .init(
                    epoch: 4,
                    mints: [
                        .init(
                            index: 1,
                            isDesignated: isDesignated,
                            issued: issued,
                            deposited: 60,
                            reclaimed: 5
                        )
                    ]
                )
            ])
        }
        #expect(report(issued: 65, isDesignated: true).holds)
        #expect(!report(issued: 64, isDesignated: true).holds)
        #expect(report(issued: 0, isDesignated: false).holds)
        #expect(
            try json(report(issued: 65, isDesignated: true)) == """
                {"epochs":[{"epoch":4,"mints":[{"deposited":60,"designated":true,"index":1,\
                "issued":65,"reclaimed":5}]}],"schema":1}
                """
        )
    }

    @Test("A mint's state")
    func mint() throws {
        let report = MintStatusReport(
            name: "amber",
            index: 0,
            uptimeSeconds: 5,
            epoch: 7,
            isListed: true,
            mintsListed: 4,
            accounts: 2,
            granted: 100,
            balances: 60,
            withdrawn: 40,
            burnt: 1,
            epochs: [.init(epoch: 7, issued: 16, deposited: 3, reclaimed: 0)],
            counters: ["votes": 1],
            gossipWaiting: 0,
            problem: nil,
            authorities: ["a1": "taken"]
        )
        #expect(
            try json(report) == """
                {"accounts":2,"authorities":{"a1":"taken"},"balances":60,"burnt":1,\
                "counters":{"votes":1},"epoch":7,"epochs":[{"deposited":3,"epoch":7,"issued":16,\
                "reclaimed":0}],"gossip_waiting":0,"granted":100,"index":0,"listed":true,\
                "mints_listed":4,"name":"amber","schema":1,"uptime_s":5,"withdrawn":40}
                """
        )
    }
}
