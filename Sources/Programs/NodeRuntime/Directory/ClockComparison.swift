import Base
import ControlAPI
import EventLoop
import Synchronization

/// What the authorities' clocks show beside this machine's.
///
/// The middle one counts: of four authorities one that lies moves nothing.
struct ClockComparison: Sendable {
    // Seconds this machine is behind, by the authority's name.
    private var offsets: [String: Int64] = [:]
    private var wasWrong = false

    /// Takes that this machine's clock is `seconds` behind that of the authority `name`.
    mutating func note(_ seconds: Int64, of name: String) {
        offsets[name] = seconds
    }

    /// Seconds this machine's clock is behind; negative where it is ahead, `nil` where nobody told.
    ///
    /// Of an even number the smaller of the two in the middle: two must agree that it is wrong.
    var offsetSeconds: Int64? {
        let sorted = offsets.values.sorted()
        guard let low = sorted.dropFirst((sorted.count - 1) / 2).first,
            let high = sorted.dropFirst(sorted.count / 2).first
        else { return nil }
        return low.magnitude < high.magnitude ? low : high
    }

    /// Whether it is off by more than a relay's clock may be.
    var isWrong: Bool {
        (offsetSeconds ?? 0).magnitude > UInt64(ListingReport.clockTolerance)
    }

    /// What to tell the operator, once for each time the clock goes wrong or right.
    mutating func takeChange() -> String? {
        guard isWrong != wasWrong else { return nil }
        wasWrong = isWrong
        guard let offset = offsetSeconds, isWrong else {
            return "this machine's clock agrees with the authorities' again"
        }
        let way = offset > 0 ? "behind" : "ahead of"
        return "this machine's clock is wrong: \(offset.magnitude) s \(way) the authorities'"
            + " clocks; set it, for instance by `timedatectl set-ntp true`"
    }
}

/// What time it was elsewhere, and here when that was heard.
final class ClockNote: Sendable {
    private let offset = Mutex<Int64?>(nil)

    /// Takes what a clock elsewhere shows now.
    func note(_ time: WallTime) {
        let here = Int64(clamping: WallClock.now().seconds)
        let (difference, overflow) = Int64(clamping: time.seconds)
            .subtractingReportingOverflow(here)
        if !overflow { offset.withLock { $0 = difference } }
    }

    /// Seconds this machine's clock is behind; `nil` where nothing was heard.
    var offsetSeconds: Int64? {
        offset.withLock { $0 }
    }
}
