import Foundation

/// A program that was started, and how it ends.
public final class Command {
    private let process = Process()
    private let output = Pipe()
    private let arguments: [String]

    /// Starts the program and arguments in `arguments`, found along PATH.
    ///
    /// - Throws: when it cannot be started.
    public init(_ arguments: [String]) throws {
        self.arguments = arguments
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardOutput = output
        process.standardError = output
        try process.run()
    }

    /// Whether it has not ended yet.
    public var isRunning: Bool {
        process.isRunning
    }

    /// Waits for its end; what it printed, and its exit status.
    public func wait() -> (output: String, status: Int32) {
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (String(decoding: data, as: UTF8.self), process.terminationStatus)
    }

    /// Runs a program to its end.
    ///
    /// - Throws: ``CommandFailure`` unless it ends with status 0.
    @discardableResult
    public static func run(_ arguments: [String]) throws -> String {
        let command = try Command(arguments)
        let (output, status) = command.wait()
        guard status == 0 else {
            throw CommandFailure(command: arguments.joined(separator: " "), output: output)
        }
        return output
    }

    /// Runs a program to its end.
    ///
    /// - Throws: ``CommandFailure`` unless it ends with status 0.
    @discardableResult
    public static func run(_ arguments: String...) throws -> String {
        try run(arguments)
    }
}

/// A program ended with a status other than 0.
public struct CommandFailure: Error {
    /// The command line.
    public let command: String
    /// What it printed.
    public let output: String
}
