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
        let isPaid = report.circuits.contains { $0.hops.contains { $0.paidTicks != nil } }
        var hops = Table(
            [
                .number("ID"), .number("HOP"), .text("RELAY"), .text("COUNTRY"),
                .text("ADDRESS"), .text("IDENTITY"), .number("RTT ms"),
            ] + (isPaid ? [.number("TICKS PAID")] : [])
        )
        for circuit in report.circuits {
            circuits.add([
                "\(circuit.id)", circuit.state.rawValue,
                circuit.hops.map(\.nickname).joined(separator: " > "),
                Text.seconds(circuit.ageSeconds), Text.bytes(circuit.bytesForward),
                Text.bytes(circuit.bytesBackward), circuit.isolation,
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

    private static func pay(_ hop: CircuitReport.Hop) -> String {
        guard let ticks = hop.paidTicks else { return "-" }
        return hop.lacksVoucher == true ? "no voucher" : "\(ticks)"
    }
}
