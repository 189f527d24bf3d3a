import Base

/// A running hash of everything a world decides: equal for equal seeds.
///
/// Times, parties, sizes and kinds go in; ciphertext does not, since encapsulation draws
/// randomness of its own.
public struct Trace: Hashable, Sendable, CustomStringConvertible {
    /// The hash.
    public private(set) var state: UInt64 = 0xcbf2_9ce4_8422_2325
    /// How many words went in.
    public private(set) var count: UInt64 = 0

    mutating func add(_ word: UInt64) {
        state = (state ^ word) &* 0x9e37_79b9_7f4a_7c15
        state ^= state >> 29
        count &+= 1
    }

    mutating func add(_ first: UInt64, _ second: UInt64) {
        add(first)
        add(second)
    }

    mutating func add(_ first: UInt64, _ second: UInt64, _ third: UInt64) {
        add(first)
        add(second)
        add(third)
    }

    mutating func add(_ first: UInt64, _ second: UInt64, _ third: UInt64, _ fourth: UInt64) {
        add(first, second)
        add(third, fourth)
    }

    mutating func add(_ address: SocketAddress) {
        add(address.ip.high, address.ip.low, UInt64(address.port))
    }

    /// The hash as sixteen digits and the count.
    public var description: String {
        String(state, radix: 16) + "/\(count)"
    }
}
