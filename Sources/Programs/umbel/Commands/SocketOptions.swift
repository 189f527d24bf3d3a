import ArgumentParser
import ControlAPI
import FoundationEssentials
import NodeConfiguration

/// Which node to ask.
struct SocketOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Control socket of the node.",
            discussion:
                "Default: $UMBEL_SOCKET, else \(ClientConfiguration.defaultSocket).",
            valueName: "path"
        ),
        completion: .file()
    )
    var socket: String?

    /// The socket's path.
    var path: String {
        socket ?? ProcessInfo.processInfo.environment["UMBEL_SOCKET"]
            ?? ClientConfiguration.defaultSocket
    }

    /// A client of that node.
    var client: ControlClient {
        ControlClient(path: path, start: "umbel daemon --config \(DaemonStart.configuration)")
    }
}

/// How to print.
struct FormatOptions: ParsableArguments {
    @Flag(help: "Print one JSON object instead of text.")
    var json = false
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
