/// Until when links between relays stand.
///
/// Grows by itself and forgets nothing: a run has fewer pairs than circuits.
struct LinkMemory {
    private var pairs = PairTable()
    private var ends: [Float] = []

    /// Silence after which a link is forgotten, in seconds (``LinkTable/Timing``).
    static let idleLimit: Float = 120

    /// Notes that a circuit uses the link of two relays from `start` to `end`, and tells whether the
    /// link stood before.
    mutating func use(_ one: UInt16, _ other: UInt16, from start: Float, to end: Float) -> Bool {
        let number = pairs.number(one, other)
        guard number < ends.count else {
            ends.append(end)
            return false
        }
        let stood = ends[number] + Self.idleLimit >= start
        ends[number] = max(ends[number], end)
        return stood
    }
}
