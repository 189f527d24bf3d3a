public import Base
public import Wire

/// Civil time as a node needs it to share slots with others: what its own clock shows, corrected by
/// what its neighbours' clocks show.
///
/// Slots are numbered from 1970: slot n of a length begins n lengths after it. A relay believes its
/// own clock as much as one neighbour's; a client, whose clock nobody looks after, believes its
/// guards'. The first readings set the clock, later ones move it by at most ``stepLimit`` each, so
/// that an oscillator that is off does not slip slots. Bound: ``readingLimit`` readings. Spec: §D.3.
public struct SlotClock: Sendable {
    /// Readings that are kept.
    public static let readingLimit = 8
    /// The most one reading moves the clock once it is set.
    public static let stepLimit: Int64 = 500_000
    /// What a reading must be off to set the clock anew: the machine slept, or was set.
    public static let jumpLimit: Int64 = 1_000_000_000

    private let believesItself: Bool
    // Civil nanoseconds at the origin of the monotonic clock, wrapping.
    private var offset: UInt64 = 0
    private var correction: Int64 = 0
    private var readings: [Int64] = []
    private var nextReading = 0
    /// Whether it was told the civil time.
    public private(set) var isSet = false

    /// Makes a clock that must still be set.
    ///
    /// - Parameter believesItself: whether its own civil clock is looked after.
    public init(believesItself: Bool) {
        self.believesItself = believesItself
        readings.reserveCapacity(Self.readingLimit)
    }

    /// Takes the machine's civil time over, in nanoseconds since 1970.
    public mutating func set(civilNanoseconds: UInt64, now: Instant) {
        let fresh = civilNanoseconds &- now.nanoseconds
        let change = Int64(bitPattern: fresh &- offset)
        // A clock that was set, or a machine that slept: what peers said was of another time.
        if isSet, change.magnitude > UInt64(Self.jumpLimit) {
            readings.removeAll(keepingCapacity: true)
            nextReading = 0
            correction = 0
        }
        offset = fresh
        isSet = true
    }

    /// Civil nanoseconds at the origin of the monotonic clock, as the machine's own clock has it.
    public var ownOffset: UInt64 {
        offset
    }

    /// How far the grid is from the machine's own clock, in nanoseconds.
    public var correctionNanoseconds: Int64 {
        correction
    }

    /// Takes what a neighbour's clock showed half way between question and answer.
    public mutating func note(microseconds: UInt64, sent: Instant, received: Instant) {
        guard isSet, microseconds < UInt64.max / 2_000 else { return }
        let middle = sent.nanoseconds &+ (received - sent).nanoseconds / 2
        let reading = Int64(bitPattern: microseconds &* 1_000 &- (middle &+ offset))
        if readings.count < Self.readingLimit {
            readings.append(reading)
        } else {
            readings[nextReading] = reading
        }
        nextReading = (nextReading + 1) % Self.readingLimit
        settle()
    }

    private mutating func settle() {
        var sorted = readings
        if believesItself { sorted += repeatElement(0, count: readings.count) }
        sorted.sort()
        let target = sorted[(sorted.count - 1) / 2]
        let (change, overflow) = target.subtractingReportingOverflow(correction)
        if overflow || readings.count <= 2 || change.magnitude > UInt64(Self.jumpLimit) {
            correction = target
        } else {
            correction += min(max(change, -Self.stepLimit), Self.stepLimit)
        }
    }

    /// The slot that `now` lies in.
    public func slot(at now: Instant, _ length: SlotLength) -> UInt64 {
        civil(now) / length.span.nanoseconds
    }

    /// When the slot after that of `now` begins; later than `now`.
    public func nextSlotStart(after now: Instant, _ length: SlotLength) -> Instant {
        let span = length.span.nanoseconds
        return now + TimeSpan(nanoseconds: span - civil(now) % span)
    }

    /// How long after the beginning of `slot` it is at `now`; nothing before it.
    public func lateness(of slot: UInt64, at now: Instant, _ length: SlotLength) -> TimeSpan {
        let (begin, overflow) = slot.multipliedReportingOverflow(by: length.span.nanoseconds)
        let time = civil(now)
        return TimeSpan(nanoseconds: overflow || time < begin ? 0 : time - begin)
    }

    private func civil(_ now: Instant) -> UInt64 {
        now.nanoseconds &+ offset &+ UInt64(bitPattern: correction)
    }
}
