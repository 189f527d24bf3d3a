public import Wire

/// How many ticks a client owes one hop of a circuit: just ahead of what the hop has carried.
///
/// Feed the client's own count of cells by ``note(own:)`` and the hop's reports; ``owed`` says how
/// many ticks to pay now. Ahead at most max(4, paid / 16) ticks, so that a hop that takes money and
/// drops keeps little. Which voucher pays is not its affair. Spec: §A.5.4 to §A.5.6.
public struct HopPayer: Sendable {
    /// Ticks a hop serves beyond those that are paid.
    public static let credit: UInt64 = 2
    /// Cells by which a hop's count may be beyond 1.05 times the client's own.
    public static let countTolerance: UInt64 = 512
    /// Ticks ahead at the beginning, at most.
    public static let firstAhead: UInt64 = 4
    /// Ticks ahead that are enough for any path.
    public static let aheadLimit: UInt64 = 256

    /// Why a hop is left.
    public enum Complaint: Error, Hashable, Sendable {
        /// It counts more cells than the client can have caused.
        case overcount
    }

    private let tickCells: UInt64
    /// Drawn once, so that the deposits of a circuit's hops differ.
    private let headStart: UInt64
    /// Whether the hop had to wait for pay once: it is paid further ahead from then on.
    private var isHurried = false
    private var own: UInt64 = 0
    private var reported: UInt64 = 0
    private var ownAtReport: UInt64 = 0
    /// Ticks paid so far.
    public private(set) var paidTicks: UInt64 = 0
    /// Whether nothing more is paid for now.
    public var isSuspended = false

    /// Pays a hop that counts `tickCells` cells for a tick.
    ///
    /// - Parameter headStart: 0 to 3, drawn.
    public init(tickCells: UInt32, headStart: UInt64) {
        self.tickCells = UInt64(max(1, tickCells))
        self.headStart = min(3, headStart)
    }

    /// Cells the hop is to be paid for: its own count, and what the client counted since.
    ///
    /// A report is as old as the way is long, so where little was lost the client's count is newer.
    public var usedCells: UInt64 {
        let since = reported + (own - ownAtReport)
        return own <= reported + reported / 20 + Self.countTolerance ? max(own, since) : since
    }

    /// Takes the client's own count of cells that went to, or came from, this hop or beyond.
    public mutating func note(own cells: UInt64) {
        own = max(own, cells)
    }

    /// Takes a report of the hop.
    ///
    /// - Throws: ``Complaint/overcount``: leave it, and pay nothing more.
    public mutating func note(_ report: HopReport) throws(Complaint) {
        // Counts run modulo 2^32: of those that fit, the one near the client's own is meant.
        let base = own & ~0xffff_ffff
        var count = base | UInt64(report.usedCells)
        if count > own + 1 << 31, count >= 1 << 32 { count -= 1 << 32 }
        if count + 1 << 31 < own { count += 1 << 32 }
        guard count <= own + own / 20 + Self.countTolerance else { throw .overcount }
        reported = count
        ownAtReport = own
    }

    /// Learns that the hop dropped cells for lack of pay.
    public mutating func noteUnpaid() {
        isHurried = true
    }

    /// Notes that so many ticks were paid.
    public mutating func notePaid(_ ticks: UInt64) {
        paidTicks += ticks
    }

    /// Ticks to pay now; 0 while what is paid is far enough ahead.
    public var owed: UInt64 {
        guard !isSuspended else { return 0 }
        let used = usedCells / tickCells
        let wanted = used + ahead
        guard wanted > paidTicks else { return 0 }
        // Few large payments once much is paid: half of what is ahead may be used up first.
        let slack = paidTicks >= 64 ? ahead / 2 : 0
        return paidTicks + slack <= wanted ? wanted - paidTicks : 0
    }

    /// Ticks by which pay is ahead of use.
    private var ahead: UInt64 {
        let first = isHurried ? Self.firstAhead - headStart & 1 : 1 + headStart
        return max(first, min(paidTicks / 16, Self.aheadLimit))
    }
}
