import ArgumentParser
import ControlAPI

/// `umbel circuits`: the circuits and their hops.
struct CircuitsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "circuits",
        abstract: "List the circuits and the relays they take; show, renew or close one.",
        subcommands: [
            CircuitsListCommand.self, CircuitsShowCommand.self, CircuitsNewCommand.self,
            CircuitsCloseCommand.self,
        ],
        defaultSubcommand: CircuitsListCommand.self
    )

    static func text(_ report: CircuitsReport, width: Int?) -> String {
        var circuits = Table([
            .number("ID"), .text("STATE"), .text("PATH", isCut: true),
            .number("AGE", leaves: 2), .number("SENT"), .number("RECEIVED"),
            .text("MODE", leaves: 1), .text("FOR", leaves: 3),
        ])
        let isPaid = report.circuits.contains { $0.hops.contains { $0.paidTicks != nil } }
        var hops = Table(
            [
                .number("ID"), .number("HOP"), .text("RELAY"), .text("CC", leaves: 3),
                .text("ADDRESS", leaves: 2), .text("IDENTITY", leaves: 1), .number("RTT ms"),
            ] + (isPaid ? [.number("PAID")] : [])
        )
        for circuit in report.circuits {
            circuits.add([
                "\(circuit.id)", circuit.state.rawValue,
                circuit.hops.map(\.nickname).joined(separator: " > "),
                Text.seconds(circuit.ageSeconds), Text.bytes(circuit.bytesForward),
                Text.bytes(circuit.bytesBackward), circuit.traffic?.mode.rawValue ?? "-",
                circuit.isolation,
            ])
            for hop in circuit.hops {
                hops.add(
                    [
                        "\(circuit.id)", "\(hop.position)", hop.nickname, hop.country,
                        hop.address, Text.short(hop.id), Text.milliseconds(hop.roundTrip),
                    ] + (isPaid ? [Self.pay(hop)] : [])
                )
            }
        }
        return circuits.render(width: width) + "\n\n" + hops.render(width: width)
    }

    static func pay(_ hop: CircuitReport.Hop) -> String {
        guard let ticks = hop.paidTicks else { return "-" }
        return hop.lacksVoucher == true ? "no voucher" : "\(ticks)"
    }
}

/// `umbel circuits list`, which is also bare `umbel circuits`.
struct CircuitsListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the circuits and the relays they take."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.circuits()
        if format.json {
            try Output.printJSON(report)
        } else if report.circuits.isEmpty {
            Output.note("no circuits")
        } else {
            Output.print(CircuitsCommand.text(report, width: Terminal.output.width))
        }
    }
}

/// `umbel circuits show`: all that is known of one circuit.
struct CircuitsShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show all that is known of one circuit."
    )

    @Argument(help: "The circuit's number.")
    var id: UInt64
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        var report = try await socket.client.circuits()
        report.circuits = report.circuits.filter { $0.id == id }
        guard let circuit = report.circuits.first else {
            throw Failure(
                "there is no circuit \(id)",
                why: "it is closed, or never was",
                hint: "umbel circuits",
                exit: .failed
            )
        }
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(Self.text(circuit, terminal: .output))
        }
    }

    static func text(_ circuit: CircuitReport, terminal: Terminal) -> String {
        let fields =
            [
                ("State", "\(circuit.state.rawValue), for \(circuit.isolation)"),
                ("Because", circuit.cause ?? "-"),
                ("Age", Text.seconds(circuit.ageSeconds)),
                ("Built in", circuit.buildTime.map { "\(Text.fine($0)) ms" } ?? "-"),
                ("Flows", circuit.flows.map { "\($0)" } ?? "-"),
                ("Cells", "\(circuit.cellsForward) sent, \(circuit.cellsBackward) received"),
                (
                    "Bytes",
                    "\(Text.bytes(circuit.bytesForward)) sent, "
                        + "\(Text.bytes(circuit.bytesBackward)) received"
                ),
            ] + (circuit.traffic.map(TrafficText.fields) ?? [])
        var path = Table([
            .number("HOP"), .text("RELAY"), .text("CC"), .text("ADDRESS"),
            .number("LAYER", leaves: 1), .number("PAID"),
        ])
        var carried = Table([
            .number("HOP"), .number("RTT ms", leaves: 3), .number("QUEUE ms", leaves: 2),
            .number("DROPS", leaves: 1), .number("FWD IN"), .number("FWD OUT"),
            .number("BACK IN"), .number("BACK OUT"),
        ])
        for hop in circuit.hops {
            path.add([
                "\(hop.position)", hop.nickname, hop.country, hop.address,
                "\(1_356 - 24 * (hop.position - 1)) B", CircuitsCommand.pay(hop),
            ])
            let counts = hop.stat.map { stat in
                [stat.forwardIn, stat.forwardOut, stat.backwardIn, stat.backwardOut].map { "\($0)" }
            }
            carried.add(
                [
                    "\(hop.position)",
                    hop.isSilent == true ? "silent" : Text.fine(hop.roundTrip),
                    Text.milliseconds(hop.stat?.queueDelay),
                    hop.stat.map { "\($0.queueDrops)" } ?? "-",
                ] + (counts ?? ["-", "-", "-", "-"])
            )
        }
        let head = "circuit \(circuit.id)"
        return [
            ([head] + StatusText.lines(fields, terminal)).joined(separator: "\n"),
            path.render(width: terminal.width), carried.render(width: terminal.width),
        ].joined(separator: "\n\n")
    }
}

/// `umbel circuits new`: another circuit under the same flows.
struct CircuitsNewCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "new",
        abstract: "Replace the circuit in use by another one to the same exit.",
        discussion: "Connections go on. For another exit: umbel up --exit."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.newCircuit()
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(CircuitsCommand.text(report, width: Terminal.output.width))
        }
    }
}

/// `umbel circuits close`: ends one circuit.
struct CircuitsCloseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "close",
        abstract: "Close a circuit; what it carries moves to another one."
    )

    @Argument(help: "The circuit's number.")
    var id: UInt64
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.closeCircuit(id)
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.note("circuit \(id) is closed")
        }
    }
}
