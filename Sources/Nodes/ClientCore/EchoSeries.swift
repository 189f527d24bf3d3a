public import Base
import CryptoPrimitives
public import Wire

/// Cells sent to one hop at a steady pace, each of which the hop sends back: `umbel ping`.
///
/// Sans-IO. Send a cell for each ``nextCell(now:using:)``, feed what comes back to
/// ``receive(sequence:mark:now:)``, until ``isOver(at:)``. A cell counts once, and only with the mark
/// it was sent with: a hop cannot answer what did not reach it. A lost cell is lost: nothing here is
/// sent again, unlike the ECHO of §C.4. Spec: §C.4 (PROBE).
public struct EchoSeries: Sendable {
    /// The most cells of one series.
    public static let cellLimit = 100_000
    /// Series of one client at a time.
    public static let seriesLimit = 16

    /// The hop that answers.
    public let hop: HopIndex
    /// Cells to send.
    public let cellCount: Int
    /// Time from one cell to the next.
    public let interval: TimeSpan
    /// Time after which a cell that has not come back is lost.
    public let patience: TimeSpan

    private var marks: [UInt64] = []
    private var sentAt: [Instant] = []
    private var nextDue: Instant
    private var trips: [TimeSpan] = []
    private var isGivenUp = false

    /// Begins a series at `now`; `cellCount` is brought within 1 and ``cellLimit``.
    public init(
        hop: HopIndex,
        cellCount: Int,
        interval: TimeSpan,
        patience: TimeSpan,
        now: Instant
    ) {
        self.hop = hop
        self.cellCount = min(max(1, cellCount), Self.cellLimit)
        self.interval = interval
        self.patience = patience
        nextDue = now
    }

    /// What came of a series.
    public struct Outcome: Sendable {
        /// The hop.
        public let hop: HopIndex
        /// Cells that went out.
        public let sent: Int
        /// The round trips of those that came back, in the order of their coming.
        public let roundTrips: [TimeSpan]
    }

    /// What has come of it so far.
    public var outcome: Outcome {
        Outcome(hop: hop, sent: marks.count, roundTrips: trips)
    }

    /// When there is something to do: a cell to send, or the end of waiting.
    public var nextDeadline: Instant {
        if marks.count < cellCount { return nextDue }
        return (sentAt.last ?? nextDue) + patience
    }

    /// Whether all cells are back, or late.
    public func isOver(at now: Instant) -> Bool {
        if isGivenUp { return true }
        guard marks.count == cellCount else { return false }
        return trips.count == cellCount || now >= nextDeadline
    }

    /// The sequence and mark of the cell that is due; `nil` where none is.
    mutating func nextCell(
        now: Instant,
        using random: inout RandomGenerator
    ) -> (sequence: UInt32, mark: UInt64)? {
        guard marks.count < cellCount, now >= nextDue else { return nil }
        let mark = random.next() | 1
        marks.append(mark)
        sentAt.append(now)
        nextDue = nextDue + interval
        return (UInt32(truncatingIfNeeded: marks.count - 1), mark)
    }

    /// Ends the series before its time: the circuit takes no further cells.
    mutating func giveUp() {
        isGivenUp = true
    }

    /// Takes a cell that came back; false for one that is not of this series.
    mutating func receive(sequence: UInt32, mark: UInt64, now: Instant) -> Bool {
        let index = Int(sequence)
        guard index < marks.count, mark != 0, marks[index] == mark else { return false }
        marks[index] = 0
        if now - sentAt[index] <= patience { trips.append(now - sentAt[index]) }
        return true
    }
}
