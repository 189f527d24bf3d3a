import ArgumentParser
import Base
import EventLoop
import FlowModel
import Foundation
import Simulation

/// `umbel-lab simulate`: a network in virtual time, from one seed.
struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract:
            "Run a network in virtual time: small ones on the real cores, large ones as flows.",
        discussion: """
            A file with `hosts` (lab.yaml, crowd.yaml) runs on the state machines of relay and client, \
            and in the flow model beside them; how far that is off is printed, figure by figure. A \
            file with `relays` and `clients` by number (thousand.yaml, internet.yaml) runs in the flow \
            model. The same seed gives the same hash.
            """
    )

    @Argument(help: "The topology.") var file: String
    @Option(help: "What chance comes from.") var seed: UInt64 = 1
    @Option(help: "Virtual time, such as 90s or 1h; the file's own, or 5m.")
    var duration: String?
    @Option(help: "What clients do, instead of what the file says: fast or mix.")
    var mode: Topology.Mode?
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
            page = try await large(text)
        } else {
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

    private func large(_ text: String) async throws -> SimulationPage {
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
        let streams = Streams(seed: seed)
        let network: DrawnNetwork
        do {
            network = try DrawnNetwork(plan, streams: streams)
        } catch let error as PlanError {
            throw LabError("\(file) describes no network", why: error.description)
        }
        let result = await FlowRun(network: network, plan: plan, streams: streams)
            .run(progress: Self.show)
        let year = try await GuardYear.run(
            network: network,
            plan: plan,
            streams: streams,
            progress: Self.show
        )
        return SimulationPage(file: file, seed: seed, plan: plan, result: result, year: year)
    }

    // MARK: Cores

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
        let seconds = UInt64(try seconds(else: 300))
        let level = try await CellLevel.run(
            seed: seed,
            guards: relays.count - exits,
            middles: 0,
            exits: exits,
            clients: clients,
            seconds: seconds,
            progress: Self.show
        )
        return SimulationPage(file: file, seed: seed, seconds: seconds, level: level)
    }

    // MARK: Progress

    /// Shows how far it is, on one line of a terminal.
    private static let show: FlowRun.Progress = { part, share in
        guard isatty(2) == 1 else { return }
        let end = share >= 1 ? "\n" : ""
        FileHandle.standardError.write(
            Data("\r\(part): \(Int(share * 100)) %   \(end)".utf8)
        )
    }

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
