import Base
import CryptoPrimitives
import Links
import TestSupport
import Testing
import Wire

@Suite("The life of a link")
struct LinkLifeTests {
    @Test("an idle link is kept alive by the end that opened it, one PING each 15 s")
    func keepalive() throws {
        let pair = try Pair()
        let link = try pair.connect()
        let start = pair.log.count
        pair.run(for: .seconds(3000))
        #expect(pair.left.has(link.left))
        #expect(pair.right.has(link.right))
        #expect((199...201).contains(pair.sent(by: pair.left, since: start).count))
        #expect((199...201).contains(pair.sent(by: pair.right, since: start).count))
    }

    @Test("a link nobody keeps alive is forgotten by both ends after 120 s")
    func idle() throws {
        let pair = try Pair()
        let link = try pair.connect()
        pair.left.table.setKeepsAlive(false, link: link.left, now: pair.now)
        pair.run(for: .seconds(118))
        #expect(pair.left.table.count == 1)
        #expect(pair.right.table.count == 1)
        pair.run(for: .seconds(4))
        #expect(pair.left.events.last == .lost(link.left))
        #expect(pair.right.events.last == .lost(link.right))
        #expect(pair.left.table.count + pair.right.table.count == 0)
        #expect(pair.left.nextDeadline == .distantFuture)
    }

    @Test("a peer that falls silent is lost 1.9 s after it was first sent something, by 3 PINGs")
    func silentPeer() throws {
        let pair = try Pair()
        let link = try pair.connect()
        pair.run(for: .seconds(2))
        pair.isCut = { $0 == Pair.rightAddress }
        let start = pair.now
        let logStart = pair.log.count
        // Sending goes on all the while.
        while pair.left.table.count == 1, pair.now < start + .seconds(5) {
            _ = pair.left.send([1], header: header(.create), link: link.left, now: pair.now)
            pair.run(for: .milliseconds(20))
        }
        let took = pair.now - start
        #expect(took >= .milliseconds(1900) && took <= .milliseconds(1960), "\(took.seconds) s")
        #expect(pair.left.events.last == .lost(link.left))
        let pings = pair.right.verdicts.filter { $0 == .consumed }.count
        #expect(pings >= 3)
        #expect(pair.log.count > logStart + 90)
    }

    @Test("a peer that only listens answers PINGs and keeps the link")
    func oneWay() throws {
        let pair = try Pair()
        let link = try pair.connect()
        for _ in 0..<500 {
            #expect(pair.left.send([1], header: header(.create), link: link.left, now: pair.now))
            pair.run(for: .milliseconds(20))
        }
        #expect(pair.left.table.count == 1)
        #expect(pair.right.cells.count == 500)
    }

    @Test("with every fifth datagram lost a busy link lasts", arguments: 0..<5 as Range<UInt64>)
    func lossy(seed: UInt64) throws {
        let pair = try Pair(seed: seed)
        let link = try pair.connect()
        pair.faults = .init(loss: 200, duplicate: 50, jitterMilliseconds: 60)
        for _ in 0..<1500 {
            _ = pair.left.send([1], header: header(.create), link: link.left, now: pair.now)
            _ = pair.right.send([1], header: header(.created), link: link.right, now: pair.now)
            pair.run(for: .milliseconds(40))
        }
        #expect(pair.left.table.count == 1)
        #expect(pair.right.table.count == 1)
        #expect((1100...1300).contains(pair.right.cells.count))
    }

    @Test("PING measures the round trip; a PONG nobody asked for measures nothing")
    func roundTrip() throws {
        let pair = try Pair(faults: .init(delay: .milliseconds(35)))
        let link = try pair.connect()
        #expect(pair.left.roundTrip(of: link.left) == .milliseconds(70))
        #expect(pair.right.roundTrip(of: link.right) == nil)
        #expect(pair.left.send(.pong(nonce: 0), link: link.left, now: pair.now))
        pair.run(for: .milliseconds(100))
        #expect(pair.right.roundTrip(of: link.right) == nil)
    }

    @Test("a goodbye ends the link at the other end at once")
    func goodbye() throws {
        let pair = try Pair()
        let link = try pair.connect()
        pair.left.remove(link.left, now: pair.now)
        pair.run(for: .milliseconds(50))
        #expect(pair.right.events.last == .lost(link.right))
        #expect(pair.left.table.count + pair.right.table.count == 0)
    }

