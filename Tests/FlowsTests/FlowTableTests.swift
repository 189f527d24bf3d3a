import Base
import Testing
import Wire

@testable import Flows

@Suite("Flows pinned to leases")
struct FlowTableTests {
    /// The table where `#expect` can reach it, which only takes copyable values.
    private final class Bench {
        private var table: FlowTable

        init(capacity: Int, seed: (UInt64, UInt64)) {
            table = FlowTable(capacity: capacity, seed: seed)
        }

        var count: Int { table.count }
        var evictedCount: UInt64 { table.evictedCount }
        var nextDeadline: Instant? { table.nextDeadline }

        func handle(for key: FlowKey, now: Instant) -> UInt32? { table.handle(for: key, now: now) }
        func remove(_ key: FlowKey) -> Bool { table.remove(key) }
        func expire(now: Instant) -> Int { table.expire(now: now) }
        func flowCount(of handle: UInt32) -> Int { table.flowCount(of: handle) }
        func removeAll(of handle: UInt32) -> Int { table.removeAll(of: handle) }

        @discardableResult
        func insert(_ key: FlowKey, handle: UInt32, now: Instant) -> FlowKey? {
            table.insert(key, handle: handle, now: now)
        }
    }

    private func key(_ index: Int, tcp: Bool = true) -> FlowKey {
        FlowKey(
            source: IPAddress(v4: 0x0a6f_0002),
            destination: IPAddress(v4: 0x0800_0000 | UInt32(index >> 16)),
            protocolNumber: tcp ? 6 : 17,
            sourcePort: UInt16(truncatingIfNeeded: index),
            destinationPort: 443
        )
    }

