import Base
import CryptoPrimitives
import Directory
import Paths
import Testing
import Wire

@Suite("Selectors of many clients of one network")
struct SharedSelectorTests {
    private func paths(
        _ selector: inout PathSelector,
        _ generator: inout RandomGenerator,
        count: Int = 200
    ) throws -> [[NodeID]] {
        try (0..<count).map { _ in
            let path = try selector.path(now: .zero, date: SampleRelays.start, using: &generator)
            return path.hops.map(\.id)
        }
    }

    @Test("a selector made from another one is the one made from the view alone")
    func another() throws {
        let view = try SampleRelays.view(LargeNetworkTests.relays(200)) { $0.subnetPrefixV4 = 24 }
        var generator = randomGenerator("template")
        var template = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        // What the first client did and met with is none of the second one's.
        let used = try template.path(now: .zero, date: SampleRelays.start, using: &generator)
        template.noteFailure(of: used.exit.id, at: .exit, now: .zero)
        template.noteFailure(of: used.guardRelay.id, at: .guardRelay, now: .zero)
        var one = randomGenerator("client")
        var two = randomGenerator("client")
        var shared = template.another(at: SampleRelays.start, using: &one)
        var own = PathSelector(view: view, at: SampleRelays.start, using: &two)
        #expect(shared.guards.members.map(\.id) == own.guards.members.map(\.id))
        #expect(shared.middles.members.map(\.id) == own.middles.members.map(\.id))
        #expect(shared.guards.members.map(\.id) != template.guards.members.map(\.id))
        let (first, second) = (try paths(&shared, &one), try paths(&own, &two))
        #expect(first == second)
    }

    @Test("guards and middles a client had before stay with it")
    func kept() throws {
        let view = try SampleRelays.view(LargeNetworkTests.relays(200)) { $0.subnetPrefixV4 = 24 }
        var generator = randomGenerator("kept")
        let template = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        let before = template.another(at: SampleRelays.start, using: &generator)
        let after = template.another(
            guards: before.guards,
            middles: before.middles,
            at: SampleRelays.start,
            using: &generator
        )
        #expect(after.guards.members.map(\.id) == before.guards.members.map(\.id))
        #expect(after.middles.members.map(\.id) == before.middles.members.map(\.id))
    }

    @Test("the view of another selector does what the view itself does")
    func update() throws {
        let relays = LargeNetworkTests.relays(200)
        let view = try SampleRelays.view(relays) { $0.subnetPrefixV4 = 24 }
        // A third is gone a day later: some guards and middles of every client with it.
        let date = SampleRelays.start + 86_400
        let absent = Set((0..<200).filter { $0 % 3 == 0 })
        let next = try SampleRelays.view(relays, absent: absent, at: date) {
            $0.subnetPrefixV4 = 24
        }
        var generator = randomGenerator("next template")
        let template = PathSelector(view: next, at: date, using: &generator)
        var one = randomGenerator("client")
        var two = randomGenerator("client")
        var shared = PathSelector(view: view, at: SampleRelays.start, using: &one)
        var own = PathSelector(view: view, at: SampleRelays.start, using: &two)
        // A choice of exits that was worked out for the old view must not outlive it.
        _ = try paths(&shared, &one, count: 1)
        _ = try paths(&own, &two, count: 1)
        shared.update(toViewOf: template, at: date, using: &one)
        own.update(to: next, at: date, using: &two)
        #expect(shared.guards.members.map(\.id) == own.guards.members.map(\.id))
        #expect(shared.middles.members.map(\.id) == own.middles.members.map(\.id))
        let (chosen, other) = (try paths(&shared, &one), try paths(&own, &two))
        #expect(chosen == other)
        #expect(chosen.joined().allSatisfy { next.relay($0) != nil })
    }

    @Test(
        "what a relay counts for at a position is its weight there, and nothing where it is unfit"
    )
    func weights() throws {
        var relays: [SampleRelay] = [.guardOnly, .guardOnly, .exitOnly, .exitOnly, .plain, .plain]
        relays[1].weight = 3_000
        relays[3].weight = 2_000
        let view = try SampleRelays.view(relays)
        var generator = randomGenerator("weights")
        let selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        let index = try (0..<6).map { try #require(view.index(of: SampleRelays.id($0))) }
        let weight = { selector.weight(index[$0], at: $1) }
        #expect(weight(1, .guardRelay) == 3 * weight(0, .guardRelay))
        #expect(weight(3, .exit) == 2 * weight(2, .exit))
        #expect(weight(4, .middle) == weight(5, .middle) && weight(4, .middle) > 0)
        #expect(weight(0, .exit) == 0 && weight(2, .guardRelay) == 0 && weight(4, .exit) == 0)
    }
}
