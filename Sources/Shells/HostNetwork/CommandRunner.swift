public import Base
import CLinux
import Foundation
import Glibc
import Subprocess
import SystemPackage

/// Runs one program to its end, without a shell, in this network namespace or a named one.
///
/// Bounded: `timeout` ends the program, and each of its two streams may hold 4 MiB.
public struct CommandRunner: Hashable, Sendable {
    /// What a program that ended left behind.
    public struct Outcome: Hashable, Sendable {
        /// The exit status; 128 + n where signal n ended it.
        public var status: Int32
        /// What it wrote to its standard output.
        public var output: String
        /// What it wrote to its standard error, trimmed.
        public var message: String
    }

    /// The `ip netns` name programs run in; `nil` for the namespace of this process.
    public var namespace: String?

    /// Makes a runner for `namespace`.
    public init(namespace: String? = nil) {
        self.namespace = namespace
    }

    /// Runs `argv` with `input` as its standard input and returns its standard output.
    ///
    /// - Throws: ``HostNetworkError`` where the program is missing, takes longer than `timeout`
    ///   or ends with a status other than 0.
    @discardableResult
    public func run(
        _ argv: [String],
        input: String = "",
        timeout: TimeSpan = .seconds(20)
    ) async throws(HostNetworkError) -> String {
        let outcome = try await outcome(of: argv, input: input, timeout: timeout)
        guard outcome.status == 0 else {
            throw HostNetworkError(
                failed: argv,
                status: "ended with status \(outcome.status)",
                message: outcome.message
            )
        }
        return outcome.output
    }

    /// Runs `argv` and returns how it ended, whatever its status.
    ///
    /// - Throws: ``HostNetworkError`` where the program is missing or takes longer than `timeout`, and
    ///   where this process has too few descriptors left to speak with it.
    public func outcome(
        of argv: [String],
        input: String = "",
        timeout: TimeSpan = .seconds(20)
    ) async throws(HostNetworkError) -> Outcome {
        let command = try command(for: argv)
        // Subprocess does not survive running out of them half-way.
        try DescriptorReserve.require(
            for: .program,
            orSay: "`\(argv.joined(separator: " "))` cannot be run"
        )
        do {
            return try await withThrowingTaskGroup(of: Outcome?.self) { group in
                group.addTask { try await Self.execute(command, input: input) }
                group.addTask {
                    try await Task.sleep(nanoseconds: timeout.nanoseconds)
                    return nil
                }
                defer { group.cancelAll() }
                guard let first = try await group.next(), let outcome = first else {
                    throw HostNetworkError(
                        failed: argv,
                        status: "",
                        message: "it did not end within \(timeout.seconds) s"
                    )
                }
                return outcome
            }
        } catch let error as HostNetworkError {
            throw error
        } catch {
            throw HostNetworkError(failed: argv, status: "", message: "\(error)")
        }
    }

    /// The whole argument vector that runs `argv` in this runner's namespace.
    ///
    /// - Throws: ``HostNetworkError`` where `argv`'s program, or `ip`, is missing.
    public func command(for argv: [String]) throws(HostNetworkError) -> [String] {
        guard let program = argv.first else {
            throw HostNetworkError(what: "nothing to run", why: "the argument list is empty")
        }
        let resolved = [try Self.locate(program)] + argv.dropFirst()
        guard let namespace else { return resolved }
        return [try Self.locate("ip"), "netns", "exec", namespace] + resolved
    }

    /// The file of `program`, searched in PATH and then where administration programs live.
    ///
    /// - Throws: ``HostNetworkError`` with the package to install.
    public static func locate(_ program: String) throws(HostNetworkError) -> String {
        try locate(program, path: ProcessInfo.processInfo.environment["PATH"] ?? "")
    }

    static func locate(_ program: String, path: String) throws(HostNetworkError) -> String {
        if program.contains("/") {
            guard FileManager.default.isExecutableFile(atPath: program) else {
                throw HostNetworkError(missing: program)
            }
            return program
        }
        // Strings, or literals make an array of characters of each folder.
        let folders = path.split(separator: ":").map(String.init)
        for folder in folders + ["/usr/sbin", "/sbin", "/usr/bin", "/bin"] {
            let file = "\(folder)/\(program)"
            if FileManager.default.isExecutableFile(atPath: file) { return file }
        }
        throw HostNetworkError(missing: program)
    }

    @concurrent
    private static func execute(_ command: [String], input: String) async throws -> Outcome {
        // Never through a pipe: swift-subprocess 1.0 traps where a program ends before it has read
        // its input (its issue 367), so the input lies in memory and the program reads it as a file.
        guard !input.isEmpty else { return try await execute(command, reading: .none) }
        let descriptor = clinux_memory_file()
        guard descriptor >= 0 else { throw Errno(rawValue: -descriptor) }
        let file = FileDescriptor(rawValue: descriptor)
        defer { try? file.close() }
        try file.writeAll(toAbsoluteOffset: 0, Array(input.utf8))
        return try await execute(
            command,
            reading: .fileDescriptor(file, closeAfterSpawningProcess: false)
        )
    }

    private static func execute(
        _ command: [String],
        reading input: some InputProtocol
    ) async throws -> Outcome {
        let limit = 4 << 20
        let result = try await Subprocess.run(
            .path(FilePath(command[0])),
            arguments: Arguments(Array(command.dropFirst())),
            environment: .inherit.updating(["LC_ALL": "C"]),
            input: input,
            output: .string(limit: limit),
            error: .string(limit: limit)
        )
        let status: Int32 =
            switch result.terminationStatus {
            case .exited(let code): code
            case .signaled(let signal): 128 + signal
            }
        return Outcome(
            status: status,
            output: result.standardOutput,
            message: result.standardError.trimmingCharacters(in: .whitespacesAndNewlines)
        )
    }
}
