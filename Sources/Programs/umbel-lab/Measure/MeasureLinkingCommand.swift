import ArgumentParser
import Foundation

/// `umbel-lab measure linking`: what pooled logs of mints and relays tell of who paid whom.
struct MeasureLinkingCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "linking",
        abstract: "How often mints and relays that pool their logs guess right who paid whom.",
        discussion: """
            A model of users for a week: the mints know every purchase by account and second, the \
            relays every voucher they were shown by second, the mints every deposit by relay and \
            day. Advantage is the share of right first guesses beyond guessing blindly.
            """
    )

    @Option(help: "Users in the model.")
    var users = 10_000
    @Option(help: "Relays in the model.")
    var relays = 300
    @Option(help: "Guesses of each kind.")
    var samples = 2_000
    @Option(help: "Where the drawing of chances begins.")
    var seed: UInt64 = 1
    @Flag(help: "Print one JSON object instead of text.")
    var json = false

    func validate() throws {
        guard (2...100_000).contains(users), (1...100_000).contains(samples),
            (3...10_000).contains(relays)
        else {
            throw ValidationError(
                "--users is 2 to 100,000, --samples 1 to 100,000, --relays 3 to 10,000"
            )
        }
    }

    private struct Report: Encodable {
        struct Line: Encodable {
            var link: String
            var hit: Double
            var guess: Double
            var advantage: Double
            var anonymitySet: Double

            init(_ link: String, _ score: LinkingBench.Score) {
                self.link = link
                hit = score.hit
                guess = score.guess
                advantage = score.advantage
                anonymitySet = score.anonymitySet
            }

            private enum CodingKeys: String, CodingKey {
                case link, hit, guess, advantage
                case anonymitySet = "anonymity_set"
            }
        }

        var schema = 1
        var users: Int
        var lines: [Line]
    }

    func run() throws {
        var lines: [Report.Line] = []
        for buying in LinkingBench.Buying.allCases {
            var settings = LinkingBench.Settings()
            settings.users = users
            settings.relays = relays
            settings.samples = samples
            settings.seed = seed
            settings.buying = buying
            var bench = LinkingBench(settings)
            lines.append(
                Report.Line("voucher to its purchase, \(buying.title)", bench.linkSpends())
            )
            guard buying == .drawn else { continue }
            lines.append(Report.Line("deposits of one circuit", bench.linkDeposits()))
        }
        let report = Report(users: users, lines: lines)
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            print(String(decoding: try encoder.encode(report), as: UTF8.self))
            return
        }
        for line in report.lines {
            let figures = [line.hit, line.guess, line.advantage].map {
                String(format: "%.5f", $0)
            }
            print(
                "\(line.link): right \(figures[0]), by guessing \(figures[1]),"
                    + " advantage \(figures[2]); \(Int(line.anonymitySet)) fit as well"
            )
        }
    }
}

extension LinkingBench.Buying {
    /// What it is called in reports.
    var title: String {
        switch self {
        case .drawn: "bought ahead at drawn times"
        case .atUse: "bought when the last was shown"
        }
    }
}
