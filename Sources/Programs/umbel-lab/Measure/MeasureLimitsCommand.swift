import ArgumentParser
import Base
import RelayCore

/// `umbel-lab measure limits`: how well a relay keeps to a rate, and how fair it is meanwhile.
struct MeasureLimitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "limits",
        abstract:
            "What of a relay's rate and quota passes, and how long circuits wait beside a large one."
    )

    @Option(help: "Seconds of virtual time for each figure.")
    var seconds = 10
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (1...600).contains(seconds), (1...100).contains(options.runs) else {
            throw ValidationError("--seconds is 1 to 600, --runs 1 to 100")
        }
    }

    func run() throws {
        var measurements = [1.0, 10, 100].map { megabits in
            Measurement(
                "carried of \(Int(megabits)) Mbit/s, offered half as much again",
                unit: "of the rate",
                runs { carried(megabits: megabits, seed: $0) }
            )
        }
        for hasBulk in [false, true] {
            measurements.append(
                Measurement(
                    "p99 of ten small circuits at 10 Mbit/s, \(hasBulk ? "with" : "without") bulk",
                    unit: "ms",
                    runs { wait(hasBulk: hasBulk, seed: $0) }
                )
            )
        }
        measurements.append(
            Measurement(
                "waiting at most, of 100 circuits that offer ten times 10 Mbit/s",
                unit: "bytes",
                runs(flooded)
            )
        )
        var quota = QuotaBench(megabits: 100, share: 0.9)
        let month = quota.run()
        measurements += [
            Measurement("carried of a month's quota", unit: "of it", [month.carried]),
            Measurement("closed at its end", unit: "s", [month.closed]),
            Measurement("open again after midnight", unit: "s", [month.reopened]),
            Measurement("counted in the new month by then", unit: "of it", [month.leftOver]),
        ]
        try Measurement.show(measurements, options)
    }

    private func flooded(seed: UInt8) -> Double {
        let bench = LimitBench(circuits: 100, limits: limits(megabits: 10), seed: seed)
        let cellTime = Self.cellByteCount * 8 / 10e6
        // Each offers a tenth of the rate.
        let gap = TimeSpan(nanoseconds: UInt64(cellTime * 10 * 1e9))
        let loads = (0..<100).map { circuit in
            LimitBench.Load(
                circuit: circuit,
                gap: gap,
                offset: .microseconds(UInt64(circuit) * 113)
            )
        }
        bench.run(loads, for: .seconds(UInt64(seconds)))
        return Double(bench.mostWaiting)
    }

    private static let cellByteCount = 1_420.0

    private func runs(_ measure: (UInt8) -> Double) -> [Double] {
        (0..<options.runs).map { measure(UInt8(truncatingIfNeeded: $0)) }
    }

    private func limits(megabits: Double) -> LineLimits {
        let perSecond = UInt64(megabits * 1e6 / 8)
        return LineLimits(sentPerSecond: perSecond, receivedPerSecond: perSecond)
    }

    private func carried(megabits: Double, seed: UInt8) -> Double {
        let bench = LimitBench(circuits: 1, limits: limits(megabits: megabits), seed: seed)
        let cellTime = Self.cellByteCount * 8 / (megabits * 1e6)
        let gap = TimeSpan(nanoseconds: UInt64(cellTime / 1.5 * 1e9))
        bench.run([LimitBench.Load(circuit: 0, gap: gap)], for: .seconds(UInt64(seconds)))
        return Double(bench.passedCount) * cellTime / Double(seconds)
    }

    /// What 99 of 100 cells of ten circuits wait at most, of which each sends one in 97 ms.
    private func wait(hasBulk: Bool, seed: UInt8) -> Double {
        let bench = LimitBench(circuits: 11, limits: limits(megabits: 10), seed: seed)
        var loads = (0..<10).map { circuit in
            LimitBench.Load(
                circuit: circuit,
                gap: .milliseconds(97),
                offset: .milliseconds(UInt64(circuit) * 7 + UInt64(seed))
            )
        }
        if hasBulk { loads.append(LimitBench.Load(circuit: 10, gap: .microseconds(600))) }
        bench.run(loads, for: .seconds(UInt64(seconds)))
        let waits = bench.delays.prefix(10).flatMap(\.self).sorted()
        return waits[min(waits.count - 1, waits.count * 99 / 100)]
    }
}
