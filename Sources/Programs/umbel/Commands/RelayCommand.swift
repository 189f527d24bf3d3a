import ArgumentParser
import Base
import ControlAPI
import Directory
import EventLoop
import FoundationEssentials
import Logging
import NodeConfiguration
import NodeRuntime
import Wire

/// `umbel relay`: a relay or an exit.
struct RelayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relay",
        abstract: "Run a relay, or an exit where its file says so.",
        subcommands: [
            RelayRunCommand.self, RelayInitCommand.self, RelayCheckCommand.self,
            RelayStatusCommand.self, RelayTopCommand.self, RelayDrainCommand.self,
            RelayRotateKeysCommand.self, RelayEarningsCommand.self, RelayFamilyCommand.self,
            RelayDescriptorCommand.self,
        ],
        defaultSubcommand: RelayRunCommand.self
    )

    /// Where a relay's configuration is unless somebody says otherwise.
    static let defaultConfiguration = "/etc/umbel/relay.toml"
}

/// `umbel relay run`, also `umbel relay`.
struct RelayRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run the relay; ends at SIGTERM, reads its limits again at SIGHUP."
    )

    @OptionGroup var options: DaemonOptions
    @OptionGroup var printing: PrintConfigOptions
    @OptionGroup var reveal: RevealOptions

    func run() async throws {
        let logger = DaemonLog.make("relay", isVerbose: options.verbose)
        let environment = ProcessInfo.processInfo.environment
        if printing.printConfig {
            return Output.print(
                try RelayConfiguration.text(file: options.config, environment: environment)
            )
        }
        let configuration = try RelayConfiguration(file: options.config, environment: environment)
        let keyLog = try reveal.keyLog(logger)
        try await Starting.serve(
            "the relay \(configuration.nickname)",
            as: .relay,
            on: configuration.control,
            logger: logger,
            start: {
                try await RelayNode.start(
                    configuration,
                    version: Version.number,
                    revealing: keyLog,
                    logger: logger
                )
            },
            reload: { node in
                let file = configuration.file
                await node.reload(try RelayConfiguration(file: file, environment: environment))
            }
        ) { server, node, isReady in
            try await server.serve(node, earnings: node, onReady: isReady)
        }
    }
}

/// `umbel relay descriptor`: what the relay tells the authorities of itself.
struct RelayDescriptorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "descriptor",
        abstract: "Write the relay's signed descriptor for the authorities."
    )

    @OptionGroup var options: DaemonOptions
    @Option(
        help: ArgumentHelp("Where to write it.", valueName: "file"),
        completion: .file()
    )
    var output: String

    func run() throws {
        let configuration = try RelayConfiguration(
            file: options.config,
            environment: ProcessInfo.processInfo.environment
        )
        let network = try NetworkConfiguration(file: configuration.directory.network)
        let keys = try RelayKeys(folder: configuration.stateFolder)
        let family = try configuration.familyKey.map { try FamilyKey.read($0) }
        let descriptor: SignedDescriptor
        do {
            descriptor = try SignedDescriptor(
                configuration,
                keys: keys,
                family: family,
                network: NetworkID(network.networkID),
                minute: WallClock.now().minute
            )
        } catch {
            throw Failure(
                "no descriptor can be made of \(options.config)",
                why: "\(error)",
                hint: "check `addresses` in [listen] and `nickname` in [node]",
                exit: .configuration
            )
        }
        try OutputFile.write(descriptor.encoded(), to: output)
        Output.note("\(output): descriptor of \(configuration.nickname)")
    }
}

/// Files that commands write.
enum OutputFile {
    /// Puts `bytes` in place of the file at `path`, whole or not at all.
    static func write(_ bytes: [UInt8], to path: String) throws(Failure) {
        do {
            try Data(bytes).write(to: URL(filePath: path), options: .atomic)
        } catch {
            throw Failure(
                "\(path) cannot be written",
                why: "\(error)",
                hint: "check the folder and its owner",
                exit: .failed
            )
        }
    }

    /// The bytes of the file at `path`.
    static func read(_ path: String) throws(Failure) -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw Failure(
                "\(path) cannot be read",
                why: "it is not there, or this user may not",
                hint: "check the path",
                exit: .failed
            )
        }
        return Array(data)
    }
}
