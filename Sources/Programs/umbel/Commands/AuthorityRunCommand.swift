import ArgumentParser
import ControlAPI
import FoundationEssentials
import Glibc
import Logging
import NodeConfiguration
import NodeRuntime
import Wire

/// `umbel authority run`: an authority that votes with the others.
struct AuthorityRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run the authority; ends at SIGTERM.",
        discussion: """
            Takes relays' descriptors, votes with the other authorities on the interval, and hands \
            the consensus out over HTTP. May be stopped and started at any moment.
            """
    )

    @OptionGroup var options: DaemonOptions

    func run() async throws {
        let logger = DaemonLog.make("authority", isVerbose: options.verbose)
        let environment = ProcessInfo.processInfo.environment
        let configuration = try AuthorityConfiguration(
            file: options.config,
            environment: environment
        )
        let wanted = try ParametersConfiguration(file: configuration.parameters)
        let node = try await Starting.attempt("the authority") {
            try await AuthorityNode.start(
                configuration,
                parameters: try NetworkParameters(wanted),
                logger: logger
            )
        }
        let server = ControlServer(
            path: configuration.control.path,
            group: configuration.control.group,
            node: NodeReport(role: .authority, version: Version.number, pid: getpid()),
            logger: logger
        )
        let serving = Task {
            try await server.serve(node) {
                logger.notice("ready on \(configuration.control.path)")
            }
        }
        let failure = await Starting.wait(for: serving, orFailureOf: { await node.failure() })
        await node.stop()
        try failure.map { throw $0 }
    }
}
