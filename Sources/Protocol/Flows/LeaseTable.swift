public import Base

/// The exit's leases: which addresses of its pool stand for which circuit's client.
///
/// A lease has a number; its addresses are the pool's at that number. A circuit that shows a
/// lease's secret takes it over from the one before. A lease no circuit holds waits for ``idleLimit``
/// to be taken over and ends then, or earlier where all others are held. Numbers are used again in
/// the order they were given up, so that an address rests as long as possible.
/// Spec: design §4; protocol §C.4, OPEN_TUN.
public struct LeaseTable: ~Copyable {
    /// The outcome of showing a secret.
    public struct Grant: Hashable, Sendable {
        /// The lease's number.
        public let lease: UInt32
        /// The circuit that held it up to now and is cut off.
        public let previousOwner: UInt32?
    }

    private struct Entry {
        var secret = Bytes32.zero
        var owner: UInt32?
        /// When its owner left; `nil` for one held or free.
        var releasedAt: Instant?
        /// Neighbours among the leases that wait, by that time.
        var previous: UInt32?
        var next: UInt32?
    }

    /// Where the leases' addresses come from, IPv4.
    public let v4Pool: IPNetwork
    /// Where the leases' addresses come from, IPv6; `nil` where the exit carries none.
    public let v6Pool: IPNetwork?
    /// How long a lease without a circuit waits.
    public let idleLimit: TimeSpan
    /// Leases at most.
    public let capacity: Int

    private var entries: [Entry]
    private var bySecret: [Bytes32: UInt32] = [:]
    private var byOwner: [UInt32: UInt32] = [:]
    /// Numbers to use next: a ring of `freeCount` from `freeStart` on.
    private var free: [UInt32]
    private var freeStart = 0
    private var freeCount: Int
    private var oldestWaiting: UInt32?
    private var newestWaiting: UInt32?

    /// Starts with all leases free.
    ///
    /// - Precondition: each pool is of its family, and has `capacity` addresses besides its first
    ///   two and its last.
    ///
    /// - Parameter first: the number given first. Drawn at random, it keeps an exit that begins
    ///   anew from giving addresses whose connections the NAT still knows to other clients.
    public init(
        v4Pool: IPNetwork,
        v6Pool: IPNetwork?,
        capacity: Int,
        idleLimit: TimeSpan,
        first: UInt32 = 0
    ) {
        precondition(capacity > 0 && capacity <= 1 << 22, "capacity out of range")
        precondition(
            v4Pool.base.isV4 && v4Pool.prefixBitCount >= 104
                && capacity + 3 <= 1 << (128 - v4Pool.prefixBitCount),
            "IPv4 pool too small"
        )
        precondition(
            v6Pool.map { !$0.base.isV4 && $0.prefixBitCount <= 96 } ?? true,
            "IPv6 pool too small"
        )
        self.v4Pool = v4Pool
        self.v6Pool = v6Pool
        self.capacity = capacity
        self.idleLimit = idleLimit
        entries = Array(repeating: Entry(), count: capacity)
        free = (0..<capacity).map { UInt32((Int(first) + $0) % capacity) }
        freeCount = capacity
        bySecret.reserveCapacity(capacity)
        byOwner.reserveCapacity(capacity)
    }

    /// Leases that are held or wait.
    public var count: Int { capacity - freeCount }

    /// The addresses of lease `number`.
    public func addresses(of number: UInt32) -> AddressPair {
        AddressPair(
            v4: IPAddress(high: v4Pool.base.high, low: v4Pool.base.low + UInt64(number) + 2),
            v6: v6Pool.map {
                IPAddress(high: $0.base.high, low: $0.base.low + UInt64(number) + 2)
            }
        )
    }

    /// The lease whose address this is and the circuit that holds it; `nil` for all other
    /// addresses and for leases no circuit holds.
    public func holder(of address: IPAddress) -> (lease: UInt32, owner: UInt32)? {
        guard let pool = address.isV4 ? v4Pool : v6Pool, address.high == pool.base.high,
            address.low >= pool.base.low + 2, address.low - pool.base.low - 2 < UInt64(capacity)
        else { return nil }
        let number = UInt32(truncatingIfNeeded: address.low - pool.base.low - 2)
        return entries[Int(number)].owner.map { (number, $0) }
    }

