import Base
import Circuits
import CryptoPrimitives
import TestSupport
import Testing
import Wire

@Suite("Parity of the middle's layer")
struct ParityTests {
    /// A client's path and its middle's, both with parity, and the guard's layer between them.
    private struct Pair: ~Copyable {
        var client = ClientPath(
            id: CircuitID(rawValue: 1),
            number: CircuitNumber(rawValue: 1 << 31 | 1)
        )
        var first = Pair.relay(.first, 1)
        var middle = Pair.relay(.second, 2)

        init() {
            client.useParity()
            for (number, hop) in HopIndex.all.enumerated() {
                client.setKeys(
                    forward: .numbered(UInt64(number) * 2 + 1),
                    backward: .numbered(UInt64(number) * 2 + 2),
                    start: 1_000,
                    at: hop
                )
            }
        }

        static func relay(_ hop: HopIndex, _ number: UInt64) -> RelayPath {
            RelayPath(
                id: CircuitID(rawValue: number),
                hop: hop,
                early: nil,
                forward: .numbered(number * 2 - 1),
                backward: .numbered(number * 2),
                start: 1_000,
                hasParity: hop == .second
            )
        }

        /// Bytes of the next forward cell: parity, or one that says `value` to the exit.
        mutating func next(_ value: UInt8) -> (header: LinkHeader, cell: [UInt8], isParity: Bool) {
            var memory = [UInt8](repeating: 0, count: Datagram.byteCount)
            var span = memory.mutableSpan
            var bytes = unsafe span.mutableBytes
            let isParity = client.owesParity
            let body = Datagram.bodyOffset
            let header: LinkHeader
            let schedule = ClientPath.Schedule(tellsGuard: true, hold: UInt16(value))
            if isParity {
                header = client.sealParity(&bytes, body: body, schedule: schedule)
            } else {
                bytes.zero(body..<body + Datagram.bodyByteCount)
                bytes.storeBigEndian(value, at: body)
                header = client.seal(&bytes, body: body, for: .third, schedule: schedule)
            }
            return (header, bytes.bytes.copyBytes(body..<body + Datagram.bodyByteCount), isParity)
        }

        /// What the middle makes of a cell, and of one that is brought back by it.
        mutating func take(
            _ header: LinkHeader,
            _ cell: [UInt8]
        ) -> (outcome: RelayPath.Forwarded, rebuilt: RelayPath.Forwarded?, inside: [UInt8]) {
            var memory = [UInt8](repeating: 0, count: Datagram.byteCount)
            var span = memory.mutableSpan
            var bytes = unsafe span.mutableBytes
            let body = Datagram.bodyOffset
            bytes.copy(cell, to: body)
            let counter = LayerCounter(rawValue: header.counter)
            guard
                case .pass(let next) = first.openForward(&bytes, body: body, counter: counter)
            else { return (.nothing, nil, []) }
            let outcome = middle.openForward(&bytes, body: body, counter: next)
            guard middle.hasRebuilt else { return (outcome, nil, []) }
            let rebuilt = middle.takeRebuilt(&bytes, body: body)
            let end = body + OnionLayer.innerByteCount(at: .second)
            return (outcome, rebuilt, bytes.bytes.copyBytes(body..<end))
        }

    }

    @Test(
        "every fifth cell is parity, and the one of five that is lost comes back",
        arguments: 0..<5
    )
    func forward(lost: Int) {
        var pair = Pair()
        for group in 0..<6 {
            var passed: [RelayPath.Forwarded] = []
            var wanted: RelayPath.Forwarded?
            var rebuilt: [RelayPath.Forwarded] = []
            for place in 0..<5 {
                let (header, cell, isParity) = pair.next(UInt8(group * 5 + place + 1))
                #expect(isParity == (place == 4))
                guard place != lost else {
                    // Of the exit's counts parity takes none.
                    wanted = .pass(LayerCounter(epoch: 1, count: UInt32(1_000 + group * 4 + place)))
                    continue
                }
                let taken = pair.take(header, cell)
                passed.append(taken.outcome)
                if let found = taken.rebuilt { rebuilt.append(found) }
            }
            if lost == 4 {
                #expect(rebuilt.isEmpty)
            } else {
                #expect(rebuilt == [wanted].compactMap(\.self), "group \(group)")
                #expect(pair.middle.opened.header.auxiliary == UInt16(group * 5 + lost + 1))
                #expect(pair.middle.opened.count == UInt32(1_000 + group * 5 + lost))
            }
            #expect(passed.count == 4)
        }
    }

    @Test("a cell that was brought back does not pass again when it comes late")
    func late() {
        var pair = Pair()
        var kept: (LinkHeader, [UInt8])?
        var rebuilt = 0
        for place in 0..<5 {
            let (header, cell, _) = pair.next(UInt8(place + 1))
            if place == 1 {
                kept = (header, cell)
                continue
            }
            if pair.take(header, cell).rebuilt != nil { rebuilt += 1 }
        }
        #expect(rebuilt == 1)
        guard let (header, cell) = kept else { return }
        let late = pair.take(header, cell)
        #expect(late.outcome == .dropped(.replayed))
        #expect(late.rebuilt == nil)
    }

    @Test("two lost cells of a group stay lost")
    func two() {
        var pair = Pair()
        for place in 0..<5 {
            let (header, cell, _) = pair.next(UInt8(place + 1))
            guard place != 1 && place != 2 else { continue }
            let rebuilt = pair.take(header, cell).rebuilt
            #expect(rebuilt == nil)
        }
    }
}
