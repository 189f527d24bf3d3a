import Base
import CryptoPrimitives
import Wire

/// When a relay hands in what it earned, and what it has handed in that is not answered.
///
/// Once in a period at a drawn time, so that the time says nothing of what was served. Spec: §A.5.8.
struct DepositRound {
    private var seconds: UInt64 = 0
    private var due: Instant = .distantFuture
    private var asked: [UInt64: (mint: UInt8, rows: [PayOpen])] = [:]

    var nextDeadline: Instant { due }

    /// Takes over how often deposits are made.
    mutating func plan(
        every seconds: UInt64,
        isPossible: Bool,
        now: Instant,
        random: inout RandomGenerator
    ) {
        guard isPossible else {
            due = .distantFuture
            return
        }
        guard self.seconds != seconds || due == .distantFuture else { return }
        self.seconds = seconds
        // The first one early or late in the period: a start shows nothing.
        due = now + Self.draw(below: seconds, random: &random)
    }

    /// Whether a round begins now; the next one is planned then.
    mutating func isDue(now: Instant, random: inout RandomGenerator) -> Bool {
        guard due <= now else { return false }
        due = now + .milliseconds(seconds * 500) + Self.draw(below: seconds, random: &random)
        return true
    }

    private static func draw(below seconds: UInt64, random: inout RandomGenerator) -> TimeSpan {
        .milliseconds(1 + random.next(below: max(1, seconds * 1_000)))
    }

    mutating func begin(_ number: UInt64, mint: UInt8, rows: [PayOpen]) {
        asked[number] = (mint, rows)
    }

    mutating func end(_ number: UInt64) -> (mint: UInt8, rows: [PayOpen])? {
        asked.removeValue(forKey: number)
    }
}
