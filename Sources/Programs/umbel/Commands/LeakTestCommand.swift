import ArgumentParser
import ControlAPI

/// `umbel leaktest`: whether anything leaves this machine around the tunnel.
struct LeakTestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leaktest",
        abstract: "Try to get around the tunnel, over IPv4 and IPv6; the kernel must refuse.",
        discussion: """
            Asks the kernel which way packets of others would take, and sends single bytes past the \
            routes, as any program could: to the guard, and to addresses where nobody is. It needs no \
            one else's server. The exit status is 1 where something leaks, 2 where this machine is \
            not connected and there is nothing to test.
            """
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.leakTest()
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(Self.text(report, terminal: .output))
        }
        if report.isLeaking { throw ExitCode(ExitStatus.failed.rawValue) }
        if !report.isTested { throw ExitCode(ExitStatus.notConnected.rawValue) }
    }

    static func text(_ report: LeakReport, terminal: Terminal) -> String {
        var blocks: [String] = []
        if report.isLeaking {
            blocks.append(terminal.colored("something leaks", .red))
        } else if report.isTested {
            blocks.append(terminal.colored("nothing leaks", .green))
        } else {
            blocks.append("nothing to test")
        }
        var table = Table([.text("RULE"), .text("RESULT"), .text("SEEN", leaves: 1)])
        for check in report.checks { table.add([check.name, check.result.rawValue, check.detail]) }
        blocks.append(table.render(width: terminal.width))
        let hints = report.checks.compactMap { check in
            check.hint.map { (check.name, "\(check.detail): \($0)") }
        }
        if !hints.isEmpty {
            blocks.append(
                (["what to do"] + StatusText.lines(hints, terminal)).joined(separator: "\n")
            )
        }
        return blocks.joined(separator: "\n\n")
    }
}
