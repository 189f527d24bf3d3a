import Base
import CryptoPrimitives
import Directory
import Paths
import Testing
import Wire

@Suite("Rules of a path (matrix row 19)")
struct PathRuleTests {
    /// A network with all the reasons to refuse a pair that chance gives it.
    private func randomNetwork(_ generator: inout RandomGenerator) -> [SampleRelay] {
        let countries = ["DE", "FR", "NL", nil]
        return (0..<4 + generator.next(below: 26)).map { _ in
            var relay = SampleRelay(flags: RelayFlags(rawValue: UInt16(generator.next(below: 4))))
            if relay.flags.contains(.exit), generator.next(below: 2) == 0 {
                relay.flags.insert(.exitsIPv6)
            }
            relay.weight = UInt32(1 + generator.next(below: 10_000))
            relay.country = countries[Int(generator.next(below: 4))]
            relay.system = UInt32(generator.next(below: 12))
            relay.family = generator.next(below: 4) == 0 ? Int(generator.next(below: 4)) : nil
            relay.subnet = generator.next(below: 3) == 0 ? UInt32(generator.next(below: 6)) : nil
            relay.hasV6 = generator.next(below: 2) == 0
            relay.hasV4 = !relay.hasV6 || generator.next(below: 5) > 0
            return relay
        }
    }

    /// The pair rules once more, from the protocol's text and the test's own description.
    private func mayShare(_ first: Int, _ second: Int, _ relays: [SampleRelay]) -> Bool {
        let (one, other) = (relays[first], relays[second])
        if first == second || (one.system != 0 && one.system == other.system) { return false }
        if let family = one.family, family == other.family { return false }
        let haveCommonAddress = (one.hasV4 && other.hasV4) || (one.hasV6 && other.hasV6)
        return !(haveCommonAddress && one.subnet != nil && one.subnet == other.subnet)
    }

    private func mayStand(_ hops: [Int], _ relays: [SampleRelay]) -> Bool {
        let countries = (relays[hops[0]].country, relays[hops[2]].country)
        let links = [(hops[0], hops[1]), (hops[1], hops[2])]
        return relays[hops[0]].flags.contains(.guardCapable)
            && relays[hops[2]].flags.contains(.exit)
            && (countries.0 == nil || countries.0 != countries.1)
            && mayShare(hops[0], hops[1], relays) && mayShare(hops[1], hops[2], relays)
            && mayShare(hops[0], hops[2], relays)
            && links.allSatisfy { first, second in
                (relays[first].hasV4 && relays[second].hasV4)
                    || (relays[first].hasV6 && relays[second].hasV6)
            }
    }

