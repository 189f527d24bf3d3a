import Anonymity
import ArgumentParser
import Foundation
import Workloads

/// `umbel-lab anonymity [FILE]`: what observers learn of each way of sending, and what it costs.
struct AnonymityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "anonymity",
        abstract: "Measure what observers of both ends learn, for each mode and others' senders.",
        discussion: """
            Models of our modes and of others' senders are attacked, then a crowd of the product's \
            own nodes: in virtual time with --simulated, else in the lab that FILE describes, built \
            and taken away by this command. The same seed gives the same figures in simulation. \
            Figures for others are of models of ours, for comparison only.
            """
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The topology of the crowd's lab.", completion: .file())
    var file = "Topology/crowd.yaml"
    @Flag(help: "Simulate the crowd instead of building a lab.")
    var simulated = false
    @Option(help: "Clients in each crowd; a lab needs as many in FILE.")
    var clients = 60
    @Option(help: "Seconds the models are watched for.")
    var seconds = 600
    @Option(help: "Seconds the crowd of nodes is watched for; 0 leaves it out.")
    var crowdSeconds = 120
    @Option(help: "Percent of datagrams lost on links of the simulated crowd's clients, each way.")
    var loss = 0.0
    @Option(help: "What clients do: web, light-web, video or chat.", transform: Self.model)
    var traffic = TrafficModel.web
    @Option(help: "Replay a pcap file instead: each client begins at another place in it.")
    var replay: String?
    @Option(help: "Modes to run the crowd in; repeat for more.")
    var mode: [Topology.Mode] = [.fast]
    @Option(help: "Where the drawing of chances begins.")
    var seed: UInt64 = 1
    @Option(help: "The report: HTML here, and JSON beside it.", completion: .file())
    var output = "anonymity.html"
    @Option(help: "Write what a correlator is trained on into this folder.")
    var export: String?
    @Option(help: "What Tools/correlator made of an export, to go into the report.")
    var learned: String?
    @Flag(help: "Print the report's JSON instead of a table.")
    var json = false

    func validate() throws {
        guard (2...1_000).contains(clients) else {
            throw ValidationError("--clients is 2 to 1000")
        }
        guard (10...86_400).contains(seconds) else {
            throw ValidationError("--seconds is 10 to 86400")
        }
        guard crowdSeconds == 0 || (10...86_400).contains(crowdSeconds) else {
            throw ValidationError("--crowd-seconds is 0, or 10 to 86400")
        }
        guard (0...50).contains(loss) else { throw ValidationError("--loss is 0 to 50") }
        guard loss == 0 || simulated else {
            throw ValidationError(
                "--loss is for --simulated; for a lab, give its clients loss in its file"
            )
        }
        guard Set(mode).count == mode.count, !mode.isEmpty else {
            throw ValidationError("--mode names each mode once")
        }
    }

    func run() async throws {
        let progress = Progress()
        let crowd = try CrowdTraffic(self)
        var report = AnonymityReport(
            seed: seed,
            traffic: crowd.title,
            clients: clients,
            seconds: Double(seconds),
            accessLossPercent: loss
        )
        // Read before anything takes its time.
        if let learned { report.learned = try Self.readLearned(learned) }
        let bench = AnonymityBench(traffic: crowd, loss: loss, progress: progress)
        let exporter = try export.map { try CorrelatorExport(folder: $0, seconds: seconds) }
        try bench.runModels(&report, exporter: exporter)
        if crowdSeconds > 0 {
            if simulated {
                try bench.runSimulation(&report, seconds: crowdSeconds, modes: mode)
            } else {
                for mode in mode {
                    report.processes.append(
                        try await CrowdLab(
                            file: file,
                            options: lab,
                            traffic: crowd,
                            mode: mode,
                            seconds: crowdSeconds,
                            progress: progress
                        ).run()
                    )
                }
            }
        }
        try exporter?.finish(seed: seed, clients: clients)
        try write(report, progress: progress)
    }

    private static func model(_ text: String) throws -> TrafficModel {
        guard let model = TrafficModel(rawValue: text) else {
            let names = TrafficModel.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--traffic is one of \(names)")
        }
        return model
    }

    private static func readLearned(_ path: String) throws -> [AnonymityReport.LearnedRow] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw LabError(
                "cannot read \(path)",
                why: "there is no such file, or it is closed to us",
                hint: "umbel-lab anonymity --simulated --export FOLDER; Tools/correlator FOLDER"
            )
        }
        do {
            return try JSONDecoder().decode([AnonymityReport.LearnedRow].self, from: data)
        } catch {
            throw LabError("\(path) is not what Tools/correlator writes", why: "\(error)")
        }
    }

    private func write(_ report: AnonymityReport, progress: Progress) throws {
        let page = URL(fileURLWithPath: output)
        let data = page.deletingPathExtension().appendingPathExtension("json")
        let encoded = try report.encoded()
        do {
            try encoded.write(to: data)
            try Data(ReportPage(report: report).html.utf8).write(to: page)
        } catch {
            throw LabError("cannot write the report to \(page.path)", why: "\(error)")
        }
        progress.say("\(page.path) and \(data.lastPathComponent)")
        print(json ? String(decoding: encoded, as: UTF8.self) : AnonymityTable(report: report).text)
    }
}
