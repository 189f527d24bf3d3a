import Base
import Wire

/// Relays that failed lately and when each may be tried again.
///
/// Waits 5 s after the first failure and twice as long after each further one, up to a limit. Holds
/// at most 1,024 relays; the one that may be tried soonest makes room.
struct FailureTable: Sendable {
    private struct Entry {
        var retry: Instant
        var failureCount: Int
    }

    private var entries: [NodeID: Entry] = [:]

    static let capacity = 1_024
    static let firstWait = TimeSpan.seconds(5)

    /// The wait after `failureCount` failures in a row.
    static func wait(failureCount: Int, limitSeconds: UInt32) -> TimeSpan {
        let doublings = UInt64(min(max(failureCount - 1, 0), 24))
        return min(firstWait * (1 << doublings), .seconds(UInt64(limitSeconds)))
    }

    func isDown(_ id: NodeID, at now: Instant) -> Bool {
        entries[id].map { now < $0.retry } ?? false
    }

    mutating func noteFailure(of id: NodeID, at now: Instant, limitSeconds: UInt32) {
        let count = (entries[id]?.failureCount ?? 0) + 1
        if entries[id] == nil, entries.count >= Self.capacity {
            let soonest = entries.min { ($0.value.retry, $0.key) < ($1.value.retry, $1.key) }
            if let soonest { entries[soonest.key] = nil }
        }
        let wait = Self.wait(failureCount: count, limitSeconds: limitSeconds)
        entries[id] = Entry(retry: now + wait, failureCount: count)
    }

    mutating func noteSuccess(of id: NodeID) {
        entries[id] = nil
    }

    mutating func forget() {
        entries = [:]
    }
}
