import Base
import Directory
import Paths
import Testing
import Wire

/// Test matrix row 54: what is left of a thousand relays of one subnet, as clients see it.
@Suite("Paths beside many relays of one subnet", .timeLimit(.minutes(2)))
struct SybilTests {
    /// As many as authorities vote for, each of the weight one has that nobody measured yet.
    private static let sybils = 8
    private static let honest = 300

    private func relays() -> [SampleRelay] {
        let sybils = (0..<Self.sybils).map { _ in
            var relay = SampleRelay.both
            relay.subnet = 7
            relay.weight = VoteTally.unmeasuredLimitKilobits
            return relay
        }
        return sybils + LargeNetworkTests.relays(Self.honest)
    }

    @Test("row 54: no path has two of them, and few have one, whatever a client draws")
    func paths() throws {
        let relays = relays()
        let view = try SampleRelays.view(relays) { $0.subnetPrefixV4 = 24 }
        let sybils = Set((0..<Self.sybils).map(SampleRelays.id))
        var (draws, touched) = (0, 0)
        for client in 0..<100 {
            var generator = randomGenerator("sybil client \(client)")
            var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
            for _ in 0..<100 {
                let path = try selector.path(
                    now: .zero,
                    date: SampleRelays.start,
                    using: &generator
                )
                let count = path.hops.count { sybils.contains($0.id) }
                #expect(count <= 1)
                draws += 1
                if count > 0 { touched += 1 }
            }
        }
        // For one place the least of all weights that can stand there is a third of them.
        let total = relays.reduce(0.0) { $0 + Double($1.weight) }
        let own = Double(Self.sybils) * Double(VoteTally.unmeasuredLimitKilobits)
        let bound = 3 * own / (total / 3)
        #expect(Double(touched) / Double(draws) < bound, "\(touched) of \(draws), \(bound)")
        #expect(touched > 0, "nothing was tried")
    }
}
