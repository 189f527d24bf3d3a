import Base
import Circuits
import ClientCore
import ControlAPI
import EventLoop
import Logging

/// The line that a client's daemon logs once an hour: how it has done since it was started.
///
/// Sums alone: nothing in it tells one destination, relay or program from another.
struct ClientHeartbeat {
    private static let interval: TimeSpan = .seconds(3_600)

    private let started: Instant
    private var due: Instant
    private var begun: Set<CircuitID> = []
    private var builtCount = 0
    private var failedCount = 0

    /// Begins at the daemon's start.
    init(now: Instant) {
        started = now
        due = now + Self.interval
    }

    /// Counts what became of a circuit.
    mutating func note(_ notice: CircuitNotice) {
        switch notice.change {
        case .begun:
            begun.insert(notice.id)
        case .ready:
            if begun.remove(notice.id) != nil { builtCount += 1 }
        case .carrying:
            break
        case .ended:
            if begun.remove(notice.id) != nil { failedCount += 1 }
        }
    }

    /// Whether the line is to be logged at `now`; true once for each hour.
    mutating func isDue(at now: Instant) -> Bool {
        guard now >= due else { return false }
        due = now + Self.interval
        return true
    }

    /// The line.
    ///
    /// - Parameters:
    ///   - ticks: what can still be spent; `nil` where nothing is paid.
    func line(
        of status: StatusReport,
        circuits: Int,
        residentBytes: UInt64,
        ticks: UInt64?,
        now: Instant
    ) -> String {
        "up \((now - started).nanoseconds / 3_600_000_000_000) h, \(status.state.rawValue),"
            + " \(circuits) circuits for \(status.tunnels.count) tunnels,"
            + " \(status.bytesSent / 1_000_000) MB sent,"
            + " \(status.bytesReceived / 1_000_000) MB received,"
            + " \(builtCount) circuits built and \(failedCount) not,"
            + " \(residentBytes >> 20) MiB of memory"
            + (ticks.map { ", \($0) ticks at hand" } ?? "")
    }
}

extension ClientNode {
    /// Logs the line, once an hour.
    func tendHeartbeat() async {
        let now = MonotonicClock.now()
        guard heartbeat.isDue(at: now) else { return }
        let status = await status()
        let circuits = await snapshot()?.circuits.count ?? 0
        // A wallet without mints holds nothing and never will.
        let tickets = try? await tickets()
        let line = heartbeat.line(
            of: status,
            circuits: circuits,
            residentBytes: ProcessReadings.now().residentBytes,
            ticks: tickets?.epoch == nil ? nil : tickets?.outstanding,
            now: now
        )
        logger.notice("\(line)")
    }
}
