import ArgumentParser
import Base
import Foundation
import HostNetwork

/// `umbel-lab measure birth`: how long it takes from `umbel relay init` until a relay is of use.
struct MeasureBirthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "birth",
        abstract: "From `umbel relay init` to a relay's first forwarded cell, and to its listing.",
        discussion: """
            Builds the topology, makes a new relay on a host whose own is not started, and asks it every \
            20 ms how it is. Whose the first cell is that it passes on it does not say: the authorities' \
            tests or the client's. Needs root.
            """
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The topology, such as Topology/lab.yaml.", completion: .file())
    var file = "Topology/lab.yaml"
    @OptionGroup var options: MeasureOptions

    func validate() throws {
        guard (1...20).contains(options.runs) else { throw ValidationError("--runs is 1 to 20") }
    }

    func run() async throws {
        let progress = Progress()
        var measured = try MeasuredLab(
            file: file,
            options: lab,
            suffix: "-birth",
            progress: progress
        )
        measured.topology.payments = .off
        let built = measured
        let births = try await built.run {
            var births: [Birth] = []
            for run in 0..<options.runs {
                births.append(try await birth(run, of: built))
                progress.say("relay \(run + 1) of \(options.runs)")
            }
            return births
        }
        try Measurement.show(
            [
                Measurement("init", unit: "s", births.map(\.made)),
                Measurement("until it runs", unit: "s", births.map(\.ready)),
                Measurement("until all authorities reach it", unit: "s", births.map(\.reached)),
                Measurement("until its first forwarded cell", unit: "s", births.map(\.firstCell)),
                Measurement("until it is listed", unit: "s", births.map(\.listed)),
            ],
            options
        )
    }

    /// Seconds since `umbel relay init` was called.
    private struct Birth {
        var made = 0.0
        var ready = 0.0
        var reached = 0.0
        var firstCell = 0.0
        var listed = 0.0

        var isOver: Bool { min(reached, firstCell, listed) > 0 }
    }

    private static let patience: Duration = .seconds(120)

    private func birth(_ run: Int, of lab: MeasuredLab) async throws -> Birth {
        let host = lab.topology.hosts.first { $0.role == .relay && !$0.startsByItself }
        guard let host, let address = host.addresses.first(where: \.isV4) else {
            throw LabError(
                "\(file) has no host for a new relay",
                why: "every relay starts with the lab",
                hint: "give one `start: false`"
            )
        }
        let manifest = try lab.folder.existing()
        guard let umbel = manifest.umbel else {
            throw LabError("the lab has no program", why: "its manifest names none")
        }
        let folder = "\(lab.folder.host(host.name))/birth\(run)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let place = SocketAddress(ip: address, port: host.port + UInt16(run))
        let network = "\(lab.folder.path)/directory/network.toml"
        var birth = Birth()
        let begin = ContinuousClock.now
        func elapsed() -> Double { (ContinuousClock.now - begin) / .seconds(1) }
        let made = try await lab.outcome(
            host.name,
            [
                umbel, "relay", "init", "--name", "birth\(run)", "--address", "\(place)",
                "--network", network, "--config", "\(folder)/relay.toml", "--state",
                "\(folder)/state", "--socket", "\(folder)/control.sock", "--metrics", "", "--yes",
            ],
            seconds: 60
        )
        guard made.status == 0 else { throw LabError("init fails", why: made.message) }
        birth.made = elapsed()
        let namespace = manifest.hosts[try manifest.index(of: host.name)].namespace
        let runner = CommandRunner(namespace: namespace)
        let process = try DetachedProcess.start(
            try runner.command(for: [umbel, "relay", "--config", "\(folder)/relay.toml"]),
            log: "\(folder)/relay.log"
        )
        defer {
            process.send(SIGTERM)
            waitpid(process.pid, nil, 0)
        }
        let probe = ControlProbe(socket: "\(folder)/control.sock")
        let end = ContinuousClock.now + Self.patience
        while !birth.isOver, ContinuousClock.now < end {
            try await Task.sleep(for: .milliseconds(20))
            guard case .response(200, _) = probe.ask() else { continue }
            let now = elapsed()
            let reading: RelayReading = try probe.report(
                "/v1/status",
                of: host.name,
                subject: "how it is"
            )
            if birth.ready == 0 { birth.ready = now }
            if birth.firstCell == 0, reading.cellsForward > 0 { birth.firstCell = now }
            if birth.listed == 0, reading.listing?.isListed == true { birth.listed = now }
            let answers = reading.listing?.authorities ?? [:]
            let isReached = !answers.isEmpty && answers.values.allSatisfy { $0 == "running" }
            if birth.reached == 0, isReached { birth.reached = now }
        }
        guard birth.isOver else {
            throw LabError("a new relay is of no use", why: "after \(Self.patience): \(birth)")
        }
        return birth
    }
}
