import Base
import Circuits
import CryptoPrimitives
import Onion
import TestSupport
import Testing
import Wire

/// A circuit of three hops without links: cells are handed from path to path.
private final class Circuit {
    static let body = Datagram.bodyOffset
    var client = ClientPath(
        id: CircuitID(rawValue: 1),
        number: CircuitNumber(rawValue: 0x8000_0007)
    )
    var relays: [Relay] = []
    var random: RandomGenerator
    let early: [Secret]
    let forward: [Secret]
    let backward: [Secret]

    final class Relay {
        var path: RelayPath

        init(_ path: consuming RelayPath) {
            self.path = path
        }
    }

    /// A datagram with the counter its link header carries.
    struct Cell {
        var bytes: [UInt8]
        var counter: LayerCounter
    }

    init(seed: UInt64 = 1, isReady: Bool = true, takesEarly: Bool = true) {
        var random = RandomGenerator(testSeed: seed)
        early = (0..<3).map { _ in random.secret(byteCount: 32) }
        forward = (0..<3).map { _ in random.secret(byteCount: 32) }
        backward = (0..<3).map { _ in random.secret(byteCount: 32) }
        for hop in HopIndex.all {
            relays.append(
                Relay(
                    RelayPath(
                        id: CircuitID(rawValue: 9),
                        hop: hop,
                        early: takesEarly ? early[hop.offset] : nil,
                        forward: forward[hop.offset],
                        backward: backward[hop.offset],
                        start: UInt32(random.next(below: 1 << 29))
                    )
                )
            )
            client.setEarly(
                early[hop.offset],
                start: UInt32(random.next(below: 1 << 29)),
                at: hop
            )
        }
        self.random = random
        if isReady { HopIndex.all.forEach(setKeys) }
    }

    func setKeys(_ hop: HopIndex) {
        client.setKeys(
            forward: forward[hop.offset],
            backward: backward[hop.offset],
            start: UInt32(random.next(below: 1 << 29)),
            at: hop
        )
    }

    func canSend(to hop: HopIndex) -> Bool {
        client.canSend(to: hop)
    }

    func canSealBackward(_ hop: HopIndex) -> Bool {
        relays[hop.offset].path.canSealBackward
    }

    func forwardCells(_ hop: HopIndex) -> UInt64 {
        relays[hop.offset].path.forwardCells
    }

    /// A cell of the client for `hop` with `payload`, zero padded.
    func seal(
        _ payload: [UInt8],
        for hop: HopIndex,
        command: LayerCommand = .deliver
    ) -> Cell {
        var bytes = [UInt8](repeating: 0, count: Datagram.byteCount)
        bytes.replaceSubrange(Self.body..<Self.body + payload.count, with: payload)
        var elements = bytes.mutableSpan
        var span = elements.mutableBytes
        let header = client.seal(&span, body: Self.body, for: hop, command: command)
        #expect(header.command == .forward)
        #expect(header.circuit == client.number)
        return Cell(bytes: bytes, counter: LayerCounter(rawValue: header.counter))
    }

    /// Lets the relay at `hop` open `cell` and, where it passes it on, put filler behind.
    func open(_ cell: inout Cell, at hop: HopIndex) -> RelayPath.Forwarded {
        let counter = cell.counter
        var elements = cell.bytes.mutableSpan
        var span = elements.mutableBytes
        let verdict = relays[hop.offset].path.openForward(
            &span,
            body: Self.body,
            counter: counter
        )
        if case .pass(let next) = verdict {
            let start = Self.body + OnionLayer.innerByteCount(at: hop)
            random.fill(&span, range: start..<Datagram.byteCount)
            cell.counter = next
        }
        return verdict
    }

    /// Takes `cell` through the relays from `first` on, to the first that does not pass it.
    func carry(
        _ cell: inout Cell,
        from first: HopIndex = .first
    ) -> (RelayPath.Forwarded, HopIndex) {
        var hop = first
        while true {
            let verdict = open(&cell, at: hop)
            guard case .pass = verdict, let next = hop.next else { return (verdict, hop) }
            hop = next
        }
    }

