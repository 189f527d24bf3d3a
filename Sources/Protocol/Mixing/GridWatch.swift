public import Base

/// What a client makes of how the cells of a `mix` circuit come: whether its guard keeps to the grid.
///
/// Counts over one ``Settings/span`` after the other: cells that are missing from the middle's
/// counters each way, cells that were overtaken, slots that brought more than the grid allows, and
/// PAD. Loss is held against what is usual for this circuit, the rest against fixed bounds.
/// Spec: §D.6.
public struct GridWatch: Sendable {
    /// What a watch is set to.
    public struct Settings: Hashable, Sendable {
        /// Time that is judged as a whole.
        public var span: TimeSpan = .seconds(60)
        /// Cells each way before anything is judged.
        public var cellMinimum: UInt64 = 100

        /// One minute, and 100 cells.
        public init() {}
    }

    /// What is wrong with a circuit.
    public enum Fault: String, CaseIterable, Hashable, Sendable {
        /// More cells than usual are missing.
        case dropping
        /// Cells come in bunches: the guard does not keep to the grid.
        case bunching
        /// Cells overtake each other, which a grid never lets them.
        case reordering
        /// More PAD comes than there are empty slots.
        case flooding
    }

    /// What one span came to.
    public struct Outcome: Hashable, Sendable {
        /// What was wrong; `nil` where nothing was.
        public let fault: Fault?
        /// Of a million forward cells, how many the middle did not get.
        public let forwardLoss: UInt64
        /// Of a million backward cells, how many did not come.
        public let backwardLoss: UInt64
    }

    private static let million: UInt64 = 1_000_000
    /// How far loss may rise above what is usual, in millionths.
    public static let riseLimit: UInt64 = 20_000
    /// What can be usual at most: who drops from the start must not set the measure.
    public static let usualLimit: UInt64 = 30_000
    /// Cells of one slot beyond which there is a bunch.
    private static let slotLimit = 3

    private let settings: Settings
    private var began: Instant
    private var slots: UInt64 = 0
    private var received: UInt64 = 0
    private var overtaken: UInt64 = 0
    private var bunched: UInt64 = 0
    private var padding: UInt64 = 0
    private var sent: UInt64 = 0
    private var newest: UInt32?
    private var newestBefore: UInt32?
    private var heard: UInt16?
    private var heardInSpan: UInt64 = 0
    private var slot: UInt64 = 0
    private var slotCount = 0
    // The slot served last, and how many this end had left out before it.
    private var served: UInt64 = 0
    private var leftOut: UInt64 = 0
    // Millionths; nil before the first span.
    private var usualForward: UInt64?
    private var usualBackward: UInt64?

    /// Begins to watch at `now`.
    public init(_ settings: Settings, now: Instant) {
        self.settings = settings
        began = now
    }

    /// Notes that a cell for the middle or beyond was sent.
    public mutating func noteSent() {
        sent += 1
    }

    /// Notes that `slot` is served here.
    public mutating func noteSlot(_ slot: UInt64) {
        slots += 1
        leftOut = slot > served &+ 1 ? slot - served - 1 : 0
        served = slot
    }

    /// Notes a cell that came in `slot` under the middle's `count`; `heard` is how many forward
    /// cells it had opened, modulo 2^16.
    public mutating func noteReceived(_ count: UInt32, heard now: UInt16?, slot: UInt64) {
        received += 1
        if let newest, count < newest {
            overtaken += 1
        } else {
            newest = count
            if newestBefore == nil { newestBefore = count &- 1 }
        }
        if slot == self.slot {
            slotCount += 1
            // Who was late himself finds in one slot what came in all that he left out.
            let late = slot > served ? slot - served : leftOut
            if UInt64(slotCount) > UInt64(Self.slotLimit) + late { bunched += 1 }
        } else {
            self.slot = slot
            slotCount = 1
        }
        guard let now else { return }
        if let heard {
            let step = now &- heard
            // What was overtaken tells of earlier times.
            guard step < 1 << 15 else { return }
            heardInSpan += UInt64(step)
        } else {
            // From here on both ends count: what is on the way now is on the way at the end too.
            sent = 0
        }
        heard = now
    }

    /// Notes PAD that came.
    public mutating func notePadding(_ count: Int) {
        padding += UInt64(max(0, count))
    }

    /// Whether a span is over.
    public func isDue(now: Instant) -> Bool {
        now - began >= settings.span
    }

    /// Judges the span that is over, and begins the next; `nil` before its time.
    public mutating func judge(now: Instant) -> Outcome? {
        guard isDue(now: now) else { return nil }
        defer { beginSpan(now: now) }
        let expected = UInt64((newest ?? 0) &- (newestBefore ?? newest ?? 0))
        let backward = Self.share(expected > received ? expected - received : 0, of: expected)
        let forward = Self.share(sent > heardInSpan ? sent - heardInSpan : 0, of: sent)
        guard sent >= settings.cellMinimum, slots >= settings.cellMinimum else {
            return Outcome(fault: nil, forwardLoss: forward, backwardLoss: backward)
        }
        let usual = (
            forward: min(usualForward ?? forward, Self.usualLimit),
            backward: min(usualBackward ?? backward, Self.usualLimit)
        )
        usualForward = Self.smoothed(usual.forward, forward)
        usualBackward = Self.smoothed(usual.backward, backward)
        var fault: Fault?
        if forward > usual.forward + Self.riseLimit || backward > usual.backward + Self.riseLimit {
            fault = .dropping
        } else if overtaken * 50 > received {
            fault = .reordering
        } else if bunched * 10 > received {
            fault = .bunching
        } else if padding + received > slots + slots / 4 + 10 {
            fault = .flooding
        }
        return Outcome(fault: fault, forwardLoss: forward, backwardLoss: backward)
    }

    /// Begins anew after a time in which nothing was sent.
    public mutating func restart(now: Instant) {
        beginSpan(now: now)
        newest = nil
        newestBefore = nil
        heard = nil
    }

    private mutating func beginSpan(now: Instant) {
        began = now
        slots = 0
        received = 0
        overtaken = 0
        bunched = 0
        padding = 0
        sent = 0
        heardInSpan = 0
        newestBefore = newest
    }

    private static func share(_ part: UInt64, of whole: UInt64) -> UInt64 {
        whole > 0 ? part * million / whole : 0
    }

    private static func smoothed(_ usual: UInt64, _ loss: UInt64) -> UInt64 {
        (usual * 3 + min(loss, usualLimit)) / 4
    }
}
