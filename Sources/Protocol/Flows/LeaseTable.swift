public import Base

/// The exit's leases: which addresses of its pool stand for which circuit's client.
///
/// Owners are circuits, by number. A circuit that shows a lease's secret takes it over from the one
/// before. A lease no circuit holds waits for ``idleLimit`` to be taken over and ends then, or earlier
/// where all others are held. Numbers are used again in the order they were given up, so that an
/// address rests as long as possible.
/// Spec: design §4; protocol §C.4, OPEN_TUN.
public struct LeaseTable: ~Copyable {
    /// The outcome of showing a secret.
    public struct Grant: Hashable, Sendable {
        /// The lease's number.
        public let lease: UInt32
        /// The circuit that held it up to now and is cut off.
        public let previousOwner: UInt64?
    }

    private struct Entry {
        var secret = Bytes32.zero
        var owner: UInt64?
        /// When its owner left; `nil` for one held or free.
        var releasedAt: Instant?
        /// Neighbours among the leases that wait, by that time.
        var previous: UInt32?
        var next: UInt32?
    }

    /// Where the leases' addresses come from.
    public let pool: LeasePool
    /// How long a lease without a circuit waits.
    public let idleLimit: TimeSpan

    private var entries: [Entry]
    private var bySecret: [Bytes32: UInt32] = [:]
    private var byOwner: [UInt64: UInt32] = [:]
    /// Numbers to use next: a ring of `freeCount` from `freeStart` on.
    private var free: [UInt32]
    private var freeStart = 0
    private var freeCount: Int
    private var oldestWaiting: UInt32?
    private var newestWaiting: UInt32?

    /// Starts with all leases free.
    ///
    /// - Parameter first: the number given first. Drawn at random, it keeps an exit that begins
    ///   anew from giving addresses whose connections the NAT still knows to other clients.
    public init(pool: LeasePool, idleLimit: TimeSpan, first: UInt32 = 0) {
        self.pool = pool
        self.idleLimit = idleLimit
        let capacity = pool.capacity
        entries = Array(repeating: Entry(), count: capacity)
        free = (0..<capacity).map { UInt32((Int(first) + $0) % capacity) }
        freeCount = capacity
        bySecret.reserveCapacity(capacity)
        byOwner.reserveCapacity(capacity)
    }

    /// Leases that are held or wait.
    public var count: Int { pool.capacity - freeCount }

    /// The circuit that holds lease `number`; `nil` where none does.
    ///
    /// - Precondition: `number` is below the pool's capacity.
    public func owner(of number: UInt32) -> UInt64? {
        entries[Int(number)].owner
    }

    /// The lease the circuit `owner` holds.
    public func lease(of owner: UInt64) -> UInt32? {
        byOwner[owner]
    }

    /// Gives a new lease to the circuit `owner`; one it held before is ended.
    ///
    /// Where none is free, the lease that has waited longest for its client ends.
    ///
    /// - Parameter secret: 32 random bytes, new.
    /// - Throws: ``FlowError/noLeaseFree``.
    public mutating func open(
        owner: UInt64,
        secret: Bytes32,
        now: Instant
    ) throws(FlowError) -> UInt32 {
        precondition(secret != .zero && bySecret[secret] == nil, "secret not new")
        expire(now: now)
        if let held = byOwner[owner] { end(held) }
        if freeCount == 0, let oldestWaiting { end(oldestWaiting) }
        guard freeCount > 0 else { throw .noLeaseFree }
        let number = free[freeStart]
        freeStart = (freeStart + 1) % pool.capacity
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
        owner: UInt64,
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
    public mutating func release(owner: UInt64, now: Instant) {
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
        free[(freeStart + freeCount) % pool.capacity] = number
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
