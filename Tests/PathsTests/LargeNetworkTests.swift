import Base
import CryptoPrimitives
import Directory
import Paths
import Testing
import Wire

/// `umbel-lab measure directory` does the same over 10,000 relays.
@Suite("Paths over many relays (row 19)", .timeLimit(.minutes(2)))
struct LargeNetworkTests {
    /// Relays of all kinds, families, countries and subnets, drawn with a seed.
    static func relays(_ count: Int) -> [SampleRelay] {
        var generator = randomGenerator("large network")
        return (0..<count).map { _ in
            var relay: SampleRelay =
                switch generator.next(below: 10) {
                case 0, 1: .exitOnly
                case 2: .both
                case 3, 4, 5: .guardOnly
                default: .plain
                }
            relay.weight = UInt32(100 + generator.next(below: 50_000))
            relay.country = ["DE", "FR", "NL", "CH", "US"][Int(generator.next(below: 5))]
            if generator.next(below: 4) == 0 { relay.family = Int(generator.next(below: 50)) }
            if generator.next(below: 4) == 0 { relay.system = UInt32(generator.next(below: 300)) }
            return relay
        }
    }

    private func hold(_ hops: [RelayRecord], _ parameters: NetworkParameters) -> Bool {
        for (index, one) in hops.enumerated() {
            for other in hops[(index + 1)...] {
                if one.id == other.id { return false }
                if let family = one.family, family == other.family { return false }
                if one.autonomousSystem != 0, one.autonomousSystem == other.autonomousSystem {
                    return false
                }
                if let first = one.addresses.v4?.ip, let second = other.addresses.v4?.ip,
                    IPNetwork(first, prefixBitCount: 96 + Int(parameters.subnetPrefixV4))
                        .contains(second)
                {
                    return false
                }
            }
        }
        return hops[0].country != hops[2].country && hops[0].flags.contains(.guardCapable)
            && hops[2].flags.contains(.exit)
    }

    @Test("paths keep every rule, and exits come as often as their weights say")
    func paths() throws {
        let view = try SampleRelays.view(Self.relays(400)) {
            $0.subnetPrefixV4 = 24
        }
        var generator = randomGenerator("large paths")
        var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        var counts: [NodeID: Int] = [:]
        var guardRelay: RelayRecord?
        let draws = 10_000
        var broken: [Path] = []
        for _ in 0..<draws {
            let path = try selector.path(now: .zero, date: SampleRelays.start, using: &generator)
            if !hold(path.hops, view.parameters) { broken.append(path) }
            counts[path.exit.id, default: 0] += 1
            guardRelay = path.guardRelay
        }
        #expect(broken.isEmpty)
        // The exits that go with the guard, in twenty groups of like weight (19 degrees, 0.1 %).
        let first = try #require(guardRelay)
        let weights = PositionWeights(view.relays)
        let middles = selector.middles.members.compactMap { view.relay($0.id) }
        let fitting = view.relays.filter { exit in
            guard exit.flags.contains(.exit) else { return false }
            return middles.contains { hold([first, $0, exit], view.parameters) }
        }
        let share = { (relay: RelayRecord) in
            Double(relay.weight)
                * Double(weights.part(PositionWeights.Kind(relay.flags), at: .exit))
        }
        let total = fitting.map(share).reduce(0, +)
        let sorted = fitting.sorted { ($0.weight, $0.id) < ($1.weight, $1.id) }
        var chiSquare = 0.0
        for group in 0..<20 {
            let members = sorted.enumerated().filter { $0.offset * 20 / sorted.count == group }
                .map(\.element)
            let expected = members.map(share).reduce(0, +) / total * Double(draws)
            let seen = Double(members.map { counts[$0.id] ?? 0 }.reduce(0, +))
            chiSquare += (seen - expected) * (seen - expected) / expected
        }
        #expect(chiSquare < 43.82)
        #expect(Set(counts.keys).isSubset(of: Set(fitting.map(\.id))))
    }

    @Test("with all but one guard blocked the sample is kept and not walked through (row 29)")
    func guardBurning() throws {
        let view = try SampleRelays.view(Self.relays(400)) { $0.subnetPrefixV4 = 24 }
        var generator = randomGenerator("burning")
        var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        let sample = selector.guards.members.map(\.id)
        let open = try #require(sample.last)
        var now = Instant.zero
        var used: Set<NodeID> = []
        var successes = 0
        // An hour in which a local firewall lets one guard of the sample through.
        while now < .seconds(3_600) {
            if let path = try? selector.path(
                now: now,
                date: SampleRelays.start,
                using: &generator
            ) {
                used.insert(path.guardRelay.id)
                if path.guardRelay.id == open {
                    selector.noteSuccess(of: path, on: SampleRelays.start)
                    successes += 1
                    now = Instant(nanoseconds: now.nanoseconds + 10_000_000_000)
                } else {
                    selector.noteFailure(of: path.guardRelay.id, at: .guardRelay, now: now)
                }
            }
            now = Instant(nanoseconds: now.nanoseconds + 500_000_000)
        }
        #expect(used.isSubset(of: Set(sample)))
        #expect(selector.guards.members.map(\.id) == sample)
        #expect(successes > 200)
        // The one that worked is confirmed, and comes first from then on.
        #expect(selector.guards.primaries(count: 1) == [open])
        // The firewall is gone: primaries serve again within the longest wait.
        selector.retryAll()
        let path = try selector.path(now: now, date: SampleRelays.start, using: &generator)
        #expect(sample.contains(path.guardRelay.id))
    }
}
