import ArgumentParser
import Foundation
import Glibc
import HostNetwork
import Synchronization

/// `umbel-lab capture HOST FILE`: what passes the host's cable, datagram by datagram.
struct CaptureCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capture",
        abstract: "Write what passes a host's cable to FILE, until interrupted or --duration."
    )

    @OptionGroup var lab: LabOptions
    @Argument(help: "The host.") var host: String
    @Argument(help: "The pcap file to write.", completion: .file()) var file: String
    @Option(help: "Seconds to capture; without it, until SIGINT or SIGTERM.")
    var duration: Double?
    @Option(help: "Payload bytes of a datagram in a train.") var segment = 1392

    func validate() throws {
        if let duration, !(0.01...86_400).contains(duration) {
            throw ValidationError("--duration is 0.01 to 86400 seconds")
        }
        guard (16...9_000).contains(segment) else {
            throw ValidationError("--segment is 16 to 9000 bytes")
        }
    }

    func run() async throws {
        let folder = try lab.folder()
        let manifest = try folder.existing()
        let host = manifest.hosts[try manifest.index(of: host)]
        let raw = "\(folder.host(host.name))/capture-\(getpid()).pcap"
        let log = "\(raw).log"
        defer {
            for path in [raw, log] { try? FileManager.default.removeItem(atPath: path) }
        }
        Self.catchStopSignals()
        let command = try CommandRunner(namespace: host.namespace).command(
            for: ["tcpdump", "-n", "-i", "eth0", "-s", "0", "-B", "8192", "-Z", "root", "-w", raw]
        )
        let process = try DetachedProcess.start(command, log: log)
        try await waitUntilListening(process, log: log)
        let progress = Progress()
        progress.say("capturing on \(host.name)")
        try await wait(for: process)
        process.send(SIGINT)
        guard await ProcessIdentity.isGone([process], within: .seconds(10)) else {
            process.send(SIGKILL)
            throw LabError("tcpdump does not end", why: "10 s after SIGINT it runs")
        }
        let outcome = try TrainSplitter(segmentByteCount: segment).rewrite(raw, to: file)
        progress.say(
            "\(file): \(outcome.datagramCount) packets"
                + " (\(outcome.frameCount) frames, \(outcome.trainCount) of them trains)"
        )
    }

    private func waitUntilListening(_ process: ProcessIdentity, log: String) async throws {
        while true {
            let data = FileManager.default.contents(atPath: log) ?? Data()
            let text = String(decoding: data, as: UTF8.self)
            if text.contains("listening on") { return }
            guard process.state != .gone else {
                throw LabError("tcpdump ended", why: text)
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Returns when a signal came, the duration is over or tcpdump ended by itself.
    private func wait(for process: ProcessIdentity) async throws {
        let end = duration.map { ContinuousClock.now + .seconds($0) }
        while !isStopRequested.load(ordering: .relaxed), process.state != .gone {
            let left = end.map { $0 - ContinuousClock.now } ?? .seconds(1)
            guard left > .zero else { return }
            try await Task.sleep(for: min(left, .milliseconds(20)))
        }
    }

    private static func catchStopSignals() {
        // Initialised before a handler may touch it.
        isStopRequested.store(false, ordering: .relaxed)
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in isStopRequested.store(true, ordering: .relaxed) }
        }
    }
}

/// Set by SIGINT and SIGTERM while a capture runs.
private let isStopRequested = Atomic(false)
