import Base
import Flows
import Testing

@Suite("Leases of an exit")
struct LeaseTableTests {
    /// The table where `#expect` can reach it, which only takes copyable values.
    private final class Bench {
        private var table: LeaseTable
        private var drawn = 0

        init(capacity: Int, hasV6: Bool = true) throws {
            table = LeaseTable(
                pool: LeasePool(
                    v4: try #require(IPNetwork("100.64.0.0/10")),
                    v6: hasV6 ? IPNetwork("fd00:1::/64") : nil,
                    capacity: capacity
                ),
                idleLimit: .seconds(60)
            )
        }

        var count: Int { table.count }
        var nextDeadline: Instant? { table.nextDeadline }

        func secret() -> Bytes32 {
            drawn += 1
            return Bytes32(
                [UInt8(drawn >> 8), UInt8(drawn & 255)] + [UInt8](repeating: 7, count: 30)
            )
                ?? .zero
        }

        func open(_ owner: UInt64, _ secret: Bytes32, _ now: UInt64) throws(FlowError) -> UInt32 {
            try table.open(owner: owner, secret: secret, now: .zero + .seconds(now))
        }

        func takeOver(
            _ shown: Bytes32,
            _ owner: UInt64,
            _ secret: Bytes32,
            _ now: UInt64
        ) throws(FlowError) -> LeaseTable.Grant {
            try table.takeOver(
                shown: shown,
                owner: owner,
                secret: secret,
                now: .zero + .seconds(now)
            )
        }

        func release(_ owner: UInt64, _ now: UInt64) {
            table.release(owner: owner, now: .zero + .seconds(now))
        }

        func expire(_ now: UInt64) -> Int { table.expire(now: .zero + .seconds(now)) }
        func lease(of owner: UInt64) -> UInt32? { table.lease(of: owner) }
        func addresses(_ number: UInt32) -> AddressPair { table.pool.addresses(of: number) }

        func owner(_ address: String) throws -> UInt64? {
            table.pool.number(of: try #require(IPAddress(address))).flatMap { table.owner(of: $0) }
        }
    }

    @Test("a lease has the pool's addresses at its number, and they lead back to its circuit")
    func addresses() throws {
        let table = try Bench(capacity: 300)
        for number in 0..<300 as Range<UInt32> {
            #expect(try table.open(1_000 + UInt64(number), table.secret(), 0) == number)
        }
        #expect(table.addresses(0).v4.description == "100.64.0.2")
        #expect(table.addresses(299).v4.description == "100.64.1.45")
        #expect(table.addresses(299).v6?.description == "fd00:1::12d")
        #expect(try table.owner("100.64.1.45") == 1_299)
        #expect(try table.owner("fd00:1::2") == 1_000)
        for address in [
            "100.64.0.1", "100.64.0.0", "100.64.1.46", "100.63.255.255", "8.8.8.8", "fd00:1::1",
            "fd00:1::12e", "fd00:2::2", "::",
        ] {
            #expect(try table.owner(address) == nil, "\(address)")
        }
        #expect(throws: FlowError.noLeaseFree) { try table.open(1, table.secret(), 0) }
        #expect(table.count == 300)
    }

    @Test("a pool has as many leases as its smallest network has addresses for")
    func capacity() throws {
        let small = try #require(IPNetwork("100.65.0.0/30"))
        let large = try #require(IPNetwork("fd00:1::/64"))
        let narrow = try #require(IPNetwork("fd00:1::/112"))
        #expect(LeasePool.capacity(of: [small, large], atMost: 4_096) == 1)
        #expect(LeasePool.capacity(of: [large, narrow], atMost: 100_000) == 65_533)
        #expect(LeasePool.capacity(of: [large], atMost: 4_096) == 4_096)
        let pool = LeasePool(v4: small, v6: narrow, capacity: 1)
        #expect(pool.addresses(of: 0).v4.description == "100.65.0.2")
        #expect(pool.number(of: pool.addresses(of: 0).v4) == 0)
    }

    @Test("an exit without IPv6 gives none out")
    func noV6() throws {
        let table = try Bench(capacity: 1, hasV6: false)
        _ = try table.open(5, table.secret(), 0)
        #expect(table.addresses(0).v6 == nil)
        #expect(try table.owner("fd00:1::2") == nil)
    }

