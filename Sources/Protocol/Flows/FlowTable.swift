public import Base

/// Which lease each flow is pinned to, with the time of its last packet.
///
/// Bounded: where it is full, the flow idle longest makes room. All memory is reserved at `init`,
/// every operation takes constant time but where said. Keyed hashing keeps chosen keys from
/// colliding. Idle flows go by ``expire(now:)``.
public struct FlowTable: ~Copyable {
    private struct Entry: BitwiseCopyable {
        var key: FlowKey
        var lastUse: UInt64
        var hash: UInt32
        var handle: UInt32
        /// Neighbours in order of last use; `next` links free entries too.
        var previous: UInt32
        var next: UInt32
    }

    /// A list of entries from the one used longest ago to the last used.
    private struct UseList: BitwiseCopyable {
        var oldest = none
        var newest = none
    }

    /// How long a TCP flow may be idle.
    public static let tcpIdleLimit = TimeSpan.seconds(2 * 3_600)
    /// How long any other flow may be idle.
    public static let idleLimit = TimeSpan.seconds(5 * 60)

    private static let none = UInt32.max

    /// Flows at most.
    public let capacity: Int
    /// Flows held.
    public private(set) var count = 0
    /// Flows that made room for others before they were idle long enough.
    public private(set) var evictedCount: UInt64 = 0

    private let hasher: SipHash
    private let mask: Int
    /// Open addressing, at most half full: an entry's index, or `none`.
    private var slots: [UInt32]
    private var entries: [Entry]
    private var free: UInt32
    private var tcp = UseList()
    private var other = UseList()
    // Flows of each handle that has some.
    private var handleCounts: [UInt32: Int] = [:]

    /// Makes room for `capacity` flows; `seed` is random and secret.
    public init(capacity: Int, seed: (UInt64, UInt64)) {
        precondition(capacity > 0 && capacity <= 1 << 24, "capacity out of range")
        self.capacity = capacity
        hasher = SipHash(seed: seed)
        var slotCount = 4
        while slotCount < capacity * 2 { slotCount *= 2 }
        mask = slotCount - 1
        slots = Array(repeating: Self.none, count: slotCount)
        let empty = FlowKey(
            source: IPAddress(high: 0, low: 0),
            destination: IPAddress(high: 0, low: 0),
            protocolNumber: 0
        )
        entries = (0..<capacity).map { index in
            Entry(
                key: empty,
                lastUse: 0,
                hash: 0,
                handle: 0,
                previous: Self.none,
                next: index + 1 < capacity ? UInt32(index + 1) : Self.none
            )
        }
        free = 0
    }

    /// The handle `key` is pinned to, its last use now; `nil` for a flow not held or idle too long.
    public mutating func handle(for key: FlowKey, now: Instant) -> UInt32? {
        guard let slot = slot(of: key, hash: hasher.hash(key)) else { return nil }
        let index = slots[slot]
        guard deadline(index) > now else {
            remove(index)
            return nil
        }
        touch(index, now)
        return entries[Int(index)].handle
    }

    /// Pins `key` to `handle`, whatever it was pinned to before.
    ///
    /// - Returns: the flow that made room, if the table was full.
    @discardableResult
    public mutating func insert(_ key: FlowKey, handle: UInt32, now: Instant) -> FlowKey? {
        let hash = hasher.hash(key)
        if let slot = slot(of: key, hash: hash) {
            let index = slots[slot]
            countDown(entries[Int(index)].handle)
            handleCounts[handle, default: 0] += 1
            entries[Int(index)].handle = handle
            touch(index, now)
            return nil
        }
        var evicted: FlowKey?
        if free == Self.none, let oldest {
            evicted = entries[Int(oldest)].key
            evictedCount += 1
            remove(oldest)
        }
        let index = free
        free = entries[Int(index)].next
        entries[Int(index)] = Entry(
            key: key,
            lastUse: now.nanoseconds,
            hash: hash,
            handle: handle,
            previous: Self.none,
            next: Self.none
        )
        var slot = Int(hash) & mask
        while slots[slot] != Self.none { slot = (slot &+ 1) & mask }
        slots[slot] = index
        link(index)
        handleCounts[handle, default: 0] += 1
        count += 1
        return evicted
    }

    /// Forgets the flow; `false` if it was not held.
    @discardableResult
    public mutating func remove(_ key: FlowKey) -> Bool {
        guard let slot = slot(of: key, hash: hasher.hash(key)) else { return false }
        remove(slots[slot])
        return true
    }