    /// A cell of the relay at `hop` on its way back to the client.
    func answer(
        _ payload: [UInt8],
        from hop: HopIndex,
        header: LayerHeader = LayerHeader(command: .deliver)
    ) -> Cell {
        var cell = Cell(
            bytes: [UInt8](repeating: 0, count: Datagram.byteCount),
            counter: LayerCounter(rawValue: 0)
        )
        cell.bytes.replaceSubrange(Self.body..<Self.body + payload.count, with: payload)
        var header = header
        for index in stride(from: hop.offset, through: 0, by: -1) {
            sealBackward(&cell, at: HopIndex.all[index], header: header)
            header = LayerHeader(command: .forward, nextCounter: cell.counter.rawValue)
        }
        return cell
    }

    func sealBackward(_ cell: inout Cell, at hop: HopIndex, header: LayerHeader) {
        var elements = cell.bytes.mutableSpan
        var span = elements.mutableBytes
        let counter = relays[hop.offset].path.sealBackward(
            &span,
            body: Self.body,
            header: header
        )
        cell.counter = counter
    }

    func open(_ cell: inout Cell) -> ClientPath.Opened {
        let counter = cell.counter
        var elements = cell.bytes.mutableSpan
        var span = elements.mutableBytes
        return client.open(&span, body: Self.body, counter: counter)
    }

    func resume(_ cell: inout Cell, from position: ClientPath.Position) -> ClientPath.Opened {
        var elements = cell.bytes.mutableSpan
        var span = elements.mutableBytes
        return client.resume(&span, body: Self.body, from: position)
    }
}

extension Circuit.Cell {
    func begins(with payload: [UInt8]) -> Bool {
        Array(bytes[Circuit.body..<Circuit.body + payload.count]) == payload
    }
}

@Suite("Cells along a circuit")
struct PathTests {
    @Test(
        "what the client seals for a hop arrives there, and back",
        arguments: 0..<8 as Range<UInt64>
    )
    func thereAndBack(seed: UInt64) {
        let circuit = Circuit(seed: seed)
        for round in 0..<10 {
            for hop in HopIndex.all {
                let payload = circuit.random.bytes(OnionLayer.innerByteCount(at: hop))
                var cell = circuit.seal(payload, for: hop)
                let (verdict, reached) = circuit.carry(&cell)
                #expect(verdict == .records(isEarly: false), "round \(round)")
                #expect(reached == hop)
                #expect(cell.begins(with: payload))
                var answer = circuit.answer(payload, from: hop)
                let opened = circuit.open(&answer)
                #expect(opened == .records(hop, []))
                #expect(answer.begins(with: payload))
            }
        }
        #expect(circuit.forwardCells(.first) == 30)
        #expect(circuit.forwardCells(.third) == 10)
        #expect(circuit.client.sentCells == 30)
        #expect(circuit.client.receivedCells == 30)
    }

    @Test("cells may come in any order, each once")
    func reordered() {
        let circuit = Circuit()
        var cells = (0..<100).map { circuit.seal([UInt8($0)], for: .third) }
        cells.reverse()
        for cell in cells {
            var copy = cell
            #expect(circuit.carry(&copy).0 == .records(isEarly: false))
            var replay = cell
            #expect(circuit.carry(&replay).0 == .dropped(.replayed))
        }
        var answers = (0..<100).map { circuit.answer([UInt8($0)], from: .third) }
        answers.reverse()
        for answer in answers {
            var copy = answer
            #expect(circuit.open(&copy) == .records(.third, []))
            var replay = answer
            #expect(circuit.open(&replay) == .dropped(.replayed))
        }
    }

    @Test("row 21: a cell changed anywhere behind the first hop is dropped by the second")
    func tagged() {
        let circuit = Circuit()
        let plain = [UInt8](repeating: 0x77, count: 500)
        var passed = circuit.seal(plain, for: .third)
        #expect(circuit.open(&passed, at: .first).isPass)
        let layer = Circuit.body * 8..<(Circuit.body + OnionLayer.byteCount(at: .second)) * 8
        for bit in stride(from: layer.lowerBound, to: layer.upperBound, by: 7) {
            var tagged = passed
            tagged.bytes = tagged.bytes.flipping(bit: bit)
            #expect(circuit.open(&tagged, at: .second) == .dropped(.forged))
        }
        for change in [1, 2, 1 << 29, 1 << 30] as [UInt32] {
            var tagged = passed
            tagged.counter = LayerCounter(rawValue: tagged.counter.rawValue ^ change)
            let verdict = circuit.open(&tagged, at: .second)
            #expect(verdict == .dropped(.forged) || verdict == .dropped(.earlyRefused))
        }
        // Filler is not the client's: what the first hop writes there reaches nobody.
        var marked = passed
        for index in layer.upperBound / 8..<Datagram.byteCount { marked.bytes[index] = 0xff }
        #expect(circuit.open(&marked, at: .second).isPass)
        #expect(!marked.bytes.suffix(24).allSatisfy { $0 == 0xff })
        #expect(circuit.open(&marked, at: .third) == .records(isEarly: false))
        #expect(marked.begins(with: plain))
    }

