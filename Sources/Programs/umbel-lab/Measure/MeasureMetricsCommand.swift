import ArgumentParser
import Foundation
import HostNetwork

/// `umbel-lab measure metrics`: what telling their counters costs relays.
struct MeasureMetricsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics",
        abstract:
            "Gbit/s of TCP through a lab whose relays are asked for metrics each second, and not.",
        discussion: """
            Builds the topology, takes it away, and measures with and without in turn, so that whatever \
            else the machine does meets both. The programs that ask share the machine with all relays, \
            and cost more than the answers: what these cost is the relays' processor time for a GiB. \
            Needs root, curl and iperf3.
            """
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The topology, such as Topology/lab.yaml.", completion: .file())
    var file = "Topology/lab.yaml"
    @Option(help: "Seconds of each run.")
    var seconds = 3
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (1...60).contains(seconds), (1...100).contains(options.runs) else {
            throw ValidationError("--seconds is 1 to 60, --runs 1 to 100")
        }
    }

    func run() async throws {
        let progress = Progress()
        var measured = try MeasuredLab(
            file: file,
            options: lab,
            suffix: "-metrics",
            progress: progress
        )
        measured.topology.servesMetrics = true
        measured.topology.payments = .off
        let built = measured
        let measurements = try await built.run { try await measure(built, progress) }
        try Measurement.show(measurements, options)
    }

    private func measure(_ lab: MeasuredLab, _ progress: Progress) async throws -> [Measurement] {
        var rates: [[Double]] = [[], []]
        var efforts: [[Double]] = [[], []]
        // One first, of which nothing is kept: queues find their length.
        for run in 0...options.runs {
            // Whoever goes first in one run goes second in the next.
            for isAsked in run.isMultiple(of: 2) ? [true, false] : [false, true] {
                let (stream, effort) = try await LabEffort.perGibibyte(of: lab) {
                    try await flow(over: lab, askingRelays: isAsked)
                }
                guard run > 0 else { continue }
                rates[isAsked ? 1 : 0].append(stream.bitsPerSecond / 1e9)
                efforts[isAsked ? 1 : 0].append(effort.relays)
            }
        }
        progress.say("\(options.runs) runs of \(seconds) s each")
        return [
            Measurement("not asked", unit: "Gbit/s", rates[0]),
            Measurement("asked each second", unit: "Gbit/s", rates[1]),
            Measurement("asked / not asked", unit: "", zip(rates[1], rates[0]).map { $0 / $1 }),
            Measurement("relays' processor, not asked", unit: "s per GiB", efforts[0]),
            Measurement("relays' processor, asked each second", unit: "s per GiB", efforts[1]),
            Measurement(
                "relays' processor, not asked / asked",
                unit: "",
                zip(efforts[0], efforts[1]).map { $0 / $1 }
            ),
        ]
    }

    /// One stream, while all relays that run are asked, or none.
    private func flow(
        over lab: MeasuredLab,
        askingRelays isAsked: Bool
    ) async throws -> LabThroughput.Stream {
        let running = lab.topology.hosts.filter { $0.role == .relay && $0.startsByItself }
        return try await withThrowingTaskGroup(of: LabThroughput.Stream?.self) { group in
            for relay in isAsked ? running.map(\.name) : [] {
                group.addTask {
                    try await ask(relay, of: lab)
                    return nil
                }
            }
            group.addTask {
                try await LabThroughput(lab: lab).stream(seconds: seconds)
            }
            var stream: LabThroughput.Stream?
            for try await found in group { stream = found ?? stream }
            guard let stream else { preconditionFailure("a stream neither ends nor fails") }
            return stream
        }
    }

    /// Asks a relay for its metrics once a second, as long as a run takes: one program, for to start
    /// many would cost more than what is measured.
    private func ask(_ relay: String, of lab: MeasuredLab) async throws {
        let url = "http://127.0.0.1:\(Topology.metricsPort)/metrics?[1-\(seconds)]"
        let outcome = try await lab.outcome(
            relay,
            ["curl", "-sS", "--rate", "60/m", "-o", "/dev/null", url],
            seconds: UInt64(seconds) + 30
        )
        guard outcome.status == 0 else {
            throw LabError("\(relay) does not tell its metrics", why: outcome.message)
        }
    }
}
