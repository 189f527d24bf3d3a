import Base

/// Finds a queue that stands, rather than one that absorbs a burst: CoDel.
///
/// One for each queue. A cell is to signal when cells have waited longer than the target for a whole
/// interval, then ever more often until they do not. Source: RFC 8289, sections 4.4 and 5.
struct DelayControl {
    /// How long a queue may stand above its target before it is told of.
    static let interval: TimeSpan = .milliseconds(100)
    /// Wait that is no queue to speak of, where the line sends cells faster than this.
    static let target: TimeSpan = .milliseconds(5)

    private var aboveUntil: Instant?
    private var nextSignal: Instant = .zero
    private var count: UInt32 = 0
    private var previousCount: UInt32 = 0
    private var isSignalling = false

    /// Judges a cell taken from the queue after it waited for `wait`; whether it is to signal.
    ///
    /// - Parameters:
    ///   - isLast: whether the queue is empty without it.
    ///   - target: the wait this queue may have.
    mutating func judge(wait: TimeSpan, isLast: Bool, target: TimeSpan, now: Instant) -> Bool {
        let stands = isStanding(wait: wait, isLast: isLast, target: target, now: now)
        guard isSignalling else {
            guard stands else { return false }
            isSignalling = true
            // A queue that came back soon is told of as often as it was when it went.
            let wasRecent = now - nextSignal < Self.interval * 16
            let recent = count &- previousCount
            count = wasRecent && recent > 1 ? recent : 1
            previousCount = count
            nextSignal = now + pause
            return true
        }
        guard stands else {
            isSignalling = false
            return false
        }
        guard now >= nextSignal else { return false }
        count &+= 1
        nextSignal = nextSignal + pause
        return true
    }

    private mutating func isStanding(
        wait: TimeSpan,
        isLast: Bool,
        target: TimeSpan,
        now: Instant
    ) -> Bool {
        guard wait >= target, !isLast else {
            aboveUntil = nil
            return false
        }
        guard let aboveUntil else {
            aboveUntil = now + Self.interval
            return false
        }
        return now >= aboveUntil
    }

    /// The interval, divided by the root of how often the queue was told of.
    private var pause: TimeSpan {
        let root = Double(max(1, count)).squareRoot()
        return TimeSpan(nanoseconds: UInt64(Double(Self.interval.nanoseconds) / root))
    }
}
