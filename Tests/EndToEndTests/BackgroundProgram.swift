import Foundation
import HostNetwork
import Synchronization
import Testing

@testable import umbel_lab

/// A program that runs beside a test, in a session of its own.
final class BackgroundProgram: Sendable {
    /// Its number: `ip` becomes what it starts.
    let pid: Int32
    private let outputPath: String
    /// The word `waitpid` gave; `nil` while it runs.
    private let word = Mutex<Int32?>(nil)

    /// Starts `command` on `host` of `lab`.
    init(_ lab: Lab, host: String, _ command: [String]) throws {
        outputPath = "\(lab.scratch)/\(UUID().uuidString)"
        let runner = CommandRunner(namespace: lab.namespace(host))
        pid = try DetachedProcess.start(try runner.command(for: command), log: outputPath).pid
    }

    deinit {
        if isRunning {
            send(SIGKILL)
            waitpid(pid, nil, 0)
        }
    }

    /// Whether it has not ended yet.
    var isRunning: Bool {
        word.withLock { word in
            guard word == nil else { return false }
            var status: Int32 = 0
            guard waitpid(pid, &status, WNOHANG) == pid else { return true }
            word = status
            return false
        }
    }

    /// What it printed so far, errors too.
    var output: String {
        String(decoding: FileManager.default.contents(atPath: outputPath) ?? Data(), as: UTF8.self)
    }

    /// Sends it `signal`, unless its end has been seen.
    func send(_ signal: Int32) {
        word.withLock { word in
            if word == nil { kill(pid, signal) }
        }
    }

    /// Waits for the end; the exit status, or 128 + n for signal n.
    func status() async throws -> Int32 {
        try await eventually("the program does not end: \(output)") { !isRunning }
        let word = try #require(word.withLock { $0 })
        let signal = word & 0x7f
        return signal == 0 ? word >> 8 & 0xff : 128 + signal
    }
}
