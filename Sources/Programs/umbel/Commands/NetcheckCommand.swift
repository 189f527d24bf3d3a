import ArgumentParser
import ControlAPI
import FoundationEssentials

/// `umbel netcheck`: what the network this machine is in lets through.
struct NetcheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "netcheck",
        abstract: "Measure the network you are in: ways out, UDP, packet size, guards.",
        discussion: """
            Asks the guards this client prefers, each by a handshake of its own. Two of them, asked \
            from one socket, say how they see its address and port: what a router on the way does to \
            them. The exit status is 1 where no guard answers.
            """
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.checkNetwork()
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(Self.text(report, terminal: .output))
        }
        if report.udp != true { throw ExitCode(ExitStatus.failed.rawValue) }
    }

    /// A report for people.
    static func text(_ report: NetworkReport, terminal: Terminal) -> String {
        let udp =
            switch report.udp {
            case true: "gets through"
            case false: "BLOCKED: no guard answers"
            case nil: "not known: there is no list of relays yet"
            }
        var fields = [
            ("IPv4", report.ipv4 ? "yes" : "no way out"),
            ("IPv6", report.ipv6 ? "yes" : "no way out"),
            ("UDP", udp),
        ]
        fields += Self.translation(report)
        let isCut = report.guards.contains { $0.isWhole == false }
        if let mtu = report.mtu {
            let size = isCut ? "\(mtu) bytes; datagrams are cut on the way" : "\(mtu) bytes"
            fields.append(("MTU", size))
        }
        var text = StatusText.lines(fields, terminal).joined(separator: "\n")
        guard !report.guards.isEmpty else { return text }
        var table = Table([.text("GUARD"), .text("ADDRESS"), .number("ms"), .text("WHOLE")])
        for entry in report.guards {
            table.add([
                entry.nickname, entry.address, Text.milliseconds(entry.roundTrip),
                entry.isWhole.map { $0 ? "yes" : "no" } ?? "-",
            ])
        }
        text += "\n\n" + table.render(width: terminal.width)
        return text
    }

    /// What becomes of this machine's addresses on the way out.
    private static func translation(_ report: NetworkReport) -> [(String, String)] {
        guard let mappings = report.mappings else {
            let nat =
                switch report.nat {
                case .none: "none: this machine has a public address"
                case .translated: "yes: this machine has a private address"
                case .unknown: "not known: there is no way out"
                }
            return [("NAT", nat)]
        }
        return mappings.map { mapping in
            let seen = mapping.seen.first ?? "?"
            let text =
                switch mapping.kind {
                case .none: "none: guards see this machine's own address, \(seen)"
                case .fixed: "yes: all guards see \(seen)"
                case .varies:
                    "yes: each guard sees another, \(mapping.seen.joined(separator: ", "))"
                case .unknown: "yes: a guard sees \(seen)"
                }
            return (mapping.local.hasPrefix("[") ? "NAT6" : "NAT", text)
        }
    }
}

/// `umbel logs`: what happened in the daemon.
struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs",
        abstract: "Show what happened in the daemon lately.",
        discussion: """
            The daemon keeps its last 1,000 events. They name no address of yours, nor of what you \
            reach.
            """
    )

    @Flag(name: .shortAndLong, help: "Go on with what happens from now on.")
    var follow = false
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let width = Terminal.output.width
        try await socket.client.readEvents(follows: follow) { event in
            if format.json {
                try Output.printJSON(event)
            } else {
                Output.print(Text.wrapped(Self.line(event), after: "", width: width))
            }
            return true
        }
    }

    /// An event for people: time of day in UTC, how bad it is, what happened.
    static func line(_ event: EventReport) -> String {
        let second = event.time / 1_000 % 86_400
        let parts = [second / 3_600, second / 60 % 60, second % 60].map { number in
            (number < 10 ? "0" : "") + "\(number)"
        }
        let thousandth = String("\(1_000 + event.time % 1_000)".dropFirst())
        let text = event.text.split(separator: "\n").joined(separator: "; ")
        return "\(parts.joined(separator: ":")).\(thousandth) \(event.level) \(text)"
    }
}
