/// Until when links between relays stand: a hash table of pairs with open addresses.
///
/// Grows by itself and forgets nothing: a run has fewer pairs than circuits.
struct LinkMemory {
    private var keys: [UInt32]
    private var ends: [Float]
    private var count = 0

    /// Silence after which a link is forgotten, in seconds (``LinkTable/Timing``).
    static let idleLimit: Float = 120

    init() {
        keys = [UInt32](repeating: 0, count: 1 << 12)
        ends = [Float](repeating: 0, count: 1 << 12)
    }

    /// Notes that a circuit uses the link of two relays from `start` to `end`, and tells whether the
    /// link stood before.
    mutating func use(_ one: UInt16, _ other: UInt16, from start: Float, to end: Float) -> Bool {
        let (low, high) = one < other ? (one, other) : (other, one)
        // Never 0, for a relay has no link to itself.
        let key = UInt32(low) << 16 | UInt32(high)
        if count * 2 > keys.count { grow() }
        var place = slot(of: key)
        while keys[place] != 0, keys[place] != key { place = (place + 1) & (keys.count - 1) }
        if keys[place] == 0 {
            keys[place] = key
            ends[place] = end
            count += 1
            return false
        }
        let stood = ends[place] + Self.idleLimit >= start
        ends[place] = max(ends[place], end)
        return stood
    }

    private func slot(of key: UInt32) -> Int {
        Int(truncatingIfNeeded: (UInt64(key) &* 0x9e37_79b9_7f4a_7c15) >> 32) & (keys.count - 1)
    }

    private mutating func grow() {
        let (oldKeys, oldEnds) = (keys, ends)
        keys = [UInt32](repeating: 0, count: oldKeys.count * 2)
        ends = [Float](repeating: 0, count: oldKeys.count * 2)
        for (key, end) in zip(oldKeys, oldEnds) where key != 0 {
            var place = slot(of: key)
            while keys[place] != 0 { place = (place + 1) & (keys.count - 1) }
            keys[place] = key
            ends[place] = end
        }
    }
}
