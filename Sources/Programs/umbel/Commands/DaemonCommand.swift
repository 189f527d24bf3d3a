import ArgumentParser
import ControlAPI
import FoundationEssentials
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

/// Whether a daemon only says what it would work by.
struct PrintConfigOptions: ParsableArguments {
    @Flag(
        help: ArgumentHelp(
            "Print the configuration in force, and do no more.",
            discussion: "With the defaults and with what UMBEL_ variables override."
        )
    )
    var printConfig = false
}

/// `umbel daemon`: the client.
struct DaemonCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "daemon",
        abstract: "Run the client that `umbel up`, `run` and the others ask.",
        discussion: """
            Owns circuits, guards and tunnels. Ends at SIGTERM; traffic that was blocked stays \
            blocked until `umbel down`. Reads its file again at SIGHUP.

            An ordinary user's daemon serves `umbel run` and `umbel proxy` of that user alone, where \
            /dev/net/tun is open to everybody. Its state and socket are in the user's own folders, by \
            the XDG base directory specification.
            """
    )

    @Option(
        help: ArgumentHelp(
            "Configuration file.",
            discussion: """
                Default: \(ClientPlaces.system.configuration), or an ordinary user's \
                $XDG_CONFIG_HOME/umbel/client.toml.
                """,
            valueName: "file"
        ),
        completion: .file(extensions: ["toml"])
    )
    var config: String?
    @Flag(help: "Log what happens, not only what goes wrong.")
    var verbose = false
    @OptionGroup var printing: PrintConfigOptions
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
        let events = EventRing()
        let logger = DaemonLog.make("daemon", isVerbose: verbose, ring: events)
        let environment = ProcessInfo.processInfo.environment
        let places = ClientPlaces.own
        let path = config ?? places.configuration
        if printing.printConfig {
            return Output.print(
                try ClientConfiguration.text(
                    file: path,
                    environment: environment,
                    places: places
                )
            )
        }
        var file = try ClientConfiguration(file: path, environment: environment, places: places)
        file.directory.consensus = consensus ?? file.directory.consensus
        let configuration = file
        let keyLog = try reveal.keyLog(logger)
        try await Starting.serve(
            "the daemon",
            as: .client,
            rootless: ClientNode.isRootless ? true : nil,
            on: configuration.control,
            logger: logger,
            start: {
                try await ClientNode.start(
                    configuration,
                    revealing: keyLog,
                    events: events,
                    logger: logger
                )
            },
            reload: { node in
                let file = configuration.file
                await node.reload(
                    try ClientConfiguration(file: file, environment: environment, places: places)
                )
            }
        ) { server, node, isReady in
            // By name: the compiler does not find its way to the optional protocols from here.
            let wallet: any WalletService = node
            let protection: any ProtectionService = node
            let circuits: any CircuitService = node
            try await server.serve(
                node,
                wallet: wallet,
                protection: protection,
                circuits: circuits,
                onReady: isReady
            )
        }
    }
}