    @Test("row 21: a cell of another circuit, or for another hop, is forged")
    func misdirected() {
        let circuit = Circuit(seed: 1)
        let other = Circuit(seed: 2)
        var cell = circuit.seal([1], for: .third)
        #expect(other.open(&cell, at: .first) == .dropped(.forged))
        var skipped = circuit.seal([1], for: .third)
        #expect(circuit.open(&skipped, at: .second) == .dropped(.forged))
        var answer = circuit.answer([1], from: .second)
        #expect(other.open(&answer) == .dropped(.forged))
    }

    @Test("row 20: eight early cells are taken, the ninth is refused; forged ones do not count")
    func earlyLimit() {
        let circuit = Circuit(isReady: false)
        for number in 0..<8 as Range<UInt8> {
            var forged = circuit.seal([number], for: .first)
            let honest = forged
            forged.bytes[Circuit.body] ^= 1
            #expect(circuit.open(&forged, at: .first) == .dropped(.forged))
            var cell = honest
            #expect(circuit.open(&cell, at: .first) == .records(isEarly: true))
            #expect(cell.begins(with: [number]))
            var replay = honest
            let verdict = circuit.open(&replay, at: .first)
            #expect(verdict == .dropped(number == 7 ? .earlyRefused : .replayed))
        }
        var ninth = circuit.seal([9], for: .first)
        #expect(circuit.open(&ninth, at: .first) == .dropped(.earlyRefused))
        circuit.setKeys(.first)
        var main = circuit.seal([10], for: .first)
        #expect(circuit.open(&main, at: .first) == .records(isEarly: false))
    }

    @Test("row 20: early cells end with the first main cell, though not with a forged one")
    func earlyEnds() {
        let circuit = Circuit(isReady: false)
        let late = circuit.seal([1], for: .first)
        var first = circuit.seal([2], for: .first)
        #expect(circuit.open(&first, at: .first) == .records(isEarly: true))
        var forged = Circuit.Cell(
            bytes: circuit.random.bytes(Datagram.byteCount),
            counter: LayerCounter(epoch: 1, count: 5)
        )
        #expect(circuit.open(&forged, at: .first) == .dropped(.forged))
        var second = circuit.seal([3], for: .first)
        #expect(circuit.open(&second, at: .first) == .records(isEarly: true))
        circuit.setKeys(.first)
        var main = circuit.seal([4], for: .first)
        #expect(circuit.open(&main, at: .first) == .records(isEarly: false))
        var copy = late
        #expect(circuit.open(&copy, at: .first) == .dropped(.earlyRefused))
    }

    @Test("where early data is refused no early cell opens, and main cells do")
    func earlyRefused() {
        let circuit = Circuit(isReady: false, takesEarly: false)
        var early = circuit.seal([1], for: .first)
        #expect(circuit.open(&early, at: .first) == .dropped(.earlyRefused))
        circuit.setKeys(.first)
        var main = circuit.seal([1], for: .first)
        #expect(circuit.open(&main, at: .first) == .records(isEarly: false))
    }

    @Test("extensions pass under early keys, through hops that have main keys or not")
    func earlyThrough() {
        let circuit = Circuit(isReady: false)
        var cell = circuit.seal([1], for: .second)
        let (verdict, reached) = circuit.carry(&cell)
        #expect(verdict == .records(isEarly: true))
        #expect(reached == .second)
        circuit.setKeys(.first)
        var mixed = circuit.seal([2], for: .second)
        #expect(mixed.counter.epoch == 1)
        let (again, place) = circuit.carry(&mixed)
        #expect(again == .records(isEarly: true))
        #expect(place == .second)
        #expect(mixed.begins(with: [2]))
    }

