import ArgumentParser
import Base
import ControlAPI
import FoundationEssentials
import Logging
import NodeConfiguration
import NodeRuntime
import Wire

/// `umbel mint`: what the bodies that sign vouchers do.
struct MintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mint",
        abstract: "Keep accounts and sign vouchers.",
        subcommands: [MintRunCommand.self, MintKeygenCommand.self, MintCheckCommand.self]
    )
}

/// `umbel mint keygen`.
struct MintKeygenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen",
        abstract: "Make the key of a mint."
    )

    @OptionGroup var options: BodyKeyOptions

    func run() async throws {
        try await options.make()
    }
}

/// `umbel mint run`: a mint that serves.
struct MintRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run the mint; ends at SIGTERM.",
        discussion: """
            Answers sealed requests over HTTP, announces its keys and totals to the authorities, and \
            tells the other mints what it learns. May be killed and started at any moment: what was \
            answered is on the disk.
            """
    )

    @OptionGroup var options: DaemonOptions
    @OptionGroup var printing: PrintConfigOptions

    func run() async throws {
        let logger = DaemonLog.make("mint", isVerbose: options.verbose)
        let environment = ProcessInfo.processInfo.environment
        if printing.printConfig {
            return Output.print(
                try MintConfiguration.text(file: options.config, environment: environment)
            )
        }
        let configuration = try MintConfiguration(
            file: options.config,
            environment: environment
        )
        let wanted = try configuration.parameters.map { try ParametersConfiguration(file: $0) }
        try await Starting.serve(
            "the mint",
            as: .mint,
            on: configuration.control,
            logger: logger,
            start: {
                try await MintNode.start(
                    configuration,
                    parameters: try wanted.map { try NetworkParameters($0) },
                    logger: logger
                )
            }
        ) { server, node, isReady in
            try await server.serve(node, onReady: isReady)
        }
    }
}

/// `umbel mint check`.
struct MintCheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check the books of the mint behind --socket: every account anew from its rows.",
        discussion: "The exit status is 1 where they do not agree."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.mintCheck()
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(PaymentText.full(report.status, terminal: .output))
            Output.print(
                report.isConsistent
                    ? "good: the accounts are what grants, deposits and orders make of them"
                    : "THE ACCOUNTS ARE NOT WHAT THEIR ROWS MAKE OF THEM: end the mint"
            )
        }
        if !report.isConsistent { throw ExitCode(ExitStatus.failed.rawValue) }
    }
}
