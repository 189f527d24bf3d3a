import ArgumentParser
import ControlAPI

/// `umbel explain`: who knows what of a circuit.
struct ExplainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Say who knows what of a circuit, hop by hop."
    )

    @Argument(help: "The circuit's number. Default: the one in use.")
    var id: UInt64?
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let client = socket.client
        let report = try await client.explain(try await circuit(client))
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(Self.text(report, terminal: .output))
        }
    }

    private func circuit(_ client: ControlClient) async throws -> UInt64 {
        if let id { return id }
        let circuits = try await client.circuits().circuits
        guard let used = circuits.first(where: { $0.state == .active }) else {
            throw Failure(
                "there is no circuit in use",
                why: "the client is not connected",
                hint: "umbel up --wait",
                exit: .notConnected
            )
        }
        return used.id
    }

    static func text(_ report: ExplainReport, terminal: Terminal) -> String {
        var blocks = report.parties.map { party in
            let place = party.country.map { " (\($0))" } ?? ""
            let role = party.role.rawValue.split(separator: "_").joined(separator: " ")
            var fields = [("Knows", party.knows.joined(separator: "; "))]
            if !party.hidden.isEmpty {
                fields.append(("Not", party.hidden.joined(separator: "; ")))
            }
            fields.append(("Sees", party.addresses.joined(separator: ", ")))
            if !party.keys.isEmpty { fields.append(("Keys", party.keys.joined(separator: "; "))) }
            if let payment = party.payment { fields.append(("Paid", payment)) }
            if let family = party.operator { fields.append(("Operator", family)) }
            let title = Text.wrapped(
                "\(party.name)\(place)",
                after: "\(role): ",
                width: terminal.width
            )
            let head = terminal.colored(title, .green)
            return ([head] + StatusText.lines(fields, terminal)).joined(separator: "\n")
        }
        if !report.warnings.isEmpty {
            let lines = report.warnings.map {
                Text.wrapped($0, after: "  ! ", width: terminal.width)
            }
            blocks.append(
                ([terminal.colored("together", .yellow)] + lines).joined(separator: "\n")
            )
        }
        return blocks.joined(separator: "\n\n")
    }
}
