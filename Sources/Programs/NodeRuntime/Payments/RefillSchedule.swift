import Base
import CryptoPrimitives
import Directory
import Paths
import Tickets
import Wire

/// When a wallet buys ahead, and for whom: at exponential times, for relays its circuits may take.
///
/// So the times a mint sees are drawn, and not those of circuits. Spec: §A.5.1.
struct RefillSchedule: ~Copyable {
    private static let exitCount = 8
    private let mean: TimeSpan
    private var random: RandomGenerator
    /// When to buy next.
    private(set) var nextRefill: Instant

    /// Buys every `mean`, on average; the first time soon.
    init(mean: TimeSpan, random: consuming RandomGenerator, now: Instant) {
        self.mean = mean
        self.random = random
        nextRefill = now
    }

    /// Whether it is time to buy; draws the next time then.
    mutating func isDue(now: Instant) -> Bool {
        guard now >= nextRefill else { return false }
        nextRefill = now + draw()
        return true
    }

    /// An exponential time with the mean, at most eight times it.
    private mutating func draw() -> TimeSpan {
        // -ln(u) by counting halvings and a line between them: no mathematics library down here.
        var bits = random.next() | 1
        var halvings: UInt64 = 0
        while bits >> 63 == 0, halvings < 11 {
            bits <<= 1
            halvings += 1
        }
        let fraction = (bits << 1) >> 44
        // 0.693 for each halving; within one it falls nearly as a line.
        let thousandths = halvings * 693 + 693 - fraction * 693 / (1 << 20)
        return TimeSpan(nanoseconds: mean.nanoseconds / 1_000 * min(thousandths, 8_000))
    }

    /// Relays that may stand in the client's circuits: guards, middles, exits.
    struct Payees: Sendable {
        var guards: [NodeID] = []
        var middles: [NodeID] = []
        var exits: [NodeID] = []

        /// Those of the paths a client keeps.
        init(guards: GuardSample, middles: MiddleSet, view: NetworkView) {
            self.guards = guards.primaries(count: Int(view.parameters.guardPrimaryCount))
            self.middles = middles.members.map(\.id)
            exits = view.relays.filter { $0.flags.contains(.exit) }
                .sorted { ($1.weight, $0.id) < ($0.weight, $1.id) }
                .prefix(RefillSchedule.exitCount).map(\.id)
        }

        /// Everybody paid by small vouchers, for full batches.
        var candidates: [NodeID] { middles + exits.filter { !middles.contains($0) } }

        /// What a full wallet has: L for each guard, T and S for each other relay.
        var wanted: [(Denomination, NodeID)] {
            candidates.flatMap { [(.trial, $0), (.small, $0)] } + guards.map { (.large, $0) }
        }
    }
}
