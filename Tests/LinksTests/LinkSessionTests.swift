import Base
import CryptoPrimitives
import Links
import TestSupport
import Testing
import Wire

@Suite("Datagrams of a link")
struct LinkSessionTests {
    /// The bytes of the datagram `end` sends for this cell, which reach nobody.
    private func capture(
        _ pair: Pair,
        _ end: End,
        _ command: CellCommand,
        link: LinkID
    ) throws -> [UInt8] {
        let body = [UInt8](repeating: 0x5a, count: 300)
        #expect(end.send(body, header: header(command), link: link, now: pair.now))
        return try #require(end.drain(now: pair.now).last).bytes
    }

    @Test(
        "row 7: every change of one bit is dropped, counted, and changes nothing",
        arguments: [CellCommand.linkControl, .create, .forward]
    )
    func bitFlips(command: CellCommand) throws {
        let pair = try Pair()
        let link = try pair.connect()
        let sealed: [UInt8]
        if command == .linkControl {
            #expect(pair.left.send(.ping(nonce: 77), link: link.left, now: pair.now))
            sealed = try #require(pair.left.drain(now: pair.now).last).bytes
        } else {
            sealed = try capture(pair, pair.left, command, link: link.left)
        }
        let before = Footprint(pair.right)
        let stranger = SocketAddress(ip: IPAddress(v4: 0x0a00_0063), port: 5)
        // An onion layer is authenticated by the hop that opens it, not by the link.
        let byteCount = command.sealsBody ? Datagram.byteCount : Datagram.bodyOffset
        for bit in 0..<byteCount * 8 {
            let drops = pair.right.table.drops.reduce(0, +)
            let verdict = pair.right.receive(
                sealed.flipping(bit: bit),
                from: stranger,
                now: pair.now
            )
            guard case .dropped? = verdict else {
                Issue.record("bit \(bit): \(String(describing: verdict))")
                return
            }
            #expect(pair.right.table.drops.reduce(0, +) == drops + 1)
        }
        #expect(pair.right.drain(now: pair.now).isEmpty)
        #expect(Footprint(pair.right) == before)
        // No forgery used the number up.
        pair.right.receive(sealed, from: pair.left.address, now: pair.now)
        if command == .linkControl {
            #expect(pair.right.verdicts.last == .consumed)
            #expect(pair.right.drain(now: pair.now).count == 1)
        } else {
            #expect(pair.right.cells.count == 1)
        }
    }

