public import Base
public import CryptoPrimitives

/// The rate of one direction of a `padded` circuit: four steps, each four times the one below.
///
/// It goes up at once while more waits than the rate carries off in ``backlogLimit``, and down a
/// step when for a time drawn anew each time, 0.5 s and an exponential one of mean 1 s, the rate
/// below would have done. So volumes show only to a factor of four, and not when they changed.
/// Spec: §D.2.
public struct RateLadder: Sendable {
    /// Cells a second, by step.
    public static let rates: [UInt64] = [16, 64, 256, 1_024]
    /// What may wait before the rate rises, as time.
    public static let backlogLimit: TimeSpan = .milliseconds(250)
    private static let shortestHold: TimeSpan = .milliseconds(500)
    private static let meanHold: TimeSpan = .seconds(1)
    /// Cells that leave at once at most where the node was late.
    private static let lateLimit: UInt64 = 8

    /// The step it is at, from 0.
    public private(set) var step: Int
    /// When the next cell leaves.
    public private(set) var due: Instant
    private var holdBegan: Instant
    private var holdEnds: Instant
    private var realCount: UInt64 = 0

    /// Begins at `step`, with the first cell at `now`.
    public init(step: Int, now: Instant, random: inout RandomGenerator) {
        self.step = min(max(0, step), Self.rates.count - 1)
        due = now
        holdBegan = now
        holdEnds = now + Self.hold(&random)
    }

    /// Cells a second it sends now.
    public var rate: UInt64 {
        Self.rates[step]
    }

    /// The time between two cells.
    public var interval: TimeSpan {
        TimeSpan(nanoseconds: 1_000_000_000 / rate)
    }

    /// Notes that a cell leaves now, a real one or cover, and plans the next one.
    ///
    /// - Parameter backlog: cells that still wait.
    public mutating func noteCell(
        isReal: Bool,
        backlog: Int,
        now: Instant,
        random: inout RandomGenerator
    ) {
        if isReal { realCount += 1 }
        let span = interval
        // What could not leave in time is made up for within bounds; beyond them it is not.
        let late = span * Self.lateLimit
        due = now - due > late ? now + span : due + span
        if now >= holdEnds {
            let seconds = max(1, (now - holdBegan).nanoseconds)
            let fits = step > 0 && realCount * 1_000_000_000 / seconds < Self.rates[step - 1]
            if fits, backlog == 0 { step -= 1 }
            beginHold(now: now, random: &random)
        }
        noteBacklog(backlog, now: now, random: &random)
    }

    /// Rises where what waits takes too long at this rate.
    public mutating func noteBacklog(
        _ backlog: Int,
        now: Instant,
        random: inout RandomGenerator
    ) {
        let before = step
        while step < Self.rates.count - 1,
            UInt64(backlog) * 1_000_000_000 > rate * Self.backlogLimit.nanoseconds
        {
            step += 1
        }
        guard step > before else { return }
        due = min(due, now + interval)
        beginHold(now: now, random: &random)
    }

    private mutating func beginHold(now: Instant, random: inout RandomGenerator) {
        holdBegan = now
        holdEnds = now + Self.hold(&random)
        realCount = 0
    }

    private static func hold(_ random: inout RandomGenerator) -> TimeSpan {
        shortestHold + random.exponential(mean: meanHold)
    }
}

extension RandomGenerator {
    /// Draws from the exponential distribution with this mean, by comparisons alone.
    ///
    /// Source: J. von Neumann, "Various techniques used in connection with random digits", 1951.
    public mutating func exponential(mean: TimeSpan) -> TimeSpan {
        var whole: UInt64 = 0
        while true {
            let first = next()
            var last = first
            var length = 1
            while true {
                let draw = next()
                guard draw < last else { break }
                last = draw
                length += 1
            }
            if length % 2 == 1 {
                let part = first.multipliedFullWidth(by: mean.nanoseconds).high
                return mean * whole + TimeSpan(nanoseconds: part)
            }
            whole += 1
        }
    }
}
