/// A set of numbers that come nearly in order: one bit for each from 0 to the greatest.
public struct NumberSet: Hashable, Sendable {
    private var words: [UInt64] = []
    /// How many there are.
    public private(set) var count = 0

    /// Of none.
    public init() {}

    /// Puts `number` in; false where it was there.
    @discardableResult
    public mutating func insert(_ number: UInt32) -> Bool {
        let (word, bit) = (Int(number / 64), UInt64(1) << UInt64(number % 64))
        while words.count <= word { words.append(0) }
        guard words[word] & bit == 0 else { return false }
        words[word] |= bit
        count += 1
        return true
    }

    /// Whether `number` is there.
    public func contains(_ number: UInt32) -> Bool {
        let word = Int(number / 64)
        return word < words.count && words[word] >> UInt64(number % 64) & 1 == 1
    }
}
