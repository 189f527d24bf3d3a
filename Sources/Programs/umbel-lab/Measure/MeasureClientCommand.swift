import ArgumentParser
import Base
import EventLoop
import Foundation
import Glibc
import HostNetwork

/// `umbel-lab measure client`: what a person at a client waits for, in a lab that is up.
struct MeasureClientCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "client",
        abstract: "Time to the first byte and after a relay's death, and idle cost, in a lab.",
        discussion: """
            Wants a lab of this name that is up, with a client, an internet host and an echo port: \
            Topology/lab.yaml. Leaves it connected.
            """
    )

    @OptionGroup var lab: LabOptions
    @Option(help: "How often to connect, warm; a fifth of it cold.")
    var starts = 20
    @Option(help: "How often to kill each hop of the path in use.")
    var kills = 50
    @Option(help: "The hop to kill, 1 to 3. Default: one after the other.")
    var hop: Int?
    @Option(help: "Seconds to watch the idle daemon.")
    var idle = 300
    @Option(help: "How often to connect and disconnect, looking for what the daemon keeps.")
    var cycles = 0
    @Flag(help: "Print one JSON object instead of text.")
    var json = false

    func validate() throws {
        guard (0...1_000).contains(starts), (0...1_000).contains(kills),
            (0...86_400).contains(idle), (0...100_000).contains(cycles),
            hop.map({ (1...3).contains($0) }) ?? true
        else { throw ValidationError("--starts and --kills are 0 to 1000, --hop is 1 to 3") }
    }

    func run() async throws {
        let bench = try ClientBench(lab.folder())
        var results: [Measurement] = []
        if starts > 0 {
            results += [try await bench.starts(count: starts, isCold: false)]
            results += [try await bench.starts(count: max(1, starts / 5), isCold: true)]
        }
        if kills > 0 {
            for hop in 0..<3 where self.hop.map({ $0 == hop + 1 }) ?? true {
                results += try await bench.deaths(of: hop, count: kills)
            }
        }
        if idle > 0 { results += try await bench.idleCost(seconds: idle) }
        if cycles > 0 { results += try await bench.cycles(count: cycles) }
        try Measurement.show(results, json: json)
    }
}

/// The measurements of ``MeasureClientCommand``.
struct ClientBench {
    private let folder: LabFolder
    private let umbel: String
    private let client: Manifest.Host
    private let socket: String
    private let server: String
    private let progress = Progress()

    /// Finds the client and the internet host of the lab in `folder`.
    ///
    /// - Throws: ``LabError`` where there is none.
    init(_ folder: LabFolder) throws {
        self.folder = folder
        let manifest = try folder.existing()
        guard let umbel = manifest.umbel,
            let client = manifest.hosts.first(where: { $0.role == .client }),
            let socket = client.programs.first?.socket,
            let server = manifest.hosts.first(where: { $0.role == .internet })?.addresses
                .first(where: { !$0.contains(":") })
        else {
            throw LabError(
                "this lab cannot be measured",
                why: "it has no client, or no internet host with an IPv4 address"
            )
        }
        self.umbel = umbel
        self.client = client
        self.socket = socket
        self.server = server
    }

    private var inside: CommandRunner { CommandRunner(namespace: client.namespace) }

    @discardableResult
    private func ask(_ words: String...) async throws -> String {
        try await inside.run([umbel] + words + ["--socket", socket], timeout: .seconds(60))
    }

    /// The first byte of a page, by a program that begins now.
    private func fetch() async throws {
        try await inside.run([
            "curl", "-sS", "--max-time", "30", "-r", "0-0", "-o", "/dev/null", "http://\(server)/",
        ])
    }

    private func lab(_ words: String...) async throws {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let argv = [program] + words + ["--name", folder.lab]
        try await CommandRunner().run(argv, timeout: .seconds(60))
    }

    // MARK: Starts

    /// Milliseconds from `umbel up`, or from the daemon's start, to the first byte of a page.
    func starts(count: Int, isCold: Bool) async throws -> Measurement {
        var figures: [Double] = []
        for round in 0..<count {
            try await ask("down")
            if isCold {
                try await lab("kill", client.name, "--signal", "TERM")
                let state = "\(folder.host(client.name))/state"
                // Guards are kept for months; what is fetched anew is the directory.
                for name in try FileManager.default.contentsOfDirectory(atPath: state)
                where name.hasPrefix("consensus") {
                    try FileManager.default.removeItem(atPath: "\(state)/\(name)")
                }
            }
            let begin = ContinuousClock.now
            // Started by the lab, the client is connected when the command returns.
            if isCold { try await lab("start", client.name) } else { try await ask("up", "--wait") }
            try await fetch()
            figures.append((ContinuousClock.now - begin) / .milliseconds(1))
            progress.say("start \(round + 1) of \(count)")
        }
        let name = isCold ? "daemon's start to first byte, no directory" : "up to first byte"
        return Measurement(name, unit: "ms", figures)
    }

    // MARK: Deaths

    private struct Circuits: Decodable {
        struct Circuit: Decodable {
            struct Hop: Decodable {
                var nickname: String
            }
            var state: String
            var isolation: String
            var hops: [Hop]
        }
        var circuits: [Circuit]
    }

