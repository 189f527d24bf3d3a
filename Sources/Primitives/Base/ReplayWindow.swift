/// Which counters of a session were seen: the ring bitmap of RFC 6479.
///
/// Ask ``isFresh(_:)`` before authentication and ``commit(_:)`` after it: a forger must not move
/// the window. It opens at the first counter committed, since starts are random. Of `bitCount`
/// bits, `bitCount - 64` counters behind the newest are still judged one by one.
@safe public struct ReplayWindow: ~Copyable {
    @usableFromInline let words: UnsafeMutablePointer<UInt64>
    @usableFromInline let wordMask: UInt64
    @usableFromInline var newest: UInt64 = 0
    @usableFromInline var isOpen = false

    /// Makes a closed window.
    ///
    /// - Precondition: `bitCount` is a power of two, at least 128.
    public init(bitCount: Int) {
        precondition(bitCount >= 128 && bitCount & (bitCount - 1) == 0, "not a power of two")
        unsafe words = .allocate(capacity: bitCount / 64)
        unsafe words.initialize(repeating: 0, count: bitCount / 64)
        wordMask = UInt64(bitCount / 64 - 1)
    }

    deinit {
        unsafe words.deallocate()
    }

    /// How far behind the newest counter one may be and still be judged.
    @inlinable
    public var reach: UInt64 {
        wordMask * 64
    }

    /// The highest counter committed; `nil` before the first.
    public var newestCounter: UInt64? {
        isOpen ? newest : nil
    }

    /// Whether `counter` was not committed before and is not too old to tell.
    @inlinable
    public func isFresh(_ counter: UInt64) -> Bool {
        guard isOpen, counter <= newest else { return true }
        guard newest - counter <= reach else { return false }
        return unsafe words[Int((counter >> 6) & wordMask)] >> (counter & 63) & 1 == 0
    }

    /// Records an authentic `counter`; returns whether it is the newest so far.
    ///
    /// - Precondition: ``isFresh(_:)`` said so and nothing was committed since.
    @inlinable
    @discardableResult
    public mutating func commit(_ counter: UInt64) -> Bool {
        let isNewest = !isOpen || counter > newest
        if isNewest {
            if isOpen {
                let advance = min((counter >> 6) - (newest >> 6), wordMask + 1)
                var word = newest >> 6
                for _ in 0..<advance {
                    word += 1
                    unsafe words[Int(word & wordMask)] = 0
                }
            }
            newest = counter
            isOpen = true
        }
        unsafe words[Int((counter >> 6) & wordMask)] |= 1 << (counter & 63)
        return isNewest
    }
}

// Sound: the window is the only owner of its memory and is never shared, only moved.
extension ReplayWindow: @unchecked Sendable {}
