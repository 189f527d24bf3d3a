import Anonymity
import Base
import CryptoPrimitives
import Foundation
import Testing
import Workloads

@testable import umbel_lab

@Suite("What observers learn is measured and told")
struct AnonymityReportTests {
    private func traffic(
        _ clients: Int,
        seconds: Double,
        seed: UInt64 = 1,
        capture: String? = nil
    ) throws -> CrowdTraffic {
        try CrowdTraffic(
            clients: clients,
            seconds: seconds,
            seed: seed,
            model: .lightWeb,
            capture: capture
        )
    }

    private func report(seed: UInt64, export: CorrelatorExport? = nil) throws -> AnonymityReport {
        let traffic = try traffic(6, seconds: 40, seed: seed)
        var report = AnonymityReport(seed: seed, traffic: traffic.title, clients: 6, seconds: 40)
        let bench = AnonymityBench(traffic: traffic, progress: Progress())
        try bench.runModels(&report, exporter: export)
        try bench.runSimulation(&report, seconds: 10, modes: [.fast])
        return report
    }

    @Test("the same seed gives the same report, another seed another")
    func seeded() throws {
        let (first, second) = (try report(seed: 5), try report(seed: 5))
        #expect(try first.encoded() == second.encoded())
        #expect(ReportPage(report: first).html == ReportPage(report: second).html)
        #expect(try first.encoded() != report(seed: 6).encoded())
    }

