/// Civil time in whole seconds since 1970-01-01 UTC.
///
/// Decides the validity of documents and the minute of a CREATE, never a timer.
public struct WallTime: Hashable, Comparable, Sendable {
    /// Seconds since 1970-01-01 UTC.
    public var seconds: UInt64

    /// Makes the time `seconds` after 1970-01-01 UTC.
    public init(seconds: UInt64) {
        self.seconds = seconds
    }

    /// Whole minutes since 1970-01-01 UTC, as handshakes carry them.
    public var minute: UInt32 {
        UInt32(truncatingIfNeeded: seconds / 60)
    }

    /// Whether `lhs` is earlier than `rhs`.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.seconds < rhs.seconds
    }

    /// The time `seconds` later; stays within range.
    public static func + (lhs: Self, seconds: UInt64) -> Self {
        let (sum, overflow) = lhs.seconds.addingReportingOverflow(seconds)
        return Self(seconds: overflow ? .max : sum)
    }
}
