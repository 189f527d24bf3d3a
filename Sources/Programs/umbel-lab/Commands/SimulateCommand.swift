import ArgumentParser
import Base
import EventLoop
import FlowModel
import Foundation
import Simulation
import Synchronization

/// `umbel-lab simulate`: a network in virtual time, from one seed.
struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract:
            "Run a network in virtual time: small ones on the real cores, large ones as flows.",
        discussion: """
            A file with `hosts` (lab.yaml, crowd.yaml) runs on the state machines of relay and client, \
            and in the flow model beside them; how far that is off is printed, figure by figure, with \
            what chance may come to. A file with `relays` and `clients` by number (thousand.yaml, \
            internet.yaml) runs in the flow model: load of relays against their weights, times to build \
            circuits, broken circuits, bytes of the directory, tickets and mints, and guards against \
            adversaries over a year. The same network made smaller then runs on both, to tell the \
            model's error, and once more with relays that come and go often, where the file has them \
            do so. With `--engine cores` such a file runs on the state machines, whole: minutes \
            of work for a minute of 10,000 clients.

            The same seed gives the same hash, whatever machine and however many processors. Progress \
            goes to standard error. A file that makes no network is refused with line and reason, status 1.
            """
    )

    enum Engine: String, ExpressibleByArgument, CaseIterable {
        case auto, cores, flows
    }

    @Argument(help: "The topology.") var file: String
    @Option(help: "What chance comes from.") var seed: UInt64 = 1
    @Option(help: "Virtual time, such as 90s or 1h; the file's own, or 5m.")
    var duration: String?
    @Option(help: "What clients do, instead of what the file says: fast or mix.")
    var mode: Topology.Mode?
    @Option(help: "What runs: auto, cores (the state machines) or flows (the flow model).")
    var engine = Engine.auto
    @Flag(
        inversion: .prefixedNo,
        help: "Run a small part of a large network on both, to tell the flow model's error."
    )
    var validate = true
    @Option(help: "Write the report to this file: one page without any other file.")
    var report: String?
    @Flag(help: "One JSON object instead of tables.") var json = false

    func run() async throws {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw LabError(
                "cannot read \(file)",
                why: "there is no such file, or it is closed to us"
            )
        }
        let text = String(decoding: data, as: UTF8.self)
        let begun = MonotonicClock.now()
        var page: SimulationPage
        if ScaleReader.describes(text) {
            page = engine == .cores ? try await whole(text) : try await large(text)
        } else {
            guard engine != .flows else {
                throw ValidationError("a file with hosts runs on both: leave --engine out")
            }
            page = try await small(text)
        }
        let wall = (MonotonicClock.now() - begun).seconds
        page.facts.append(("wall time, s", String(format: "%.1f", wall)))
        page.facts.append(("memory at most, MiB", "\(Self.peakMemory() >> 20)"))
        if let report {
            do {
                try page.html.write(toFile: report, atomically: true, encoding: .utf8)
            } catch {
                throw LabError("cannot write \(report)", why: "\(error)")
            }
        }
        print(json ? try page.json() : page.text)
    }

    private func seconds(else other: Double) throws -> Double {
        guard let duration else { return other }
        guard let seconds = ScaleReader.seconds(duration), seconds >= 10 else {
            throw ValidationError("--duration is 10s or more, such as 90s or 1h")
        }
        return seconds
    }

    // MARK: Flow model

    /// The network a file describes by numbers, with what the command line says of it.
    private func plan(_ text: String) throws -> NetworkPlan {
        var plan = try ScaleReader.read(text: text, file: file)
        plan.duration = try seconds(else: plan.duration)
        plan.step = min(plan.step, plan.duration)
        if let mode {
            guard mode != .padded else { throw ValidationError("--mode is fast or mix") }
            if plan.load.isMix != (mode == .mix) {
                plan.load.isMix = mode == .mix
                plan.load.cellsPerSecond = mode == .mix ? 100 : 2
                plan.load.activeShare = mode == .mix ? 1 : 0.1
            }
        }
        return plan
    }

    private func drawn(_ plan: NetworkPlan, _ streams: Streams) throws -> DrawnNetwork {
        do {
            return try DrawnNetwork(plan, streams: streams)
        } catch let error as PlanError {
            throw LabError("\(file) describes no network", why: error.description)
        }
    }

    private func large(_ text: String) async throws -> SimulationPage {
        let plan = try plan(text)
        let streams = Streams(seed: seed)
        let network = try drawn(plan, streams)
        let result = try await FlowRun(network: network, plan: plan, streams: streams)
            .run(progress: Self.show)
        let year = try await GuardYear.run(
            network: network,
            plan: plan,
            streams: streams,
            progress: Self.show
        )
        var page = SimulationPage(file: file, seed: seed, plan: plan, result: result, year: year)
        if validate {
            page.add(try await part(of: plan, uptime: nil))
            if var uptime = plan.uptime {
                // As they are in the file, hardly one would go down in so short a time.
                (uptime.mean, uptime.down) = (Self.partUptime, Self.partDowntime)
                page.addChurn(try await part(of: plan, uptime: uptime), uptime: uptime)
            }
        }
        return page
    }

    /// Mean times up and down in the part of a network whose relays come and go, in seconds.
    private static let (partUptime, partDowntime) = (1_200.0, 60.0)

    /// A small part of a large network on both engines.
    private func part(
        of plan: NetworkPlan,
        uptime: NetworkPlan.Uptime?
    ) async throws -> CellLevel {
        var small = plan
        small.relayCount = min(plan.relayCount, 60)
        small.systemCount = min(plan.systemCount, 40)
        var level = CellLevel.Plan()
        level.network = small
        level.clients = min(plan.clientCount, 100)
        level.seconds = 660
        level.packetsPerSecond = 0.5
        level.paysRelays = plan.paysRelays
        level.uptime = uptime
        // A death meets many of one world's clients at once: several worlds say more than one.
        if uptime != nil { (level.clients, level.worlds) = (min(plan.clientCount, 10), 10) }
        return try await CellLevel.run(level, seed: seed, progress: Self.show)
    }

    // MARK: Cores

    /// A network by numbers on the cores, all of it.
    private func whole(_ text: String) async throws -> SimulationPage {
        let plan = try plan(text)
        guard !plan.load.isMix else {
            throw ValidationError("--engine cores runs `fast`: add --mode fast")
        }
        guard plan.relayCount <= 2_000, plan.clientCount <= 20_000 else {
            throw ValidationError("--engine cores takes up to 2,000 relays and 20,000 clients")
        }
        _ = try drawn(plan, Streams(seed: seed))
        var level = CellLevel.Plan()
        level.network = plan
        level.clients = plan.clientCount
        level.seconds = Int(plan.duration)
        level.packetsPerSecond = plan.load.cellsPerSecond
        level.paysRelays = false
        return SimulationPage(
            file: file,
            seed: seed,
            level: try await CellLevel.run(level, seed: seed, progress: Self.show)
        )
    }

    private func small(_ text: String) async throws -> SimulationPage {
        let topology = try TopologyReader.read(text: text, file: file)
        let relays = topology.hosts.filter { $0.role == .relay && $0.startsByItself }
        let exits = relays.count { $0.exit != nil }
        let clients = topology.hosts.count { $0.role == .client }
        guard exits > 0, relays.count - exits >= 2, clients > 0 else {
            throw LabError(
                "\(file) has nothing to simulate",
                why: "a circuit needs an exit and two other relays, and somebody who builds it"
            )
        }
        guard (mode ?? .fast) == .fast else {
            throw ValidationError("on the cores clients of files with hosts are `fast`")
        }
        var level = CellLevel.Plan()
        level.guards = relays.count - exits
        level.middles = 0
        level.exits = exits
        level.clients = clients
        // Few clients say little: several worlds of them say more.
        level.worlds = max(1, min(24, 24 / clients))
        level.seconds = Int(try seconds(else: 300))
        return SimulationPage(
            file: file,
            seed: seed,
            level: try await CellLevel.run(level, seed: seed, progress: Self.show)
        )
    }

    // MARK: Progress

    /// Shows how far it is, on one line of a terminal; elsewhere a line for each twentieth.
    private static let show: FlowRun.Progress = { part, share in
        let text: String
        if isatty(2) == 1 {
            text = "\r\(part): \(Int(share * 100)) %   \(share >= 1 ? "\n" : "")"
        } else {
            let twentieth = Int(share * 20)
            let isNew = told.withLock { told in
                defer { told = Told(part: part, twentieth: twentieth) }
                return told.part != part || told.twentieth != twentieth
            }
            guard isNew else { return }
            text = "\(part): \(twentieth * 5) %\n"
        }
        FileHandle.standardError.write(Data(text.utf8))
    }

    /// What a file of progress was told last.
    private struct Told {
        var part = ""
        var twentieth = 0
    }

    private static let told = Mutex(Told())

    /// The most memory this process has had, in bytes.
    private static func peakMemory() -> Int {
        let status = FileManager.default.contents(atPath: "/proc/self/status") ?? Data()
        let line = String(decoding: status, as: UTF8.self).split(separator: "\n")
            .first { $0.hasPrefix("VmHWM:") }
        let kilobytes = line?.split(whereSeparator: { $0 == " " || $0 == "\t" })
            .compactMap { Int($0) }.first
        return (kilobytes ?? 0) << 10
    }
}
