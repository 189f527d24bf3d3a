import Base
import Foundation
import Testing

@testable import NodeRuntime
@testable import RelayCore

/// promtool; `nil` where it is not installed.
private let checker = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    .map { "\($0)/promtool" }.first(where: FileManager.default.isExecutableFile(atPath:))

private let whyNot: Comment = "promtool is not here; Debian has it in the package prometheus"

@Suite("What a relay's metrics say, and do not")
struct RelayMetricsTests {
    private func metrics() -> RelayMetrics {
        var counters = RelayCounters()
        counters.forwardCells = 1_000_037
        counters.receivedDatagrams = 77
        counters.slotCells = 1_027
        counters.coverCells = 130
        counters.paddingCells = 64
        counters.lateReleases = 3
        counters.unkeptCells = 2
        counters.holds = [0, 100, 200, 0, 0, 0, 30]
        counters.holdMicroseconds = 41_500_000
        var control = RelayControl.Counters()
        control.circuits = 12
        var metrics = RelayMetrics(
            RelayReadings(
                time: .zero,
                shards: RelayLoopReport(
                    counters: counters,
                    linkDrops: [],
                    circuits: 7,
                    waitingBytes: 5,
                    heldCells: 35
                ),
                control: RelayControlCounts(counters: control, links: 3, circuits: 6, leases: 2)
            ),
            process: ProcessReadings(),
            up: .seconds(7_200)
        )
        metrics.version = "0.1.0"
        metrics.isExit = true
        metrics.resolver = ResolverKeeper.State(isAnswering: true, endings: 2, silences: 1)
        metrics.exitFlows = 37
        metrics.clockOffsetSeconds = -2
        metrics.quota = (500_000, 1_000_000)
        metrics.directory = (60, 3)
        metrics.ticks = (4, 3, 2, 1)
        return metrics
    }

    private static let monitoring = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Tools/monitoring")

    /// The names a file of `Tools/monitoring` asks for; of a histogram's parts the histogram's.
    private func names(in file: String) throws -> Set<String> {
        let url = Self.monitoring.appending(path: file)
        let used = try String(contentsOf: url, encoding: .utf8)
        let names = used.matches(of: /(umbel|process)_[a-z_]+/).map { String($0.output.0) }
        return Set(names.map { $0.hasSuffix("_bucket") ? String($0.dropLast(7)) : $0 })
    }

    @Test("the names that dashboards and alert rules use are there")
    func names() throws {
        let text = metrics().text
        for file in ["grafana.json", "alerts.yml", "alerts.test.yml"] {
            let names = try names(in: file)
            #expect(names.count > 3)
            for name in names {
                #expect(text.contains("# TYPE \(name) "), "\(file) asks for \(name)")
            }
        }
    }

    @Test("the dashboard shows all there is, the version left out")
    func shown() throws {
        let shown = try names(in: "grafana.json")
        let told = metrics().text.matches(of: #/# TYPE ([a-z_]+) /#).map { String($0.output.1) }
        #expect(Set(told).subtracting(shown) == ["umbel_build_info"])
    }

    @Test("what leaves by schedules is told by kinds, rounded, with nothing of single circuits")
    func mixing() {
        let text = metrics().text
        for line in [
            "umbel_mix_slots_total{kind=\"cell\"} 1024",
            "umbel_mix_slots_total{kind=\"cover\"} 128",
            "umbel_mix_slots_total{kind=\"padding\"} 64", "umbel_mix_late_total 3",
            "umbel_mix_overflow_total 2", "umbel_mix_held_cells 32",
            "umbel_mix_delay_seconds_bucket{le=\"0.025\"} 0",
            "umbel_mix_delay_seconds_bucket{le=\"0.05\"} 64",
            "umbel_mix_delay_seconds_bucket{le=\"0.8\"} 256",
            "umbel_mix_delay_seconds_bucket{le=\"+Inf\"} 320", "umbel_mix_delay_seconds_sum 41",
            "umbel_cells_dropped_total{reason=\"queue\"} 2", "umbel_exit_flows 32",
            "umbel_clock_offset_seconds -2",
        ] {
            #expect(text.contains("\(line)\n"), "\(line)")
        }
    }

    @Test("no label tells circuits, clients or addresses apart, and traffic is rounded (row 80)")
    func coarse() {
        let text = metrics().text
        let allowed: Set = [
            "direction", "result", "reason", "state", "kind", "event", "version", "le",
        ]
        for match in text.matches(of: /([a-z_]+)="([^"]*)"/) {
            #expect(allowed.contains(String(match.output.1)), "\(match.output.0)")
            // Steps of histograms are numbers, and so is a version; all else are words.
            let value = /[a-z_]+|0\.1\.0/
            let step = /[0-9.]+|\+Inf/
            let isStep = match.output.1 == "le" && match.output.2.wholeMatch(of: step) != nil
            #expect(isStep || match.output.2.wholeMatch(of: value) != nil, "\(match.output.0)")
        }
        #expect(text.contains("{direction=\"forward\",result=\"passed\"} 1000000\n"))
        #expect(text.contains("umbel_traffic_bytes_total{direction=\"received\"} 65536\n"))
        #expect(!text.contains("1000037"))
    }

    /// Runs promtool; what it says and how it ends.
    private func promtool(_ arguments: String..., input text: String) throws -> (String, Int32) {
        let process = Process()
        process.executableURL = URL(filePath: try #require(checker))
        process.arguments = arguments
        process.currentDirectoryURL = Self.monitoring
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(text.utf8))
        try input.fileHandleForWriting.close()
        let said = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (String(decoding: said, as: UTF8.self), process.terminationStatus)
    }

    @Test("promtool finds nothing to complain of", .enabled(if: checker != nil, whyNot))
    func lint() throws {
        let (said, status) = try promtool("check", "metrics", input: metrics().text)
        #expect(status == 0 && said == "", "\(said)")
    }

    @Test("alerts fire on what they are for", .enabled(if: checker != nil, whyNot))
    func alerts() throws {
        let (said, status) = try promtool("test", "rules", "alerts.test.yml", input: "")
        #expect(status == 0, "\(said)")
    }

    @Test("the hourly line says what an operator asks")
    func heartbeat() {
        let line = metrics().heartbeat
        for part in ["up 2 h", "7 circuits", "3 links", "12 taken", "4 ticks"] {
            #expect(line.contains(part), "\(line)")
        }
    }
}
