/// A bounded map from 64-bit keys to 32-bit indexes, for keys a peer may choose.
///
/// Open addressing with linear probing over slots picked by a keyed mixing function, so that
/// chosen keys do not collide (`test-matrix` row 15). O(1); allocates only while it grows.
@safe public struct IndexTable: ~Copyable {
    @usableFromInline struct Slot {
        @usableFromInline var key: UInt64
        // -1 marks an empty slot.
        @usableFromInline var value: Int32

        @usableFromInline
        init(key: UInt64, value: Int32) {
            self.key = key
            self.value = value
        }
    }

    @usableFromInline var slots: UnsafeMutablePointer<Slot>
    @usableFromInline var mask: Int
    @usableFromInline let seed0: UInt64
    @usableFromInline let seed1: UInt64
    /// How many keys there are.
    public private(set) var count = 0
    /// How many there may be.
    public let limit: Int

    /// Makes an empty table for at most `limit` keys, mixed with the secret `seed`.
    public init(limit: Int, seed: (UInt64, UInt64)) {
        precondition(limit > 0 && limit < 1 << 30, "table limit out of range")
        self.limit = limit
        seed0 = seed.0
        seed1 = seed.1 | 1
        mask = 15
        unsafe slots = .allocate(capacity: 16)
        unsafe slots.initialize(repeating: Slot(key: 0, value: -1), count: 16)
    }

    deinit {
        unsafe slots.deallocate()
    }

    /// The index stored under `key`; `nil` if there is none.
    @inlinable
    public func value(for key: UInt64) -> Int? {
        var position = home(of: key)
        while true {
            let slot = unsafe slots[position]
            if slot.value < 0 { return nil }
            if slot.key == key { return Int(slot.value) }
            position = (position + 1) & mask
        }
    }

    /// Stores `value` under `key`, replacing what was there; false if the table is full.
    public mutating func set(_ key: UInt64, to value: Int) -> Bool {
        precondition(value >= 0 && value <= Int(Int32.max), "index out of range")
        var position = home(of: key)
        while unsafe slots[position].value >= 0 {
            if unsafe slots[position].key == key {
                unsafe slots[position].value = Int32(value)
                return true
            }
            position = (position + 1) & mask
        }
        guard count < limit else { return false }
        unsafe slots[position] = Slot(key: key, value: Int32(value))
        count += 1
        if count * 2 > mask { grow() }
        return true
    }

    /// Removes `key` and returns what was stored under it.
    @discardableResult
    public mutating func remove(_ key: UInt64) -> Int? {
        var hole = home(of: key)
        while true {
            let slot = unsafe slots[hole]
            if slot.value < 0 { return nil }
            if slot.key == key { break }
            hole = (hole + 1) & mask
        }
        let removed = unsafe Int(slots[hole].value)
        // Close the gap: move back every later entry whose home does not lie behind the hole.
        var position = (hole + 1) & mask
        while unsafe slots[position].value >= 0 {
            let distance = unsafe (position - home(of: slots[position].key)) & mask
            if distance >= (position - hole) & mask {
                unsafe slots[hole] = slots[position]
                hole = position
            }
            position = (position + 1) & mask
        }
        unsafe slots[hole] = Slot(key: 0, value: -1)
        count -= 1
        return removed
    }

    /// The most slots a look-up of a stored key walks; O(limit), for tests and diagnostics.
    public var longestProbe: Int {
        var longest = 0
        for position in 0...mask where unsafe slots[position].value >= 0 {
            longest = unsafe max(longest, ((position - home(of: slots[position].key)) & mask) + 1)
        }
        return longest
    }

    @usableFromInline
    @inline(__always)
    func home(of key: UInt64) -> Int {
        let product = (key ^ seed0).multipliedFullWidth(by: seed1)
        let mixed = (product.high ^ product.low ^ seed0).multipliedFullWidth(by: seed1 ^ key | 1)
        return Int(truncatingIfNeeded: mixed.high ^ mixed.low) & mask
    }

    private mutating func grow() {
        let old = unsafe slots
        let oldCount = mask + 1
        mask = oldCount * 2 - 1
        unsafe slots = .allocate(capacity: mask + 1)
        unsafe slots.initialize(repeating: Slot(key: 0, value: -1), count: mask + 1)
        for index in 0..<oldCount where unsafe old[index].value >= 0 {
            var position = unsafe home(of: old[index].key)
            while unsafe slots[position].value >= 0 { position = (position + 1) & mask }
            unsafe slots[position] = old[index]
        }
        unsafe old.deallocate()
    }
}

// Sound: the table is the only owner of its memory and is never shared, only moved.
extension IndexTable: @unchecked Sendable {}
