import Base
import Testing

@Suite("Containers of the packet path")
struct ContainerTests {
    @Test("an index table agrees with a dictionary", arguments: 0..<10)
    func indexTable(seed: Int) {
        var random = SplitMix(state: UInt64(seed))
        var table = IndexTable(limit: 500, seed: (random.next(), random.next()))
        var model: [UInt64: Int] = [:]
        for _ in 0..<20_000 {
            let key = random.next() % 700
            switch random.next() % 3 {
            case 0:
                let removed = table.remove(key)
                #expect(removed == model.removeValue(forKey: key))
            case 1:
                let value = Int(random.next() % 1_000)
                let fits = model[key] != nil || model.count < 500
                let stored = table.set(key, to: value)
                #expect(stored == fits)
                if fits { model[key] = value }
            default:
                let found = table.value(for: key)
                #expect(found == model[key])
            }
            let count = table.count
            #expect(count == model.count)
        }
    }

    @Test("row 15: keys that share their low bits spread over the table")
    func chosenKeys() {
        // With the low bits as hash, 4,096 keys would stand in one run and each look-up walk it.
        var table = IndexTable(limit: 8_192, seed: (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211))
        for step in UInt64(0)..<4_096 {
            let stored = table.set(step << 32, to: Int(step))
            #expect(stored)
        }
        let longestProbe = table.longestProbe
        #expect(longestProbe <= 64)
        for step in UInt64(0)..<4_096 {
            let found = table.value(for: step << 32)
            #expect(found == Int(step))
        }
    }

    @Test("a slab keeps indexes, refuses more than its limit and drops every element once")
    func slab() {
        final class Probe {
            static nonisolated(unsafe) var alive = 0
            init() { Self.alive += 1 }
            deinit { Self.alive -= 1 }
        }
        do {
            var slab = Slab<Probe>(limit: 20)
            var indexes: [Int] = []
            for _ in 0..<20 { indexes.append(slab.insert(Probe())) }
            let isFull = slab.isFull
            #expect(Set(indexes).count == 20)
            #expect(isFull)
            _ = slab.remove(at: indexes[7])
            let isThere = slab.contains(indexes[7])
            #expect(!isThere)
            let reused = slab.insert(Probe())
            #expect(reused == indexes[7])
            #expect(Probe.alive == 20)
        }
        #expect(Probe.alive == 0)
    }

    @Test("timers fire in the order of deadline, then key", arguments: 0..<10)
    func timers(seed: Int) {
        var random = SplitMix(state: UInt64(seed))
        var table = TimerTable()
        var model: [Int: UInt64] = [:]
        for _ in 0..<2_000 {
            let key = Int(random.next() % 50)
            switch random.next() % 4 {
            case 0:
                table.cancel(key)
                model[key] = nil
            case 1:
                let now = random.next() % 1_000
                let expected = model.filter { $0.value <= now }
                    .min { ($0.value, $0.key) < ($1.value, $1.key) }?.key
                let fired = table.popDue(now: Instant(nanoseconds: now))
                #expect(fired == expected)
                if let fired { model[fired] = nil }
            default:
                let deadline = random.next() % 1_000
                table.set(key, to: Instant(nanoseconds: deadline))
                model[key] = deadline
            }
            #expect(table.nextDeadline.nanoseconds == model.values.min() ?? .max)
        }
    }

    @Test("a token bucket gives its rate and its burst and no more")
    func bucket() {
        var bucket = TokenBucket(perSecond: 4, burst: 12, now: .zero)
        var taken = 0
        for millisecond in UInt64(0)..<10_000 {
            while bucket.take(now: Instant(nanoseconds: millisecond * 1_000_000)) { taken += 1 }
        }
        #expect(taken == 12 + 39)
        let level = bucket.available(now: .distantFuture)
        #expect(level == 12)
    }
}
