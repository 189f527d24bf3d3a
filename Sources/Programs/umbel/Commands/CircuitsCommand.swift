import ArgumentParser
import ControlAPI

/// `umbel circuits`: the circuits and their hops.
struct CircuitsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "circuits",
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
            Output.print(Self.text(report, width: Terminal.output.width))
        }
    }

    static func text(_ report: CircuitsReport, width: Int?) -> String {
        var circuits = Table([
            .number("ID"), .text("STATE"), .text("PATH"), .number("AGE"), .number("SENT"),
            .number("RECEIVED"), .text("FOR"),
        ])
        var hops = Table([
            .number("ID"), .number("HOP"), .text("RELAY"), .text("COUNTRY"), .text("ADDRESS"),
            .text("IDENTITY"), .number("RTT ms"),
        ])
        for circuit in report.circuits {
            circuits.add([
                "\(circuit.id)", circuit.state.rawValue,
                circuit.hops.map(\.nickname).joined(separator: " > "),
                Text.seconds(circuit.ageSeconds), Text.bytes(circuit.bytesForward),
                Text.bytes(circuit.bytesBackward), circuit.isolation,
            ])
            for hop in circuit.hops {
                hops.add([
                    "\(circuit.id)", "\(hop.position)", hop.nickname, hop.country, hop.address,
                    Text.short(hop.id), Text.milliseconds(hop.roundTrip),
                ])
            }
        }
        return circuits.render(width: width) + "\n\n" + hops.render(width: width)
    }
}
