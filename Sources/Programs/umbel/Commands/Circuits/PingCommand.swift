import ArgumentParser
import ControlAPI

/// `umbel ping`: the round trip to each hop.
struct PingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ping",
        abstract: "Measure the round trip to each hop of the circuit in use.",
        discussion: """
            Each ping is a cell that only that hop can open and answer, so a round trip is its own \
            and nobody else's. What is lost is lost: no ping is sent again. The exit status is 1 \
            where a hop did not answer at all.
            """
    )

    @Option(help: "Ping this hop only: 1 is the guard.")
    var hop: Int?
    @Option(
        name: [.short, .long],
        help: "Pings to send to each hop: 1 to \(PingRequest.countLimit)."
    )
    var count = 3
    @Option(help: "The circuit, as `umbel circuits` numbers it. Default: the one in use.")
    var circuit: UInt64?
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func validate() throws {
        guard (1...PingRequest.countLimit).contains(count) else {
            throw ValidationError("--count must be 1 to \(PingRequest.countLimit).")
        }
        guard hop ?? 1 >= 1 else { throw ValidationError("--hop must be 1 or more.") }
    }

    func run() async throws {
        let report = try await socket.client.ping(
            PingRequest(hop: hop, count: count, circuit: circuit)
        )
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
            .number("HOP"), .text("RELAY", isCut: true), .number("SENT", leaves: 1),
            .number("LOSS %"), .number("MIN ms"), .number("AVG ms"), .number("P99 ms"),
            .number("MAX ms", leaves: 2),
        ])
        for hop in report.hops {
            table.add([
                "\(hop.position)", hop.nickname, "\(hop.sent)", Text.percent(hop.loss),
                Text.fine(hop.minimum), Text.fine(hop.average), Text.fine(hop.percentile99),
                Text.fine(hop.maximum),
            ])
        }
        return table.render(width: width)
    }
}
