import Anonymity
import Foundation

/// All that `umbel-lab anonymity` measured, as its JSON file has it.
struct AnonymityReport: Codable, Sendable {
    /// Raised where a field changes its meaning.
    var schema = 1
    /// The seed all chance came from.
    var seed: UInt64
    /// The traffic, or the capture that was replayed.
    var traffic: String
    /// Clients in each crowd.
    var clients: Int
    /// Seconds the models were watched for.
    var seconds: Double
    /// The percentage of datagrams lost on links of the simulated crowd's clients.
    var accessLossPercent = 0.0
    /// Every way of sending, wherever it was measured.
    var processes: [ProcessResult] = []
    /// Fine timing of senders at constant rates.
    var timing: [TimingRow] = []
    /// Guards that drop and delay.
    var active: [ActiveExperiment.Outcome] = []
    /// Watchers of beginnings, ends and days.
    var longTerm: [LongTermExperiment.Outcome] = []
    /// What relays that collude see of the simulated crowd's circuits.
    var collusion: [CollusionRow] = []
    /// Correlators that were trained, where they were.
    var learned: [LearnedRow] = []

    /// Fine timing of one sender.
    struct TimingRow: Codable, Sendable {
        /// The sender, for people.
        var title: String
        /// Areas at 30, 300 and 3,000 cells.
        var verdicts: [Verdict]
    }

    /// The worst so many relays.
    struct CollusionRow: Codable, Sendable {
        /// How many collude.
        var relays: Int
        /// Of how many.
        var of: Int
        /// The share of circuits of which they see both ends.
        var bothEnds: Double
    }

    /// A trained correlator's figures on flows it was not trained on, as `Tools/correlator` writes.
    struct LearnedRow: Codable, Sendable {
        /// The way of sending.
        var name: String
        /// The share of pairs it judges right, of as many true as false ones.
        var accuracy: Double
        /// The area under its curve.
        var auc: Double
        /// Its share found at one false pair in a thousand.
        var truePositiveRate: Double
        /// Flows it was trained on.
        var trainFlows: Int
        /// Flows it was tried on.
        var testFlows: Int
        /// What it was made with.
        var library: String
    }

    /// The report as JSON, the same for the same figures.
    func encoded() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        return try encoder.encode(self)
    }

    /// A short name for tables and plots: where it was measured is said where it is not a model.
    static func label(_ result: ProcessResult) -> String {
        let places = ["simulation": "sim", "lab": "lab"]
        return places[result.source].map { "\(result.name) · \($0)" } ?? result.name
    }

    /// The targets of `mix` (protocol text, D) and whether a result reaches them.
    static func targets(_ result: ProcessResult) -> [(text: String, value: String, isMet: Bool)] {
        var targets: [(String, String, Bool)] = []
        if let rates = result.best("rates")?.verdict {
            targets.append(("area by rates ≤ 0.55", figure(rates.auc), rates.auc <= 0.55))
            targets.append(
                (
                    "found at one false pair in 1,000 ≤ 0.005", figure(rates.truePositiveRate),
                    rates.truePositiveRate <= 0.005
                )
            )
        }
        let timing = result.attacks.first { $0.attack == "timing" && $0.setting == "3000 cells" }
        if let timing = timing?.verdict {
            targets.append(
                ("area by timing of 3,000 cells ≤ 0.62", figure(timing.auc), timing.auc <= 0.62)
            )
        }
        if let loss = result.cost.lossShare {
            targets.append(("loss ≤ 0.2 %", "\(figure(loss * 100)) %", loss <= 0.002))
        }
        if let delay = result.cost.idleDelayP95 {
            targets.append(
                ("95 % of delays ≤ 350 ms", "\(figure(delay * 1_000)) ms", delay <= 0.35)
            )
        }
        return targets
    }

    /// A figure with as many digits as it deserves.
    static func figure(_ value: Double) -> String {
        switch abs(value) {
        case 0: "0"
        case ..<0.001: String(format: "%.1e", value)
        case ..<1: String(format: "%.3f", value)
        case ..<100: String(format: "%.2f", value)
        default: String(format: "%.0f", value)
        }
    }
}

/// The table of a report, in lines of text for a terminal.
struct AnonymityTable {
    let report: AnonymityReport

    var text: String {
        var lines = [
            "area [95 %] by rates, found at 1 false in 1,000, top-1, bits left | area by timing "
                + "(3,000 cells) | Mbit/s, overhead, delay of single cells p50/p95 ms"
        ]
        for result in report.processes {
            var line = AnonymityReport.label(result).padding(
                toLength: 18,
                withPad: " ",
                startingAt: 0
            )
            if let rates = result.best("rates")?.verdict {
                line += String(
                    format: "%.3f [%.3f-%.3f] %.3f %.3f %5.2f",
                    rates.auc,
                    rates.aucLow,
                    rates.aucHigh,
                    rates.truePositiveRate,
                    rates.topOne,
                    rates.entropyBits
                )
            }
            let timing = result.attacks.last { $0.attack == "timing" }
            line += timing.map { String(format: " | %.3f", $0.verdict.auc) } ?? " |   -  "
            line += String(
                format: " | %.2f %6.2f ×",
                result.cost.throughputBitsPerSecond / 1e6,
                result.cost.overhead
            )
            if let median = result.cost.idleDelayMedian, let most = result.cost.idleDelayP95 {
                line += String(format: " %.1f/%.1f", median * 1_000, most * 1_000)
            }
            lines.append(line)
        }
        return lines.joined(separator: "\n")
    }
}
