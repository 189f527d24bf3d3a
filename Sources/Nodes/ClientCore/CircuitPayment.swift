import Base
import Circuits
import Tickets
import Wire

/// What one circuit costs, hop by hop, and whether it gives what it is paid for.
struct CircuitPayment {
    /// How far a hop is with taking a voucher.
    enum Stage: Equatable {
        /// It was shown none that stands.
        case none
        /// The wallet has none for it.
        case lacking
        /// One is being written down as shown, under this number.
        case taking(UInt64)
        /// It was shown one and has not answered.
        case showing
        /// It has taken one.
        case standing
    }

    struct Hop {
        let relay: NodeID
        let tickCells: UInt32
        /// Ticks it said it serves beyond what is paid.
        let windowTicks: UInt64
        var payer: HopPayer
        var stage = Stage.none
        /// The newest voucher; at the guard it is ``GuardVoucher/open``.
        var open: OpenVoucher?
        /// Under which number further ticks are being reserved.
        var reserving: (number: UInt64, mark: UInt32)?
        /// Kinds of vouchers opened so far: which comes next follows from it.
        var openedCount = 0
        var lastPaid: Instant = .zero
        /// Whether it has refused a voucher it had taken before.
        var wasRefused = false
        /// Whether it was asked to report, for the judge.
        var isAsked = false
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

/// A guard's voucher: it lives across circuits, for the guard knows its client anyway.
struct GuardVoucher {
    var stage = CircuitPayment.Stage.none
    var open: OpenVoucher?
    /// Whether the guard has taken it.
    var isShown = false
    /// The circuit over which something was shown that is not answered.
    ///
    /// One at a time: of two payments the later one might come first and count for both.
    var busy: CircuitID?
    var reserving: (number: UInt64, mark: UInt32)?
}
