import Base
import CryptoPrimitives
import TestSupport
import Testing
import Wire

@testable import Onion

/// A cell body under test, and what surrounds it in the arena.
private struct Body {
    static let margin = 48
    var bytes: [UInt8]

    init(_ random: inout RandomGenerator) {
        bytes = random.bytes(Self.margin * 2 + Datagram.bodyByteCount)
    }

    var inside: ArraySlice<UInt8> {
        bytes[Self.margin..<Self.margin + Datagram.bodyByteCount]
    }

    mutating func withSpan<R>(_ work: (inout MutableRawSpan) -> R) -> R {
        var elements = bytes.mutableSpan
        var span = elements.mutableBytes
        return work(&span)
    }

    mutating func seal(
        _ sealer: inout LayerSealer,
        _ hop: HopIndex,
        _ header: LayerHeader
    ) -> LayerCounter {
        withSpan { sealer.seal(&$0, layerAt: Self.margin, hop: hop, header: header) }
    }

    mutating func open(
        _ opener: inout LayerOpener,
        _ hop: HopIndex,
        _ counter: LayerCounter
    ) -> LayerOpener.Verdict {
        withSpan { opener.open(&$0, layerAt: Self.margin, hop: hop, counter: counter) }
    }

    /// What a relay puts behind the inner layer it passes on.
    mutating func fill(behind hop: HopIndex, _ random: inout RandomGenerator) {
        let start = Self.margin + OnionLayer.innerByteCount(at: hop)
        let end = Self.margin + Datagram.bodyByteCount
        withSpan { random.fill(&$0, range: start..<end) }
    }
}

@Suite("Onion layers")
struct LayerTests {
    @Test("a layer opens to what was sealed, at each depth, and touches nothing behind it")
    func roundTrip() {
        for hop in HopIndex.all {
            var random = RandomGenerator(testSeed: UInt64(hop.rawValue))
            var sealer = LayerSealer(key: .numbered(1), epoch: 2, start: 77)
            var opener = LayerOpener(key: .numbered(1), epoch: 2)
            for round in 0..<50 as Range<UInt16> {
                var body = Body(&random)
                let plain = body.bytes
                let header = LayerHeader(
                    command: .deliver,
                    flags: [.congestionExperienced, .slotHold],
                    auxiliary: round,
                    nextCounter: UInt32(round) << 16
                )
                let expected = sealer.nextCounter
                let counter = body.seal(&sealer, hop, header)
                #expect(counter == expected)
                #expect(counter == LayerCounter(epoch: 2, count: 77 + UInt32(round)))
                let inner = Body.margin + OnionLayer.innerByteCount(at: hop)
                let end = Body.margin + OnionLayer.byteCount(at: hop)
                #expect(body.bytes[..<Body.margin] == plain[..<Body.margin])
                #expect(body.bytes[Body.margin..<inner] != plain[Body.margin..<inner])
                #expect(body.bytes[end...] == plain[end...])
                #expect(body.open(&opener, hop, counter) == .opened(header))
                #expect(body.bytes[..<inner] == plain[..<inner])
                #expect(body.bytes[end...] == plain[end...])
            }
        }
    }

    @Test("row 21: a change of any bit of a layer is forged, and the true cell still opens")
    func tampered() {
        for hop in HopIndex.all {
            var random = RandomGenerator(testSeed: 5)
            var sealer = LayerSealer(key: .numbered(2), epoch: 1, start: 5)
            var opener = LayerOpener(key: .numbered(2), epoch: 1)
            var body = Body(&random)
            let plain = body.bytes
            let counter = body.seal(&sealer, hop, LayerHeader(command: .deliver))
            let sealed = body.bytes
            let start = Body.margin * 8
            for bit in start..<start + OnionLayer.byteCount(at: hop) * 8 {
                body.bytes = sealed.flipping(bit: bit)
                #expect(body.open(&opener, hop, counter) == .forged)
                // Nothing decrypted is left for whoever gets the cell next.
                #expect(body.bytes[Body.margin..<Body.margin + 64].allSatisfy { $0 == 0 })
            }
            body.bytes = sealed
            #expect(body.open(&opener, hop, counter) == .opened(LayerHeader(command: .deliver)))
            #expect(body.inside.prefix(1000) == plain[Body.margin..<Body.margin + 1000])
        }
    }

