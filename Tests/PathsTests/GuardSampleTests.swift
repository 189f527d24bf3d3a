import Base
import CryptoPrimitives
import Directory
import Paths
import Testing
import Wire

@Suite("Guards and middles that stay")
struct GuardSampleTests {
    private static let day: UInt64 = 86_400
    private let start = SampleRelays.start

    private func network(guards: Int = 30) -> [SampleRelay] {
        [SampleRelay](repeating: .guardOnly, count: guards)
            + [SampleRelay](repeating: .plain, count: 8)
            + [SampleRelay](repeating: .exitOnly, count: 4)
    }

    @Test("the sample is 20 guards, or all of them in a small network", arguments: [1, 5, 20, 30])
    func size(guards: Int) throws {
        var generator = randomGenerator("size")
        var sample = GuardSample()
        sample.update(
            to: try SampleRelays.view(network(guards: guards)),
            at: start,
            using: &generator
        )
        #expect(sample.members.count == min(20, guards))
        #expect(sample.primaries(count: 3).count == min(3, guards))
    }

    @Test("of many guards of one subnet or family the sample has one", arguments: [true, false])
    func kin(isSubnet: Bool) throws {
        var relays = network(guards: 25)
        let kin = relays.count..<relays.count + 8
        for _ in kin {
            // What honest ones count for is next to nothing beside these.
            var relay = SampleRelay(flags: .guardCapable, weight: 1_000_000)
            if isSubnet { relay.subnet = 7 } else { relay.family = 1 }
            relays.append(relay)
        }
        let view = try SampleRelays.view(relays) { $0.subnetPrefixV4 = 24 }
        let ids = Set(kin.map(SampleRelays.id))
        var drawnOnes = 0
        for seed in 0..<20 {
            var generator = randomGenerator("kin \(seed)")
            var sample = GuardSample()
            sample.update(to: view, at: start, using: &generator)
            #expect(sample.members.count == 20)
            let count = sample.members.count { ids.contains($0.id) }
            #expect(count <= 1)
            drawnOnes += count
            // Nor does one more come when others make room.
            sample.update(to: view, at: start + 200 * Self.day, using: &generator)
            #expect(sample.members.count { ids.contains($0.id) } <= 1)
        }
        #expect(drawnOnes > 10, "nothing was tried")
    }

    @Test("where all guards are of one subnet, there are three to go to all the same")
    func onlyKin() throws {
        var relays = network(guards: 0)
        for _ in 0..<8 { relays.append(SampleRelay(flags: .guardCapable, subnet: 7)) }
        var generator = randomGenerator("only kin")
        var sample = GuardSample()
        let view = try SampleRelays.view(relays) { $0.subnetPrefixV4 = 24 }
        sample.update(to: view, at: start, using: &generator)
        #expect(sample.members.count == Int(view.parameters.guardPrimaryCount))
        #expect(Set(sample.members.map(\.id)).count == sample.members.count)
    }

    @Test("failures of everything never replace a guard or a middle")
    func failures() throws {
        var generator = randomGenerator("stay")
        let view = try SampleRelays.view(network())
        var selector = PathSelector(view: view, at: start, using: &generator)
        let guards = selector.guards.members.map(\.id)
        let middles = selector.middles.members.map(\.id)
        var failures: [NodeID: Int] = [:]
        for round in 0..<600 {
            let now = Instant.seconds(UInt64(round) * 60)
            if let path = try? selector.path(now: now, date: start, using: &generator) {
                let hop = round % 3
                failures[path.hops[hop].id, default: 0] += 1
                let position = PathPosition.allCases[hop]
                selector.noteFailure(of: path.hops[hop].id, at: position, now: now)
            }
            if round.isMultiple(of: 50) {
                let date = start + UInt64(round) * 60
                selector.update(to: view, at: date, using: &generator)
            }
        }
        // More than the primaries were tried, and failed again and again.
        #expect(guards.count { failures[$0, default: 0] > 5 } > 3)
        #expect(middles.allSatisfy { failures[$0, default: 0] > 5 })
        #expect(selector.guards.members.map(\.id) == guards)
        #expect(selector.middles.members.map(\.id) == middles)
    }

