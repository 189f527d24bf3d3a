import ArgumentParser
import ControlAPI

/// `umbel up`: connects the machine.
struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Connect this machine through a circuit.",
        discussion: """
            Blocks whatever would go around the circuit, from the first moment until `umbel down`. \
            Where no daemon runs, root starts one.
            """
    )

    @OptionGroup var exit: ExitOptions
    @OptionGroup var traffic: TrafficOptions
    @Flag(help: "Return once connected, or with an error once that has failed.")
    var wait = false
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let client = try await socket.startedDaemon().client
        // What it costs, before it does.
        if !format.json { TrafficText.tellPrice(of: traffic.choice) }
        var report = try await client.up(
            UpRequest(exit: exit.countries, traffic: traffic.choice)
        )
        if wait, report.state != .connected {
            report = try await ConnectionWait(client: client).result()
        }
        try Output.show(report, format)
    }
}

/// `umbel down`: disconnects the machine.
struct DownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "down",
        abstract: "Disconnect this machine, and let its traffic out directly again.",
        discussion: "With lockdown on, traffic stays blocked."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.down()
        try Output.show(report, format)
    }
}

/// `umbel reconnect`: other circuits, and maybe another exit.
struct ReconnectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reconnect",
        abstract: "Leave all circuits for others.",
        discussion: "Connections through them end; what is blocked stays blocked meanwhile."
    )

    @Flag(help: "Return once connected, or with an error once that has failed.")
    var wait = false
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let client = socket.client
        var report = try await client.reconnect()
        if wait, report.state != .connected {
            report = try await ConnectionWait(client: client).result()
        }
        try Output.show(report, format)
    }
}

extension Output {
    /// Prints a client's state in one line, or as JSON.
    static func show(_ report: StatusReport, _ format: FormatOptions) throws {
        if format.json {
            try printJSON(report)
        } else {
            print(StatusText.line(report))
        }
    }
}
