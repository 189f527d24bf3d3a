import ArgumentParser
import ControlAPI

/// `umbel relays`: the relays of the network.
struct RelaysCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "relays",
        abstract: "List the relays of the network, the heaviest first."
    )

    @OptionGroup var selection: RelaySelection
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.relays()
        try RelayTable.print(selection.chosen(from: report.relays), format, "no such relay")
    }
}

/// `umbel exits`: the relays traffic can leave by.
struct ExitsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exits",
        abstract: "List the exits of the network, the heaviest first."
    )

    @OptionGroup var selection: RelaySelection
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.relays()
        let exits = selection.chosen(from: report.relays).filter { $0.flags.contains("exit") }
        try RelayTable.print(exits, format, "no such exit")
    }
}

/// Which relays to list.
struct RelaySelection: ParsableArguments {
    @Option(help: "Only those of this country, two letters.")
    var country: String?

    func validate() throws {
        guard let country else { return }
        guard country.utf8.count == 2, country.allSatisfy({ $0.isASCII && $0.isLetter }) else {
            throw ValidationError("A country is two letters, such as DE.")
        }
    }

    /// The relays of `all` that are asked for.
    func chosen(from all: [RelayListReport.Relay]) -> [RelayListReport.Relay] {
        guard let country = country?.uppercased() else { return all }
        return all.filter { $0.country == country }
    }
}

/// Relays as a table or as JSON.
enum RelayTable {
    static func print(
        _ relays: [RelayListReport.Relay],
        _ format: FormatOptions,
        _ nothing: String
    ) throws {
        if format.json { return try Output.printJSON(RelayListReport(relays: relays)) }
        guard !relays.isEmpty else { return Output.note(nothing) }
        Output.print(text(relays, width: Terminal.output.width))
    }

    static func text(_ relays: [RelayListReport.Relay], width: Int?) -> String {
        var table = Table([
            .text("RELAY"), .text("COUNTRY"), .text("FLAGS"), .number("MBIT/S"),
            .text("IDENTITY"), .text("ADDRESS"),
        ])
        for relay in relays {
            table.add([
                relay.nickname, relay.country, relay.flags.joined(separator: " "),
                "\((relay.weight + 500) / 1_000)", Text.short(relay.id),
                relay.addresses.first ?? "",
            ])
        }
        return table.render(width: width)
    }
}
