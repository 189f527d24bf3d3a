import Base
import Foundation
import Testing

@testable import NodeRuntime
@testable import RelayCore

@Suite("What a relay's metrics say, and do not")
struct RelayMetricsTests {
    private func metrics() -> RelayMetrics {
        var counters = RelayCounters()
        counters.forwardCells = 1_000_037
        counters.receivedDatagrams = 77
        var control = RelayControl.Counters()
        control.circuits = 12
        var metrics = RelayMetrics(
            RelayReadings(
                time: .zero,
                shards: RelayLoopReport(
                    counters: counters,
                    linkDrops: [],
                    circuits: 7,
                    waitingBytes: 5
                ),
                control: RelayControlCounts(counters: control, links: 3, circuits: 6, leases: 2)
            ),
            process: ProcessReadings(),
            up: .seconds(7_200)
        )
        metrics.version = "0.1.0"
        metrics.isExit = true
        metrics.resolver = ResolverKeeper.State(isAnswering: true, endings: 2, silences: 1)
        metrics.quota = (500_000, 1_000_000)
        metrics.directory = (60, 3)
        metrics.ticks = (4, 3, 2, 1)
        return metrics
    }

    @Test("the names that dashboards and alert rules use are there")
    func names() throws {
        let text = metrics().text
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Tools/monitoring")
        for file in ["grafana.json", "alerts.yml"] {
            let used = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
            let names = Set(used.matches(of: /(umbel|process)_[a-z_]+/).map { String($0.output.0) })
            #expect(names.count > 3)
            for name in names {
                #expect(text.contains("# TYPE \(name) "), "\(file) asks for \(name)")
            }
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
            #expect(match.output.2.wholeMatch(of: /[a-z_]+|0\.1\.0/) != nil, "\(match.output.0)")
        }
        #expect(text.contains("{direction=\"forward\",result=\"passed\"} 1000000\n"))
        #expect(text.contains("umbel_traffic_bytes_total{direction=\"received\"} 65536\n"))
        #expect(!text.contains("1000037"))
    }

    @Test("promtool finds nothing to complain of")
    func promtool() async throws {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        guard
            let tool = folders.map({ "\($0)/promtool" })
                .first(where: FileManager.default.isExecutableFile(atPath:))
        else {
            print("SKIPPED: promtool is not here; Debian has it in the package prometheus")
            return
        }
        let process = Process()
        process.executableURL = URL(filePath: tool)
        process.arguments = ["check", "metrics"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(metrics().text.utf8))
        try input.fileHandleForWriting.close()
        let said = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(String(decoding: said, as: UTF8.self))")
        #expect(String(decoding: said, as: UTF8.self) == "")
    }

    @Test("the hourly line says what an operator asks")
    func heartbeat() {
        let line = metrics().heartbeat
        for part in ["up 2 h", "7 circuits", "3 links", "12 taken", "4 ticks"] {
            #expect(line.contains(part), "\(line)")
        }
    }
}