    @Test("the first guard is used until it fails, the next one until it is back")
    func order() throws {
        var generator = randomGenerator("order")
        let view = try SampleRelays.view(network())
        var selector = PathSelector(view: view, at: start, using: &generator)
        let primaries = selector.guards.primaries(count: 3)
        func guardAt(_ now: Instant) throws -> NodeID {
            try selector.path(now: now, date: start, using: &generator).guardRelay.id
        }
        for second in 0..<50 { #expect(try guardAt(.seconds(UInt64(second))) == primaries[0]) }
        selector.noteFailure(of: primaries[0], at: .guardRelay, now: .seconds(50))
        #expect(try guardAt(.seconds(50)) == primaries[1])
        selector.noteFailure(of: primaries[1], at: .guardRelay, now: .seconds(50))
        #expect(try guardAt(.seconds(54)) == primaries[2])
        #expect(try guardAt(.seconds(55)) == primaries[0])
        selector.noteFailure(of: primaries[0], at: .guardRelay, now: .seconds(55))
        #expect(try guardAt(.seconds(64)) == primaries[1])
        #expect(try guardAt(.seconds(65)) == primaries[0])
        let path = try selector.path(now: .seconds(65), date: start, using: &generator)
        selector.noteSuccess(of: path, on: start)
        #expect(selector.guards.primaries(count: 3) == primaries)
    }

    @Test("with every guard down the error says when the first is tried again")
    func allDown() throws {
        var generator = randomGenerator("down")
        let view = try SampleRelays.view([.guardOnly, .guardOnly, .plain, .exitOnly])
        var selector = PathSelector(view: view, at: start, using: &generator)
        for index in 0..<2 {
            let now = Instant.seconds(10 + UInt64(index))
            selector.noteFailure(of: SampleRelays.id(index), at: .guardRelay, now: now)
        }
        do {
            _ = try selector.path(now: .seconds(12), date: start, using: &generator)
            Issue.record("used a guard that is down")
        } catch {
            #expect(error.description == "no guard among the 2 of the sample: 2 down for now")
            guard case .noGuard(_, _, let retry) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(retry == .seconds(15))
        }
        selector.retryAll()
        _ = try selector.path(now: .seconds(12), date: start, using: &generator)
    }

    @Test("confirmed guards come first, in the order they were confirmed")
    func confirmed() throws {
        var generator = randomGenerator("confirmed")
        var sample = GuardSample()
        sample.update(to: try SampleRelays.view(network()), at: start, using: &generator)
        let drawn = sample.members.map(\.id)
        sample.noteSuccess(of: drawn[7], on: start)
        sample.noteSuccess(of: drawn[2], on: start)
        sample.noteSuccess(of: drawn[7], on: start + 5)
        #expect(sample.primaries(count: 4) == [drawn[7], drawn[2], drawn[0], drawn[1]])
        #expect(sample.members[7].confirmedAt == start)
    }

    @Test("a guard leaves after 120 days, or 60 days after it was confirmed if that is later")
    func lifetime() throws {
        var generator = randomGenerator("lifetime")
        var sample = GuardSample()
        func view(_ day: UInt64) throws -> NetworkView {
            try SampleRelays.view(network(), at: start + day * Self.day)
        }
        sample.update(to: try view(0), at: start, using: &generator)
        let drawn = sample.members
        #expect(drawn.allSatisfy { $0.sampledAt <= start })
        #expect(drawn.allSatisfy { $0.sampledAt + 12 * Self.day >= start })
        #expect(Set(drawn.map(\.sampledAt)).count > 15, "dates are spread")
        sample.noteSuccess(of: drawn[0].id, on: start + 90 * Self.day)
        sample.noteSuccess(of: drawn[1].id, on: start)
        sample.update(to: try view(107), at: start + 107 * Self.day, using: &generator)
        #expect(sample.members.map(\.id) == drawn.map(\.id))
        sample.update(to: try view(121), at: start + 121 * Self.day, using: &generator)
        #expect(sample.members.first?.id == drawn[0].id)
        #expect(sample.members.count == 20)
        let newer = sample.members.dropFirst()
        #expect(newer.allSatisfy { $0.sampledAt + 12 * Self.day >= start + 121 * Self.day })
        sample.update(to: try view(151), at: start + 151 * Self.day, using: &generator)
        #expect(sample.members.first?.confirmedAt == nil)
    }

    @Test("a guard absent from the consensus is not used, comes back, and leaves after 20 days")
    func unlisted() throws {
        var generator = randomGenerator("unlisted")
        let relays = network()
        var selector = PathSelector(
            view: try SampleRelays.view(relays),
            at: start,
            using: &generator
        )
        let drawn = selector.guards.members.map(\.id)
        let first = try #require(relays.indices.first { SampleRelays.id($0) == drawn[0] })
        func update(day: UInt64, absent: Set<Int>) throws {
            let date = start + day * Self.day
            let view = try SampleRelays.view(relays, absent: absent, at: date)
            selector.update(to: view, at: date, using: &generator)
        }
        try update(day: 1, absent: [first])
        #expect(selector.guards.members.first?.id == drawn[0])
        #expect(selector.guards.primaries(count: 1) == [drawn[1]])
        try update(day: 20, absent: [first])
        #expect(selector.guards.members.first?.id == drawn[0])
        try update(day: 20, absent: [])
        #expect(selector.guards.primaries(count: 1) == [drawn[0]])
        try update(day: 21, absent: [first])
        try update(day: 41, absent: [first])
        #expect(!selector.guards.members.contains { $0.id == drawn[0] })
    }

    @Test("a guard that passes on less than 70 % of 50 yields to the other primaries")
    func extends() throws {
        var generator = randomGenerator("extends")
        let view = try SampleRelays.view(network())
        var selector = PathSelector(view: view, at: start, using: &generator)
        let primaries = selector.guards.primaries(count: 3)
        func note(_ answeredCount: Int) {
            for index in 0..<50 {
                selector.noteExtend(by: primaries[0], isAnswered: index < answeredCount)
            }
        }
        func first() throws -> NodeID {
            try selector.path(now: .zero, date: start, using: &generator).guardRelay.id
        }
        note(35)
        #expect(try first() == primaries[0])
        note(34)
        #expect(selector.guards.yieldsToOthers(primaries[0]))
        #expect(try first() == primaries[1])
        selector.noteFailure(of: primaries[1], at: .guardRelay, now: .zero)
        selector.noteFailure(of: primaries[2], at: .guardRelay, now: .zero)
        #expect(try first() == primaries[0], "before any guard outside the primaries")
        selector.retryAll()
        note(50)
        #expect(try first() == primaries[0])
    }

    @Test("guards and middles survive a restart as bytes")
    func persistence() throws {
        var generator = randomGenerator("persist")
        let view = try SampleRelays.view(network())
        var selector = PathSelector(view: view, at: start, using: &generator)
        let path = try selector.path(now: .zero, date: start, using: &generator)
        selector.noteSuccess(of: path, on: start)
        selector.update(
            to: try SampleRelays.view(network(), absent: [3, 4]),
            at: start + 1,
            using: &generator
        )
        let bytes = selector.guards.encoded()
        let guards = try GuardSample(parsing: bytes)
        #expect(guards.encoded() == bytes)
        #expect(guards.members.map(\.confirmedAt) == selector.guards.members.map(\.confirmedAt))
        let middles = try MiddleSet(parsing: selector.middles.encoded())
        #expect(middles.members == selector.middles.members)
        let again = PathSelector(
            view: view,
            guards: guards,
            middles: middles,
            at: start + 2,
            using: &generator
        )
        #expect(again.guards.members.map(\.id).starts(with: guards.members.map(\.id)))
        #expect(again.guards.primaries(count: 1) == [path.guardRelay.id])
        #expect(again.middles.members == middles.members)
    }

    @Test("stored bytes that are cut or changed are refused or read as what they say")
    func damaged() throws {
        var generator = randomGenerator("damaged")
        let view = try SampleRelays.view(network(guards: 4))
        var selector = PathSelector(view: view, at: start, using: &generator)
        let path = try selector.path(now: .zero, date: start, using: &generator)
        selector.noteSuccess(of: path, on: start)
        let guards = selector.guards.encoded()
        let middles = selector.middles.encoded()
        for count in 0..<guards.count {
            #expect(throws: WireError.self) { try GuardSample(parsing: Array(guards[..<count])) }
        }
        for count in 0..<middles.count {
            #expect(throws: WireError.self) { try MiddleSet(parsing: Array(middles[..<count])) }
        }
        for _ in 0..<5_000 {
            var bytes = guards
            let index = Int(generator.next(below: UInt64(bytes.count)))
            bytes[index] = UInt8(generator.next(below: 256))
            guard var parsed = try? GuardSample(parsing: bytes) else { continue }
            #expect(parsed.encoded() == bytes)
            parsed.update(to: view, at: start, using: &generator)
            parsed.noteSuccess(of: SampleRelays.id(0), on: start)
            #expect(parsed.usable(primaryCount: 3, at: .zero).count <= 8)
        }
    }

    @Test("middles live one to twelve days and longer rather than shorter")
    func middleLife() throws {
        var generator = randomGenerator("life")
        let view = try SampleRelays.view(network())
        var lives: [UInt64] = []
        for _ in 0..<1_000 {
            var set = MiddleSet()
            set.update(to: view, at: start, using: &generator)
            #expect(set.members.count == 4)
            #expect(Set(set.members.map(\.id)).count == 4)
            lives += set.members.map { $0.expires.seconds - start.seconds }
        }
        #expect(lives.allSatisfy { (Self.day...12 * Self.day).contains($0) })
        // The longer of two even draws from 1 to 12 days is 8 1/3 days on average.
        let mean = Double(lives.reduce(0, +)) / Double(lives.count) / Double(Self.day)
        #expect(abs(mean - 8.333) < 0.15, "\(mean)")
    }

    @Test("a middle leaves when its time is over or the consensus does not list it")
    func middleLeaves() throws {
        var generator = randomGenerator("leaves")
        let relays = network()
        let view = try SampleRelays.view(relays)
        var set = MiddleSet()
        set.update(to: view, at: start, using: &generator)
        let before = set.members
        let gone = try #require(relays.indices.first { SampleRelays.id($0) == before[1].id })
        set.update(
            to: try SampleRelays.view(relays, absent: [gone]),
            at: start,
            using: &generator
        )
        #expect(set.members.prefix(3).map(\.id) == [before[0], before[2], before[3]].map(\.id))
        #expect(set.members.count == 4)
        set.update(to: view, at: start + 13 * Self.day, using: &generator)
        #expect(set.members.count == 4)
        #expect(set.members.allSatisfy { $0.expires > start + 13 * Self.day })
    }

    @Test("failed or excluded middles bring no new ones, rules that refuse all do")
    func widening() throws {
        var generator = randomGenerator("widening")
        // One guard, one exit; all middles drawn at first are of the exit's system.
        let sisters = [SampleRelay](repeating: SampleRelay(weight: 1_000_000, system: 7), count: 12)
        let exit = SampleRelay(flags: .exit, system: 7)
        let view = try SampleRelays.view([.guardOnly, exit] + sisters + [.plain, .plain])
        var selector = PathSelector(view: view, at: start, using: &generator)
        let before = selector.middles.members.map(\.id)
        #expect(before.allSatisfy { view.relay($0)?.autonomousSystem == 7 })
        let path = try selector.path(now: .zero, date: start, using: &generator)
        #expect(path.middle.autonomousSystem == 0)
        #expect(selector.middles.members.map(\.id) == before + [path.middle.id])
        var wanted = PathConstraints()
        wanted.excluded = [path.middle.id]
        #expect(throws: PathError.self) {
            try selector.path(wanted, now: .zero, date: start, using: &generator)
        }
        selector.noteFailure(of: path.middle.id, at: .middle, now: .zero)
        #expect(throws: PathError.self) {
            try selector.path(now: .zero, date: start, using: &generator)
        }
        #expect(selector.middles.members.count == before.count + 1)
    }
}