    @Test("a responder stays silent until the peer's first packet, and gives up after 5 s")
    func unconfirmed() throws {
        let pair = try Pair()
        _ = pair.left.dial(pair.right.target, now: pair.now)
        pair.flush()
        pair.isCut = { $0 == Pair.rightAddress }
        pair.run(for: .seconds(2))
        let link = try #require(pair.right.established.first)
        #expect(pair.right.events.isEmpty)
        #expect(!pair.right.send([1], header: header(.created), link: link, now: pair.now))
        pair.isCut = { _ in true }
        pair.run(for: .seconds(4))
        #expect(pair.right.events == [.lost(link)])
        #expect(pair.right.table.count == 0)
        // All it ever sent were answers to the INITs.
        #expect(pair.sent(by: pair.right, since: 0).allSatisfy { $0.bytes[4] == 2 })
    }

    @Test("an idle initiator shows its keys in use, again and again until it is heard")
    func confirmationSurvivesLoss() throws {
        let pair = try Pair()
        let id = try #require(pair.left.dial(pair.right.target, now: pair.now))
        pair.run(within: .seconds(1)) { pair.left.established == [id] }
        let start = pair.now
        pair.isCut = { [pair] _ in pair.now < start + .milliseconds(800) }
        pair.run(for: .seconds(3))
        let link = try #require(pair.right.established.first)
        #expect(pair.right.events == [.confirmed(link)])
        #expect(pair.left.table.count == 1)
    }

