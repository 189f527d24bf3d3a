/// A rate with a burst: tokens arrive steadily up to a ceiling and are taken one by one or in lots.
public struct TokenBucket: Sendable {
    /// Tokens that arrive in a second.
    public let perSecond: UInt64
    /// How many may be saved up.
    public let burst: UInt64
    // In billionths of a token, so that nothing is lost to rounding.
    private var level: UInt64
    private var updated: Instant

    /// Makes a full bucket.
    ///
    /// - Precondition: `burst` is below 2^33, so that levels fit.
    public init(perSecond: UInt64, burst: UInt64, now: Instant) {
        precondition(burst < 1 << 33, "burst out of range")
        self.perSecond = perSecond
        self.burst = burst
        level = burst * 1_000_000_000
        updated = now
    }

    /// Takes `count` tokens if they are there.
    public mutating func take(_ count: UInt64 = 1, now: Instant) -> Bool {
        refill(now: now)
        let (price, overflow) = count.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow, level >= price else { return false }
        level -= price
        return true
    }

    /// Whole tokens there are.
    public mutating func available(now: Instant) -> UInt64 {
        refill(now: now)
        return level / 1_000_000_000
    }

    private mutating func refill(now: Instant) {
        guard now > updated else { return }
        let (gain, overflow) = (now - updated).nanoseconds
            .multipliedReportingOverflow(by: perSecond)
        let (sum, full) = level.addingReportingOverflow(gain)
        level = overflow || full ? burst * 1_000_000_000 : min(sum, burst * 1_000_000_000)
        updated = now
    }
}
