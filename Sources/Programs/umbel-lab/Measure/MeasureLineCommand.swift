import ArgumentParser
import Foundation
import HostNetwork

/// `umbel-lab measure line`: how a relay that runs keeps to its rate, is fair, and bears floods.
struct MeasureLineCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "line",
        abstract: "What of a running relay's rate passes, who waits for it, and what a flood does.",
        discussion: """
            Builds the topology, sets the rate of the client's guard to 1, 10 and 100 Mbit/s in turn and \
            offers half as much again, by UDP; then lets ten programs, each with a circuit of its own, \
            ask for echoes through it at 10 Mbit/s, with and without that load beside them; then offers \
            ten times its rate. `umbel-lab measure limits` asks the same of the core alone. Needs root \
            and iperf3.
            """
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The topology, such as Topology/lab.yaml.", completion: .file())
    var file = "Topology/lab.yaml"
    @Option(help: "Seconds of each flood and of each round of echoes.")
    var seconds = 15
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (5...120).contains(seconds), (1...20).contains(options.runs) else {
            throw ValidationError("--seconds is 5 to 120, --runs 1 to 20")
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
        let built = measured
        let measurements = try await built.run { try await measure(built, progress) }
        try Measurement.show(measurements, options)
    }

    private func measure(_ lab: MeasuredLab, _ progress: Progress) async throws -> [Measurement] {
        let relay = try await LabRelay.guardRelay(of: lab)
        progress.say("\(relay.name) is the guard")
        var measurements: [Measurement] = []
        for megabits in [1, 10, 100] {
            try await relay.setRate(megabits)
            var shares: [Double] = []
            for _ in 0..<options.runs {
                shares.append(try await share(of: megabits, at: relay))
            }
            progress.say("\(megabits) Mbit/s: \(shares)")
            measurements.append(
                Measurement(
                    "sent of \(megabits) Mbit/s over 10 s, offered half as much again",
                    unit: "of the rate",
                    shares
                )
            )
        }
        measurements += try await fairness(at: relay, progress)
        measurements += try await flood(at: relay, progress)
        return measurements
    }

    // MARK: The rate

    /// Seconds the relay's own report looks back.
    private static let window = 10
    /// Bytes of a packet of the load: one cell each.
    private static let packetByteCount = 1_100
    /// Bytes such a packet is on the line between relays.
    private static let lineByteCount = 1_420

    /// Sends UDP for `seconds`, so that `megabits` arrive on the guard's line.
    private func load(_ megabits: Double, seconds: Int, at lab: MeasuredLab) async throws {
        let server = try lab.host(.internet)
        // Any of them: one whose last client was ended may be busy for a moment.
        guard let address = server.addresses.first,
            let port = server.services?.throughputPorts.randomElement()
        else {
            throw LabError("\(server.name) has no iperf3", why: "its services name no port of one")
        }
        let payload = megabits * 1e6 * Double(Self.packetByteCount) / Double(Self.lineByteCount)
        // Its end may be long in coming, where the line is full: it counts for nothing.
        _ = try? await LabClient(lab: lab).outcome(
            [
                "timeout", "-s", "KILL", "\(seconds + 4)", "iperf3", "-u", "-c", "\(address)", "-p",
                "\(port)", "-t", "\(seconds)", "-l", "\(Self.packetByteCount)", "-b",
                "\(Int(payload))",
            ],
            seconds: seconds + 20
        )
    }

    private func share(of megabits: Int, at relay: LabRelay) async throws -> Double {
        try await withThrowingTaskGroup(of: Double?.self) { group in
            group.addTask {
                try await load(Double(megabits) * 1.5, seconds: Self.window + 6, at: relay.lab)
                return nil
            }
            group.addTask {
                // The window, and what the load takes to begin.
                try await Task.sleep(for: .seconds(Self.window + 4))
                return try relay.reading().line?.rateSent
            }
            var rate = 0.0
            for try await found in group { rate = found ?? rate }
            return rate / (Double(megabits) * 1e6)
        }
    }

    // MARK: Others beside it

    private static let echoPrograms = 10

    private func fairness(
        at relay: LabRelay,
        _ progress: Progress
    ) async throws -> [Measurement] {
        try await relay.setRate(10)
        var delays: [[Double]] = [[], []]
        var lost: [[Double]] = [[], []]
        for run in 0..<options.runs {
            for hasBulk in run.isMultiple(of: 2) ? [false, true] : [true, false] {
                let echoes = try await echoes(beside: hasBulk, at: relay)
                let sorted = echoes.times.sorted()
                guard !sorted.isEmpty else {
                    throw LabError("no echo comes back", why: "through \(relay.name)")
                }
                let place = hasBulk ? 1 : 0
                delays[place].append(sorted[min(sorted.count - 1, sorted.count * 99 / 100)])
                lost[place].append(1 - Double(sorted.count) / Double(max(1, echoes.sent)))
            }
        }
        progress.say("\(Self.echoPrograms) small circuits without and with bulk: \(delays)")
        return [
            Measurement("p99 of ten small circuits, alone", unit: "ms", delays[0]),
            Measurement("p99 of ten small circuits, beside bulk", unit: "ms", delays[1]),
            Measurement("echoes lost, alone", unit: "of all", lost[0]),
            Measurement("echoes lost, beside bulk", unit: "of all", lost[1]),
        ]
    }

    /// The round trips of ten programs at once, in milliseconds, and how many echoes were asked for.
    private func echoes(
        beside hasBulk: Bool,
        at relay: LabRelay
    ) async throws -> (times: [Double], sent: Int) {
        let lab = relay.lab
        guard let address = try lab.host(.internet).addresses.first,
            let umbel = try lab.folder.existing().umbel
        else { throw LabError("there is nobody to ask", why: "the lab has no internet host") }
        let count = seconds * 10
        let command = [
            umbel, "run", "--socket", try LabClient(lab: lab).socket, "--", "ping", "-n", "-i",
            "0.1", "-c", "\(count)", "-W", "2", "\(address)",
        ]
        let bulk = Task { [seconds] in
            guard hasBulk else { return }
            // From before the first program has its circuit until after the last has its answers.
            try await load(15, seconds: seconds + 10, at: lab)
        }
        let times = try await withThrowingTaskGroup(of: [Double].self) { group in
            for _ in 0..<Self.echoPrograms {
                group.addTask {
                    let outcome = try await LabClient(lab: lab)
                        .outcome(command, seconds: seconds + 60)
                    return outcome.output.matches(of: /time=([0-9.]+) ms/)
                        .compactMap { Double($0.output.1) }
                }
            }
            var all: [Double] = []
            for try await times in group { all += times }
            return all
        }
        try await bulk.value
        return (times, count * Self.echoPrograms)
    }

    // MARK: A flood

    private func flood(at relay: LabRelay, _ progress: Progress) async throws -> [Measurement] {
        try await relay.setRate(10)
        try await Task.sleep(for: .seconds(2))
        let before = try relay.weight()
        let flood = Task { [seconds] in try await load(100, seconds: seconds, at: relay.lab) }
        var most = before
        var waiting = 0.0
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            let now = try relay.weight()
            most.residentBytes = max(most.residentBytes, now.residentBytes)
            most.descriptors = max(most.descriptors, now.descriptors)
            waiting = max(waiting, try relay.reading().line?.waitingBytes ?? 0)
            try await Task.sleep(for: .milliseconds(200))
        }
        try await flood.value
        try await Task.sleep(for: .seconds(2))
        let after = try relay.weight()
        progress.say("a flood of 100 Mbit/s at 10 Mbit/s is over")
        return [
            Measurement("before a flood of ten times its rate", unit: "MiB", [before.mebibytes]),
            Measurement("at most during it", unit: "MiB", [most.mebibytes]),
            Measurement("after it", unit: "MiB", [after.mebibytes]),
            Measurement("cells that wait, at most", unit: "bytes", [waiting]),
            Measurement("descriptors before it", unit: "", [Double(before.descriptors)]),
            Measurement("descriptors during it, at most", unit: "", [Double(most.descriptors)]),
        ]
    }
}
