/// Pairs of relays, numbered as they come: a hash table with open addresses.
struct PairTable {
    private var keys: [UInt32] = []
    /// Numbers of pairs, and 1 more; 0 for a free place.
    private var slots: [Int32]

    init() {
        slots = [Int32](repeating: 0, count: 1 << 12)
    }

    /// How many there are.
    var count: Int { keys.count }

    /// The number of a pair, whichever of the two is named first; a new one is ``count`` before.
    mutating func number(_ one: UInt16, _ other: UInt16) -> Int {
        let (low, high) = one < other ? (one, other) : (other, one)
        let key = UInt32(low) << 16 | UInt32(high)
        if count * 2 > slots.count { grow() }
        let place = place(of: key)
        if slots[place] > 0 { return Int(slots[place]) - 1 }
        keys.append(key)
        slots[place] = Int32(count)
        return count - 1
    }

    /// Where `key` is, or would be.
    private func place(of key: UInt32) -> Int {
        let mask = slots.count - 1
        var place = Int(truncatingIfNeeded: (UInt64(key) &* 0x9e37_79b9_7f4a_7c15) >> 32) & mask
        while slots[place] > 0, keys[Int(slots[place]) - 1] != key { place = (place + 1) & mask }
        return place
    }

    private mutating func grow() {
        slots = [Int32](repeating: 0, count: slots.count * 2)
        for (number, key) in keys.enumerated() { slots[place(of: key)] = Int32(number + 1) }
    }
}