    /// The lease the circuit `owner` holds.
    public func lease(of owner: UInt32) -> UInt32? {
        byOwner[owner]
    }

    /// Gives a new lease to the circuit `owner`; one it held before is ended.
    ///
    /// Where none is free, the lease that has waited longest for its client ends.
    ///
    /// - Parameter secret: 32 random bytes, new.
    /// - Throws: ``FlowError/noLeaseFree``.
    public mutating func open(
        owner: UInt32,
        secret: Bytes32,
        now: Instant
    ) throws(FlowError) -> UInt32 {
        precondition(secret != .zero && bySecret[secret] == nil, "secret not new")
        expire(now: now)
        if let held = byOwner[owner] { end(held) }
        if freeCount == 0, let oldestWaiting { end(oldestWaiting) }
        guard freeCount > 0 else { throw .noLeaseFree }
        let number = free[freeStart]
        freeStart = (freeStart + 1) % capacity
        freeCount -= 1
        entries[Int(number)] = Entry(secret: secret, owner: owner)
        bySecret[secret] = number
        byOwner[owner] = number
        return number
    }

    /// Gives the lease that `shown` opens to the circuit `owner`, with `secret` as its new secret.
    ///
    /// - Parameter secret: 32 random bytes, new.
    /// - Throws: ``FlowError/unknownLease`` for a secret that was never given, has been replaced,
    ///   or whose lease has ended.
    public mutating func takeOver(
        shown: Bytes32,
        owner: UInt32,
        secret: Bytes32,
        now: Instant
    ) throws(FlowError) -> Grant {
        precondition(secret != .zero && bySecret[secret] == nil, "secret not new")
        expire(now: now)
        guard let number = bySecret[shown] else { throw .unknownLease }
        let previous = entries[Int(number)].owner
        if let held = byOwner[owner], held != number { end(held) }
        if let previous { byOwner[previous] = nil }
        unlink(number)
        bySecret[shown] = nil
        entries[Int(number)] = Entry(secret: secret, owner: owner)
        bySecret[secret] = number
        byOwner[owner] = number
        return Grant(lease: number, previousOwner: previous == owner ? nil : previous)
    }

    /// The circuit `owner` is gone: its lease waits to be taken over.
    public mutating func release(owner: UInt32, now: Instant) {
        guard let number = byOwner.removeValue(forKey: owner) else { return }
        entries[Int(number)].owner = nil
        entries[Int(number)].releasedAt = now
        entries[Int(number)].previous = newestWaiting
        if let newestWaiting {
            entries[Int(newestWaiting)].next = number
        } else {
            oldestWaiting = number
        }
        newestWaiting = number
    }

    /// Ends the leases that have waited for ``idleLimit``; takes time only for those.
    ///
    /// - Returns: how many ended.
    @discardableResult
    public mutating func expire(now: Instant) -> Int {
        let before = count
        while let oldestWaiting, let deadline = nextDeadline, deadline <= now { end(oldestWaiting) }
        return before - count
    }

    /// When the next lease ends that nobody takes over.
    public var nextDeadline: Instant? {
        guard let oldestWaiting else { return nil }
        return entries[Int(oldestWaiting)].releasedAt.map { $0 + idleLimit }
    }

    private mutating func end(_ number: UInt32) {
        unlink(number)
        let entry = entries[Int(number)]
        bySecret[entry.secret] = nil
        if let owner = entry.owner { byOwner[owner] = nil }
        entries[Int(number)] = Entry()
        free[(freeStart + freeCount) % capacity] = number
        freeCount += 1
    }

    /// Takes the lease out of those that wait, if it does.
    private mutating func unlink(_ number: UInt32) {
        let entry = entries[Int(number)]
        guard entry.releasedAt != nil else { return }
        if let previous = entry.previous {
            entries[Int(previous)].next = entry.next
        } else {
            oldestWaiting = entry.next
        }
        if let next = entry.next {
            entries[Int(next)].previous = entry.previous
        } else {
            newestWaiting = entry.previous
        }
        entries[Int(number)].releasedAt = nil
        entries[Int(number)].previous = nil
        entries[Int(number)].next = nil
    }
}