    @Test("1,024 links may stand unconfirmed, no more, and confirmed ones go on")
    func unconfirmedLimit() throws {
        let pair = try Pair(linkLimit: 2048)
        let link = try pair.connect()
        var random = RandomGenerator(testSeed: 3)
        func add(_ number: UInt32) throws -> Bool {
            let link = NewLink(
                id: LinkID(rawValue: 10_000 + UInt64(number)),
                address: pair.left.address,
                peer: .client,
                isInitiator: false,
                session: NewSession(
                    local: try #require(SessionID(rawValue: 1 + number)),
                    remote: try #require(SessionID(rawValue: 9)),
                    keys: SessionKeys(
                        forward: .numbered(1),
                        backward: .numbered(2),
                        exporter: .numbered(3),
                        isInitiator: false
                    ),
                    isConfirmed: false
                )
            )
            return pair.right.add(link, now: pair.now)
        }
        _ = random.next()
        for number in 0..<1024 as Range<UInt32> { #expect(try add(number)) }
        #expect(try !add(1024))
        #expect(pair.right.send([1], header: header(.created), link: link.right, now: pair.now))
        pair.run(for: .seconds(6))
        #expect(pair.right.table.count == 1)
        for number in 2000..<3024 as Range<UInt32> { #expect(try add(number)) }
        #expect(try !add(3024))
    }

    @Test("a full table takes no link, and a number taken is not given twice")
    func tableLimit() throws {
        let end = try End(
            seed: 1,
            address: Pair.leftAddress,
            isRelay: true,
            linkLimit: 3,
            now: .zero
        )
        func add(_ id: UInt64, session: UInt32) throws -> Bool {
            end.add(
                NewLink(
                    id: LinkID(rawValue: id),
                    address: Pair.rightAddress,
                    peer: .client,
                    isInitiator: true,
                    session: NewSession(
                        local: try #require(SessionID(rawValue: session)),
                        remote: try #require(SessionID(rawValue: 9)),
                        keys: SessionKeys(
                            forward: .numbered(1),
                            backward: .numbered(2),
                            exporter: .numbered(3),
                            isInitiator: true
                        ),
                        isConfirmed: true
                    )
                ),
                now: .zero
            )
        }
        #expect(try add(1, session: 100))
        #expect(try !add(1, session: 101))
        #expect(try !add(2, session: 100))
        #expect(try add(2, session: 101))
        #expect(try add(3, session: 102))
        #expect(try !add(4, session: 103))
    }

    @Test("PINGs that do not fit what is to be sent do not count: of 900 silent links none is lost")
    func crowd() throws {
        let pair = try Pair(linkLimit: 1_024)
        let numbers = 1...900 as ClosedRange<UInt32>
        for number in numbers {
            for end in [pair.left, pair.right] {
                let other = end === pair.left ? pair.right : pair.left
                let link = NewLink(
                    id: LinkID(rawValue: UInt64(number)),
                    address: other.address,
                    peer: .relay(other.relay),
                    isInitiator: end === pair.left,
                    session: NewSession(
                        local: try #require(SessionID(rawValue: number)),
                        remote: try #require(SessionID(rawValue: number)),
                        keys: SessionKeys(
                            forward: .numbered(1),
                            backward: .numbered(2),
                            exporter: .numbered(3),
                            isInitiator: end === pair.left
                        ),
                        isConfirmed: true
                    )
                )
                #expect(end.add(link, now: pair.now))
            }
        }
        pair.run(for: .seconds(3))
        #expect(pair.left.table.count == numbers.count)
        for number in numbers {
            let id = LinkID(rawValue: UInt64(number))
            #expect(pair.left.send([1], header: header(.create), link: id, now: pair.now))
            if number % 200 == 0 { pair.flush() }
        }
        pair.run(for: .seconds(4))
        #expect(pair.left.table.count == numbers.count)
        #expect(!pair.left.events.contains { if case .lost = $0 { true } else { false } })
    }

    @Test("one address gets 64 links: a further one takes the place of the one idle longest")
    func networkLimit() throws {
        let pair = try Pair(linkLimit: 256)
        var links: [LinkID] = []
        for _ in 0..<LinkTable.networkLimit + 2 { links.append(try pair.connect().right) }
        #expect(pair.right.table.count == LinkTable.networkLimit)
        let standing = links.filter { pair.right.has($0) }
        #expect(standing.count == LinkTable.networkLimit && standing.last == links.last)
    }

    @Test("clients that fill their part of the table leave room for others, and for relays")
    func fullTable() throws {
        let pair = try Pair(linkLimit: 16)
        var links: [LinkID] = []
        for number in 0..<12 as Range<UInt32> {
            pair.left.address = SocketAddress(ip: IPAddress(v4: 0x0a00_0100 + number), port: 7)
            links.append(try pair.connect().right)
            if number != 5 { pair.right.addCircuit(on: links[Int(number)]) }
        }
        pair.left.address = Pair.leftAddress
        let other = try pair.connect().right
        #expect(pair.right.has(other) && !pair.right.has(links[5]))
        #expect(links.filter { pair.right.has($0) }.count == 11)
        pair.right.addCircuit(on: other)
        // All of them carry circuits now: nobody is thrown out, and the client hears of it.
        pair.left.address = SocketAddress(ip: IPAddress(v4: 0x0a00_0200), port: 7)
        let late = try #require(pair.left.dial(pair.right.target, now: pair.now))
        pair.run(for: .seconds(1))
        #expect(pair.right.table.count == 12)
        pair.run(for: .seconds(8))
        #expect(!pair.left.has(late))
    }

    @Test("a datagram for a link that took over a slot goes to its own peer")
    func slotReuse() throws {
        let pair = try Pair()
        let link = try pair.connect()
        let slot = try #require(pair.left.slot(of: link.left))
        #expect(pair.left.send([1], header: header(.create), link: link.left, now: pair.now))
        pair.left.remove(link.left, now: pair.now)
        let other = SocketAddress(ip: IPAddress(v4: 0x0a00_0055), port: 9)
        let new = NewLink(
            id: LinkID(rawValue: 900),
            address: other,
            peer: .client,
            isInitiator: true,
            session: NewSession(
                local: try #require(SessionID(rawValue: 5)),
                remote: try #require(SessionID(rawValue: 6)),
                keys: SessionKeys(
                    forward: .numbered(1),
                    backward: .numbered(2),
                    exporter: .numbered(3),
                    isInitiator: true
                ),
                isConfirmed: true
            )
        )
        #expect(pair.left.add(new, now: pair.now))
        #expect(pair.left.slot(of: new.id) == slot)
        #expect(pair.left.send([2], header: header(.create), link: new.id, now: pair.now))
        let destinations = pair.left.drain(now: pair.now).map(\.destination)
        #expect(destinations == [pair.right.address, pair.right.address, other])
    }
}