    @Test("row 21: a layer under another counter, epoch, depth or key is forged")
    func misplaced() {
        var random = RandomGenerator(testSeed: 6)
        var sealer = LayerSealer(key: .numbered(3), epoch: 1, start: 1000)
        var opener = LayerOpener(key: .numbered(3), epoch: 1)
        var stranger = LayerOpener(key: .numbered(4), epoch: 1)
        var body = Body(&random)
        let counter = body.seal(&sealer, .second, LayerHeader(command: .deliver))
        let sealed = body.bytes
        for other in [999, 1001, 0, 0x3fff_ffff] as [UInt32] {
            body.bytes = sealed
            let wrong = LayerCounter(epoch: 1, count: other)
            #expect(body.open(&opener, .second, wrong) == .forged)
        }
        for epoch in [0, 2, 3] as [UInt8] {
            body.bytes = sealed
            let wrong = LayerCounter(epoch: epoch, count: counter.count)
            #expect(body.open(&opener, .second, wrong) == .forged)
            #expect(body.bytes == sealed)
        }
        for hop in [HopIndex.first, .third] {
            body.bytes = sealed
            #expect(body.open(&opener, hop, counter) == .forged)
        }
        body.bytes = sealed
        #expect(body.open(&stranger, .second, counter) == .forged)
        body.bytes = sealed
        #expect(body.open(&opener, .second, counter) == .opened(LayerHeader(command: .deliver)))
    }

