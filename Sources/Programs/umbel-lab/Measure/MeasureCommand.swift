import ArgumentParser
import Foundation

/// `umbel-lab measure`: how fast the cores are, fed from memory: no sockets, no TUN; what a client's
/// user waits for; and what pay costs and comes to in labs.
struct MeasureCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "measure",
        abstract: "Measure the cores, fed from memory, or clients and pay in labs.",
        subcommands: [
            MeasurePathCommand.self, MeasureHandshakesCommand.self, MeasureMemoryCommand.self,
            MeasureDirectoryCommand.self, MeasurePaymentsCommand.self,
            MeasureLinkingCommand.self, MeasureClientCommand.self, MeasureLimitsCommand.self,
            MeasurePayThroughputCommand.self, MeasureConservationCommand.self,
            MeasureMetricsCommand.self, MeasureRelayCommand.self, MeasureLineCommand.self,
            MeasureBirthCommand.self,
        ]
    )
}

/// How often, and how the result is printed.
struct MeasureOptions: ParsableArguments {
    @Option(help: "How often to measure; the median, least and most are printed.")
    var runs = 5
    @Flag(help: "Print one JSON object instead of text.")
    var json = false
}

/// One figure over several runs.
struct Measurement: Encodable {
    let name: String
    let unit: String
    let median: Double
    let least: Double
    let most: Double
    let runs: Int

    /// Sums up the runs' figures.
    ///
    /// - Precondition: there is at least one.
    init(_ name: String, unit: String, _ figures: [Double]) {
        precondition(!figures.isEmpty, "a measurement without runs")
        let sorted = figures.sorted()
        self.name = name
        self.unit = unit
        median = sorted[sorted.count / 2]
        least = sorted[0]
        most = sorted[sorted.count - 1]
        runs = sorted.count
    }

    /// Prints the figures, as `options` asks.
    static func show(_ measurements: [Measurement], _ options: MeasureOptions) throws {
        try show(measurements, json: options.json)
    }

    /// Prints the figures, as JSON or for people.
    static func show(_ measurements: [Measurement], json: Bool) throws {
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            print(String(decoding: try encoder.encode(measurements), as: UTF8.self))
            return
        }
        for measurement in measurements {
            let figures = [measurement.median, measurement.least, measurement.most]
                .map { text($0) }
            print(
                "\(measurement.name): \(figures[0]) \(measurement.unit)"
                    + " [\(figures[1]) - \(figures[2])], \(measurement.runs) runs"
            )
        }
    }

    private static func text(_ figure: Double) -> String {
        figure >= 1_000 ? "\(Int(figure))" : "\((figure * 1_000).rounded() / 1_000)"
    }
}
