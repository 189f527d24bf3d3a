import ArgumentParser
import ControlAPI
import FoundationEssentials
import NodeConfiguration

/// Which relay to ask.
struct RelaySocketOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Control socket of the relay.",
            discussion: "Default: $UMBEL_SOCKET, else \(RelayConfiguration.defaultSocket).",
            valueName: "path"
        ),
        completion: .file()
    )
    var socket: String?

    /// A client of that relay.
    var client: ControlClient {
        let path =
            socket ?? ProcessInfo.processInfo.environment["UMBEL_SOCKET"]
            ?? RelayConfiguration.defaultSocket
        return ControlClient(
            path: path,
            start: StartAdvice.command(
                unit: "umbel-relay",
                else: "umbel relay --config \(RelayCommand.defaultConfiguration)"
            )
        )
    }
}

/// `umbel relay status`: how a relay is doing.
struct RelayStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show how the relay is doing.",
        discussion: "The exit status is 2 where it takes no circuits, or is not listed."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: RelaySocketOptions

    func run() async throws {
        let report = try await socket.client.relayStatus()
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(StatusText.full(report, terminal: .output))
        }
        let isListed = report.listing?.isListed ?? true
        guard isListed, report.line?.state ?? .serving == .serving else {
            throw ExitCode(ExitStatus.notConnected.rawValue)
        }
    }
}

/// `umbel relay top`: what a relay carries, second by second.
struct RelayTopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Show what the relay carries, again and again, until it is interrupted."
    )

    @Option(help: ArgumentHelp("Seconds between two looks.", valueName: "seconds"))
    var interval = 2
    @Option(help: ArgumentHelp("Looks to take; without it, any number.", valueName: "count"))
    var count: Int?
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: RelaySocketOptions

    func validate() throws {
        guard (1...3_600).contains(interval), (1...1_000_000).contains(count ?? 1) else {
            throw ValidationError("--interval is 1 to 3600, --count 1 to 1000000")
        }
    }

    func run() async throws {
        let terminal = Terminal.output
        var screen = LiveScreen(terminal)
        var left = count ?? .max
        while true {
            let report = try await socket.client.relayStatus()
            if format.json {
                try Output.printJSON(report)
            } else if terminal.isInteractive {
                screen.show(RelayText.top(report, terminal: terminal))
            } else {
                Output.print(RelayText.line(report))
            }
            left -= 1
            guard left > 0 else { return }
            try await Task.sleep(for: .seconds(interval))
        }
    }
}

/// `umbel relay drain`: has a relay take no new circuits.
struct RelayDrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "Take no new circuits, and end those that stand after a while.",
        discussion: """
            For work on the machine: clients go on over other relays, and the directory goes on \
            listing this one for a while. `umbel relay drain --end` serves again; so does a restart.
            """
    )

    @Flag(help: "Serve again.")
    var end = false
    @Option(help: ArgumentHelp("Seconds to wait before circuits are ended.", valueName: "seconds"))
    var within = 60
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: RelaySocketOptions

    func validate() throws {
        guard (0...DrainRequest.secondsLimit).contains(within) else {
            throw ValidationError("--within is 0 to \(DrainRequest.secondsLimit)")
        }
    }

    func run() async throws {
        let report = try await socket.client.drain(
            DrainRequest(isDraining: !end, seconds: within)
        )
        if format.json { return try Output.printJSON(report) }
        Output.print(RelayText.line(report))
    }
}

/// `umbel relay rotate-keys`: another circuit key, at once.
struct RelayRotateKeysCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate-keys",
        abstract: "Use a new circuit key from now on, before its time.",
        discussion: """
            Circuits stand, and the key before goes on being answered: nothing is lost. The relay's \
            identity stays, and with it its flags and what it earned.
            """
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: RelaySocketOptions

    func run() async throws {
        let report = try await socket.client.rotateKeys()
        if format.json { return try Output.printJSON(report) }
        let end = DateText.minute(seconds: UInt64(report.expiryMinute) * 60)
        Output.print("a new circuit key, good until \(end)")
    }
}

/// `umbel relay earnings`: what a relay earned.
struct RelayEarningsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "earnings",
        abstract: "Show what the relay earned."
    )

    @Flag(help: "Say what each figure means.")
    var explain = false
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: RelaySocketOptions

    func run() async throws {
        let report = try await socket.client.earnings()
        if format.json { return try Output.printJSON(report) }
        Output.print(PaymentText.earnings(report, explain: explain, terminal: .output))
    }
}