    @Test("row 8: a counter opens once, reordered within the window, not beyond it")
    func replayed() {
        var random = RandomGenerator(testSeed: 7)
        var sealer = LayerSealer(key: .numbered(5), epoch: 1, start: 1 << 28)
        var opener = LayerOpener(key: .numbered(5), epoch: 1, windowBitCount: 128)
        var cells: [(LayerCounter, [UInt8])] = []
        for _ in 0..<200 {
            var body = Body(&random)
            let counter = body.seal(&sealer, .first, LayerHeader(command: .drop))
            cells.append((counter, body.bytes))
        }
        var body = Body(&random)
        func open(_ index: Int) -> LayerOpener.Verdict {
            body.bytes = cells[index].1
            return body.open(&opener, .first, cells[index].0)
        }
        let fine = LayerOpener.Verdict.opened(LayerHeader(command: .drop))
        #expect(open(100) == fine)
        #expect(open(100) == .replayed)
        #expect(open(36) == fine)
        #expect(open(35) == .replayed)
        for index in 101..<200 { #expect(open(index) == fine) }
        for index in 0..<200 { #expect(open(index) == .replayed) }
    }

    @Test("a forger does not move the window")
    func forgedCounter() {
        var random = RandomGenerator(testSeed: 8)
        var sealer = LayerSealer(key: .numbered(6), epoch: 1, start: 10)
        var opener = LayerOpener(key: .numbered(6), epoch: 1)
        var body = Body(&random)
        let counter = body.seal(&sealer, .first, LayerHeader(command: .drop))
        let sealed = body.bytes
        for count in [1 << 20, 0x3fff_ffff] as [UInt32] {
            body.bytes = sealed
            let far = LayerCounter(epoch: 1, count: count)
            #expect(body.open(&opener, .first, far) == .forged)
        }
        body.bytes = sealed
        #expect(body.open(&opener, .first, counter) == .opened(LayerHeader(command: .drop)))
    }

    @Test("an authentic layer whose command is unknown is malformed, once")
    func malformed() {
        var random = RandomGenerator(testSeed: 9)
        let key = AEADKey(.numbered(7))
        var opener = LayerOpener(key: .numbered(7), epoch: 1)
        var body = Body(&random)
        let textEnd = Body.margin + OnionLayer.innerByteCount(at: .first) + 8
        body.bytes[textEnd - 8] = 4
        let counter = LayerCounter(epoch: 1, count: 9)
        body.withSpan { span in
            key.seal(
                &span,
                text: Body.margin..<textEnd,
                tagOffset: textEnd,
                nonce: UInt64(counter.rawValue),
                authenticating: 0..<0
            )
        }
        #expect(body.open(&opener, .first, counter) == .malformed)
        #expect(body.open(&opener, .first, counter) == .replayed)
    }

    @Test("a key ends: no counter is offered after the last cell, and none comes twice")
    func keyEnd() {
        #expect(LayerSealer.cellLimit == 1 << 29)
        var random = RandomGenerator(testSeed: 10)
        let start = LayerSealer.cellLimit - 1
        var sealer = LayerSealer(key: .numbered(8), epoch: 3, start: start, cellLimit: 5)
        var seen: Set<UInt32> = []
        for _ in 0..<5 {
            var body = Body(&random)
            #expect(sealer.nextCounter != nil)
            let counter = body.seal(&sealer, .first, LayerHeader(command: .drop))
            #expect(counter.epoch == 3)
            #expect(seen.insert(counter.rawValue).inserted)
        }
        #expect(sealer.nextCounter == nil)
        // The latest start leaves room for a whole key below the 30 bits of a counter.
        #expect(start + LayerSealer.cellLimit - 1 <= 0x3fff_ffff)
    }

    @Test("sealing after the end of a key stops the program")
    func sealingAfterEnd() async {
        await #expect(processExitsWith: .failure) {
            var random = RandomGenerator(testSeed: 11)
            var sealer = LayerSealer(key: .numbered(9), epoch: 1, start: 0, cellLimit: 1)
            var body = Body(&random)
            _ = body.seal(&sealer, .first, LayerHeader(command: .drop))
            _ = body.seal(&sealer, .first, LayerHeader(command: .drop))
        }
    }

    @Test(
        "three layers a client seals are peeled by three relays, filler and all",
        arguments: 0..<10 as Range<UInt64>
    )
    func forward(seed: UInt64) {
        var random = RandomGenerator(testSeed: seed)
        let keys = (0..<3).map { _ in random.secret(byteCount: 32) }
        let starts = (0..<3).map { _ in UInt32(random.next(below: 1 << 29)) }
        var seal1 = LayerSealer(key: keys[0], epoch: 1, start: starts[0])
        var seal2 = LayerSealer(key: keys[1], epoch: 1, start: starts[1])
        var seal3 = LayerSealer(key: keys[2], epoch: 1, start: starts[2])
        var open1 = LayerOpener(key: keys[0], epoch: 1)
        var open2 = LayerOpener(key: keys[1], epoch: 1)
        var open3 = LayerOpener(key: keys[2], epoch: 1)
        for _ in 0..<20 {
            var body = Body(&random)
            let payload = body.inside.prefix(OnionLayer.innerByteCount(at: .third))
            let plain = Array(payload)
            let counter3 = body.seal(&seal3, .third, LayerHeader(command: .deliver))
            let counter2 = body.seal(
                &seal2,
                .second,
                LayerHeader(command: .forward, nextCounter: counter3.rawValue)
            )
            let counter1 = body.seal(
                &seal1,
                .first,
                LayerHeader(command: .forward, nextCounter: counter2.rawValue)
            )
            guard case .opened(let header1) = body.open(&open1, .first, counter1) else {
                Issue.record("first hop cannot open")
                return
            }
            #expect(header1.command == .forward)
            body.fill(behind: .first, &random)
            let next2 = LayerCounter(rawValue: header1.nextCounter)
            guard case .opened(let header2) = body.open(&open2, .second, next2) else {
                Issue.record("second hop cannot open")
                return
            }
            #expect(header2.command == .forward)
            body.fill(behind: .second, &random)
            let next3 = LayerCounter(rawValue: header2.nextCounter)
            #expect(body.open(&open3, .third, next3) == .opened(LayerHeader(command: .deliver)))
            #expect(Array(body.inside.prefix(plain.count)) == plain)
        }
    }

    @Test("what three relays seal on the way back the client opens layer by layer")
    func backward() {
        var random = RandomGenerator(testSeed: 20)
        let keys = (0..<3).map { _ in random.secret(byteCount: 32) }
        var seal1 = LayerSealer(key: keys[0], epoch: 1, start: 11)
        var seal2 = LayerSealer(key: keys[1], epoch: 1, start: 22)
        var seal3 = LayerSealer(key: keys[2], epoch: 1, start: 33)
        var open1 = LayerOpener(key: keys[0], epoch: 1)
        var open2 = LayerOpener(key: keys[1], epoch: 1)
        var open3 = LayerOpener(key: keys[2], epoch: 1)
        for _ in 0..<20 {
            var body = Body(&random)
            let plain = Array(body.inside.prefix(OnionLayer.innerByteCount(at: .third)))
            let third = LayerHeader(command: .deliver, flags: .congestionExperienced, auxiliary: 3)
            let counter3 = body.seal(&seal3, .third, third)
            body.fill(behind: .second, &random)
            let second = LayerHeader(
                command: .forward,
                auxiliary: 2,
                nextCounter: counter3.rawValue
            )
            let counter2 = body.seal(&seal2, .second, second)
            body.fill(behind: .first, &random)
            let first = LayerHeader(command: .forward, auxiliary: 1, nextCounter: counter2.rawValue)
            let counter1 = body.seal(&seal1, .first, first)
            #expect(body.open(&open1, .first, counter1) == .opened(first))
            #expect(body.open(&open2, .second, counter2) == .opened(second))
            #expect(body.open(&open3, .third, counter3) == .opened(third))
            #expect(Array(body.inside.prefix(plain.count)) == plain)
        }
    }

    @Test("a circuit of four hops has no room: the fourth layer's bytes are filler nobody foresees")
    func noFourthHop() {
        var random = RandomGenerator(testSeed: 21)
        // The second hop takes itself for the first one of a further relay: 24 bytes are missing.
        var seal = LayerSealer(key: .numbered(1), epoch: 1, start: 0)
        var outer = LayerSealer(key: .numbered(2), epoch: 1, start: 0)
        var open = LayerOpener(key: .numbered(1), epoch: 1)
        var openOuter = LayerOpener(key: .numbered(2), epoch: 1)
        var body = Body(&random)
        let inner = body.seal(&seal, .first, LayerHeader(command: .deliver))
        let header = LayerHeader(command: .forward, nextCounter: inner.rawValue)
        let counter = body.seal(&outer, .first, header)
        #expect(body.open(&openOuter, .first, counter) == .opened(header))
        body.fill(behind: .first, &random)
        #expect(body.open(&open, .first, inner) == .forged)
    }
}
