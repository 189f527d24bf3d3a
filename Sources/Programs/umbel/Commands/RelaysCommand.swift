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
    @Flag(help: "Measure the round trips to the heaviest of them first, over circuits made for it.")
    var measure = false
    @Option(help: "How many to measure.")
    var count = 8
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report =
            measure
            ? try await socket.client.measureExits(
                ExitSurveyRequest(countries: selection.country?.codes ?? [], count: count)
            )
            : try await socket.client.relays()
        let exits = selection.chosen(from: report.relays).filter { $0.flags.contains("exit") }
        try RelayTable.print(exits, format, "no such exit")
        guard !format.json, !exits.isEmpty else { return }
        guard let best = Self.suggestion(of: exits) else {
            return Output.note("none was measured: umbel exits --measure")
        }
        Output.note(Self.text(best))
    }

    /// The exit with the shortest round trip of those measured, but none that carries less than half
    /// of the others do; `nil` where none was measured.
    static func suggestion(of exits: [RelayListReport.Relay]) -> RelayListReport.Relay? {
        guard !exits.isEmpty else { return nil }
        let median = exits.map(\.weight).sorted()[exits.count / 2]
        return exits.filter { $0.roundTripMilliseconds != nil && $0.weight >= median / 2 }
            .min { first, second in
                (first.roundTripMilliseconds ?? 0, first.id)
                    < (second.roundTripMilliseconds ?? 0, second.id)
            }
    }

    static func text(_ exit: RelayListReport.Relay) -> String {
        let trip = Text.milliseconds(exit.roundTripMilliseconds)
        let advice = exit.country == "??" ? "" : ": umbel up --exit \(exit.country)"
        return
            "nearest of the exits measured: \(exit.nickname) (\(exit.country)), \(trip) ms\(advice)"
    }
}

/// Which relays to list.
struct RelaySelection: ParsableArguments {
    @Option(help: "Only those of these countries, such as DE or DE,NL.")
    var country: CountryList?

    /// The relays of `all` that are asked for.
    func chosen(from all: [RelayListReport.Relay]) -> [RelayListReport.Relay] {
        guard let country, !country.codes.isEmpty else { return all }
        return all.filter { country.codes.contains($0.country) }
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
            .number("TRIP MS"), .text("IDENTITY"), .text("ADDRESS"),
        ])
        for relay in relays {
            table.add([
                relay.nickname, relay.country, relay.flags.joined(separator: " "),
                "\((relay.weight + 500) / 1_000)",
                Text.milliseconds(relay.roundTripMilliseconds),
                Text.short(relay.id),
                relay.addresses.first ?? "",
            ])
        }
        return table.render(width: width)
    }
}
