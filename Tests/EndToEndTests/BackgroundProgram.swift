import Foundation
import Testing

/// A program that runs beside a test.
final class BackgroundProgram: @unchecked Sendable {
    // Foundation's Process is used by one test at a time, and asked for its end under no other.
    private let process = Process()
    private let outputPath: String

    /// Starts `command` on `host` of `lab`; on this machine where there is no host.
    init(_ lab: Lab, host: String?, _ command: [String]) throws {
        outputPath = "\(lab.scratch)/\(UUID().uuidString)"
        _ = FileManager.default.createFile(atPath: outputPath, contents: nil)
        let output = try FileHandle(forWritingTo: URL(fileURLWithPath: outputPath))
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            (host.map { ["ip", "netns", "exec", lab.namespace($0)] } ?? []) + command
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try process.run()
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    /// The number of the program itself: `env` and `ip` become what they start.
    var pid: Int32 { process.processIdentifier }

    var isRunning: Bool { process.isRunning }

    /// What it printed so far, errors too.
    var output: String {
        String(decoding: FileManager.default.contents(atPath: outputPath) ?? Data(), as: UTF8.self)
    }

    func send(_ signal: Int32) {
        kill(process.processIdentifier, signal)
    }

    /// Waits for the end; the exit status, or 128 + n for signal n.
    func status(within limit: Duration = .seconds(20)) async throws -> Int32 {
        try await eventually(within: limit, "the program does not end: \(output)") {
            !process.isRunning
        }
        let isSignal = process.terminationReason == .uncaughtSignal
        return process.terminationStatus + (isSignal ? 128 : 0)
    }
}
