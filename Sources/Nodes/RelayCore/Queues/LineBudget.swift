import Base
import Synchronization
import Wire

/// The rates of a relay's line, which its shards share: what one leaves another may use.
///
/// A token bucket for each direction, kept as the time its line is busy until. Shards take cells by
/// the stride (``LinePacer``), so a cell costs a counter and a stride one addition to a word; nobody
/// waits for a lock. Turns are those of asking: shards with cells to send get equal shares.
public final class LineBudget: Sendable {
    /// Bytes a datagram takes on the line, with the headers of UDP and IPv4.
    static let datagramByteCount: UInt64 = UInt64(Datagram.byteCount) + 28

    /// Time a cell takes to be sent; `nil` where nothing limits that.
    let sentCellTime: TimeSpan?
    /// Time a cell takes to be received; `nil` where nothing limits that.
    let receivedCellTime: TimeSpan?
    /// Shards that share it.
    let shardCount: Int
    private let sentUntil = Atomic<UInt64>(0)
    private let receivedUntil = Atomic<UInt64>(0)

    /// Makes full buckets of the rates of `limits` for `shardCount` shards.
    public init(_ limits: LineLimits, shardCount: Int = 1) {
        func cellTime(_ perSecond: UInt64) -> TimeSpan {
            TimeSpan(nanoseconds: Self.datagramByteCount * 1_000_000_000 / max(1, perSecond))
        }
        sentCellTime = limits.sentPerSecond.map(cellTime)
        receivedCellTime = limits.receivedPerSecond.map(cellTime)
        self.shardCount = shardCount
    }

    /// Takes `count` cells that are sent; when the line is free for the first of them.
    func takeSent(_ count: Int, now: Instant) -> Instant {
        Self.take(count, of: sentCellTime, from: sentUntil, now: now)
    }

    /// Takes `count` cells that are received; when the line is free for the first of them.
    func takeReceived(_ count: Int, now: Instant) -> Instant {
        Self.take(count, of: receivedCellTime, from: receivedUntil, now: now)
    }

    private static func take(
        _ count: Int,
        of cellTime: TimeSpan?,
        from until: borrowing Atomic<UInt64>,
        now: Instant
    ) -> Instant {
        guard let cellTime else { return now }
        var before = until.load(ordering: .relaxed)
        while true {
            let start = Instant(nanoseconds: max(before, now.nanoseconds))
            let (isTaken, found) = until.weakCompareExchange(
                expected: before,
                desired: (start + cellTime * UInt64(count)).nanoseconds,
                ordering: .relaxed
            )
            if isTaken { return start }
            before = found
        }
    }
}