    @Test(
        "a report names every way of sending, in drawings and tables, and asks nothing of the net"
    )
    func page() throws {
        var report = try report(seed: 7)
        report.traffic = "<replay> & \"more\""
        report.learned = [
            .init(
                name: "fast",
                accuracy: 0.9,
                auc: 0.95,
                truePositiveRate: 0.5,
                trainFlows: 3,
                testFlows: 3,
                library: "numpy"
            )
        ]
        let html = ReportPage(report: report).html
        for known in KnownProcess.all { #expect(html.contains(">\(known.name)<")) }
        for known in KnownProcess.timingSeries {
            #expect(html.contains(Plot.escaped(known.title)))
        }
        #expect(html.contains("fast · sim"))
        #expect(html.contains("&lt;replay&gt; &amp; &quot;more&quot;"))
        #expect(!html.contains("<replay>"))
        #expect(html.contains("A correlator that learned"))
        for word in ["http:", "https:", "src=", "url(", "<script", "@import"] {
            #expect(!html.contains(word), "\(word)")
        }
        // Every drawing has a table behind it, and what is opened is closed.
        let drawings = html.components(separatedBy: "<svg").count - 1
        #expect(drawings == 6)
        #expect(html.components(separatedBy: "<details>").count - 1 == drawings)
        for tag in ["svg", "table", "figure", "section", "details", "tr", "td", "th", "text"] {
            let opened =
                html.components(separatedBy: "<\(tag)>").count
                + html.components(separatedBy: "<\(tag) ").count - 2
            #expect(opened == html.components(separatedBy: "</\(tag)>").count - 1, "\(tag)")
        }
        #expect(!html.contains("nan") && !html.contains("inf\""))
        let decoded = try JSONDecoder().decode(AnonymityReport.self, from: report.encoded())
        #expect(decoded.processes == report.processes)
        let table = AnonymityTable(report: report).text
        #expect(table.split(separator: "\n").count == report.processes.count + 1)
    }

    @Test("targets are told as reached only where they are")
    func targets() {
        func verdict(_ area: Double, _ found: Double) -> Verdict {
            var random = RandomGenerator(
                seed: Secret(copying: [UInt8](repeating: 1, count: 32))
            )
            var verdict = Verdict(ScoreMatrix(count: 2) { _, _ in 0 }, random: &random)
            (verdict.auc, verdict.truePositiveRate) = (area, found)
            return verdict
        }
        var result = ProcessResult(
            name: "mix",
            title: "mix",
            isOurs: true,
            source: "model",
            clients: 2,
            seconds: 1,
            cost: CostResult(throughputBitsPerSecond: 0, carriedShare: 1, overhead: 1)
        )
        result.attacks = [
            AttackResult(
                attack: "rates",
                setting: "bins of 0.5 s",
                verdict: verdict(0.54, 0.006),
                curve: []
            ),
            AttackResult(
                attack: "timing",
                setting: "3000 cells",
                verdict: verdict(0.63, 0),
                curve: []
            ),
        ]
        result.cost.idleDelayP95 = 0.2
        #expect(AnonymityReport.targets(result).map(\.isMet) == [true, false, false, true])
        // What was not measured is not claimed.
        result.attacks = []
        result.cost.idleDelayP95 = nil
        #expect(AnonymityReport.targets(result).isEmpty)
    }

    @Test("an export has both rates of every flow, and an index last")
    func export() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "umbel-export-\(UUID().uuidString)"
        )
        defer { try? FileManager.default.removeItem(at: folder) }
        let exporter = try CorrelatorExport(folder: folder.path, seconds: 2)
        let (exit, link) = (FlowTrace(times: [0.05, 0.06]), FlowTrace(times: [1.95]))
        try exporter.add("fast", exits: [exit], links: [link])
        let index = folder.appendingPathComponent("index.json")
        #expect(!FileManager.default.fileExists(atPath: index.path))
        try exporter.finish(seed: 1, clients: 1)
        let data = try Data(contentsOf: folder.appendingPathComponent("fast.f32"))
        #expect(data.count == 2 * 20 * 4)
        // 2 and 1 as little-endian floats.
        #expect([UInt8](data[0..<4]) == [0, 0, 0, 0x40])
        #expect([UInt8](data[156..<160]) == [0, 0, 0x80, 0x3f])
        let text = try String(contentsOf: index, encoding: .utf8)
        #expect(text.contains("\"bins\" : 20") && text.contains("\"flows\" : 1"))
    }

    @Test("a capture is replayed from another place for each client, again and again")
    func replay() throws {
        var bytes: [UInt8] =
            [0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4] + [UInt8](repeating: 0, count: 15)
        bytes.append(101)
        for second in 0..<3 as Range<UInt8> {
            var packet: [UInt8] = [0x45, 0, 0, 40] + [UInt8](repeating: 0, count: 16)
            packet[12...19] = [192, 0, 2, 1, 192, 0, 2, 2]
            bytes += [0, 0, 0, second, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 40] + packet
        }
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(
            "umbel-replay-\(UUID().uuidString).pcap"
        )
        try Data(bytes).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let traffic = try traffic(5, seconds: 20, capture: file.path)
        var random = traffic.random(1)
        let all = traffic.transfers(seconds: 20, random: &random)
        #expect(all.count == 5)
        for own in all {
            // Three packets in two seconds and a millisecond.
            #expect((29...30).contains(own.count))
            #expect(own.map(\.time) == own.map(\.time).sorted())
            #expect(own.allSatisfy { (0..<20).contains($0.time) && $0.uploadByteCount == 40 })
        }
        #expect(Set(all.map { $0[0].time }).count == 5)
        #expect(throws: LabError.self) {
            try self.traffic(5, seconds: 20, capture: file.path + ".none")
        }
        try Data([1, 2, 3]).write(to: file)
        #expect(throws: LabError.self) { try self.traffic(5, seconds: 20, capture: file.path) }
    }

    @Test("heads of frames are read, and what is no TCP or UDP is none")
    func frames() throws {
        var frame = [UInt8](repeating: 0, count: 128)
        frame[12...13] = [0x08, 0x00]
        frame[14] = 0x46
        frame[23] = 17
        frame[26...33] = [192, 0, 2, 1, 198, 51, 100, 7]
        frame[38...41] = [0x11, 0x51, 0x00, 0x50]
        let head = try #require(FrameHead(frame))
        #expect(head.source == IPAddress(v4: 0xc000_0201))
        #expect(head.destination == IPAddress(v4: 0xc633_6407))
        #expect(head.sourcePort == 4_433 && head.destinationPort == 80)
        // Fourteen of Ethernet, 24 of IP with an option, eight of UDP.
        #expect(head.payloadOffset == 46)
        frame[21] = 1
        #expect(FrameHead(frame) == nil)
        frame[21] = 0
        frame[23] = 1
        #expect(FrameHead(frame) == nil)
        frame[12...13] = [0x86, 0xdd]
        frame[20] = 6
        frame[54...55] = [0x01, 0xbb]
        #expect(try #require(FrameHead(frame)).sourcePort == 443)
        #expect(FrameHead([UInt8](repeating: 0, count: 61)) == nil)
    }

    @Test("the crowd's topology has sixty clients, and each is alone at its address")
    func topology() throws {
        var root = URL(filePath: #filePath)
        for _ in 0..<3 { root.deleteLastPathComponent() }
        let topology = try TopologyReader.read(
            file: root.appending(path: "Topology/crowd.yaml").path
        )
        let clients = topology.hosts.filter { $0.role == .client }
        #expect(clients.count == 60)
        #expect(Set(clients.flatMap(\.addresses)).count == 120)
        #expect(topology.hosts.contains { $0.role == .internet })
        #expect(topology.hosts.filter { $0.exit != nil }.count == 3)
    }
}
