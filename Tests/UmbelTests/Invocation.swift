import Foundation

/// One run of the built program, or of a program that runs it.
struct Invocation {
    let status: Int32
    let signal: Int32?
    let output: String
    let errors: String

    /// The built program.
    static let program: String = {
        let tests = URL(filePath: CommandLine.arguments[0]).resolvingSymlinksInPath()
        return tests.deletingLastPathComponent().appending(path: "umbel").path
    }()

    /// What programs have of the tests' own environment: nothing that changes what they print, but
    /// what a sanitizer that watches them is to do.
    private static let kept: Set = ["PATH", "ASAN_OPTIONS", "TSAN_OPTIONS"]

    /// Runs `umbel` with `arguments`.
    static func umbel(
        _ arguments: String...,
        environment: [String: String] = [:]
    ) async throws -> Self {
        try await run(program, arguments, environment: environment)
    }

    /// Runs `program` with `arguments`, and waits for its end without holding a thread.
    ///
    /// With `output` its stdout goes there, not into the result.
    static func run(
        _ program: String,
        _ arguments: [String],
        environment: [String: String] = [:],
        output: FileHandle? = nil
    ) async throws -> Self {
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        let own = ProcessInfo.processInfo.environment.filter { kept.contains($0.key) }
        process.environment = own.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        let files = ["output", "errors"].map { folder.appending(path: $0) }
        for file in files { try Data().write(to: file) }
        process.standardOutput = try output ?? FileHandle(forWritingTo: files[0])
        process.standardError = try FileHandle(forWritingTo: files[1])
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
            process.terminationHandler = { _ in done.resume() }
            do { try process.run() } catch { done.resume(throwing: error) }
        }
        let isSignal = process.terminationReason == .uncaughtSignal
        return Self(
            status: isSignal ? -1 : process.terminationStatus,
            signal: isSignal ? process.terminationStatus : nil,
            output: try String(contentsOf: files[0], encoding: .utf8),
            errors: try String(contentsOf: files[1], encoding: .utf8)
        )
    }
}
