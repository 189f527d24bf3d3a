import Base
import Circuits
import Tickets
import Wire

/// What one circuit costs, hop by hop, and whether it gives what it is paid for.
struct CircuitPayment {
    /// How far a hop is with the voucher that comes next.
    enum Stage: Equatable {
        /// None is on its way.
        case none
        /// The wallet has none for it.
        case lacking
        /// One is being written down as shown, under this number.
        case taking(UInt64)
        /// One is on disk as shown, and was not shown yet.
        case ready
        /// It was shown one and has not answered.
        case showing
        /// It has taken one, which pays once the last is used up.
        case standing
    }

    struct Hop {
        let relay: NodeID
        let tickCells: UInt32
        /// Ticks it said it serves beyond what is paid.
        let windowTicks: UInt64
        var payer: HopPayer
        /// Whether it has taken a voucher, or at the guard a payment.
        var isStanding = false
        /// The voucher that pays now; at the guard it is ``GuardVoucher/open``.
        var open: OpenVoucher?
        /// The voucher after it; at the guard it is ``GuardVoucher/coming``.
        var coming: OpenVoucher?
        var stage = Stage.none
        /// Whether it took none early: the next is shown once the last is used up.
        var isHeld = false
        /// Under which number further ticks are being reserved.
        var reserving: (number: UInt64, mark: UInt32)?
        /// Kinds of vouchers opened so far: which comes next follows from it.
        var openedCount = 0
        var lastPaid: Instant = .zero
        /// Whether it has refused a voucher it had taken before.
        var wasRefused = false
        /// Whether it was asked to report, for the judge.
        var isAsked = false

        /// Whether it cannot be paid now.
        var isLacking: Bool {
            stage == .lacking && (open?.left ?? 0) == 0
        }
    }

    let begun: Instant
    /// Whether it carries what a user does.
    let carriesUser: Bool
    var hops: [Hop]
    var judge = ServiceJudge()
    var judgedAt: Instant
    var judgedCells: UInt64 = 0
    var counts = HopCounts()
    /// The ends of the segment that lost too much when it was judged last.
    var blamed: (near: Int, far: Int)?
    var isStanding = false
    var askedAt: Instant = .zero

    init(
        _ relays: [NodeID],
        parameters: NetworkParameters,
        headStarts: [UInt64],
        windows: [UInt16],
        carriesUser: Bool,
        now: Instant
    ) {
        begun = now
        self.carriesUser = carriesUser
        judgedAt = now
        hops = zip(relays, headStarts).enumerated().map { offset, hop in
            let cells = offset == 2 ? parameters.exitTickCells : parameters.tickCells
            return Hop(
                relay: hop.0,
                tickCells: cells,
                windowTicks: windows.indices.contains(offset)
                    ? min(HopPayer.credit, UInt64(windows[offset])) : HopPayer.credit,
                payer: HopPayer(tickCells: cells, headStart: hop.1)
            )
        }
    }

    /// Takes the client's own counts.
    mutating func note(_ counts: HopCounts) {
        self.counts = counts
        for offset in hops.indices { hops[offset].payer.note(own: counts.through(offset)) }
    }
}

/// A guard's vouchers: they live across circuits, for the guard knows its client anyway.
struct GuardVoucher {
    /// The one that pays now: the guard has taken it.
    var open: OpenVoucher?
    /// The one after it.
    var coming: OpenVoucher?
    var stage = CircuitPayment.Stage.none
    /// Whether the guard took none early: the next is shown once the last is used up.
    var isHeld = false
    /// The circuit over which something was shown that is not answered.
    ///
    /// One at a time: of two payments the later one might come first and count for both.
    var busy: CircuitID?
    /// Vouchers opened so far, over all circuits.
    var openedCount = 0
    var reserving: (number: UInt64, mark: UInt32)?
}