    @Test("the hash is SipHash, as OpenSSL computes it over the bytes 0 to 39")
    func sipHash() {
        let seed: (UInt64, UInt64) = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)
        let words: [5 of UInt64] = [
            0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908, 0x1716_1514_1312_1110,
            0x1f1e_1d1c_1b1a_1918, 0x2726_2524_2322_2120,
        ]
        let published = SipHash(seed: seed, compressionRounds: 2, finishingRounds: 4)
        #expect(published.hash(words).byteSwapped == 0xd0a7_0453_6ba9_3e0e)
        #expect(SipHash(seed: seed).hash(words).byteSwapped == 0x3115_e499_3236_d2c1)
    }

    @Test("it does what a dictionary with a sorted list of uses would do", arguments: 0..<30)
    func model(seed: Int) {
        struct Held {
            var handle: UInt32
            var lastUse: UInt64
            var isTCP: Bool
            var deadline: UInt64 { lastUse + (isTCP ? 7_200 : 300) * 1_000_000_000 }
        }
        var seeded = Seeded(seed)
        let capacity = seeded.int(1...40)
        let table = Bench(capacity: capacity, seed: (seeded.next(), seeded.next()))
        var model: [FlowKey: Held] = [:]
        var now: UInt64 = 0
        for _ in 0..<2_000 {
            now += UInt64(seeded.int(1...20_000_000_000))
            let isTCP = seeded.chance(2)
            let key = key(seeded.int(0...60), tcp: isTCP)
            let instant = Instant(nanoseconds: now)
            switch seeded.int(0...9) {
            case 0...3:
                if let held = model[key], held.deadline <= now { model[key] = nil }
                model[key]?.lastUse = now
                #expect(table.handle(for: key, now: instant) == model[key]?.handle)
            case 4...6:
                let handle = UInt32(seeded.int(0...5))
                var evicted: FlowKey?
                if model[key] == nil, model.count == capacity {
                    evicted = model.min { $0.value.lastUse < $1.value.lastUse }?.key
                }
                if let evicted { model[evicted] = nil }
                model[key] = Held(handle: handle, lastUse: now, isTCP: isTCP)
                #expect(table.insert(key, handle: handle, now: instant) == evicted)
            case 7:
                let expired = model.filter { $0.value.deadline <= now }
                for key in expired.keys { model[key] = nil }
                #expect(table.expire(now: instant) == expired.count)
            case 8:
                #expect(table.remove(key) == (model.removeValue(forKey: key) != nil))
            default:
                let handle = UInt32(seeded.int(0...5))
                let mine = model.filter { $0.value.handle == handle }
                #expect(table.flowCount(of: handle) == mine.count)
                if seeded.chance(5) {
                    for key in mine.keys { model[key] = nil }
                    #expect(table.removeAll(of: handle) == mine.count)
                }
            }
            #expect(table.count == model.count)
            #expect(table.nextDeadline?.nanoseconds == model.values.map(\.deadline).min())
        }
    }

    @Test("it holds its capacity and one flow more takes the place of the oldest")
    func capacity() {
        let table = Bench(capacity: 1_000, seed: (1, 2))
        for index in 0..<1_000 {
            let now = Instant(nanoseconds: UInt64(index))
            #expect(table.insert(key(index), handle: UInt32(index), now: now) == nil)
        }
        #expect(table.count == 1_000)
        let now = Instant(nanoseconds: 5_000)
        #expect(table.handle(for: key(0), now: now) == 0)
        #expect(table.insert(key(7_777), handle: 1, now: now) == key(1))
        #expect(table.count == 1_000)
        #expect(table.evictedCount == 1)
        #expect(table.handle(for: key(1), now: now) == nil)
        #expect(table.handle(for: key(0), now: now) == 0)
    }

    @Test("idle UDP goes after 5 minutes, idle TCP after 2 hours, not a moment before")
    func idle() {
        let table = Bench(capacity: 4, seed: (1, 2))
        table.insert(key(1), handle: 1, now: .zero)
        table.insert(key(2, tcp: false), handle: 2, now: .zero)
        let udp = TimeSpan.seconds(300)
        #expect(table.expire(now: Instant(nanoseconds: udp.nanoseconds - 1)) == 0)
        #expect(table.nextDeadline == Instant.zero + udp)
        #expect(table.expire(now: .zero + udp) == 1)
        #expect(table.expire(now: Instant(nanoseconds: 7_200_000_000_000 - 1)) == 0)
        #expect(table.handle(for: key(1), now: .zero + .seconds(7_200)) == nil)
        #expect(table.count == 0)
        #expect(table.nextDeadline == nil)
    }

    @Test("keys are as the packets say")
    func keys() throws {
        func key(_ bytes: [UInt8]) throws -> FlowKey {
            let header = try IPHeader(parsing: bytes.span.bytes, 0..<bytes.count)
            return FlowKey(header, in: bytes.span.bytes, packetOffset: 0)
        }
        let tcp = try key(PacketMaker().bytes)
        #expect(tcp.sourcePort == 40_000)
        #expect(tcp.destinationPort == 443)
        #expect(tcp.source == IPAddress("10.111.0.2"))
        #expect(tcp.protocolNumber == 6)
        #expect(tcp.reversed.reversed == tcp)
        #expect(tcp.reversed.destinationPort == 40_000)
        let echo = try key(
            PacketMaker(protocolNumber: 1, payload: [8, 0, 0, 0, 0x12, 0x34, 0, 1]).bytes
        )
        #expect(echo.sourcePort == 0x1234)
        #expect(echo.reversed.sourcePort == 0x1234)
        let six = try key(
            PacketMaker(isV6: true, protocolNumber: 58, payload: [129, 0, 0, 0, 1, 2, 0, 1]).bytes
        )
        #expect(six.sourcePort == 0x0102)
        let error = try key(
            PacketMaker(protocolNumber: 1, payload: [3, 3, 0, 0, 0x12, 0x34, 0, 1]).bytes
        )
        #expect(error.sourcePort == 0)
        var fragment = PacketMaker().bytes
        fragment[6] = 0x20
        #expect(try key(fragment).sourcePort == 0)
        #expect(
            try key(PacketMaker(protocolNumber: 132, payload: [0, 1, 0, 2]).bytes).sourcePort == 0
        )
    }
}
