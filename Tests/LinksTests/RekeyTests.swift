import Base
import CryptoPrimitives
import Links
import TestSupport
import Testing
import Wire

@Suite("New keys for a link")
struct RekeyTests {
    private func timing(age: TimeSpan = .seconds(3600)) -> LinkTable.Timing {
        var timing = LinkTable.Timing()
        timing.rekeyAge = age
        timing.rekeyRetry = .seconds(8)
        return timing
    }

    private func counters(_ cells: [End.Cell]) -> [UInt32] {
        cells.map(\.header.counter)
    }

    @Test("row 17: keys are renewed by age under load without a lost cell")
    func byAge() throws {
        let pair = try Pair(timing: timing(age: .seconds(10)))
        let link = try pair.connect()
        for number in 0..<3000 as Range<UInt32> {
            let header = header(.create, counter: number)
            #expect(pair.left.send([1], header: header, link: link.left, now: pair.now))
            #expect(pair.right.send([1], header: header, link: link.right, now: pair.now))
            pair.run(for: .milliseconds(20))
        }
        pair.run(for: .seconds(1))
        #expect(pair.left.renewed.count >= 5)
        #expect(pair.right.renewed.count == pair.left.renewed.count)
        #expect(counters(pair.right.cells) == Array(0..<3000))
        #expect(counters(pair.left.cells) == Array(0..<3000))
        #expect(pair.right.table.drops.allSatisfy { $0 == 0 })
        #expect(pair.left.table.drops.allSatisfy { $0 == 0 })
    }

    @Test("row 17: keys are renewed by the count of either end's packets, no number used twice")
    func byCount() throws {
        for sender in [true, false] {
            var timing = timing()
            timing.rekeyPacketCount = 400
            timing.packetLimit = 1200
            let pair = try Pair(timing: timing)
            let link = try pair.connect()
            let (end, id) = sender ? (pair.left, link.left) : (pair.right, link.right)
            for number in 0..<4000 as Range<UInt32> {
                let header = header(.create, counter: number)
                #expect(end.send([1], header: header, link: id, now: pair.now))
                pair.run(for: .milliseconds(5))
            }
            pair.run(for: .seconds(1))
            let other = sender ? pair.right : pair.left
            #expect(counters(other.cells) == Array(0..<4000), "sender left: \(sender)")
            let numbers = pair.log.filter { $0.bytes[0..<4] != [0, 0, 0, 0] }.map {
                $0.bytes[0..<8]
            }
            #expect(Set(numbers).count == numbers.count)
        }
    }

    @Test(
        "row 17: with loss and reordering keys are renewed and the link lasts",
        arguments: 0..<10 as Range<UInt64>
    )
    func faults(seed: UInt64) throws {
        let pair = try Pair(seed: seed, timing: timing(age: .seconds(10)))
        let link = try pair.connect()
        pair.faults = .init(loss: 150, duplicate: 100, corrupt: 20, jitterMilliseconds: 500)
        for number in 0..<3000 as Range<UInt32> {
            let header = header(.create, counter: number)
            _ = pair.left.send([1], header: header, link: link.left, now: pair.now)
            _ = pair.right.send([1], header: header, link: link.right, now: pair.now)
            pair.run(for: .milliseconds(30))
        }
        pair.run(for: .seconds(1))
        #expect(pair.left.renewed.count >= 3)
        #expect(pair.left.table.count == 1)
        #expect(pair.right.table.count == 1)
        for end in [pair.left, pair.right] {
            #expect((2300...2700).contains(end.cells.count))
            #expect(Set(counters(end.cells)).count == end.cells.count)
        }
    }

    @Test("a rekey repeated over a slow path is answered from memory, and both ends agree on keys")
    func slowPath() throws {
        let pair = try Pair(timing: timing(age: .seconds(10)))
        let link = try pair.connect()
        // Three questions are on their way before the first answer is back.
        pair.faults.delay = .milliseconds(450)
        pair.run(for: .seconds(25))
        #expect(pair.left.table.count == 1)
        #expect(pair.left.renewed == [link.left] || pair.left.renewed == [link.left, link.left])
        #expect(pair.right.renewed.count == pair.left.renewed.count)
        let worked = pair.right.events.filter {
            if case .control = $0 { true } else { false }
        }
        #expect(worked.count == pair.right.renewed.count)
        #expect(pair.left.send([1], header: header(.create), link: link.left, now: pair.now))
        pair.run(for: .seconds(1))
        #expect(pair.right.cells.count == 1)
    }

