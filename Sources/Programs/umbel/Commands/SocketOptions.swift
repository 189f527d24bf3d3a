import ArgumentParser
import ControlAPI
import FoundationEssentials
import NodeConfiguration

/// Which node to ask.
struct SocketOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Control socket of the node.",
            discussion: """
                Default: $UMBEL_SOCKET, else that of this user's own daemon where there is one, else \
                \(ClientConfiguration.defaultSocket).
                """,
            valueName: "path"
        ),
        completion: .file()
    )
    var socket: String?

    /// The socket's path.
    var path: String {
        socket ?? ProcessInfo.processInfo.environment["UMBEL_SOCKET"] ?? ClientPlaces.asked.socket
    }

    /// A client of that node.
    var client: ControlClient {
        ControlClient(path: path, start: ClientPlaces.asked.start)
    }
}

/// How to print.
struct FormatOptions: ParsableArguments {
    @Flag(help: "Print one JSON object instead of text.")
    var json = false
}

/// What the traffic is to look like.
struct TrafficOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "What the traffic looks like to who watches it: fast, padded or mix.",
            discussion: "Default: what the daemon's configuration says.",
            valueName: "mode"
        )
    )
    var mode: ModeName?
    @Option(
        help: ArgumentHelp(
            "Milliseconds of a slot of mix: 20, 10, 5 or 2.5.",
            discussion: "Default: what the network says. Who differs from others stands out.",
            valueName: "ms"
        )
    )
    var slot: Double?

    func validate() throws {
        guard let slot else { return }
        guard mode == .mix else { throw ValidationError("Only --mode mix has slots.") }
        guard TrafficChoice.slotLengths.contains(slot) else {
            throw ValidationError("A slot has 20, 10, 5 or 2.5 milliseconds.")
        }
    }

    /// What is asked for; `nil` for what the configuration says.
    var choice: TrafficChoice? {
        mode.map { TrafficChoice(mode: $0.mode, slotMilliseconds: slot) }
    }

    /// The options as they are given to a program this one starts.
    var arguments: [String] {
        (mode.map { ["--mode", $0.rawValue] } ?? []) + (slot.map { ["--slot", "\($0)"] } ?? [])
    }
}

/// A mode as it is written.
enum ModeName: String, CaseIterable, ExpressibleByArgument {
    case fast, padded, mix

    /// The mode.
    var mode: TrafficMode {
        switch self {
        case .fast: .fast
        case .padded: .padded
        case .mix: .mix
        }
    }
}

/// Where to leave the network.
struct ExitOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Countries to leave the network in, such as DE or DE,NL, or auto for any.",
            discussion: "Default: what the daemon's configuration says.",
            valueName: "countries"
        )
    )
    var exit: CountryList?

    /// The countries; empty for any, `nil` for what the configuration says.
    var countries: [String]? { exit?.codes }
}
