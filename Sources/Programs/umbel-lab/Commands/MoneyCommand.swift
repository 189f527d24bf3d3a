import ArgumentParser
import Foundation

/// `umbel-lab money`: whether every tick of the lab is accounted for.
struct MoneyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "money",
        abstract: "Add up what mints, wallets and relays say of money; nothing may be missing.",
        discussion: """
            While something is bought or paid, the sums of different nodes are of different moments: \
            the exit status is 1 only where the books of one node do not agree with each other, or \
            more came back than was signed. --still wants all sums to agree, as they do when nothing \
            moves.
            """
    )

    @OptionGroup var lab: LabOptions
    @Flag(help: "Nothing moves: all sums must agree to the tick.") var still = false
    @Flag(help: "One JSON object instead of text.") var json = false

    func run() throws {
        let books = try LabBooks(lab.folder().existing())
        let findings = books.findings(isStill: still)
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
            let report = Report(sums: books.sums, findings: findings)
            print(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            print(Self.text(books.sums))
            for finding in findings { print("WRONG: \(finding)") }
            if findings.isEmpty { print("good: every tick is accounted for") }
        }
        if !findings.isEmpty { throw ExitCode(1) }
    }

    private struct Report: Encodable {
        var schema = 1
        var sums: LabBooks.Sums
        var findings: [String]
    }

    static func text(_ sums: LabBooks.Sums) -> String {
        let lines: [(String, UInt64)] = [
            ("granted", sums.granted / 100), ("on accounts", sums.balances / 100),
            ("issued", sums.issued), ("in wallets, bought", sums.bought),
            ("in wallets, reclaimed", sums.reclaimed), ("spent by clients", sums.spent),
            ("at hand", sums.outstanding), ("given back", sums.givenBack),
            ("expired", sums.expired), ("served by relays", sums.served),
            ("credited to relays", sums.credited), ("waiting to be credited", sums.waiting),
            ("lost by relays", sums.relaysExpired), ("deposited, by the mints", sums.deposited),
            ("reclaimed, by the mints", sums.mintsReclaimed), ("burnt", sums.burnt / 100),
        ]
        let width = lines.map(\.0.count).max() ?? 0
        return lines.map { name, ticks in
            name.padding(toLength: width, withPad: " ", startingAt: 0) + "  \(ticks) ticks"
        }.joined(separator: "\n")
    }
}
