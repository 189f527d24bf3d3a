import ArgumentParser
import ControlAPI
import EventLoop
import FoundationEssentials
import Glibc
import HostNetwork
import Logging
import NodeConfiguration
import NodeRuntime

/// How long-running commands are started.
struct DaemonOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Configuration file.", valueName: "file"),
        completion: .file(extensions: ["toml"])
    )
    var config: String
    @Flag(help: "Log what happens, not only what goes wrong.")
    var verbose = false
}

/// `umbel daemon`: the client.
struct DaemonCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "daemon",
        abstract: "Run the client that `umbel up`, `run` and the others ask.",
        discussion: """
            Owns circuits, guards and tunnels. Ends at SIGTERM; traffic that was blocked stays \
            blocked until `umbel down`.
            """
    )

    @OptionGroup var options: DaemonOptions
    @OptionGroup var reveal: RevealOptions
    @Option(
        help: ArgumentHelp(
            "A consensus got some other way, for when everything else is blocked.",
            valueName: "file"
        ),
        completion: .file()
    )
    var consensus: String?

    func run() async throws {
        let logger = DaemonLog.make("daemon", isVerbose: options.verbose)
        var file = try ClientConfiguration(
            file: options.config,
            environment: ProcessInfo.processInfo.environment
        )
        file.directory.consensus = consensus ?? file.directory.consensus
        let configuration = file
        let server = ControlServer(
            path: configuration.control.path,
            group: configuration.control.group,
            node: NodeReport(role: .client, version: Version.number, pid: getpid()),
            logger: logger
        )
        // Before the node asks for its state, which a daemon that runs already holds.
        try server.requireFree()
        let keyLog = try reveal.keyLog(logger)
        let node = try await Starting.attempt("the daemon") {
            try await ClientNode.start(configuration, revealing: keyLog, logger: logger)
        }
        let serving = Task {
            try await server.serve(node, wallet: node, circuits: node) {
                logger.notice("ready on \(configuration.control.path)")
            }
        }
        let failure = await Starting.wait(for: serving, orFailureOf: { await node.failure() })
        await node.stop()
        try failure.map { throw $0 }
    }
}

/// Starts of daemons, and their ends.
enum Starting {
    /// Runs `body`; what it throws becomes the three lines of an error.
    static func attempt<T>(
        _ what: String,
        _ body: () async throws -> sending T
    ) async throws -> sending T {
        do {
            return try await body()
        } catch let error as ConfigurationError {
            throw error
        } catch let error as Failure {
            throw error
        } catch let error as EntropyError {
            throw Failure(
                "\(what) cannot start",
                why: "\(error)",
                hint: error.hint,
                exit: .internalFault
            )
        } catch let error as IOError {
            throw Failure(
                "\(what) cannot start",
                why: "\(error)",
                hint: error.hint ?? "see the line above",
                exit: error.isPrivilegeMissing ? .permission : .unavailable
            )
        } catch let error as HostNetworkError {
            throw Failure(
                "\(what) cannot start",
                why: "\(error.what): \(error.why)",
                hint: error.hint ?? "see the line above",
                exit: .unavailable
            )
        } catch {
            throw Failure(
                "\(what) cannot start",
                why: "\(error)",
                hint: "umbel check-config FILE",
                exit: .unavailable
            )
        }
    }

    /// Waits for a signal, for `serving` to end or for the node to fail; returns what went wrong.
    static func wait(
        for serving: Task<Void, any Error>,
        orFailureOf node: @escaping @Sendable () async -> String?
    ) async -> (any Error)? {
        await withTaskGroup(of: (any Error)?.self) { group in
            group.addTask {
                do {
                    try await serving.value
                    return nil
                } catch {
                    return error
                }
            }
            group.addTask {
                guard let why = await StopSignals.wait(orFailure: node) else { return nil }
                return Failure(
                    "a part of the daemon failed",
                    why: why,
                    hint: "start it again; if it fails again, look at the line above",
                    exit: .internalFault
                )
            }
            let first = await group.next()
            group.cancelAll()
            serving.cancel()
            return first ?? nil
        }
    }
}
