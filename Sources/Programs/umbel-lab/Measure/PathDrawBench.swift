import Base
import CryptoPrimitives
import Directory
import EventLoop
import Paths
import Wire

/// Many paths over one network: how long one takes, whether all keep the rules, and whether relays
/// come as often as their weights say.
struct PathDrawBench {
    /// The value that 19 degrees of freedom exceed once in a thousand times.
    static let chiSquareLimit = 43.82
    private static let groupCount = 20
    private static let clientCount = 2_000

    let view: NetworkView
    /// Time of one path.
    private(set) var timeOfPath = TimeSpan.zero
    /// Paths that break a rule.
    private(set) var brokenCount = 0
    /// Chi-square of each position over 20 groups of relays of like weight.
    private(set) var chiSquares: [(position: PathPosition, value: Double)] = []

    private let shares: [PathPosition: [Double]]

    /// Takes the network over.
    init(view: NetworkView) {
        self.view = view
        shares = Self.shares(of: view)
    }

    /// Draws `count` paths of one client, and guards and middles of many.
    mutating func run(count: Int) throws {
        let date = view.validAfter
        var random = RandomGenerator(seed: Secret(copying: [UInt8](repeating: 7, count: 32)))
        var selector = PathSelector(view: view, at: date, using: &random)
        var paths: [Path] = []
        paths.reserveCapacity(count)
        let begun = MonotonicClock.now()
        for _ in 0..<count {
            paths.append(try selector.path(now: .zero, date: date, using: &random))
        }
        let spent = MonotonicClock.now() - begun
        timeOfPath = TimeSpan(nanoseconds: spent.nanoseconds / UInt64(count))
        brokenCount = paths.count { !keepsRules($0.hops) }
        guard let first = paths.first?.guardRelay else { return }

        let middles = selector.middles.members.compactMap { view.relay($0.id) }
        let exits = view.relays.indices.filter { index in
            let exit = view.relays[index]
            return exit.flags.contains(.exit)
                && middles.contains { keepsRules([first, $0, exit]) }
        }
        chiSquares.append((.exit, chiSquare(paths.map(\.exit.id), from: exits, at: .exit)))

        var guards: [NodeID] = []
        var seconds: [NodeID] = []
        for _ in 0..<Self.clientCount {
            let client = PathSelector(view: view, at: date, using: &random)
            guards += client.guards.members.prefix(1).map(\.id)
            seconds += client.middles.members.prefix(1).map(\.id)
        }
        let all = Array(view.relays.indices)
        chiSquares.append((.guardRelay, chiSquare(guards, from: all, at: .guardRelay)))
        chiSquares.append((.middle, chiSquare(seconds, from: all, at: .middle)))
    }

    private func chiSquare(
        _ drawn: [NodeID],
        from candidates: [Int],
        at position: PathPosition
    ) -> Double {
        var counts: [NodeID: Int] = [:]
        for id in drawn { counts[id, default: 0] += 1 }
        let share = shares[position] ?? []
        let sorted = candidates.filter { share[$0] > 0 }.sorted {
            (share[$0], $0) < (share[$1], $1)
        }
        let total = sorted.reduce(0) { $0 + share[$1] }
        var result = 0.0
        var seenCount = 0
        for group in 0..<Self.groupCount {
            let first = sorted.count * group / Self.groupCount
            let members = sorted[first..<sorted.count * (group + 1) / Self.groupCount]
            let expected = members.reduce(0) { $0 + share[$1] } / total * Double(drawn.count)
            let seen = members.reduce(0) { $0 + (counts[view.relays[$1].id] ?? 0) }
            seenCount += seen
            result += (Double(seen) - expected) * (Double(seen) - expected) / expected
        }
        // Whoever was drawn without a share makes it as bad as can be.
        return seenCount == drawn.count ? result : .infinity
    }

    /// Weight times part, families at 5 % of a position at most: computed here once more.
    private static func shares(of view: NetworkView) -> [PathPosition: [Double]] {
        let parts = PositionWeights(view.relays)
        var all: [PathPosition: [Double]] = [:]
        for position in PathPosition.allCases {
            var shares = view.relays.map { relay in
                Double(relay.weight)
                    * Double(parts.part(PositionWeights.Kind(relay.flags), at: position))
            }
            // Lowered step by step until no family has more.
            for _ in 0..<2_000 {
                let total = shares.reduce(0, +)
                var sums: [FamilyID: Double] = [:]
                for (relay, share) in zip(view.relays, shares) {
                    if let family = relay.family { sums[family, default: 0] += share }
                }
                let largest = sums.max { $0.value < $1.value }
                guard let largest, largest.value > total * 0.050_000_1 else { break }
                for (index, relay) in view.relays.enumerated() where relay.family == largest.key {
                    shares[index] *= 0.05 * total / largest.value
                }
            }
            all[position] = shares
        }
        return all
    }

    /// The rules of §E.6, computed here once more.
    private func keepsRules(_ hops: [RelayRecord]) -> Bool {
        let parameters = view.parameters
        for (index, one) in hops.enumerated() {
            for other in hops[(index + 1)...] {
                if one.id == other.id { return false }
                if let family = one.family, family == other.family { return false }
                if one.autonomousSystem != 0, one.autonomousSystem == other.autonomousSystem {
                    return false
                }
                guard let first = one.addresses.v4?.ip.v4, let second = other.addresses.v4?.ip.v4
                else { return false }
                if (first ^ second) >> (32 - parameters.subnetPrefixV4) == 0 { return false }
            }
        }
        return hops[0].country != hops[2].country && hops[0].flags.contains(.guardCapable)
            && hops[2].flags.contains(.exit)
    }
}
