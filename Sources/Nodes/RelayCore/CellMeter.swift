public import Base

/// How many cells a relay carries for a circuit, and when its control plane is told of them.
public struct CellAllowance: Hashable, Sendable {
    /// Cells that are carried in all; the next one is dropped.
    public var cellLimit: UInt64
    /// Cells after which the counts are reported again.
    public var tickCells: UInt32
    /// The shortest time between two such reports.
    public var reportInterval: TimeSpan
    /// Whether packets are taken out at the exit.
    public var carriesPackets: Bool

    /// Puts an allowance together.
    public init(
        cellLimit: UInt64,
        tickCells: UInt32,
        reportInterval: TimeSpan = .zero,
        carriesPackets: Bool
    ) {
        self.cellLimit = cellLimit
        self.tickCells = tickCells
        self.reportInterval = reportInterval
        self.carriesPackets = carriesPackets
    }
}

/// What a relay's shard counted of a circuit.
public struct CellCounts: Hashable, Sendable {
    /// Forward cells that opened, and were carried.
    public var forwardIn: UInt64 = 0
    /// Forward cells passed on.
    public var forwardOut: UInt64 = 0
    /// Backward cells taken from the next hop.
    public var backwardIn: UInt64 = 0
    /// Backward cells sent.
    public var backwardOut: UInt64 = 0
    /// Cells dropped for a queue that was too long.
    public var queueDrops: UInt64 = 0
    /// Time what arrives waits for its turn, in units of 100 µs.
    public var queueDelay: UInt16 = 0
    /// Whether cells are dropped for lack of pay.
    public var isUnpaid = false

    /// Nothing counted yet.
    public init() {}

    /// Cells that count for pay.
    public var used: UInt64 {
        forwardIn + backwardOut
    }
}

/// Counts a circuit's cells against what is paid for: a cell costs a counter and a comparison.
///
/// Without an ``CellAllowance`` it counts, lets everything pass and reports nothing.
struct CellMeter {
    /// What becomes of a cell.
    enum Verdict {
        /// It is carried.
        case carried
        /// It is carried, and the counts are due.
        case due
        /// It is not carried: nobody has paid for it.
        case refused
    }

    private(set) var counts = CellCounts()
    private(set) var carriesPackets = true
    /// The shortest time between two reports of full ticks.
    private(set) var reportInterval: TimeSpan = .zero
    private var used: UInt64 = 0
    // The first count that is not simply carried.
    private var mark: UInt64 = .max
    private var cellLimit: UInt64 = .max
    private var nextReport: UInt64 = .max
    private var tickCells: UInt64 = .max
    private var unpaidControls = 0

    private static let unpaidControlLimit = 64

    /// Whether cells are being dropped for lack of pay.
    var isRefusing: Bool {
        counts.isUnpaid
    }

    /// Carries so much from now on.
    mutating func set(_ allowance: CellAllowance) {
        carriesPackets = allowance.carriesPackets
        reportInterval = allowance.reportInterval
        cellLimit = allowance.cellLimit
        if tickCells != UInt64(allowance.tickCells) {
            tickCells = UInt64(max(1, allowance.tickCells))
            nextReport = used + tickCells
        }
        if used < cellLimit { counts.isUnpaid = false }
        unpaidControls = 0
        mark = min(cellLimit, nextReport)
    }

    /// Counts a forward cell that opened.
    mutating func takeForward() -> Verdict {
        let verdict = take()
        if verdict != .refused { counts.forwardIn += 1 }
        return verdict
    }

    /// Counts a backward cell taken or made.
    mutating func takeBackward() -> Verdict {
        let verdict = take()
        if verdict != .refused { counts.backwardOut += 1 }
        return verdict
    }

    /// Counts a cell of the conversation between this hop and the client: always carried.
    mutating func countOwn() {
        used += 1
        counts.backwardOut += 1
    }

    /// Whether a control record is looked at though nobody has paid: it may bring pay.
    ///
    /// So many are until there is another allowance; packets beside them use none of it up.
    mutating func takesControl() -> Bool {
        guard unpaidControls < Self.unpaidControlLimit else { return false }
        unpaidControls += 1
        used += 1
        counts.forwardIn += 1
        return true
    }

    mutating func notePassed() {
        counts.forwardOut += 1
    }

    mutating func noteFromNext() {
        counts.backwardIn += 1
    }

    mutating func noteShed() {
        counts.queueDrops += 1
    }

    private mutating func take() -> Verdict {
        guard used >= mark else {
            used += 1
            return .carried
        }
        guard used < cellLimit else {
            counts.isUnpaid = true
            return .refused
        }
        nextReport = used + tickCells
        mark = min(cellLimit, nextReport)
        used += 1
        return .due
    }
}