    /// Forgets all flows idle for their limit; takes time only for those.
    ///
    /// - Returns: how many went.
    @discardableResult
    public mutating func expire(now: Instant) -> Int {
        let before = count
        while tcp.oldest != Self.none, deadline(tcp.oldest) <= now { remove(tcp.oldest) }
        while other.oldest != Self.none, deadline(other.oldest) <= now { remove(other.oldest) }
        return before - count
    }

    /// When the next flow has been idle for its limit; `nil` for an empty table.
    public var nextDeadline: Instant? {
        switch (tcp.oldest, other.oldest) {
        case (Self.none, Self.none): nil
        case (let index, Self.none): deadline(index)
        case (Self.none, let index): deadline(index)
        case (let one, let two): min(deadline(one), deadline(two))
        }
    }

    /// How many flows are pinned to `handle`.
    public func flowCount(of handle: UInt32) -> Int {
        handleCounts[handle, default: 0]
    }

    /// Forgets all flows pinned to `handle`; takes time for each flow held.
    ///
    /// - Returns: how many went.
    @discardableResult
    public mutating func removeAll(of handle: UInt32) -> Int {
        let before = count
        for list in [tcp, other] {
            var index = list.oldest
            while index != Self.none {
                let next = entries[Int(index)].next
                if entries[Int(index)].handle == handle { remove(index) }
                index = next
            }
        }
        return before - count
    }

    private mutating func countDown(_ handle: UInt32) {
        let count = flowCount(of: handle)
        handleCounts[handle] = count > 1 ? count - 1 : nil
    }

    private var oldest: UInt32? {
        switch (tcp.oldest, other.oldest) {
        case (Self.none, Self.none): nil
        case (let index, Self.none): index
        case (Self.none, let index): index
        case (let one, let two):
            entries[Int(one)].lastUse < entries[Int(two)].lastUse ? one : two
        }
    }

    private func deadline(_ index: UInt32) -> Instant {
        let entry = entries[Int(index)]
        return Instant(nanoseconds: entry.lastUse)
            + (entry.key.protocolNumber == IPProtocol.tcp ? Self.tcpIdleLimit : Self.idleLimit)
    }

    private func slot(of key: FlowKey, hash: UInt32) -> Int? {
        var slot = Int(hash) & mask
        while slots[slot] != Self.none {
            let entry = entries[Int(slots[slot])]
            if entry.hash == hash, entry.key == key { return slot }
            slot = (slot &+ 1) & mask
        }
        return nil
    }

    private mutating func touch(_ index: UInt32, _ now: Instant) {
        entries[Int(index)].lastUse = now.nanoseconds
        guard entries[Int(index)].next != Self.none else { return }
        unlink(index)
        link(index)
    }

    private mutating func remove(_ index: UInt32) {
        var hole = Int(entries[Int(index)].hash) & mask
        while slots[hole] != index { hole = (hole &+ 1) & mask }
        // Move back what was pushed on past the hole, so that probing needs no tombstones.
        var slot = (hole &+ 1) & mask
        while slots[slot] != Self.none {
            let home = Int(entries[Int(slots[slot])].hash) & mask
            if (slot &- home) & mask >= (slot &- hole) & mask {
                slots[hole] = slots[slot]
                hole = slot
            }
            slot = (slot &+ 1) & mask
        }
        slots[hole] = Self.none
        unlink(index)
        countDown(entries[Int(index)].handle)
        entries[Int(index)].next = free
        free = index
        count -= 1
    }

    private mutating func link(_ index: UInt32) {
        if entries[Int(index)].key.protocolNumber == IPProtocol.tcp {
            Self.link(index, to: &tcp, &entries)
        } else {
            Self.link(index, to: &other, &entries)
        }
    }

    private mutating func unlink(_ index: UInt32) {
        if entries[Int(index)].key.protocolNumber == IPProtocol.tcp {
            Self.unlink(index, from: &tcp, &entries)
        } else {
            Self.unlink(index, from: &other, &entries)
        }
    }

    private static func link(_ index: UInt32, to list: inout UseList, _ entries: inout [Entry]) {
        entries[Int(index)].previous = list.newest
        entries[Int(index)].next = none
        if list.newest == none {
            list.oldest = index
        } else {
            entries[Int(list.newest)].next = index
        }
        list.newest = index
    }

    private static func unlink(
        _ index: UInt32,
        from list: inout UseList,
        _ entries: inout [Entry]
    ) {
        let previous = entries[Int(index)].previous
        let next = entries[Int(index)].next
        if previous == none {
            list.oldest = next
        } else {
            entries[Int(previous)].next = next
        }
        if next == none {
            list.newest = previous
        } else {
            entries[Int(next)].previous = previous
        }
    }
}