    @Test("the secret takes a lease over, once, and names the circuit cut off")
    func takeover() throws {
        let table = try Bench(capacity: 3)
        let first = table.secret()
        let number = try table.open(10, first, 0)
        let second = table.secret()
        let grant = try table.takeOver(first, 11, second, 1)
        #expect(grant.lease == number)
        #expect(grant.previousOwner == 10)
        #expect(table.lease(of: 10) == nil)
        #expect(table.lease(of: 11) == number)
        #expect(throws: FlowError.unknownLease) {
            try table.takeOver(first, 12, table.secret(), 1)
        }
        #expect(throws: FlowError.unknownLease) {
            try table.takeOver(.zero, 12, table.secret(), 1)
        }
        // The old circuit's end must not end what it lost.
        table.release(10, 2)
        #expect(try table.owner("100.64.0.2") == 11)
        // The same circuit again draws a new secret and cuts nobody off.
        let third = table.secret()
        #expect(try table.takeOver(second, 11, third, 2).previousOwner == nil)
        #expect(table.count == 1)
    }

    @Test("a lease without a circuit waits for its limit, then its secret opens nothing")
    func idle() throws {
        let table = try Bench(capacity: 2)
        let secret = table.secret()
        _ = try table.open(10, secret, 0)
        #expect(table.nextDeadline == nil)
        #expect(table.expire(10_000) == 0)
        table.release(10, 100)
        #expect(try table.owner("100.64.0.2") == nil)
        #expect(table.nextDeadline == Instant.zero + .seconds(160))
        #expect(table.expire(159) == 0)
        let again = table.secret()
        #expect(try table.takeOver(secret, 11, again, 159).lease == 0)
        #expect(table.nextDeadline == nil)
        table.release(11, 200)
        #expect(table.expire(260) == 1)
        #expect(table.count == 0)
        #expect(throws: FlowError.unknownLease) {
            try table.takeOver(again, 12, table.secret(), 260)
        }
    }

    @Test("freed addresses rest as long as others are free; the longest waiting makes room")
    func reuse() throws {
        let table = try Bench(capacity: 3)
        #expect(try table.open(1, table.secret(), 0) == 0)
        table.release(1, 0)
        #expect(table.expire(60) == 1)
        #expect(try table.open(2, table.secret(), 60) == 1)
        #expect(try table.open(3, table.secret(), 60) == 2)
        #expect(try table.open(4, table.secret(), 60) == 0)
        table.release(3, 61)
        table.release(2, 62)
        #expect(try table.open(5, table.secret(), 63) == 2)
        // A circuit that opens again gives its lease back first.
        #expect(try table.open(5, table.secret(), 63) == 2)
        #expect(try table.open(6, table.secret(), 63) == 1)
        #expect(throws: FlowError.noLeaseFree) { try table.open(7, table.secret(), 63) }
        #expect(table.count == 3)
    }

    @Test("no course of events gives one lease to two circuits", arguments: 0..<30)
    func model(seed: Int) throws {
        var seeded = Seeded(seed)
        let capacity = seeded.int(1...6)
        let table = try Bench(capacity: capacity)
        struct Held {
            var number: UInt32
            var owner: UInt64?
            var releasedAt: UInt64 = 0
        }
        var held: [Bytes32: Held] = [:]
        var old: [Bytes32] = []
        var now: UInt64 = 0
        for _ in 0..<400 {
            now += UInt64(seeded.int(0...15))
            held = held.filter { $0.value.owner != nil || $0.value.releasedAt + 60 > now }
            let owner = UInt64(seeded.int(0...7))
            let mine = held.first { $0.value.owner == owner }
            switch seeded.int(0...3) {
            case 0:
                let secret = table.secret()
                if let mine { held[mine.key] = nil }
                if held.count == capacity,
                    let waiting = held.filter({ $0.value.owner == nil })
                        .min(by: { $0.value.releasedAt < $1.value.releasedAt })?.value.releasedAt
                {
                    // Two that began to wait at once: either may go; ask the table which.
                    let candidates = held.filter {
                        $0.value.owner == nil && $0.value.releasedAt == waiting
                    }
                    let number = try table.open(owner, secret, now)
                    let gone = try #require(candidates.first { $0.value.number == number })
                    held[gone.key] = nil
                    held[secret] = Held(number: number, owner: owner)
                } else if held.count == capacity {
                    #expect(throws: FlowError.noLeaseFree) { try table.open(owner, secret, now) }
                } else {
                    let number = try table.open(owner, secret, now)
                    #expect(!held.values.contains { $0.number == number })
                    held[secret] = Held(number: number, owner: owner)
                }
            case 1:
                let shown =
                    (seeded.chance(4) ? old : held.keys.sorted()).randomElement(using: &seeded)
                guard let shown else { continue }
                let secret = table.secret()
                guard let target = held[shown] else {
                    #expect(throws: FlowError.unknownLease) {
                        try table.takeOver(shown, owner, secret, now)
                    }
                    continue
                }
                let grant = try table.takeOver(shown, owner, secret, now)
                #expect(grant.lease == target.number)
                #expect(grant.previousOwner == (target.owner == owner ? nil : target.owner))
                if let mine { held[mine.key] = nil }
                held[shown] = nil
                held[secret] = Held(number: target.number, owner: owner)
                old.append(shown)
            case 2:
                table.release(owner, now)
                if let mine {
                    held[mine.key]?.owner = nil
                    held[mine.key]?.releasedAt = now
                }
            default:
                _ = table.expire(now)
                #expect(table.count == held.count)
            }
            for owner in 0...7 as ClosedRange<UInt64> {
                #expect(table.lease(of: owner) == held.values.first { $0.owner == owner }?.number)
            }
        }
    }
}
