import ArgumentParser
import ControlAPI

/// `umbel ping`: the round trip to each hop.
struct PingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ping",
        abstract: "Measure the round trip to each hop of the circuit in use.",
        discussion: "The exit status is 1 where a hop did not answer at all."
    )

    @Option(help: "Ping this hop only: 1 is the guard.")
    var hop: Int?
    @Option(
        name: [.short, .long],
        help: "Pings to send to each hop: 1 to \(PingRequest.countLimit)."
    )
    var count = 3
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func validate() throws {
        guard (1...PingRequest.countLimit).contains(count) else {
            throw ValidationError("--count must be 1 to \(PingRequest.countLimit).")
        }
        guard hop ?? 1 >= 1 else { throw ValidationError("--hop must be 1 or more.") }
    }

    func run() async throws {
        let report = try await socket.client.ping(PingRequest(hop: hop, count: count))
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(Self.text(report, width: Terminal.output.width))
        }
        if report.hops.contains(where: { $0.received == 0 }) {
            throw ExitCode(ExitStatus.failed.rawValue)
        }
    }

    static func text(_ report: PingReport, width: Int?) -> String {
        var table = Table([
            .number("HOP"), .text("RELAY"), .number("SENT"), .number("RECEIVED"),
            .number("MIN ms"), .number("AVG ms"), .number("MAX ms"),
        ])
        for hop in report.hops {
            table.add([
                "\(hop.position)", hop.nickname, "\(hop.sent)", "\(hop.received)",
                Text.milliseconds(hop.minimum), Text.milliseconds(hop.average),
                Text.milliseconds(hop.maximum),
            ])
        }
        return table.render(width: width)
    }
}
