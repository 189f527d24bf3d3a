import Base
public import Wire

/// How a client pays one hop of a circuit: just ahead of what the hop has carried.
///
/// Feed the client's count of cells by ``note(sent:)`` and the hop's reports; ``next()`` says what
/// to pay. Ahead at most max(4, paid / 16) ticks, so a hop that takes money and drops keeps little.
/// Spec: §A.5.4 to §A.5.6.
public struct HopPayer: Sendable {
    /// Ticks a hop serves beyond those that are paid.
    public static let credit: UInt64 = 2
    /// Cells by which a hop's count may be beyond 1.05 times the client's own.
    private static let countTolerance: UInt64 = 512
    /// Ticks ahead that are enough for any path.
    private static let aheadLimit: UInt64 = 64

    /// What to do next.
    public enum Step: Hashable, Sendable {
        /// Show a voucher of this denomination; its first tick is prepaid.
        case open(Denomination)
        /// Pay the newest voucher up to this place.
        case pay(ChainPlace)
    }

    /// Why a hop is left.
    public enum Complaint: Error, Hashable, Sendable {
        /// It counts more cells than the client can have caused.
        case overcount
    }

    private let tickCells: UInt64
    /// Drawn once, so that the deposits of a circuit's hops differ.
    private let headStart: UInt64
    private var chain: PaymentChain?
    private var denomination: Denomination?
    private var index: UInt32 = 0
    private var finished: UInt64 = 0
    private var isOpening = false
    private var own: UInt64 = 0
    private var reported: UInt64 = 0

    /// Pays a hop that counts `tickCells` cells for a tick.
    ///
    /// - Parameter headStart: 0 to 3, drawn.
    public init(tickCells: UInt32, headStart: UInt64) {
        self.tickCells = UInt64(max(1, tickCells))
        self.headStart = headStart
    }

    /// Ticks paid so far.
    public var paidTicks: UInt64 {
        finished + UInt64(index)
    }

    /// Cells that are counted: the hop's own count while it is near the client's.
    public var usedCells: UInt64 {
        max(own, reported)
    }

    /// Whether a voucher stands.
    public var isOpen: Bool {
        chain != nil
    }

    /// Whether a voucher was shown that the hop did not answer for yet.
    public var isWaiting: Bool {
        isOpening
    }

    /// Takes the client's own count of cells that went to or came from this hop or beyond.
    public mutating func note(sent cells: UInt64) {
        own = max(own, cells)
    }

    /// Takes a report of the hop.
    ///
    /// - Throws: ``Complaint/overcount``: leave it, and pay nothing more.
    public mutating func note(_ report: HopReport) throws(Complaint) {
        // Counts run modulo 2^32: near the client's own they are meant.
        let base = own & ~0xffff_ffff
        var count = base | UInt64(report.usedCells)
        if count > own + 1 << 31, count >= 1 << 32 { count -= 1 << 32 }
        guard count <= own + own / 20 + Self.countTolerance else { throw .overcount }
        reported = max(reported, count)
    }

    /// What there is to pay now; `nil` for nothing.
    public mutating func next() -> Step? {
        guard !isOpening else { return nil }
        let wanted = wantedTicks
        guard wanted > paidTicks else { return nil }
        guard let chain, index < chain.count else {
            return .open(denomination?.next ?? .trial)
        }
        let step = min(wanted - paidTicks, UInt64(chain.count - index))
        index += UInt32(clamping: step)
        return .pay(chain.place(index))
    }

    /// Ticks that should be paid now.
    public var wantedTicks: UInt64 {
        // Never more than max(4, paid / 16): the head start is at most 3.
        usedCells / tickCells + max(1 + headStart, min(paidTicks / 16, Self.aheadLimit))
    }

    /// Notes that a voucher with `chain` was shown, its first tick paid; pay waits for its answer.
    public mutating func opened(_ chain: PaymentChain, _ denomination: Denomination) -> ChainPlace {
        finished += UInt64(index)
        self.chain = chain
        self.denomination = denomination
        index = 1
        isOpening = true
        return chain.place(1)
    }

    /// Notes that the hop answered: the voucher stands.
    public mutating func answered() {
        isOpening = false
    }

    /// The place up to which the voucher is filled on an orderly close: the next multiple of a class,
    /// so that deposits of one circuit's hops look alike; `nil` where nothing is owed.
    public mutating func topUp() -> ChainPlace? {
        guard let chain, let denomination, !isOpening else { return nil }
        let width: UInt32 =
            switch denomination {
            case .trial, .small: 16
            case .large: 64
            }
        let target = min(chain.count, (index + width - 1) / width * width)
        guard target > index else { return nil }
        index = target
        return chain.place(target)
    }

    /// Ticks paid on the newest voucher.
    public var newestIndex: UInt32 {
        index
    }
}
