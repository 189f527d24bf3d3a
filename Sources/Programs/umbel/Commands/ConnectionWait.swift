import ControlAPI

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
        var last: (report: StatusReport, heard: ContinuousClock.Instant)?
        for await event in events {
            switch event {
            case .changed(let report):
                last = (report, .now)
                switch report.state {
                case .connected: return report
                case .connecting: line.show(report, after: .zero)
                case .disconnected, .disconnecting, .blocked: throw gaveUp(report)
                }
            case .second:
                guard let last else { continue }
                line.show(last.report, after: .now - last.heard)
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
