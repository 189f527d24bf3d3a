import Base
import Wire

/// What a relay may take on, of its line and of its memory.
public struct LineLimits: Hashable, Sendable {
    /// Bytes a second that are sent, headers of UDP and IP included; `nil` for all the line takes.
    public var sentPerSecond: UInt64?
    /// Bytes a second that are received, likewise.
    public var receivedPerSecond: UInt64?
    /// Bytes of cells and packets that may wait here, on all circuits of a shard together.
    public var waitingByteLimit: Int

    /// Puts limits together.
    public init(
        sentPerSecond: UInt64? = nil,
        receivedPerSecond: UInt64? = nil,
        waitingByteLimit: Int = 64 << 20
    ) {
        self.sentPerSecond = sentPerSecond
        self.receivedPerSecond = receivedPerSecond
        self.waitingByteLimit = waitingByteLimit
    }

    /// The part of one of `count` shards.
    public func divided(by count: Int) -> Self {
        Self(
            sentPerSecond: sentPerSecond.map { max(1, $0 / UInt64(count)) },
            receivedPerSecond: receivedPerSecond.map { max(1, $0 / UInt64(count)) },
            waitingByteLimit: max(1, waitingByteLimit / count)
        )
    }
}

/// When the line is free for another cell: a token bucket for each direction.
///
/// A bucket is kept as the time its line is busy until, so a cell costs an addition. What had to go
/// out at once is charged too, and delays what comes after it.
struct LinePacer {
    /// Bytes a datagram takes on the line, with the headers of UDP and IPv4.
    static let datagramByteCount: UInt64 = UInt64(Datagram.byteCount) + 28
    /// How far ahead the line may be used: what a bucket holds.
    static let burst: TimeSpan = .milliseconds(4)
    /// How long a sender that waits for the line sleeps at least: cells leave in trains.
    static let nap: TimeSpan = .milliseconds(1)

    private struct Bucket {
        let cellTime: TimeSpan
        var busyUntil: Instant = .zero

        init(perSecond: UInt64) {
            cellTime = TimeSpan(
                nanoseconds: LinePacer.datagramByteCount * 1_000_000_000 / max(1, perSecond)
            )
        }

        mutating func charge(_ cellCount: Int, now: Instant) {
            busyUntil = max(busyUntil, now) + cellTime * UInt64(cellCount)
        }
    }

    private var sent: Bucket?
    private var received: Bucket?
    /// Whether there is a limit at all.
    let isLimiting: Bool
    /// Wait of a cell that no one could call a queue.
    let delayTarget: TimeSpan

    /// Makes full buckets.
    init(_ limits: LineLimits) {
        sent = limits.sentPerSecond.map { Bucket(perSecond: $0) }
        received = limits.receivedPerSecond.map { Bucket(perSecond: $0) }
        isLimiting = sent != nil || received != nil
        let cellTime = max(sent?.cellTime ?? .zero, received?.cellTime ?? .zero)
        delayTarget = max(DelayControl.target, cellTime * 2)
    }

    /// Whether another cell may go.
    func isOpen(at now: Instant) -> Bool {
        busyUntil - now <= Self.burst
    }

    /// When to look again where the line is not open.
    var nextLook: Instant {
        let opens = busyUntil.nanoseconds - min(busyUntil.nanoseconds, Self.burst.nanoseconds)
        return Instant(nanoseconds: opens) + Self.nap
    }

    /// Counts what was sent in answer to what was received.
    mutating func charge(sent sentCount: Int, received receivedCount: Int, now: Instant) {
        sent?.charge(sentCount, now: now)
        received?.charge(receivedCount, now: now)
    }

    private var busyUntil: Instant {
        max(sent?.busyUntil ?? .zero, received?.busyUntil ?? .zero)
    }
}
