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

    /// The limits of one of `count` shards: its part of the memory, and the line of all of them.
    public func ofShard(of count: Int) -> Self {
        var limits = self
        limits.waitingByteLimit = max(1, waitingByteLimit / count)
        return limits
    }
}

/// When the line is free for another cell of a shard.
///
/// Holds cells of each direction taken from a ``LineBudget``, and when they may go. What had to go out
/// at once is charged too, and delays what comes after it. A shard that has nothing to send keeps at
/// most a stride: that much a shard may be off, once.
struct LinePacer {
    /// How far ahead the line may be used: what a bucket holds.
    ///
    /// A thread whose processor others want is woken some 10 ms late now and then, and what a bucket
    /// does not hold by then is lost. Over ten seconds it is 0.2 % of a rate.
    static let burst: TimeSpan = .milliseconds(20)
    /// How long a sender that waits for the line sleeps at least: cells leave in trains.
    static let nap: TimeSpan = .milliseconds(1)
    /// Cells taken at a time, at most, and what they may take of the line, but for one cell.
    static let strideLimit = 16
    static let strideTime: TimeSpan = .milliseconds(1)

    private let budget: LineBudget
    private let stride: Int
    private var sentCells = 0
    private var receivedCells = 0
    private var opens: Instant = .zero
    /// Whether there is a limit at all.
    let isLimiting: Bool
    /// Wait of a cell that no one could call a queue.
    let delayTarget: TimeSpan

    /// Makes the pacer of one shard.
    init(_ budget: LineBudget) {
        self.budget = budget
        isLimiting = budget.sentCellTime != nil || budget.receivedCellTime != nil
        let cellTime = max(budget.sentCellTime ?? .zero, budget.receivedCellTime ?? .zero)
        // Little of what a bucket holds, so that no shard takes all of it.
        let most = Self.strideTime.nanoseconds / max(1, cellTime.nanoseconds)
        stride = Int(min(UInt64(Self.strideLimit), max(1, most)))
        delayTarget = max(DelayControl.target, cellTime * UInt64(2 * budget.shardCount))
    }

    /// Whether another cell may go; takes a stride where there is none left.
    mutating func isOpen(at now: Instant) -> Bool {
        take(now)
        return opens <= now
    }

    /// When to look again where the line is not open.
    var nextLook: Instant {
        opens + Self.nap
    }

    /// Counts what was sent in answer to what was received.
    mutating func charge(sent sentCount: Int, received receivedCount: Int, now: Instant) {
        sentCells -= sentCount
        receivedCells -= receivedCount
        // Others are to know of it even where this shard sends nothing that waits.
        if sentCells < -stride || receivedCells < -stride { take(now) }
    }

    private mutating func take(_ now: Instant) {
        if sentCells <= 0 {
            wait(for: budget.takeSent(stride - sentCells, now: now))
            sentCells = stride
        }
        if receivedCells <= 0 {
            wait(for: budget.takeReceived(stride - receivedCells, now: now))
            receivedCells = stride
        }
    }

    /// Notes when the line is free for cells that were taken, less what a bucket holds.
    private mutating func wait(for free: Instant) {
        let early = min(free.nanoseconds, Self.burst.nanoseconds)
        opens = max(opens, Instant(nanoseconds: free.nanoseconds - early))
    }
}