    @Test(
        "100,000 paths over 200 networks keep every rule, and none is refused that exists",
        arguments: 0..<8
    )
    func property(part: Int) throws {
        var pathCount = 0
        var refusalCount = 0
        for seed in 0..<25 {
            var chance = randomGenerator("network \(part) \(seed)")
            let relays = randomNetwork(&chance)
            let view = try SampleRelays.view(relays)
            let index = Dictionary(
                uniqueKeysWithValues: relays.indices.map { (SampleRelays.id($0), $0) }
            )
            var selector = PathSelector(view: view, at: SampleRelays.start, using: &chance)
            for _ in 0..<500 {
                var wanted = PathConstraints()
                if chance.next(below: 4) == 0 {
                    wanted.exitCountries = [try #require(CountryCode("DE"))]
                }
                wanted.needsIPv6 = chance.next(below: 4) == 0
                let excluded = Int(chance.next(below: UInt64(relays.count)))
                wanted.excluded = [SampleRelays.id(excluded)]
                let suits = { (exit: Int) in
                    (wanted.exitCountries.isEmpty || relays[exit].country == "DE")
                        && (!wanted.needsIPv6 || relays[exit].flags.contains(.exitsIPv6))
                }
                do {
                    let path = try selector.path(
                        wanted,
                        now: .zero,
                        date: SampleRelays.start,
                        using: &chance
                    )
                    let hops = path.hops.compactMap { index[$0.id] }
                    try #require(hops.count == 3)
                    try #require(mayStand(hops, relays), "\(hops) of \(relays)")
                    try #require(suits(hops[2]))
                    try #require(!hops.contains(excluded))
                    pathCount += 1
                } catch let error as PathError {
                    refusalCount += 1
                    let known = selector.middles.members.compactMap { index[$0.id] }
                    let mayGrow = known.count < 8 && !known.contains(excluded)
                    let guards = selector.guards.members.compactMap { index[$0.id] }
                    let missed = guards.contains { first in
                        relays.indices.contains { last in
                            suits(last)
                                && (mayGrow ? Array(relays.indices) : known).contains { middle in
                                    ![first, middle, last].contains(excluded)
                                        && mayStand([first, middle, last], relays)
                                }
                        }
                    }
                    try #require(!missed, "refused what exists: \(error)")
                }
            }
        }
        #expect(pathCount + refusalCount == 12_500)
        #expect(pathCount > 6_000)
        #expect(refusalCount > 100)
    }

    @Test("the same seed gives the same paths")
    func deterministic() throws {
        var chance = randomGenerator("deterministic")
        let view = try SampleRelays.view(randomNetwork(&chance) + [.guardOnly, .plain, .exitOnly])
        let run = { () throws -> [NodeID] in
            var generator = randomGenerator("run")
            var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
            return try (0..<200).flatMap { _ in
                try selector.path(now: .zero, date: SampleRelays.start, using: &generator)
                    .hops.map(\.id)
            }
        }
        #expect(try run() == run())
    }

    @Test("the exit stands in one of the countries asked for")
    func countryList() throws {
        let relays: [SampleRelay] = [
            .guardOnly, .plain, .exit(in: "FR"), .exit(in: "NL"), .exit(in: "DE"), .exitOnly,
        ]
        var generator = randomGenerator("country list")
        let view = try SampleRelays.view(relays)
        var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        var wanted = PathConstraints()
        wanted.exitCountries = [
            try #require(CountryCode("NL")), try #require(CountryCode("DE")),
        ]
        var counts: [NodeID: Int] = [:]
        for _ in 0..<1_000 {
            let path = try selector.path(
                wanted,
                now: .zero,
                date: SampleRelays.start,
                using: &generator
            )
            counts[path.exit.id, default: 0] += 1
        }
        #expect(Set(counts.keys) == [SampleRelays.id(3), SampleRelays.id(4)])
        #expect(counts.values.allSatisfy { $0 > 400 })
        wanted.needsIPv6 = true
        #expect(throws: PathError.self) {
            try selector.path(wanted, now: .zero, date: SampleRelays.start, using: &generator)
        }
        #expect("\(wanted)" == " in DE or NL with IPv6")
    }

    @Test("what the owner excludes stands nowhere, and others are kept in its stead")
    func exclusions() throws {
        // Most of the weight is excluded: without regard to it guards and middles would be.
        var relays = (0..<40).map { index in
            SampleRelay(flags: [.guardCapable, .exit], weight: 50_000, country: "US")
        }
        relays += (0..<12).map { index in
            SampleRelay(flags: [.guardCapable, .exit], country: index < 6 ? "SE" : "CH")
        }
        let view = try SampleRelays.view(relays) { $0.guardExitCountriesDiffer = false }
        var exclusions = RelayExclusions()
        exclusions.countries = [try #require(CountryCode("US"))]
        exclusions.relays = [SampleRelays.id(40), SampleRelays.id(51)]
        let allowed = Set((41..<51).map { SampleRelays.id($0) })
        for seed in 0..<20 {
            var generator = randomGenerator("exclusions \(seed)")
            // Guards and middles of a time without exclusions.
            let before = PathSelector(view: view, at: SampleRelays.start, using: &generator)
            var selector = PathSelector(
                view: view,
                guards: before.guards,
                middles: before.middles,
                excluding: exclusions,
                at: SampleRelays.start,
                using: &generator
            )
            for _ in 0..<50 {
                let path = try selector.path(
                    now: .zero,
                    date: SampleRelays.start,
                    using: &generator
                )
                #expect(path.hops.allSatisfy { allowed.contains($0.id) })
            }
            #expect(selector.middles.members.allSatisfy { allowed.contains($0.id) })
            #expect(
                before.guards.members.allSatisfy { kept in
                    selector.guards.members.contains { $0.id == kept.id }
                }
            )
        }
    }

