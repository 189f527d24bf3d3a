public import Base
public import Wire

/// Whether a circuit gives what it is paid for, judged by its hops' reports each tick.
///
/// A hop's report is sealed, so none alters another's; a loss lies between two hops that disagree,
/// and which of the two lies cannot be told. Spec: §A.7.
public struct ServiceJudge: Sendable {
    /// Loss from end to end that is borne, in thousandths.
    public static let lossLimit: UInt64 = 50
    /// Bad ticks after which the circuit is left.
    public static let badTickLimit = 3
    /// Thousandths of a tick that a full queue may excuse.
    private static let excuseLimit: UInt64 = 200
    private static let excusedTickLimit = 3

    /// What came of a tick.
    public enum Verdict: Hashable, Sendable {
        /// Go on.
        case good
        /// Too much was lost between these two places: 0 is the client, 1 to 3 the hops.
        case bad(between: Int, Int)
        /// So for the third time: leave the circuit, and blame both.
        case leave(between: Int, Int)
    }

    private var last: [HopReport?] = [nil, nil, nil]
    private var base: [HopReport?] = [nil, nil, nil]
    private var badTicks = 0
    private var excusedTicks = 0

    /// Judges a circuit that begins.
    public init() {}

    /// Takes a report of the hop at `offset`, 0 to 2.
    public mutating func note(_ report: HopReport, at offset: Int) {
        guard last.indices.contains(offset) else { return }
        last[offset] = report
        if base[offset] == nil { base[offset] = report }
    }

    /// The longest time a hop says cells wait at it.
    public var queueDelay: TimeSpan {
        .milliseconds(last.reduce(UInt64(0)) { max($0, UInt64($1?.queueDelay ?? 0)) } / 10)
    }

    /// Judges what was carried since the last call, once all hops have reported anew; `nil` before.
    ///
    /// Each way over each segment is judged by what was sent over it. Hops' counts are of different
    /// moments, so what is on the way counts as lost for a moment: `slack` cells are borne, and so many
    /// thousandths of what was sent, at most as many as of loss.
    public mutating func judge(slack: UInt64 = 32, skewPermille: UInt64 = 0) -> Verdict? {
        let reports = zip(last, base).compactMap { last, base in
            last.flatMap { last in base.map { (last, $0) } }
        }
        guard reports.count == 3, reports.allSatisfy({ $0.0 != $0.1 }) else { return nil }
        let carried = reports.map { UInt64($0.0.usedCells &- $0.1.usedCells) }.max() ?? 0
        guard carried >= 256 else { return nil }
        base = last
        let drops = reports.map { UInt64($0.0.queueDrops &- $0.1.queueDrops) }.max() ?? 0
        let excuse = min(drops, carried * Self.excuseLimit / 1_000)
        let permille = Self.lossLimit + min(skewPermille, Self.lossLimit)
        var worst: (excess: UInt64, place: Int) = (0, 0)
        for place in 0..<2 {
            let (near, nearBase) = reports[place]
            let (far, farBase) = reports[place + 1]
            let ways = [
                (near.forwardOut &- nearBase.forwardOut, far.forwardIn &- farBase.forwardIn),
                (far.backwardOut &- farBase.backwardOut, near.backwardIn &- nearBase.backwardIn),
            ]
            for (sent, received) in ways {
                let lost = Self.lost(sent, received)
                let borne = UInt64(sent) * permille / 1_000 + slack
                if lost > borne, lost - borne > worst.excess { worst = (lost - borne, place) }
            }
        }
        guard worst.excess > 0 else {
            excusedTicks = 0
            return .good
        }
        if worst.excess <= excuse, excusedTicks < Self.excusedTickLimit {
            excusedTicks += 1
            return .good
        }
        badTicks += 1
        return badTicks >= Self.badTickLimit
            ? .leave(between: worst.place + 1, worst.place + 2)
            : .bad(between: worst.place + 1, worst.place + 2)
    }

    private static func lost(_ sent: UInt32, _ received: UInt32) -> UInt64 {
        sent > received ? UInt64(sent - received) : 0
    }
}
