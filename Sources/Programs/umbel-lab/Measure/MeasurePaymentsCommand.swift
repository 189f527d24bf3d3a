import ArgumentParser

/// `umbel-lab measure payments`: what a voucher and a tick cost, and what paying costs a cell.
struct MeasurePaymentsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "payments",
        abstract: "Microseconds of a voucher and a tick, signatures a second, and cells a second"
            + " with and without pay."
    )

    @Option(help: "Vouchers in each run.")
    var vouchers = 64
    @Option(help: "Cells in each run and direction.")
    var cells = 60_000
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (1...1_000).contains(vouchers), (100...5_000_000).contains(cells),
            (1...100).contains(options.runs)
        else {
            throw ValidationError(
                "--vouchers is 1 to 1000, --cells 100 to 5000000, --runs 1 to 100"
            )
        }
    }

    func run() throws {
        let bench = try PaymentBench()
        var figures: [PaymentBench.Figure: [Double]] = [:]
        for _ in 0..<options.runs {
            for (figure, value) in try bench.run(vouchers: vouchers) {
                figures[figure, default: []].append(value)
            }
        }
        var measurements = PaymentBench.Figure.allCases.compactMap { figure in
            figures[figure].map { Measurement(figure.rawValue, unit: figure.unit, $0) }
        }
        for isForward in [true, false] { measurements += path(isForward: isForward) }
        try Measurement.show(measurements, options)
    }

    /// The slowest relay's rate with and without pay, in turn, and the ratio of each pair.
    private func path(isForward: Bool) -> [Measurement] {
        var rates: [[Double]] = [[], []]
        for run in 0..<options.runs {
            for isPaid in [false, true] {
                var bench = PathBench(seed: UInt8(truncatingIfNeeded: run), isPaid: isPaid)
                let moved = bench.run(cells: cells, isForward: isForward)
                let slowest = bench.spent.dropFirst().max() ?? 1
                rates[isPaid ? 1 : 0].append(Double(moved) / (Double(slowest) / 1e9))
            }
        }
        let way = isForward ? "forward" : "backward"
        return [
            Measurement("slowest relay unpaid, \(way)", unit: "cells/s", rates[0]),
            Measurement("slowest relay paid, \(way)", unit: "cells/s", rates[1]),
            Measurement(
                "paid / unpaid, \(way)",
                unit: "",
                zip(rates[1], rates[0]).map { $0 / $1 }
            ),
        ]
    }
}
