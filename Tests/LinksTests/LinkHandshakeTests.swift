import Base
import CryptoPrimitives
import Links
import Onion
import TestSupport
import Testing
import Wire

@Suite("Opening links")
struct LinkHandshakeTests {
    @Test("a client opens a link and cells pass both ways, sealed bodies opened")
    func client() throws {
        let pair = try Pair()
        let link = try pair.connect()
        #expect(
            pair.left.peer(of: link.left)
                == .relay(pair.right.relay)
        )
        #expect(
            pair.right.peer(of: link.right)
                == .client
        )
        for command in CellCommand.allCases
        where command != .padding && command != .linkControl {
            let body = pair.left.random.bytes(command.sealsBody ? 1208 : Datagram.bodyByteCount)
            let header = header(command, circuit: 0x8000_0001, counter: 0x4000_0003)
            #expect(pair.left.send(body, header: header, link: link.left, now: pair.now))
            #expect(pair.right.send(body, header: header, link: link.right, now: pair.now))
            pair.run(for: .milliseconds(50))
            for (end, id) in [(pair.left, link.left), (pair.right, link.right)] {
                let cell = try #require(end.cells.last)
                #expect(cell.link == id)
                #expect(cell.header == header)
                #expect(Array(cell.body.prefix(body.count)) == body)
            }
        }
        #expect(pair.left.table.drops.allSatisfy { $0 == 0 })
        #expect(pair.right.table.drops.allSatisfy { $0 == 0 })
    }

    @Test("a relay says where it was asked from, under the seal of the handshake")
    func seenAddress() throws {
        let pair = try Pair()
        _ = try pair.connect()
        #expect(pair.left.seenAddress == pair.left.address)
    }

    @Test("a relay that opens a link proves who it is")
    func relay() throws {
        let pair = try Pair(isLeftRelay: true)
        let link = try pair.connect()
        #expect(
            pair.right.peer(of: link.right)
                == .relay(pair.left.relay)
        )
    }

    @Test("every datagram has the one size, whoever sends it")
    func oneSize() throws {
        let pair = try Pair()
        _ = try pair.connect()
        pair.run(for: .seconds(40))
        #expect(pair.log.count > 5)
        #expect(pair.log.allSatisfy { $0.bytes.count == Datagram.byteCount })
    }

    @Test(
        "row 6: with loss, duplicates, reordering and damage a link stands or is reported failed",
        arguments: 0..<40 as Range<UInt64>
    )
    func faults(seed: UInt64) throws {
        let pair = try Pair(
            seed: seed,
            isLeftRelay: seed.isMultiple(of: 2),
            faults: .init(loss: 250, duplicate: 200, corrupt: 100, jitterMilliseconds: 400)
        )
        let id = try #require(pair.left.dial(pair.right.target, now: pair.now))
        let isSettled = pair.run(within: .seconds(10)) {
            pair.left.failed.contains(id)
                || pair.right.events.contains {
                    if case .confirmed = $0 { true } else { false }
                }
        }
        #expect(isSettled)
        // At most one link a side comes of one attempt, however often its datagrams arrive.
        #expect(pair.left.table.count <= 1)
        #expect(pair.right.established.count <= 1)
        guard pair.left.failed.isEmpty else { return }
        #expect(pair.left.established == [id])
        pair.faults = .init()
        pair.run(for: .seconds(1))
        let body = pair.left.random.bytes(100)
        #expect(pair.left.send(body, header: header(.create), link: id, now: pair.now))
        pair.run(for: .seconds(1))
        #expect(pair.right.cells.contains { Array($0.body.prefix(100)) == body })
    }

    @Test("without an answer five INITs leave, further apart each time, then the attempt fails")
    func silence() throws {
        let pair = try Pair()
        pair.isCut = { _ in true }
        let id = try #require(pair.left.dial(pair.right.target, now: pair.now))
        let start = pair.now
        #expect(pair.run(within: .seconds(30)) { pair.left.failed == [id] })
        let times = pair.log.map { ($0.time - start).nanoseconds / 1_000_000 }
        #expect(times == [0, 300, 750, 1425, 2437])
        // The same bytes each time: the relay can tell repetitions.
        #expect(Set(pair.log.map(\.bytes)).count == 1)
    }

    @Test("a public key that is none fails the attempt at once")
    func badKey() throws {
        let pair = try Pair()
        let target = LinkTarget(
            network: pair.right.network,
            relay: pair.right.relay,
            address: pair.right.address,
            publicKey: [1, 2, 3]
        )
        let id = try #require(pair.left.dial(target, now: pair.now))
        pair.flush()
        #expect(pair.left.failed == [id])
        #expect(pair.log.isEmpty)
    }

    @Test("256 attempts run at a time, no more, and cancelled ones make room")
    func attemptLimit() throws {
        let end = try End(seed: 1, address: Pair.leftAddress, isRelay: false, now: .zero)
        let target = end.target
        for number in 0..<256 as Range<UInt64> {
            #expect(end.dial(target, as: LinkID(rawValue: number), now: .zero))
        }
        #expect(!end.dial(target, as: LinkID(rawValue: 256), now: .zero))
        end.dialer.cancel(LinkID(rawValue: 3))
        #expect(end.dial(target, as: LinkID(rawValue: 256), now: .zero))
        #expect(!end.dial(target, as: LinkID(rawValue: 256), now: .zero))
    }

    @Test("crossed initiations give two links that do not disturb each other")
    func crossed() throws {
        let pair = try Pair(isLeftRelay: true)
        let mine = try #require(pair.left.dial(pair.right.target, now: pair.now))
        let theirs = try #require(pair.right.dial(pair.left.target, now: pair.now))
        pair.run(for: .seconds(1))
        #expect(pair.left.table.count == 2)
        #expect(pair.right.table.count == 2)
        let body = pair.left.random.bytes(64)
        #expect(pair.left.send(body, header: header(.create), link: mine, now: pair.now))
        #expect(pair.right.send(body, header: header(.created), link: theirs, now: pair.now))
        pair.run(for: .seconds(30))
        #expect(pair.left.cells.count == 1)
        #expect(pair.right.cells.count == 1)
        #expect(pair.left.table.count == 2)
        #expect(pair.right.table.count == 2)
    }

    @Test("a change of any byte of RESP is ignored, and the true answer still counts")
    func tamperedResponse() throws {
        let pair = try Pair()
        let id = try #require(pair.left.dial(pair.right.target, now: pair.now))
        pair.flush()
        let initiation = try #require(pair.log.last)
        pair.right.receive(initiation.bytes, from: pair.left.address, now: pair.now)
        let response = try #require(pair.right.drain(now: pair.now).first).bytes
        // Session numbers, key and sealed message; what is behind them is filler.
        for index in 12..<16 + CreatedBody.byteCount {
            let spoilt = response.flipping(bit: index * 8 + index % 8)
            pair.left.receive(spoilt, from: pair.right.address, now: pair.now)
            pair.flush()
            #expect(pair.left.established.isEmpty, "byte \(index)")
        }
        pair.left.receive(response, from: pair.right.address, now: pair.now)
        pair.flush()
        #expect(pair.left.established == [id])
        pair.left.receive(response, from: pair.right.address, now: pair.now)
        pair.flush()
        #expect(pair.left.established == [id])
    }
}
