import Base
import Observability
import RelayCore

// Traffic of `padded` and `mix`: what leaves by schedules, over all circuits.
extension RelayMetrics {
    private static let roundHeld = 16

    func addMixing(to text: inout PrometheusText) {
        let counters = readings.shards.counters
        text.add(
            .counter,
            "umbel_mix_slots_total",
            "Datagrams that left by a schedule, by what was in them. In steps of 64.",
            [
                .init(["kind": "cell"], cells(counters.slotCells)),
                .init(["kind": "cover"], cells(counters.coverCells)),
                .init(["kind": "parity"], cells(counters.parityCells)),
                .init(["kind": "padding"], cells(counters.paddingCells)),
            ]
        )
        text.add(
            .counter,
            "umbel_mix_late_total",
            "Slots served more than a millisecond late, and cells held for longer than drawn.",
            [.init(counters.lateReleases)]
        )
        text.add(
            .counter,
            "umbel_mix_overflow_total",
            "Cells dropped because too many of their circuit waited for slots.",
            [.init(counters.unkeptCells)]
        )
        text.add(
            .gauge,
            "umbel_mix_held_cells",
            "Cells kept until their slots. In steps of 16.",
            [.init(readings.shards.heldCells / Self.roundHeld * Self.roundHeld)]
        )
        var count: UInt64 = 0
        let buckets = zip(HoldLength.bounds, counters.holds).map { bound, held in
            count += held
            return (bound: bound.seconds, count: cells(count))
        }
        text.addHistogram(
            "umbel_mix_delay_seconds",
            "How long middles hold cells. Counts in steps of 64.",
            buckets: buckets,
            sum: Double(counters.holdMicroseconds / 1_000_000),
            count: cells(counters.holds.reduce(0, +))
        )
    }
}