    @Test("an error says which rule left no path")
    func errors() throws {
        let relays: [SampleRelay] = [
            SampleRelay(flags: .guardCapable, country: "NL"),
            SampleRelay(flags: .guardCapable, country: "NL"), .plain, .plain,
            .exit(in: "FR"), .exit(in: "NL"), .exit(in: "NL"),
        ]
        var generator = randomGenerator("errors")
        let view = try SampleRelays.view(relays)
        var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        func text(_ wanted: PathConstraints) -> String {
            do {
                _ = try selector.path(
                    wanted,
                    now: .zero,
                    date: SampleRelays.start,
                    using: &generator
                )
                return "a path"
            } catch { return error.description }
        }
        var wanted = PathConstraints()
        #expect(text(wanted) == "a path")
        wanted.exitCountries = [try #require(CountryCode("DE"))]
        #expect(text(wanted) == "no exit in DE among 3 exits: 3 in another country")
        wanted.exitCountries = [try #require(CountryCode("NL"))]
        #expect(
            text(wanted) == "no exit in NL among 2 that goes with one of 2 guards:"
                + " 4 with guard and exit in one country"
        )
        wanted.exitCountries = [try #require(CountryCode("FR"))]
        wanted.ports = [.init(25, .tcp)]
        #expect(
            text(wanted) == "no exit in FR for tcp 25 among 3 exits:"
                + " 2 in another country, 1 refusing a port"
        )
        wanted.ports = []
        wanted.needsIPv6 = true
        #expect(
            text(wanted)
                == "no exit in FR with IPv6 among 3 exits: 2 in another country, 1 without IPv6"
        )
        wanted = PathConstraints()
        wanted.reachesV4 = false
        #expect(
            text(wanted) == "no guard among the 2 of the sample: 2 without a common kind of address"
        )
        wanted = PathConstraints()
        wanted.exit = SampleRelays.id(4)
        #expect(text(wanted) == "a path")
        selector.noteFailure(of: SampleRelays.id(4), at: .exit, now: .zero)
        #expect(
            text(wanted)
                == "no exit \(SampleRelays.id(4)) among 3 exits: 1 down for now, 2 another relay"
        )
    }

    @Test("without the rule, guard and exit may stand in one country")
    func countryRule() throws {
        let relays: [SampleRelay] = [
            SampleRelay(flags: .guardCapable, country: "NL"), .plain, .exit(in: "NL"),
        ]
        for isRule in [true, false] {
            let view = try SampleRelays.view(relays) { $0.guardExitCountriesDiffer = isRule }
            var generator = randomGenerator("country")
            var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
            let path = try? selector.path(now: .zero, date: SampleRelays.start, using: &generator)
            #expect((path == nil) == isRule)
        }
    }

    @Test(
        "the subnet rule follows its parameter",
        arguments: [(24, false), (25, true), (0, true), (16, false)]
    )
    func subnetRule(prefix: UInt32, isPath: Bool) throws {
        // The guard is 198.18.7.1, the exit 198.18.7.129.
        var relays = [SampleRelay](repeating: .plain, count: 129)
        relays[0] = SampleRelay(flags: .guardCapable, subnet: 7)
        relays[128] = SampleRelay(flags: .exit, subnet: 7)
        let view = try SampleRelays.view(relays, absent: Set(8..<128)) {
            $0.subnetPrefixV4 = prefix
        }
        var generator = randomGenerator("subnet")
        var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        let path = try? selector.path(now: .zero, date: SampleRelays.start, using: &generator)
        #expect((path != nil) == isPath)
    }

    @Test("a relay whose key has expired is not used")
    func expiredKey() throws {
        let view = try SampleRelays.view([.guardOnly, .plain, .exitOnly])
        var generator = randomGenerator("expired")
        var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        let last = SampleRelays.start + 59 * 60
        _ = try selector.path(now: .zero, date: last, using: &generator)
        #expect {
            try selector.path(now: .zero, date: last + 60, using: &generator)
        } throws: { error in
            (error as? PathError)?.description == "no exit among 1 exits: 1 with an expired key"
        }
    }

    @Test("an exit or middle that failed is left alone, each time longer, and comes back")
    func failures() throws {
        let view = try SampleRelays.view([.guardOnly, .plain, .exitOnly])
        var generator = randomGenerator("failures")
        var selector = PathSelector(view: view, at: SampleRelays.start, using: &generator)
        func isPath(_ now: Instant) -> Bool {
            (try? selector.path(now: now, date: SampleRelays.start, using: &generator)) != nil
        }
        for (id, position) in [
            (SampleRelays.id(2), PathPosition.exit), (SampleRelays.id(1), .middle),
        ] {
            var now = Instant.zero
            for wait in [5, 10, 20, 40, 80, 160, 320, 600, 600] as [UInt64] {
                #expect(isPath(now))
                selector.noteFailure(of: id, at: position, now: now)
                #expect(!isPath(now + .seconds(wait - 1)))
                now = now + .seconds(wait)
            }
            let path = try selector.path(now: now, date: SampleRelays.start, using: &generator)
            selector.noteSuccess(of: path, on: SampleRelays.start)
            selector.noteFailure(of: id, at: position, now: now)
            #expect(isPath(now + .seconds(5)))
            selector.noteFailure(of: id, at: position, now: now)
            selector.retryAll()
            #expect(isPath(now))
        }
    }
}
