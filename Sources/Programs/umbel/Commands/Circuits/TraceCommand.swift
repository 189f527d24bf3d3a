import ArgumentParser
import ControlAPI

/// `umbel trace`: a circuit hop by hop, live on a terminal.
struct TraceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Show round trip, queue and loss of every hop and segment of a circuit.",
        discussion: """
            On a terminal it goes on, a screen a second, until Ctrl-C; with --count or --json it \
            prints one report. Round trips and LOSS are of echoes only that hop can answer. OUT and \
            BACK are what the segment before the hop loses, each way: what one end says it sent and \
            the other says it received, of all the circuit's cells. That is each relay's word: two \
            that agree can shift a loss to others.
            """
    )

    @Option(
        name: [.short, .long],
        help: "Echoes to send to each hop, for one report. Default with --json: 10."
    )
    var count: Int?
    @Option(help: "Milliseconds from one echo to the next.")
    var interval = 100.0
    @Option(help: "The circuit, as `umbel circuits` numbers it. Default: the one in use.")
    var circuit: UInt64?
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func validate() throws {
        let request = TraceRequest(circuit: circuit, count: count ?? 10, interval: interval)
        if let problem = request.problem { throw ValidationError("\(problem).") }
    }

    func run() async throws {
        let terminal = Terminal.output
        if count == nil, !format.json, terminal.isInteractive {
            return try await follow(terminal)
        }
        let report = try await socket.client.trace(
            TraceRequest(circuit: circuit, count: count ?? 10, interval: interval)
        )
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(Self.text(report, width: terminal.width))
        }
    }

    private func follow(_ terminal: Terminal) async throws {
        var screen = LiveScreen(terminal)
        let count = max(1, min(10, Int(1_000 / interval)))
        var whole: TraceReport?
        while true {
            let next = try await socket.client.trace(
                TraceRequest(
                    circuit: whole?.circuit ?? circuit,
                    count: count,
                    interval: interval
                )
            )
            let joined = whole?.joined(with: next) ?? next
            whole = joined
            screen.show(
                "umbel trace, circuit \(joined.circuit): Ctrl-C ends it\n\n"
                    + Self.text(joined, width: terminal.width)
            )
        }
    }

    static func text(_ report: TraceReport, width: Int?) -> String {
        var table = Table([
            .number("HOP"), .text("RELAY", isCut: true), .text("CC", leaves: 1),
            .number("SENT", leaves: 3), .number("LOSS %"), .number("LAST ms", leaves: 4),
            .number("AVG ms"), .number("P99 ms", leaves: 6), .number("QUEUE ms", leaves: 5),
            .number("DROPS", leaves: 2), .number("OUT %"), .number("BACK %"),
        ])
        for (hop, segment) in zip(report.hops, report.segments) {
            let loss = hop.sent > 0 ? 1 - Double(hop.received) / Double(hop.sent) : nil
            table.add([
                "\(hop.position)", hop.nickname, hop.country, "\(hop.sent)", Text.percent(loss),
                Text.fine(hop.listed.last), Text.fine(hop.roundTrips.average),
                Text.fine(hop.roundTrips.percentile99),
                Text.milliseconds(hop.after?.queueDelay),
                hop.after.map { "\($0.queueDrops)" } ?? "-",
                Text.percent(segment.forward?.loss), Text.percent(segment.backward?.loss),
            ])
        }
        return table.render(width: width)
    }
}
