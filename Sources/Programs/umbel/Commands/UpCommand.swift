import ArgumentParser
import ControlAPI

/// `umbel up`: connects the machine.
struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Connect this machine through a circuit."
    )

    @OptionGroup var exit: ExitOptions
    @Flag(help: "Return once connected, or with an error once that has failed.")
    var wait = false
    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let client = socket.client
        var report = try await client.up(UpRequest(exit: exit.countries))
        if wait, report.state != .connected {
            report = try await ConnectionWait(client: client).result()
        }
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(StatusText.line(report))
        }
    }
}

/// `umbel down`: disconnects the machine.
struct DownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "down",
        abstract: "Disconnect this machine, and let its traffic out directly again."
    )

    @OptionGroup var format: FormatOptions
    @OptionGroup var socket: SocketOptions

    func run() async throws {
        let report = try await socket.client.down()
        if format.json {
            try Output.printJSON(report)
        } else {
            Output.print(StatusText.line(report))
        }
    }
}

/// Follows a daemon until it is connected, and shows how far it has come.
struct ConnectionWait {
    let client: ControlClient

    /// What can happen while one waits.
    private enum Event: Sendable {
        case changed(StatusReport)
        case second
        case ended(Failure?)
    }

    /// The report of the connected daemon.
    ///
    /// - Throws: ``Failure`` where the daemon gives up or goes away.
    func result() async throws -> StatusReport {
        let (events, continuation) = AsyncStream.makeStream(
            of: Event.self,
            bufferingPolicy: .bufferingNewest(16)
        )
        let watch = Task {
            do {
                try await client.watchStatus { report in
                    continuation.yield(.changed(report))
                    return true
                }
                continuation.yield(.ended(nil))
            } catch {
                continuation.yield(.ended(error as? Failure))
            }
        }
        let clock = Task {
            while true {
                try await Task.sleep(for: .seconds(1))
                continuation.yield(.second)
            }
        }
        defer {
            watch.cancel()
            clock.cancel()
        }
        var line = ProgressLine()
        defer { line.finish() }
        return try await follow(events, line: &line)
    }

    private func follow(
        _ events: AsyncStream<Event>,
        line: inout ProgressLine
    ) async throws -> StatusReport {
        var last: StatusReport?
        var unchanged: UInt64 = 0
        for await event in events {
            switch event {
            case .changed(let report):
                unchanged = report == last ? unchanged : 0
                last = report
                switch report.state {
                case .connected: return report
                case .connecting: line.show(report, unchangedFor: unchanged)
                case .disconnected, .disconnecting, .blocked: throw gaveUp(report)
                }
            case .second:
                unchanged += 1
                // A log wants the news that it is stuck once, a terminal every second.
                if let last, Terminal.errors.isInteractive || unchanged == ProgressLine.stuckAfter {
                    line.show(last, unchangedFor: unchanged)
                }
            case .ended(let failure):
                throw failure ?? daemonStopped
            }
        }
        throw daemonStopped
    }

    private func gaveUp(_ report: StatusReport) -> Failure {
        Failure(
            "not connected: the daemon is \(report.state.rawValue)",
            why: report.reason ?? "it gave no reason",
            hint: "`umbel status` shows where it stands",
            exit: .failed
        )
    }

    private var daemonStopped: Failure {
        Failure(
            "not connected: the daemon has stopped",
            why: "its status stream ended",
            hint: "see the daemon's log",
            exit: .unavailable
        )
    }
}
