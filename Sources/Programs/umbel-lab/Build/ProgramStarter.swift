import Base
import Foundation
import HostNetwork

/// Starts a host's programs and waits until each says it is ready.
struct ProgramStarter {
    /// What a program that failed last said, at most this many lines.
    private static let logLines = 8

    /// Starts `program` and notes its process in it.
    ///
    /// - Throws: ``LabError`` where it cannot be started.
    static func start(_ program: inout Manifest.Program) throws(LabError) {
        if let socket = program.socket {
            // A socket left by a killed daemon would look like one that is not answering yet.
            try? FileManager.default.removeItem(atPath: socket)
        }
        program.process = try DetachedProcess.start(program.command, log: program.log)
    }

    /// Waits until `program` of `host` is ready, or `deadline`.
    ///
    /// - Throws: ``LabError`` with the last lines of its log.
    static func waitUntilReady(
        _ program: Manifest.Program,
        of host: Manifest.Host,
        deadline: ContinuousClock.Instant
    ) async throws(LabError) {
        let who = "\(program.title) on \(host.name)"
        while try await !isReady(program, of: host) {
            guard let process = program.process, process.state != .gone else {
                throw LabError("\(who) ended while starting", why: lastLines(of: program))
            }
            guard ContinuousClock.now < deadline else {
                throw LabError("\(who) is not ready in time", why: lastLines(of: program))
            }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Whether `program` serves now.
    static func isReady(
        _ program: Manifest.Program,
        of host: Manifest.Host
    ) async throws(LabError) -> Bool {
        guard let process = program.process, process.state == .running else { return false }
        if let socket = program.socket {
            guard case .response(let status, _) = ControlProbe(socket: socket).ask() else {
                return false
            }
            return (200..<300).contains(status)
        }
        guard let port = program.port else { return true }
        do {
            let sockets = try await CommandRunner(namespace: host.namespace)
                .run(["ss", "-Hlntu"])
            return sockets.contains(":\(port) ")
        } catch {
            throw LabError("cannot list the sockets of \(host.name)", error)
        }
    }

    /// The end of a program's log, for the error about it.
    static func lastLines(of program: Manifest.Program) -> String {
        let data = FileManager.default.contents(atPath: program.log) ?? Data()
        let lines = String(decoding: data.suffix(16_384), as: UTF8.self)
            .split(separator: "\n").suffix(logLines)
        return lines.isEmpty
            ? "it wrote nothing to \(program.log)"
            : lines.map { "  \($0)" }.joined(separator: "\n") + "\n(from \(program.log))"
    }
}
