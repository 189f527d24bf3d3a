import Base
import CryptoPrimitives
import Mixing
import Workloads

/// What a client of `mix` makes of its guard: the product's own `GridWatch`, fed slot by slot.
///
/// The guard keeps the schedule for a minute, by which the client learns what loss is usual; then it
/// does to forward cells what it does.
struct ScheduleJudgement {
    private let grid: SlotGrid

    init(_ grid: SlotGrid) {
        self.grid = grid
    }

    /// Whether any minute was found faulty.
    ///
    /// - Parameter passed: of each slot, when its forward cell went on behind the guard, in seconds;
    ///   `nil` where it was dropped there.
    func findsFault(_ passed: [Double?], random: inout RandomGenerator) -> Bool {
        let settings = GridWatch.Settings()
        var watch = GridWatch(settings, now: .zero)
        let honest = Int((settings.span.seconds / grid.slotSeconds).rounded(.up)) + 1
        // Forward cells the middle has by the end of each slot.
        var arrivals = [Int](repeating: 0, count: honest + passed.count)
        for slot in arrivals.indices where random.unit() >= grid.lossShare {
            var arrival = slot
            if slot >= honest {
                guard let time = passed[slot - honest] else { continue }
                arrival = honest + Int(time / grid.slotSeconds)
            }
            if arrival < arrivals.count { arrivals[arrival] += 1 }
        }
        var heard: UInt16 = 0
        for (slot, count) in arrivals.enumerated() {
            let now = Instant(nanoseconds: UInt64(Double(slot) * grid.slotSeconds * 1e9))
            watch.noteSlot(UInt64(slot))
            watch.noteSent()
            heard &+= UInt16(truncatingIfNeeded: count)
            if random.unit() >= grid.lossShare {
                watch.noteReceived(
                    UInt32(truncatingIfNeeded: slot),
                    heard: heard,
                    slot: UInt64(slot)
                )
            }
            if let outcome = watch.judge(now: now), outcome.fault != nil { return true }
        }
        return false
    }
}
