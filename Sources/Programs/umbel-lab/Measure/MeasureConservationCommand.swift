import ArgumentParser
import Foundation
import Glibc
import HostNetwork

/// `umbel-lab measure conservation`: whether money stays, over epochs, with programs that die.
struct MeasureConservationCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conservation",
        abstract: "Let a lab pay for some epochs, with deaths, and add up every tick at the end.",
        discussion: """
            Builds the topology with payments, downloads all the time, and takes the lab away. With \
            --kills a mint, a relay or the client dies at random and is started again. At the end \
            nothing moves, and all must add up: what was issued is spent, at hand, given back or \
            expired, and what was granted is on accounts, paid for vouchers or burnt. Exits with 1 \
            where a tick is missing. An hour of six epochs, or --epoch 60 for seven minutes.
            """
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The topology, such as Topology/lab.yaml.", completion: .file())
    var file = "Topology/lab.yaml"
    @Option(help: "Epochs to run for.")
    var epochs = 6
    @Option(help: "Seconds of an epoch, at least 60.")
    var epoch = 600
    @Flag(help: "Kill programs at random.")
    var kills = false
    @Option(help: "Seconds from one kill to the next, on average.")
    var killInterval = 20
    @Option(help: "What the kills are drawn from.")
    var seed: UInt64 = 1
    @Flag(help: "Print one JSON object instead of text.")
    var json = false

    func validate() throws {
        guard (1...100).contains(epochs), (60...86_400).contains(epoch),
            (5...3_600).contains(killInterval)
        else {
            throw ValidationError(
                "--epochs is 1 to 100, --epoch 60 to 86400, --kill-interval 5 to 3600"
            )
        }
    }

    /// What came of it.
    struct Report: Encodable {
        var schema = 1
        var seconds: Int
        var downloadedBytes: UInt64
        var killed: [String: Int]
        var sums: LabBooks.Sums
        var findings: [String]
    }

    func run() async throws {
        var lab = try MeasuredLab(file: file, options: lab, suffix: "-sum", progress: Progress())
        lab.topology.payments = .on
        lab.set("payment", "epoch", "\"\(epoch)s\"")
        lab.set("payment", "deposits", "\"5s\"")
        let built = lab
        let report = try await built.run { try await Lifetime(command: self, lab: built).live() }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
            print(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            print(MoneyCommand.text(report.sums))
            let killed = report.killed.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" }
            print("\(report.seconds) s, \(report.downloadedBytes >> 20) MiB downloaded")
            if !killed.isEmpty { print("killed: \(killed.joined(separator: ", "))") }
            for finding in report.findings { print("WRONG: \(finding)") }
            if report.findings.isEmpty { print("good: every tick is accounted for") }
        }
        if !report.findings.isEmpty { throw ExitCode(1) }
    }
}

/// A lab that pays for some epochs.
private struct Lifetime {
    let command: MeasureConservationCommand
    let lab: MeasuredLab
    private let begun = ContinuousClock.now

    /// Longest time until nothing moves any more: questions to mints give up, deposits come around.
    private static let settling = Duration.seconds(180)

    init(command: MeasureConservationCommand, lab: MeasuredLab) {
        self.command = command
        self.lab = lab
    }

    private var elapsed: Duration { ContinuousClock.now - begun }

    func live() async throws -> MeasureConservationCommand.Report {
        var draws = SplitMix(state: command.seed)
        var killed: [String: Int] = [:]
        var downloaded: UInt64 = 0
        let length = Duration.seconds(command.epochs * command.epoch)
        var nextKill = nextKillTime(&draws)
        var findings: [String] = []
        while elapsed < length, findings.isEmpty {
            downloaded += try await download()
            // While things move only the books of one node must agree with each other.
            findings = try await books().findings(isStill: false)
            guard command.kills, elapsed >= nextKill else { continue }
            let victims = lab.topology.hosts.filter {
                $0.startsByItself && ($0.isMint || $0.role == .relay || $0.role == .client)
            }
            let victim = victims[Int(draws.next() % UInt64(victims.count))]
            try await kill(victim.name)
            let kind = victim.isMint ? "mint" : victim.role.rawValue
            killed[kind, default: 0] += 1
            lab.progress.say("\(kind) \(victim.name) killed")
            // Others go on meanwhile.
            if victim.role != .client { downloaded += try await download() }
            try await start(victim.name)
            nextKill = nextKillTime(&draws)
        }
        let (sums, last) = try await settle()
        return MeasureConservationCommand.Report(
            seconds: Int(elapsed / .seconds(1)),
            downloadedBytes: downloaded,
            killed: killed,
            sums: sums,
            findings: findings + last
        )
    }

    private func nextKillTime(_ draws: inout SplitMix) -> Duration {
        elapsed + .seconds(Int(draws.next() % UInt64(command.killInterval * 2)))
    }

    /// Bytes that came within a few seconds; where a circuit just died, none.
    private func download() async throws -> UInt64 {
        let server = try lab.host(.internet)
        guard let name = server.services?.names.first else { return 0 }
        let outcome = try await lab.outcome(
            try lab.host(.client).name,
            ["curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{size_download}"]
                + ["--limit-rate", "2M", "http://\(name)/blob"],
            seconds: 20
        )
        return UInt64(outcome.output.filter(\.isNumber)) ?? 0
    }

    private func kill(_ name: String) async throws {
        try await lab.folder.change { manifest in
            let processes = manifest.hosts[try manifest.index(of: name)].programs
                .compactMap(\.process).filter { $0.state != .gone }
            try await ProcessIdentity.end(processes, of: name, by: SIGKILL)
        }
    }

    private func start(_ name: String) async throws {
        try await lab.folder.change { manifest in
            try await LabStart.start(name, of: &manifest, in: lab.folder)
        }
    }

    /// What all nodes say; those that have no time to answer are asked again.
    private func books() async throws -> LabBooks {
        let end = ContinuousClock.now + .seconds(30)
        while true {
            do throws(LabError) {
                return try LabBooks(try lab.folder.existing())
            } catch {
                guard ContinuousClock.now < end else { throw error }
            }
            try await Task.sleep(for: .milliseconds(500))
        }
    }

    /// Ends all traffic, and waits until nothing moves: all must add up then.
    private func settle() async throws -> (LabBooks.Sums, [String]) {
        let manifest = try lab.folder.existing()
        if let umbel = manifest.umbel {
            let client = try lab.host(.client).name
            let socket = DaemonLauncher.socket(in: lab.folder.host(client))
            _ = try await lab.outcome(client, [umbel, "down", "--socket", socket], seconds: 60)
        }
        lab.progress.say("nothing is downloaded any more")
        let end = ContinuousClock.now + Self.settling
        while true {
            let books = try await books()
            let findings = books.findings(isStill: true)
            guard !findings.isEmpty, ContinuousClock.now < end else {
                return (books.sums, findings)
            }
            try await Task.sleep(for: .seconds(1))
        }
    }
}