    /// The relays of the circuit in use; `nil` where there is none.
    private func path() async throws -> [String]? {
        let text = try await ask("circuits", "--json")
        let report = try JSONDecoder().decode(Circuits.self, from: Data(text.utf8))
        let active = report.circuits.first { $0.state == "active" && $0.isolation == "machine" }
        guard let active, active.hops.count == 3 else { return nil }
        return active.hops.map(\.nickname)
    }

    /// Milliseconds from the death of a hop to the first question that got an answer again: the
    /// median of all, and the 99th of a hundred; and how often no circuit was in use when the next hop
    /// was to be killed, though a question had been answered two seconds before.
    func deaths(of hop: Int, count: Int) async throws -> [Measurement] {
        var figures: [Double] = []
        var gaps = 0.0
        try await ask("up", "--wait")
        let probe = try EchoProbe(namespace: client.namespace, address: server, port: 7)
        defer { probe.stop() }
        for round in 0..<count {
            var path: [String]?
            while path == nil {
                _ = try await answer(of: probe, after: MonotonicClock.now().nanoseconds)
                // A spare stands within a second, where there is to be one.
                try await Task.sleep(for: .seconds(2))
                path = try await self.path()
                if path == nil { gaps += 1 }
                guard gaps <= 100 else {
                    throw LabError("no circuit is in use", why: "the client has none most times")
                }
            }
            guard let victim = path?[hop] else { continue }
            let manifest = try folder.existing()
            let host = manifest.hosts[try manifest.index(of: victim)]
            let killed = MonotonicClock.now().nanoseconds
            for program in host.programs { program.process?.sendToGroup(SIGKILL) }
            // What was on its way when the relay died is no sign of life of another path.
            let since = killed + Self.onTheWay
            let alive = try await answer(of: probe, after: since)
            figures.append(Double(alive - killed) / 1_000_000)
            try await lab("start", victim)
            progress.say("hop \(hop + 1): death \(round + 1) of \(count)")
        }
        let name = ["guard", "middle", "exit"][hop]
        let sorted = figures.sorted()
        let high = sorted[min(sorted.count - 1, sorted.count * 99 / 100)]
        let results = [
            Measurement("death of the \(name) to first answer", unit: "ms", figures),
            Measurement("the same, p99", unit: "ms", [high]),
            Measurement("without a circuit before a kill", unit: "times", [gaps]),
        ]
        for result in results { progress.say("\(result.name): \(result.median) \(result.unit)") }
        return results
    }

    /// A question asked this long after the kill was not yet with the dead relay.
    private static let onTheWay: UInt64 = 20_000_000

    private func answer(of probe: EchoProbe, after time: UInt64) async throws -> UInt64 {
        let end = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < end {
            if let asked = probe.firstAnswered(after: time) { return asked }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw LabError("no answer comes", why: "a minute after the last change")
    }

    // MARK: Cost

    /// What the daemon uses at one time.
    private struct Usage {
        var ticks: Double
        var residentKibibytes: Double
        var descriptors: Double
    }

    private func usage() throws -> Usage {
        let manifest = try folder.existing()
        let host = manifest.hosts[try manifest.index(of: client.name)]
        guard let process = host.programs.first?.process, process.state == .running else {
            throw LabError("the daemon does not run", why: "nothing can be measured of it")
        }
        let stat = try String(contentsOfFile: "/proc/\(process.pid)/stat", encoding: .utf8)
        let status = try String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)
        let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
        let resident = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]),
            let size = resident?.split(separator: " ").dropFirst().first.flatMap({ Double($0) })
        else { throw LabError("the daemon's use cannot be read", why: "/proc says else") }
        let files = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process.pid)/fd")
        return Usage(
            ticks: user + system,
            residentKibibytes: size,
            descriptors: Double(files.count)
        )
    }

    /// Share of a processor and memory of a daemon that is connected and carries nothing.
    func idleCost(seconds: Int) async throws -> [Measurement] {
        try await ask("up", "--wait")
        try await fetch()
        try await Task.sleep(for: .seconds(5))
        progress.say("watching the idle daemon for \(seconds) s")
        let before = try usage()
        let begin = ContinuousClock.now
        var sizes = [before.residentKibibytes / 1_024]
        while ContinuousClock.now - begin < .seconds(seconds) {
            try await Task.sleep(for: .seconds(min(5, seconds)))
            sizes.append(try usage().residentKibibytes / 1_024)
        }
        let ticks = try usage().ticks - before.ticks
        let time = (ContinuousClock.now - begin) / .seconds(1)
        let share = ticks / Double(sysconf(Int32(_SC_CLK_TCK))) / time * 100
        return [
            Measurement("idle daemon, of a processor", unit: "%", [share]),
            Measurement("idle daemon, resident", unit: "MiB", sizes),
        ]
    }

    /// What a daemon has more of after `count` times of connecting and disconnecting.
    func cycles(count: Int) async throws -> [Measurement] {
        for _ in 0..<10 {
            try await ask("up", "--wait")
            try await ask("down")
        }
        let before = try usage()
        for round in 0..<count {
            try await ask("up", "--wait")
            try await ask("down")
            if round % 50 == 49 { progress.say("cycle \(round + 1) of \(count)") }
        }
        let after = try usage()
        try await ask("up", "--wait")
        let grown = (after.residentKibibytes - before.residentKibibytes) / 1_024
        return [
            Measurement(
                "files more after \(count) connects",
                unit: "files",
                [after.descriptors - before.descriptors]
            ),
            Measurement("memory more after \(count) connects", unit: "MiB", [grown]),
        ]
    }
}
