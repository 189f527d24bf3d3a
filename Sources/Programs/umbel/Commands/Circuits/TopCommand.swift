import ArgumentParser
import ControlAPI
import FoundationEssentials

/// `umbel top`: circuits, rates and tickets, live.
struct TopCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Show circuits, rates and tickets, live until Ctrl-C.",
        discussion: """
            Without a terminal it prints one screen, taken over a second. With --json it prints one \
            JSON object: state, circuits, tickets and the rates of that second.
            """
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let terminal = Terminal.output
        let client = socket.client
        var before = try await TopSample(client)
        var screen = LiveScreen(terminal)
        while true {
            try await Task.sleep(for: .seconds(1))
            // One echo to each hop of the circuit in use, where there is one: its round trip is shown.
            _ = try? await client.ping(PingRequest(count: 1))
            let sample = try await TopSample(client)
            let report = TopReport(sample, since: before)
            before = sample
            if format.json { return try Output.printJSON(report) }
            let text = Self.text(report, terminal: terminal)
            guard terminal.isInteractive else { return Output.print(text) }
            screen.show(text)
        }
    }

    static func text(_ report: TopReport, terminal: Terminal) -> String {
        let state = StatusText.line(report.status)
        let rates =
            "\(Text.bytes(report.bytesForwardPerSecond))/s sent, "
            + "\(Text.bytes(report.bytesBackwardPerSecond))/s received"
        var fields = [("Now", rates)]
        if let tickets = report.tickets {
            fields.append(
                ("Tickets", "\(tickets.outstanding) ticks at hand, \(tickets.spent) spent")
            )
        }
        for tunnel in report.status.tunnels {
            let owner = tunnel.pid.map { "process \($0)" } ?? "this machine"
            let mode = tunnel.traffic.map { ", \(TrafficText.name($0))" } ?? ""
            fields.append(("Tunnel", "\(tunnel.interface) of \(owner)\(mode)"))
        }
        for row in report.circuits where row.circuit.state == .active {
            guard let traffic = row.circuit.traffic, traffic.mode != .fast else { continue }
            let said = TrafficText.schedule(traffic).map { "\($0.0.lowercased()) \($0.1)" }
                .joined(separator: "; ")
            fields.append(("Circuit \(row.circuit.id)", said))
        }
        var table = Table([
            .number("ID"), .text("STATE", leaves: 6), .text("PATH", isCut: true),
            .number("AGE", leaves: 3), .number("FLOWS", leaves: 2), .number("OUT/s"),
            .number("IN/s"), .number("RTT ms", leaves: 5), .number("QUEUE ms", leaves: 1),
            .text("FOR", leaves: 4),
        ])
        for row in report.circuits {
            let circuit = row.circuit
            let queues = circuit.hops.compactMap { $0.stat?.queueDelay }
            table.add([
                "\(circuit.id)", circuit.state.rawValue,
                circuit.hops.map(\.nickname).joined(separator: " > "),
                Text.seconds(circuit.ageSeconds), circuit.flows.map { "\($0)" } ?? "-",
                Text.bytes(row.bytesForwardPerSecond),
                Text.bytes(row.bytesBackwardPerSecond),
                Text.fine(circuit.hops.last?.roundTrip), Text.milliseconds(queues.max()),
                circuit.isolation,
            ])
        }
        let lines = [state] + StatusText.lines(fields, terminal)
        return lines.joined(separator: "\n") + "\n\n" + table.render(width: terminal.width)
    }
}

/// What a daemon says at one moment.
struct TopSample {
    let status: StatusReport
    let circuits: CircuitsReport
    let tickets: TicketsReport?
    let time: Double

    init(_ client: ControlClient) async throws {
        status = try await client.status()
        circuits = try await client.circuits()
        // A client without a wallet has none to show.
        tickets = try? await client.tickets()
        time = Date().timeIntervalSince1970
    }
}

/// One screen of `umbel top`.
struct TopReport: Codable {
    /// The layout's version.
    var schema = reportSchema
    var status: StatusReport
    var circuits: [Row]
    var tickets: TicketsReport?
    var bytesForwardPerSecond: UInt64
    var bytesBackwardPerSecond: UInt64

    /// A circuit and what it carries now.
    struct Row: Codable {
        var circuit: CircuitReport
        var bytesForwardPerSecond: UInt64
        var bytesBackwardPerSecond: UInt64

        private enum CodingKeys: String, CodingKey {
            case circuit
            case bytesForwardPerSecond = "bytes_forward_per_s"
            case bytesBackwardPerSecond = "bytes_backward_per_s"
        }
    }

    init(_ now: TopSample, since before: TopSample) {
        let span = max(0.001, now.time - before.time)
        let rate = { (new: UInt64, old: UInt64) in
            UInt64(Double(new - min(new, old)) / span)
        }
        status = now.status
        tickets = now.tickets
        circuits = now.circuits.circuits.map { circuit in
            let old = before.circuits.circuits.first { $0.id == circuit.id }
            return Row(
                circuit: circuit,
                bytesForwardPerSecond: rate(circuit.bytesForward, old?.bytesForward ?? 0),
                bytesBackwardPerSecond: rate(circuit.bytesBackward, old?.bytesBackward ?? 0)
            )
        }
        bytesForwardPerSecond = rate(now.status.bytesSent, before.status.bytesSent)
        bytesBackwardPerSecond = rate(now.status.bytesReceived, before.status.bytesReceived)
    }

    private enum CodingKeys: String, CodingKey {
        case schema, status, circuits, tickets
        case bytesForwardPerSecond = "bytes_forward_per_s"
        case bytesBackwardPerSecond = "bytes_backward_per_s"
    }
}
