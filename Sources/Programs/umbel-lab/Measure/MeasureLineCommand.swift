import ArgumentParser
import Foundation

/// `umbel-lab measure line`: how a relay that runs keeps to its rate, is fair, and bears floods.
struct MeasureLineCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "line",
        abstract: "What of a running relay's rate passes, who waits for it, and what a flood does.",
        discussion: """
            Builds the topology with a client that has one guard, and offers that guard UDP: half as \
            much again as its rate, at 1, 10 and 100 Mbit/s. Then ten programs, each with a circuit of \
            its own, ask for echoes through it at 10 Mbit/s, alone, beside 15 Mbit/s, and beside ten \
            times its rate. What is offered and what is sent is read from the guard's cable; where less \
            is offered than should be, nothing is printed. `umbel-lab measure limits` asks the same of \
            the core alone. Needs root and iperf3.
            """
    )

    /// What can be measured.
    enum Part: String, CaseIterable, ExpressibleByArgument {
        case rate, fairness, flood
    }

    @OptionGroup var lab: LabOptions
    @Argument(help: "The topology, such as Topology/lab.yaml.", completion: .file())
    var file = "Topology/lab.yaml"
    @Option(help: "Seconds of each round of echoes.")
    var seconds = 15
    @Option(help: "What to measure: rate, fairness or flood. Default: all of it.")
    var part: Part?
    @Option(help: "The rate to measure, in Mbit/s. Default: 1, 10 and 100.")
    var rate: Int?
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (5...120).contains(seconds), (1...20).contains(options.runs) else {
            throw ValidationError("--seconds is 5 to 120, --runs 1 to 20")
        }
        guard rate.map({ (1...10_000).contains($0) }) ?? true else {
            throw ValidationError("--rate is 1 to 10000")
        }
    }

    func run() async throws {
        let progress = Progress()
        var measured = try MeasuredLab(
            file: file,
            options: lab,
            suffix: "-line",
            progress: progress
        )
        measured.topology.payments = .off
        // Mints come with a later directory, and there is to be none.
        for index in measured.topology.hosts.indices {
            measured.topology.hosts[index].isMint = false
        }
        // A client leaves a guard that carries nothing for others, unless it has none. The directory
        // of the start stays: a guard whose line is full may look like one that is gone.
        measured.set("path", "guard_sample", "1")
        measured.set("path", "guard_primary", "1")
        measured.set("directory", "interval", "\"1h\"")
        measured.set("directory", "valid_intervals", "48")
        let built = measured
        let measurements = try await built.run { try await measure(built, progress) }
        try Measurement.show(measurements, options)
    }

    private func measure(_ lab: MeasuredLab, _ progress: Progress) async throws -> [Measurement] {
        let relay = try await LabRelay.guardRelay(of: lab)
        progress.say("\(relay.name) is the guard")
        let trial = LineTrial(relay: relay, seconds: seconds)
        var measurements: [Measurement] = []
        func has(_ part: Part) -> Bool { self.part == nil || self.part == part }
        if has(.rate) {
            for megabits in rate.map({ [$0] }) ?? [1, 10, 100] {
                try await relay.setRate(megabits)
                let shares = try await trial.shares(of: megabits, runs: options.runs)
                progress.say("\(megabits) Mbit/s: \(shares)")
                measurements.append(
                    Measurement(
                        "sent of \(megabits) Mbit/s over 10 s, offered half as much again",
                        unit: "of the rate",
                        shares
                    )
                )
            }
        }
        if has(.fairness) || has(.flood) {
            measurements += try await others(has(.fairness), has(.flood), in: trial, progress)
        }
        let last = try await LabRelay.guardRelay(of: lab)
        guard last.name == relay.name else {
            throw LabError("the client left \(relay.name)", why: "its guard is \(last.name) now")
        }
        return measurements
    }

    /// Echoes of ten programs by themselves, beside bulk, and beside a flood, in turn.
    private func others(
        _ hasBulk: Bool,
        _ hasFlood: Bool,
        in trial: LineTrial,
        _ progress: Progress
    ) async throws -> [Measurement] {
        try await trial.relay.setRate(10)
        let loads = [0.0] + (hasBulk ? [15.0] : []) + (hasFlood ? [100.0] : [])
        var rounds = loads.map { _ in [LineTrial.Round]() }
        for run in 0..<options.runs {
            // Whoever goes first in one run goes last in the next.
            for place in run.isMultiple(of: 2) ? Array(loads.indices) : loads.indices.reversed() {
                let round = try await trial.round(beside: loads[place])
                progress.say("beside \(loads[place]) Mbit/s: \(round)")
                rounds[place].append(round)
            }
        }
        return zip(loads, rounds).flatMap { load, rounds in
            let name = load == 0 ? "alone" : "beside \(Int(load)) Mbit/s at 10"
            return [
                Measurement("p99 of ten small circuits, \(name)", unit: "ms", rounds.map(\.p99)),
                Measurement("echoes lost, \(name)", unit: "of all", rounds.map(\.lost)),
                Measurement(
                    "cells that wait, at most, \(name)",
                    unit: "bytes",
                    rounds.map(\.waiting)
                ),
                Measurement("memory, at most, \(name)", unit: "MiB", rounds.map(\.mebibytes)),
                Measurement("descriptors, at most, \(name)", unit: "", rounds.map(\.descriptors)),
            ]
        }
    }
}
