import Base
import ControlAPI
import Wire

/// What is said of money, as text.
enum PaymentText {
    /// Ticks with two decimals.
    static func ticks(_ hundredths: UInt64) -> String {
        "\(Credits(hundredths: hundredths)) ticks"
    }

    /// Prints how an account stands.
    static func show(_ report: AccountReport, _ format: FormatOptions) throws {
        if format.json { return try Output.printJSON(report) }
        var fields = [
            ("Account", report.account),
            ("Balance", report.balance.map(ticks) ?? "not known: no mint has answered"),
            ("Orders", "\(report.sequence)\(report.isBuying ? ", one on its way" : "")"),
        ]
        if report.grantsWaiting > 0 {
            fields.append(("Grants", "\(report.grantsWaiting) that not all mints have taken"))
        }
        if let problem = report.problem { fields.append(("Problem", problem)) }
        Output.print(StatusText.lines(fields, .output).joined(separator: "\n"))
    }

    /// The sums of a wallet.
    static func balance(_ report: TicketsReport, terminal: Terminal) -> String {
        let fields = [
            ("At hand", "\(report.outstanding) ticks in \(report.vouchers.count) vouchers"),
            ("Bought", "\(report.bought)"),
            ("Reclaimed", "\(report.reclaimed)"),
            ("Spent", "\(report.spent)"),
            ("Given back", "\(report.givenBack)"),
            ("Expired", "\(report.expired)"),
            (
                "Check",
                report.addsUp
                    ? "bought + reclaimed = at hand + spent + given back + expired"
                    : "DOES NOT ADD UP: tell the developers"
            ),
        ]
        return StatusText.lines(fields, terminal).joined(separator: "\n")
    }

    /// The vouchers of a wallet, alike ones in one row.
    static func list(_ report: TicketsReport, now: UInt64, width: Int?) -> String {
        var table = Table([
            .text("RELAY"), .text("SIZE"), .number("COUNT"), .number("LEFT"), .text("EXPIRES IN"),
        ])
        var rows: [(key: String, values: [String], count: Int, left: UInt64)] = []
        for voucher in report.vouchers {
            let relay = voucher.nickname ?? Text.short(voucher.relay)
            let rest = voucher.expires > now ? Text.seconds(voucher.expires - now) : "over"
            let key = "\(relay) \(voucher.denomination) \(voucher.epoch)"
            let left = UInt64(voucher.ticks - min(voucher.ticks, voucher.spent ?? 0))
            if let index = rows.firstIndex(where: { $0.key == key }) {
                rows[index].count += 1
                rows[index].left += left
            } else {
                rows.append((key, [relay, voucher.denomination, rest], 1, left))
            }
        }
        for row in rows {
            table.add([row.values[0], row.values[1], "\(row.count)", "\(row.left)", row.values[2]])
        }
        return table.render(width: width)
    }

    /// The mints' totals.
    static func audit(_ report: AuditReport, width: Int?) -> String {
        guard !report.epochs.isEmpty else { return "the mints have signed nothing yet" }
        var table = Table([
            .number("EPOCH"), .number("MINT"), .text("SIGNS"), .number("ISSUED"),
            .number("DEPOSITED"), .number("RECLAIMED"), .text("HOLDS"),
        ])
        for epoch in report.epochs {
            for mint in epoch.mints {
                table.add([
                    "\(epoch.epoch)", "\(mint.index)", mint.isDesignated ? "yes" : "no",
                    "\(mint.issued)", "\(mint.deposited)", "\(mint.reclaimed)",
                    mint.holds ? "yes" : "NO",
                ])
            }
        }
        let verdict =
            report.holds
            ? "good: no more came back than was signed"
            : "MORE CAME BACK THAN WAS SIGNED: money was forged, or a mint counts wrongly"
        return table.render(width: width) + "\n" + verdict
    }

    /// What a relay earned.
    static func earnings(_ report: EarningsReport, explain: Bool, terminal: Terminal) -> String {
        func told(_ figure: UInt64, _ meaning: String) -> String {
            explain ? "\(figure) ticks: \(meaning)" : "\(figure) ticks"
        }
        var fields = [
            ("Account", report.account),
            ("Served", told(report.served, "what clients paid for")),
            ("Deposited", told(report.deposited, "of these, on record with a mint at least")),
            ("Credited", told(report.credited, "of these, on record with enough mints: money")),
            ("Waiting", told(report.waiting, "to be credited by the next deposits")),
            ("Expired", told(report.expired, "not deposited before two epochs were over: lost")),
            ("Vouchers", "\(report.vouchers)"),
        ]
        if explain, let burn = report.burnPerMille {
            let kept = report.credited * 100 * UInt64(1_000 - min(1_000, burn)) / 1_000
            fields.append(
                ("On account", "about \(ticks(kept)): \(burn) thousandths are burnt at deposits")
            )
        }
        if explain {
            for day in report.days.suffix(7) {
                fields.append(
                    (
                        DateText.day(number: UInt64(day.day)),
                        "\(day.served) served, \(day.deposited) deposited, \(day.credited) credited,"
                            + " \(day.expired) expired"
                    )
                )
            }
        }
        for (mint, problem) in report.problems.sorted(by: { $0.key < $1.key }) {
            fields.append(("Mint \(mint)", problem))
        }
        fields.append(
            (
                "Check",
                report.addsUp
                    ? "served = credited + waiting + expired"
                    : "DOES NOT ADD UP: tell the developers"
            )
        )
        return StatusText.lines(fields, terminal).joined(separator: "\n")
    }

    /// A mint's state in full.
    static func full(_ report: MintStatusReport, terminal: Terminal) -> String {
        var fields = [
            ("Up", Text.seconds(report.uptimeSeconds)),
            ("Listed", "\(report.isListed ? "yes" : "no"), with \(report.mintsListed) mints"),
            ("Accounts", "\(report.accounts)"),
            ("Granted", ticks(report.granted)),
            ("Balances", ticks(report.balances)),
            ("Withdrawn", ticks(report.withdrawn)),
            ("Burnt", ticks(report.burnt)),
        ]
        for epoch in report.epochs {
            fields.append(
                (
                    "Epoch \(epoch.epoch)",
                    "\(epoch.issued) issued, \(epoch.deposited) deposited, "
                        + "\(epoch.reclaimed) reclaimed"
                )
            )
        }
        let counted = report.counters.filter { $0.value > 0 }.sorted { $0.key < $1.key }
        fields.append(
            ("Counted", counted.map { "\($0.value) \($0.key)" }.joined(separator: ", "))
        )
        if report.gossipWaiting > 0 {
            fields.append(("To tell", "\(report.gossipWaiting) items to other mints"))
        }
        if let problem = report.problem { fields.append(("PROBLEM", problem)) }
        let head = "mint \(report.name), index \(report.index)"
        return ([head] + StatusText.lines(fields, terminal)).joined(separator: "\n")
    }
}