    @Test("row 8: no datagram of a session counts twice, from wherever it comes")
    func replayNow() throws {
        let pair = try Pair()
        let link = try pair.connect()
        let elsewhere = SocketAddress(ip: IPAddress(v4: 0x0a00_0099), port: 1)
        let cells = try (0..<20).map { _ in
            try capture(pair, pair.left, .create, link: link.left)
        }
        for cell in cells { pair.right.receive(cell, from: pair.left.address, now: pair.now) }
        #expect(pair.right.cells.count == 20)
        for cell in cells {
            for source in [pair.left.address, elsewhere] {
                let verdict = pair.right.receive(cell, from: source, now: pair.now)
                #expect(verdict == .dropped(.replayed))
            }
        }
        // All that ever crossed the wire, to both ends.
        for sent in pair.log {
            for end in [pair.left, pair.right] {
                let verdict = end.receive(sent.bytes, from: sent.source, now: pair.now)
                guard let verdict, verdict != .handshake else { continue }
                #expect(
                    verdict == .dropped(.replayed) || verdict == .dropped(.unknownSession)
                )
            }
        }
        #expect(pair.right.cells.count == 20)
    }

    @Test("row 8: nothing of an old session counts once its keys were renewed and grace is over")
    func replayAfterRekey() throws {
        var timing = LinkTable.Timing()
        timing.rekeyAge = .seconds(5)
        let pair = try Pair(timing: timing)
        let link = try pair.connect()
        let kept = try capture(pair, pair.left, .create, link: link.left)
        let used = try capture(pair, pair.left, .create, link: link.left)
        pair.right.receive(used, from: pair.left.address, now: pair.now)
        #expect(pair.right.cells.count == 1)
        pair.run(for: .seconds(6))
        #expect(pair.left.renewed == [link.left])
        #expect(pair.right.renewed == [link.right])
        // Within grace a late datagram of the old keys still counts, once.
        #expect(
            pair.right.receive(used, from: pair.left.address, now: pair.now)
                == .dropped(.replayed)
        )
        pair.run(for: .seconds(20))
        #expect(
            pair.right.receive(kept, from: pair.left.address, now: pair.now)
                == .dropped(.unknownSession)
        )
        #expect(
            pair.right.receive(used, from: pair.left.address, now: pair.now)
                == .dropped(.unknownSession)
        )
        #expect(pair.right.cells.count == 1)
    }

    @Test("row 8: reordering within 8,128 datagrams is accepted, beyond it dropped")
    func reordering() throws {
        let pair = try Pair()
        let link = try pair.connect()
        var cells: [[UInt8]] = []
        for _ in 0..<8200 { cells.append(try capture(pair, pair.left, .forward, link: link.left)) }
        func receive(_ index: Int) -> LinkTable.Opened? {
            pair.right.receive(cells[index], from: pair.left.address, now: pair.now)
        }
        #expect(receive(8199) != .dropped(.replayed))
        #expect(receive(8199 - 8129) == .dropped(.replayed))
        #expect(receive(0) == .dropped(.replayed))
        for index in stride(from: 8198, through: 8199 - 8128, by: -1) {
            if case .cell? = receive(index) { continue }
            Issue.record("datagram \(index) was dropped")
            return
        }
        #expect(pair.right.cells.count == 8129)
        for index in stride(from: 0, to: 8200, by: 100) {
            #expect(receive(index) == .dropped(.replayed))
        }
    }

    @Test("row 10: 200,000 random datagrams get no byte back and leave nothing")
    func garbage() throws {
        let pair = try Pair()
        let link = try pair.connect()
        let before = Footprint(pair.right)
        var random = RandomGenerator(testSeed: 99)
        let stranger = SocketAddress(ip: IPAddress(v4: 0x0a00_0063), port: 5)
        var bytes = random.bytes(Datagram.byteCount)
        for round in 0..<200_000 {
            // Eight new bytes are enough: each datagram is another session, number and header.
            withUnsafeBytes(of: random.next()) { word in
                for index in 0..<8 { bytes[index + round % 5 * 4] = word[index] }
            }
            if round % 8 == 0 { bytes.replaceSubrange(0..<4, with: [0, 0, 0, 0]) }
            if round % 16 == 0 { bytes[4] = UInt8(1 + round / 16 % 3) }
            if round % 16 == 0 { bytes[5] = 1 }
            pair.right.receive(bytes, from: stranger, now: pair.now)
            if round % 10_000 == 0 { #expect(pair.right.drain(now: pair.now).isEmpty) }
        }
        #expect(pair.right.drain(now: pair.now).isEmpty)
        #expect(Footprint(pair.right) == before)
        #expect(pair.right.responder.inWork == 0)
        #expect(pair.right.has(link.right))
    }

    @Test("row 14: a datagram of another size is counted and nothing else")
    func wrongSize() throws {
        let pair = try Pair()
        let link = try pair.connect()
        let cell = try capture(pair, pair.left, .create, link: link.left)
        for bytes in [[], Array(cell.dropLast()), cell + [0], Array(cell.prefix(40))] {
            #expect(pair.right.receive(bytes, from: pair.left.address, now: pair.now) == nil)
        }
        #expect(pair.right.table.drops[LinkDrop.size.rawValue] == 4)
    }

    @Test("an authentic header with an unknown command is malformed and dropped")
    func unknownCommand() throws {
        let pair = try Pair()
        let link = try pair.connect()
        // A control message nobody knows, inside a link that is sound.
        #expect(
            pair.left.send(
                [99, 1, 2],
                header: header(.linkControl),
                link: link.left,
                now: pair.now
            )
        )
        pair.run(for: .milliseconds(50))
        #expect(pair.right.verdicts.last == .dropped(.malformed))
        #expect(pair.right.table.drops[LinkDrop.malformed.rawValue] == 1)
    }

    @Test("padding is noise: it is consumed and keeps the link")
    func padding() throws {
        let pair = try Pair()
        let link = try pair.connect()
        #expect(pair.left.send([1, 2], header: header(.padding), link: link.left, now: pair.now))
        pair.run(for: .milliseconds(50))
        #expect(pair.right.verdicts.last == .consumed)
        #expect(pair.right.cells.isEmpty)
    }

    @Test("row 4: a client's link follows it to a new address with its newest datagram")
    func roamingClient() throws {
        let pair = try Pair()
        let link = try pair.connect()
        let old = pair.left.address
        let late = try capture(pair, pair.left, .create, link: link.left)
        let new = SocketAddress(ip: IPAddress(v4: 0x0a00_0077), port: 4242)
        pair.left.address = new
        #expect(pair.left.send([1], header: header(.create), link: link.left, now: pair.now))
        pair.run(for: .milliseconds(50))
        #expect(pair.right.events.last == .roamed(link.right, new))
        #expect(pair.right.send([2], header: header(.created), link: link.right, now: pair.now))
        pair.run(for: .milliseconds(50))
        #expect(pair.log.last { $0.source == pair.right.address }?.destination == new)
        #expect(pair.left.cells.count == 1)
        // A late datagram from the old address does not pull the link back.
        pair.right.receive(late, from: old, now: pair.now)
        #expect(pair.right.cells.count == 2)
        #expect(
            pair.right.peerAddress(of: link.right)
                == new
        )
    }

    @Test("row 11: a client that writes another's address gets little sent there until it answers")
    func spoofedAddress() throws {
        let pair = try Pair()
        let link = try pair.connect()
        let victim = SocketAddress(ip: IPAddress(v4: 0x0a00_0077), port: 4242)
        func sentToVictim() -> Int { pair.log.filter { $0.destination == victim }.count }
        // One datagram under the victim's address; all PINGs go there and are not answered.
        let cell = try capture(pair, pair.left, .create, link: link.left)
        pair.right.receive(cell, from: victim, now: pair.now)
        for _ in 0..<200 {
            _ = pair.right.send([1], header: header(.created), link: link.right, now: pair.now)
            pair.run(for: .milliseconds(1))
        }
        // Cells leave the last one to a second PING.
        #expect(sentToVictim() < LinkTable.creditPerDatagram)
        pair.run(for: .milliseconds(500))
        #expect(sentToVictim() == LinkTable.creditPerDatagram)
        // Each further one buys as many, no more; answers to older PINGs prove nothing.
        for round in 2...20 {
            #expect(pair.left.send(.pong(nonce: 0), link: link.left, now: pair.now))
            let next = try #require(pair.left.drain(now: pair.now).last).bytes
            pair.right.receive(next, from: victim, now: pair.now)
            for _ in 0..<20 {
                _ = pair.right.send([1], header: header(.created), link: link.right, now: pair.now)
            }
            pair.run(for: .milliseconds(500))
            #expect(sentToVictim() <= round * LinkTable.creditPerDatagram)
        }
    }

    @Test(
        "row 4: a client that moves gets all it asked for at its new address within 3 s",
        arguments: 0..<10 as Range<UInt64>
    )
    func provenAddress(seed: UInt64) throws {
        let pair = try Pair(seed: seed)
        let link = try pair.connect()
        pair.left.address = SocketAddress(ip: IPAddress(v4: 0x0a00_0077), port: 4242)
        pair.faults.loss = seed < 5 ? 0 : 300
        // The client asks now and then; a download runs all the while.
        var refused = 0
        let start = pair.now
        while pair.now < start + .seconds(5) {
            _ = pair.left.send([1], header: header(.create), link: link.left, now: pair.now)
            for _ in 0..<50 {
                let isSent = pair.right.send(
                    [1],
                    header: header(.created),
                    link: link.right,
                    now: pair.now
                )
                if !isSent, pair.now > start + (seed < 5 ? .milliseconds(60) : .seconds(3)) {
                    refused += 1
                }
                pair.run(for: .milliseconds(2))
            }
        }
        #expect(refused == 0)
        #expect(pair.left.cells.count > 1000)
    }

    @Test("a link of two relays stays at the address the consensus names")
    func roamingRelay() throws {
        let pair = try Pair(isLeftRelay: true)
        let link = try pair.connect()
        let old = pair.left.address
        let cell = try capture(pair, pair.left, .create, link: link.left)
        let elsewhere = SocketAddress(ip: IPAddress(v4: 0x0a00_0077), port: 4242)
        pair.right.receive(cell, from: elsewhere, now: pair.now)
        #expect(pair.right.cells.count == 1)
        #expect(
            pair.right.peerAddress(of: link.right)
                == old
        )
        // Nor does the end that dialled follow the one it dialled.
        let answer = try capture(pair, pair.right, .created, link: link.right)
        pair.left.receive(answer, from: elsewhere, now: pair.now)
        #expect(pair.left.cells.count == 1)
        #expect(
            pair.left.peerAddress(of: link.left)
                == pair.right.address
        )
    }

    @Test("row 17: no number is used twice under one session, and a session ends before its last")
    func packetLimit() throws {
        var timing = LinkTable.Timing()
        timing.packetLimit = 50
        timing.rekeyPacketCount = 1000
        let pair = try Pair(timing: timing)
        let link = try pair.connect()
        var sent = 0
        while pair.left.send([1], header: header(.create), link: link.left, now: pair.now) {
            sent += 1
            try #require(sent < 100)
        }
        pair.flush()
        let numbers = pair.sent(by: pair.left, since: 0).filter { $0.bytes[0..<4] != [0, 0, 0, 0] }
            .map { $0.bytes[0..<8] }
        #expect(numbers.count == 50)
        #expect(Set(numbers).count == numbers.count)
        // The link is of no use any more: it is given up rather than left mute.
        pair.run(for: .milliseconds(10))
        #expect(pair.left.events.last == .lost(link.left))
        #expect(LinkTable.Timing().packetLimit == UInt32.max - 8192)
    }

    @Test("row 15: session numbers an attacker guesses cost one look-up each")
    func unknownSessions() throws {
        let pair = try Pair()
        _ = try pair.connect()
        var bytes = [UInt8](repeating: 1, count: Datagram.byteCount)
        for number in 1...2000 {
            bytes[0] = UInt8(number >> 8)
            bytes[1] = UInt8(number & 255)
            let verdict = pair.right.receive(bytes, from: pair.left.address, now: pair.now)
            #expect(verdict == .dropped(.unknownSession))
        }
        #expect(pair.right.table.drops[LinkDrop.unknownSession.rawValue] == 2000)
        #expect(pair.right.drain(now: pair.now).isEmpty)
    }
}
