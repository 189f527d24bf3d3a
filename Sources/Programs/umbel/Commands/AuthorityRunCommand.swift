import ArgumentParser
import ControlAPI
import FoundationEssentials
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
    @OptionGroup var printing: PrintConfigOptions

    func run() async throws {
        let logger = DaemonLog.make("authority", isVerbose: options.verbose)
        let environment = ProcessInfo.processInfo.environment
        if printing.printConfig {
            return Output.print(
                try AuthorityConfiguration.text(file: options.config, environment: environment)
            )
        }
        let configuration = try AuthorityConfiguration(
            file: options.config,
            environment: environment
        )
        let wanted = try ParametersConfiguration(file: configuration.parameters)
        try await Starting.serve(
            "the authority",
            as: .authority,
            on: configuration.control,
            logger: logger,
            start: {
                try await AuthorityNode.start(
                    configuration,
                    parameters: try NetworkParameters(wanted),
                    logger: logger
                )
            }
        ) { server, node, isReady in
            try await server.serve(node, onReady: isReady)
        }
    }
}