    @Test("an answer that was lost is said again from memory, at the first repetition")
    func lostAnswer() throws {
        let pair = try Pair(timing: timing(age: .seconds(10)))
        let link = try pair.connect()
        pair.run(for: .milliseconds(9_000))
        pair.isCut = { $0 == Pair.rightAddress }
        #expect(pair.run(within: .seconds(2)) { !pair.right.renewed.isEmpty })
        pair.run(for: .milliseconds(100))
        #expect(pair.left.renewed.isEmpty)
        pair.isCut = { _ in false }
        #expect(pair.run(within: .milliseconds(400)) { pair.left.renewed == [link.left] })
        let worked = pair.right.events.filter {
            if case .control = $0 { true } else { false }
        }
        #expect(worked.count == 1)
        pair.run(for: .seconds(1))
        #expect(pair.left.send([1], header: header(.create), link: link.left, now: pair.now))
        pair.run(for: .milliseconds(100))
        #expect(pair.right.cells.count == 1)
    }

    @Test("a renewal nobody answers is asked for again, and the old keys serve until then")
    func retried() throws {
        let pair = try Pair(timing: timing(age: .seconds(10)))
        let link = try pair.connect()
        pair.run(for: .milliseconds(9_500))
        // The answers' work is refused: nothing comes of the first renewal.
        pair.right.refusesRekeys = true
        pair.run(for: .seconds(6))
        #expect(pair.left.renewed.isEmpty)
        #expect(pair.left.send([1], header: header(.create), link: link.left, now: pair.now))
        pair.run(for: .milliseconds(100))
        #expect(pair.right.cells.count == 1)
        pair.right.refusesRekeys = false
        pair.run(for: .seconds(8))
        #expect(pair.left.renewed == [link.left])
    }

    @Test("an idle link keeps standing when the first packets under new keys are lost")
    func lostConfirmation() throws {
        let pair = try Pair(timing: timing(age: .seconds(10)))
        let link = try pair.connect()
        pair.run(within: .seconds(15)) { pair.left.renewed == [link.left] }
        let start = pair.now
        pair.isCut = { [pair] source in
            source == Pair.leftAddress && pair.now < start + .milliseconds(1500)
        }
        // The responder talks on under the old keys meanwhile.
        for _ in 0..<200 {
            _ = pair.right.send([1], header: header(.created), link: link.right, now: pair.now)
            pair.run(for: .milliseconds(50))
        }
        #expect(pair.left.table.count == 1)
        #expect(pair.right.table.count == 1)
        #expect(pair.left.cells.count == 200)
    }

    @Test("a session that is not confirmed displaces none that is")
    func displacesNothing() throws {
        let pair = try Pair(timing: timing(age: .seconds(10)))
        let link = try pair.connect()
        pair.run(for: .milliseconds(9_900))
        // The answer never arrives: the responder holds keys its peer does not have.
        pair.isCut = { $0 == Pair.rightAddress }
        pair.run(for: .milliseconds(800))
        #expect(pair.right.renewed == [link.right])
        pair.isCut = { _ in false }
        #expect(pair.right.send([7], header: header(.created), link: link.right, now: pair.now))
        pair.run(for: .milliseconds(30))
        #expect(pair.left.cells.count == 1)
    }

    @Test("a flood of rekeys from one peer makes one piece of work a second")
    func flood() throws {
        let pair = try Pair()
        let link = try pair.connect()
        let donor = try Pair(seed: 9, timing: timing(age: .seconds(2)))
        _ = try donor.connect()
        donor.right.recordsRekeys = true
        donor.run(for: .seconds(3))
        let body = try #require(donor.right.rekeys.first)
        for number in 1...1000 as ClosedRange<UInt32> {
            let session = try #require(SessionID(rawValue: number))
            #expect(
                pair.left.send(.rekey(session: session, body: body), link: link.left, now: pair.now)
            )
            pair.run(for: .milliseconds(3))
        }
        let asked = pair.right.events.filter {
            if case .control = $0 { true } else { false }
        }
        #expect((3...4).contains(asked.count))
    }

    @Test("only the end that opened a link renews its keys")
    func wrongRole() throws {
        let pair = try Pair(isLeftRelay: true, timing: timing(age: .seconds(2)))
        let link = try pair.connect()
        pair.right.recordsRekeys = true
        pair.run(for: .seconds(3))
        let body = try #require(pair.right.rekeys.first)
        let session = try #require(SessionID(rawValue: 5))
        let malformed = pair.left.table.drops[LinkDrop.malformed.rawValue]
        #expect(
            pair.right.send(.rekey(session: session, body: body), link: link.right, now: pair.now)
        )
        pair.run(for: .milliseconds(50))
        #expect(pair.left.table.drops[LinkDrop.malformed.rawValue] == malformed + 1)
        #expect(
            !pair.left.events.contains {
                if case .control(_, .rekey) = $0 { true } else { false }
            }
        )
    }
}
