import Base
import Circuits
import DequeModule

/// Circuits whose answer to CREATE is still kept, for a client that did not get it and asks again.
///
/// An answer has 1.2 kB, more than all else a control plane keeps of an idle circuit. Ends of the time
/// it is kept come together, so that many circuits wake nobody often. As many as circuits were created in
/// ``life`` and ``step``.
struct AnsweredCreates {
    /// How long an answer is kept at least: clients have given up long before.
    private static let life: TimeSpan = .seconds(60)
    /// Time between two ends.
    private static let step: TimeSpan = .seconds(10)

    private var waiting: Deque<(id: CircuitID, due: Instant)> = []

    /// Notes that the circuit was created.
    mutating func note(_ id: CircuitID, now: Instant) {
        let step = Self.step.nanoseconds
        let due = (now + Self.life).nanoseconds / step * step + step
        waiting.append((id, Instant(nanoseconds: due)))
    }

    /// The next circuit whose answer need not be kept any more.
    mutating func next(now: Instant) -> CircuitID? {
        guard let first = waiting.first, first.due <= now else { return nil }
        waiting.removeFirst()
        return first.id
    }

    /// When ``next(now:)`` has one.
    var nextDeadline: Instant {
        waiting.first?.due ?? .distantFuture
    }
}
