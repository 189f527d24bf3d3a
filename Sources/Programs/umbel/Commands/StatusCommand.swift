import ArgumentParser
import ControlAPI
import FoundationEssentials

/// `umbel status`: what a daemon or a relay is doing.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show what the daemon, or the node behind --socket, is doing.",
        discussion: "The exit status is 2 where a daemon answers but is not connected."
    )

    @Flag(help: "Print the state after each change too, one line or JSON object each.")
    var watch = false
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let client = socket.client
        switch try await client.node().role {
        case .client where watch: try await follow(client)
        case .client: try await show(client.status())
        case .relay where watch:
            throw ValidationError("A relay has no states to watch; leave --watch away.")
        case .relay: try await show(client.relayStatus())
        case .authority where watch:
            throw ValidationError("An authority has no states to watch; leave --watch away.")
        case .authority: try await show(client.authorityStatus())
        case .mint where watch:
            throw ValidationError("A mint has no states to watch; leave --watch away.")
        case .mint: try await show(client.mintStatus())
        }
    }

    private func follow(_ client: ControlClient) async throws {
        try await client.watchStatus { report in
            if format.json {
                try Output.printJSON(report)
            } else {
                Output.print(StatusText.line(report))
            }
            return true
        }
    }

    private func show(_ report: StatusReport) throws {
        if format.json {
            try Output.printJSON(report)
        } else {
            let now = UInt64(max(0, Date().timeIntervalSince1970))
            Output.print(StatusText.full(report, now: now, terminal: .output))
        }
        if report.state != .connected { throw ExitCode(ExitStatus.notConnected.rawValue) }
    }

    private func show(_ report: AuthorityStatusReport) throws {
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(DirectoryText.full(report, terminal: .output))
        }
    }

    private func show(_ report: MintStatusReport) throws {
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(PaymentText.full(report, terminal: .output))
        }
    }

    private func show(_ report: RelayStatusReport) throws {
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(StatusText.full(report, terminal: .output))
        }
    }
}
