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

    /// A client of that node.
    var client: ControlClient {
        let path =
            socket ?? ProcessInfo.processInfo.environment["UMBEL_SOCKET"]
            ?? ClientConfiguration.defaultSocket
        return ControlClient(path: path, start: "umbel daemon --config /etc/umbel/client.toml")
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
            "Country to leave the network in, two letters, or auto for any.",
            discussion: "Default: what the daemon's configuration says.",
            valueName: "country"
        )
    )
    var exit: String?

    func validate() throws {
        guard let exit else { return }
        let isCountry =
            exit.utf8.count == 2 && exit.utf8.allSatisfy { (0x61...0x7a).contains($0 | 0x20) }
        guard isCountry || exit == "auto" else {
            throw ValidationError("\(exit) is no country: give two letters, such as DE, or auto.")
        }
    }

    /// The country in capitals, or `auto`.
    var country: String? { exit.map { $0 == "auto" ? $0 : $0.uppercased() } }
}
