import CryptoPrimitives

/// Damage done to byte strings by a seed, as fuzzers do it.
public struct Mutations: ~Copyable {
    private var random: RandomGenerator

    /// Damage that follows from `seed`.
    public init(seed: UInt64) {
        random = RandomGenerator(testSeed: seed)
    }

    /// A damaged copy of `bytes`; `others` lend pieces.
    public mutating func damage(_ bytes: [UInt8], others: [[UInt8]]) -> [UInt8] {
        var copy = bytes
        for _ in 0..<random.next(in: 1...4) {
            switch random.next(below: 8) {
            case 0 where !copy.isEmpty:
                copy[place(in: copy)] ^= 1 << UInt8(random.next(below: 8))
            case 1 where !copy.isEmpty:
                copy[place(in: copy)] = [0, 1, 0x7f, 0x80, 0xff][random.next(in: 0...4)]
            case 2: copy.removeLast(random.next(in: 0...min(copy.count, 40)))
            case 3: copy += random.bytes(random.next(in: 1...40))
            case 4 where copy.count >= 4:
                // Lengths and counts at the ends of their range.
                let edges: [UInt64] = [0, 1, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff]
                let value = edges[random.next(in: 0...5)]
                let start = random.next(in: 0...copy.count - 4)
                for index in 0..<random.next(in: 1...4) {
                    copy[start + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
                }
            case 5 where !copy.isEmpty:
                let start = place(in: copy)
                let end = min(copy.count, start + random.next(in: 1...16))
                copy.removeSubrange(start..<end)
            case 6 where !copy.isEmpty:
                let start = place(in: copy)
                let end = min(copy.count, start + random.next(in: 1...16))
                copy.insert(contentsOf: copy[start..<end], at: start)
            case 7 where !others.isEmpty:
                let other = others[random.next(in: 0...others.count - 1)]
                let cut = random.next(in: 0...min(copy.count, other.count))
                copy = Array(copy.prefix(cut)) + other.dropFirst(cut)
            default: break
            }
        }
        return copy
    }

    private mutating func place(in bytes: [UInt8]) -> Int {
        random.next(in: 0...bytes.count - 1)
    }
}