    @Test("an answer whose keys are not there yet waits and is resumed")
    func waiting() {
        let circuit = Circuit(isReady: false)
        var answer = circuit.answer([1, 2, 3], from: .third)
        guard case .waiting(let first) = circuit.open(&answer) else {
            Issue.record("did not wait for the first hop")
            return
        }
        #expect(first.hop == .first)
        #expect(first.counter == answer.counter)
        circuit.setKeys(.first)
        guard case .waiting(let second) = circuit.open(&answer) else {
            Issue.record("did not wait for the second hop")
            return
        }
        #expect(second.hop == .second)
        guard case .waiting(let still) = circuit.resume(&answer, from: second) else {
            Issue.record("did not go on waiting")
            return
        }
        #expect(still == second)
        circuit.setKeys(.second)
        circuit.setKeys(.third)
        #expect(circuit.resume(&answer, from: second) == .records(.third, []))
        #expect(answer.begins(with: [1, 2, 3]))
        #expect(circuit.client.receivedCells == 1)
        // The layer that opened counts as seen: a copy of the cell is a replay.
        var copy = circuit.answer([4], from: .first)
        #expect(circuit.open(&copy) == .records(.first, []))
    }

    @Test("row 23: cover and parity end where they are sent, and say nothing")
    func cover() {
        let circuit = Circuit()
        for command in [LayerCommand.drop, .parity] {
            for hop in HopIndex.all {
                var cell = circuit.seal([1], for: hop, command: command)
                let (verdict, reached) = circuit.carry(&cell)
                #expect(verdict == .nothing)
                #expect(reached == hop)
            }
            var answer = circuit.answer([1], from: .second, header: LayerHeader(command: command))
            #expect(circuit.open(&answer) == .nothing([]))
        }
    }

    @Test("row 22: a third hop that claims a fourth behind it is malformed to the client")
    func fourthHop() {
        let circuit = Circuit()
        var answer = circuit.answer(
            [1],
            from: .third,
            header: LayerHeader(command: .forward, nextCounter: 0x4000_0001)
        )
        #expect(circuit.open(&answer) == .dropped(.malformed))
    }

    @Test("row 22: a hop cannot speak for the one behind it")
    func speaksForAnother() {
        let circuit = Circuit()
        // The second hop wraps what it made itself as though the third had sealed it.
        var cell = Circuit.Cell(
            bytes: circuit.random.bytes(Datagram.byteCount),
            counter: LayerCounter(epoch: 1, count: 1)
        )
        circuit.sealBackward(
            &cell,
            at: .second,
            header: LayerHeader(command: .forward, nextCounter: 0x4000_0001)
        )
        let inner = cell.counter.rawValue
        circuit.sealBackward(
            &cell,
            at: .first,
            header: LayerHeader(command: .forward, nextCounter: inner)
        )
        #expect(circuit.open(&cell) == .dropped(.forged))
    }

    @Test("marks of congestion and payment reach the client from the hop that set them")
    func flags() {
        let circuit = Circuit()
        let header = LayerHeader(command: .deliver, flags: [.congestionExperienced, .unpaid])
        var answer = circuit.answer([1], from: .second, header: header)
        #expect(circuit.open(&answer) == .records(.second, [.congestionExperienced, .unpaid]))
    }

    @Test("without keys nothing can be sent; with early keys to hops that have them")
    func keys() {
        var path = ClientPath(id: CircuitID(rawValue: 1), number: CircuitNumber(rawValue: 1))
        for hop in HopIndex.all {
            let can = path.canSend(to: hop)
            #expect(!can)
        }
        path.setEarly(.numbered(1), start: 0, at: .first)
        let toFirst = path.canSend(to: .first)
        let toSecond = path.canSend(to: .second)
        #expect(toFirst)
        #expect(!toSecond)
        let circuit = Circuit()
        #expect(HopIndex.all.allSatisfy { circuit.canSend(to: $0) })
        #expect(HopIndex.all.allSatisfy { circuit.canSealBackward($0) })
    }

    @Test("sealing for a hop without keys stops the program")
    func noKeys() async {
        await #expect(processExitsWith: .failure) {
            var path = ClientPath(id: CircuitID(rawValue: 1), number: CircuitNumber(rawValue: 1))
            var bytes = [UInt8](repeating: 0, count: Datagram.byteCount)
            var elements = bytes.mutableSpan
            var span = elements.mutableBytes
            _ = path.seal(&span, body: 36, for: .first)
        }
    }
}

extension RelayPath.Forwarded {
    fileprivate var isPass: Bool {
        if case .pass = self { true } else { false }
    }
}
