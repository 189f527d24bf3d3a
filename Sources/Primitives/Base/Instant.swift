/// A point on a monotonic clock, in nanoseconds since an origin the shell chose.
///
/// Drives timers only; it never converts to ``WallTime``.
public struct Instant: Hashable, Comparable, Sendable {
    /// Nanoseconds since the origin.
    public var nanoseconds: UInt64

    /// Makes the instant `nanoseconds` after the origin.
    @inlinable
    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// The origin of the clock.
    public static let zero = Self(nanoseconds: 0)

    /// An instant no timer reaches.
    public static let distantFuture = Self(nanoseconds: .max)

    /// Whether `lhs` is earlier than `rhs`.
    @inlinable
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.nanoseconds < rhs.nanoseconds
    }

    /// The instant `span` after `lhs`; stays within the clock's range.
    @inlinable
    public static func + (lhs: Self, span: TimeSpan) -> Self {
        let (sum, overflow) = lhs.nanoseconds.addingReportingOverflow(span.nanoseconds)
        return Self(nanoseconds: overflow ? .max : sum)
    }

    /// The time from `rhs` to `lhs`; zero where `rhs` is later.
    @inlinable
    public static func - (lhs: Self, rhs: Self) -> TimeSpan {
        TimeSpan(
            nanoseconds: lhs.nanoseconds > rhs.nanoseconds ? lhs.nanoseconds - rhs.nanoseconds : 0
        )
    }
}

/// A length of time in nanoseconds, never negative: 8 bytes where `Duration` takes 16.
public struct TimeSpan: Hashable, Comparable, Sendable {
    /// The length in nanoseconds.
    public var nanoseconds: UInt64

    /// Makes a span of `nanoseconds`.
    @inlinable
    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// No time at all.
    public static let zero = Self(nanoseconds: 0)

    /// A span of `count` microseconds.
    @inlinable
    public static func microseconds(_ count: UInt64) -> Self {
        Self(nanoseconds: count * 1_000)
    }

    /// A span of `count` milliseconds.
    @inlinable
    public static func milliseconds(_ count: UInt64) -> Self {
        Self(nanoseconds: count * 1_000_000)
    }

    /// A span of `count` seconds.
    @inlinable
    public static func seconds(_ count: UInt64) -> Self {
        Self(nanoseconds: count * 1_000_000_000)
    }

    /// The span in seconds, for people and metrics.
    public var seconds: Double {
        Double(nanoseconds) / 1e9
    }

    /// The span in milliseconds, for people and metrics.
    public var milliseconds: Double {
        Double(nanoseconds) / 1e6
    }

    /// Whether `lhs` is shorter than `rhs`.
    @inlinable
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.nanoseconds < rhs.nanoseconds
    }

    /// Both spans one after the other.
    @inlinable
    public static func + (lhs: Self, rhs: Self) -> Self {
        Self(nanoseconds: lhs.nanoseconds &+ rhs.nanoseconds)
    }

    /// The span `factor` times.
    @inlinable
    public static func * (lhs: Self, factor: UInt64) -> Self {
        Self(nanoseconds: lhs.nanoseconds &* factor)
    }

    /// The span divided by `divisor`.
    @inlinable
    public static func / (lhs: Self, divisor: UInt64) -> Self {
        Self(nanoseconds: lhs.nanoseconds / divisor)
    }
}
