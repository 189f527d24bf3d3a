import Base
import CryptoPrimitives
import Tickets
import Wire

/// Which vouchers a client's wallet should hold, and when it looks whether it does.
///
/// It looks at drawn times that have nothing to do with circuits: what the mints see is when
/// vouchers are bought, not when they are used. Spec: §A.5.1.
struct VoucherStock {
    /// Exits vouchers are held for, besides those in use.
    static let exitCount = 8
    /// Looks in an epoch, on average: every two hours of seven days.
    private static let looksPerEpoch: UInt64 = 84

    struct Want: Hashable {
        var denomination: Denomination
        var relay: NodeID
    }

    private var guards: [NodeID] = []
    private var middles: [NodeID] = []
    private var exits: [NodeID] = []
    private var meanSeconds: UInt64 = 0
    private(set) var nextDeadline: Instant = .distantFuture

    /// Relays that a batch is filled up with.
    var candidates: [NodeID] {
        middles + exits
    }

    mutating func setNetwork(_ parameters: NetworkParameters, isPossible: Bool, now: Instant) {
        meanSeconds = max(1, UInt64(parameters.ticketEpochSeconds) / Self.looksPerEpoch)
        if !isPossible {
            nextDeadline = .distantFuture
        } else if nextDeadline == .distantFuture {
            nextDeadline = now
        }
    }

    mutating func setRelays(
        guards: [NodeID],
        middles: [NodeID],
        exits all: [NodeID],
        random: inout RandomGenerator
    ) {
        self.guards = guards
        self.middles = middles
        // Those that are still there stay: a choice drawn anew each time would show in purchases.
        exits = exits.filter(all.contains)
        var others = all.filter { !exits.contains($0) }
        while exits.count < Self.exitCount, !others.isEmpty {
            exits.append(others.remove(at: Int(random.next(below: UInt64(others.count)))))
        }
    }

    /// What should be there, once its time has come; the next time is drawn then.
    mutating func takeWants(now: Instant, random: inout RandomGenerator) -> [Want] {
        guard nextDeadline <= now else { return [] }
        nextDeadline = now + .milliseconds(1 + Self.exponential(meanSeconds * 1_000, &random))
        var wants = guards.map { Want(denomination: .large, relay: $0) }
        for relay in candidates {
            wants.append(Want(denomination: .trial, relay: relay))
            wants.append(Want(denomination: .small, relay: relay))
        }
        return wants
    }

    /// A draw with this mean from a geometric distribution of sixteenths: nearly exponential.
    private static func exponential(_ mean: UInt64, _ random: inout RandomGenerator) -> UInt64 {
        var sixteenths: UInt64 = 0
        while sixteenths < 160, random.next(below: 17) != 0 { sixteenths += 1 }
        return sixteenths * mean / 16 + random.next(below: mean / 16 + 1)
    }
}
