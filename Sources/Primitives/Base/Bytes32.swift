/// Thirty-two bytes compared and hashed as a value: digests, public keys, identifiers.
///
/// Not for secrets.
public struct Bytes32: Hashable, Comparable, Sendable, BitwiseCopyable {
    // Big-endian words, so that order as integers is order as bytes.
    @usableFromInline var word0, word1, word2, word3: UInt64

    /// 32 zero bytes.
    public static let zero = Self(0, 0, 0, 0)

    @usableFromInline
    init(_ word0: UInt64, _ word1: UInt64, _ word2: UInt64, _ word3: UInt64) {
        self.word0 = word0
        self.word1 = word1
        self.word2 = word2
        self.word3 = word3
    }

    /// Reads the 32 bytes of `span` that begin at `offset`.
    ///
    /// - Precondition: they lie within the span.
    public init(_ span: RawSpan, at offset: Int = 0) {
        self.init(
            span.loadBigEndian(at: offset),
            span.loadBigEndian(at: offset + 8),
            span.loadBigEndian(at: offset + 16),
            span.loadBigEndian(at: offset + 24)
        )
    }

    /// Takes over `bytes`; `nil` unless there are 32.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        unsafe self.init(bytes.span.bytes)
    }

    /// Reads 64 hexadecimal digits; `nil` for anything else.
    public init?(hex: String) {
        guard let bytes = [UInt8](hex: hex) else { return nil }
        self.init(bytes)
    }

    /// The bytes as an array of 32.
    public var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 32)
        var span = bytes.mutableSpan
        var target = unsafe span.mutableBytes
        store(to: &target, at: 0)
        return bytes
    }

    /// The bytes as 64 lowercase hexadecimal digits.
    public var hex: String {
        bytes.hex
    }

    /// Writes the 32 bytes to `span` from `offset` on.
    public func store(to span: inout MutableRawSpan, at offset: Int) {
        span.storeBigEndian(word0, at: offset)
        span.storeBigEndian(word1, at: offset + 8)
        span.storeBigEndian(word2, at: offset + 16)
        span.storeBigEndian(word3, at: offset + 24)
    }

    /// Whether `lhs` comes before `rhs` as byte strings do.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        (lhs.word0, lhs.word1, lhs.word2, lhs.word3)
            < (rhs.word0, rhs.word1, rhs.word2, rhs.word3)
    }
}

extension [UInt8] {
    /// Reads pairs of hexadecimal digits; `nil` for an odd count or another character.
    public init?(hex: String) {
        let digits = [UInt8](hex.utf8)
        guard digits.count.isMultiple(of: 2) else { return nil }
        self.init()
        reserveCapacity(digits.count / 2)
        var high: UInt8?
        for digit in digits {
            let value: UInt8
            switch digit {
            case 0x30...0x39: value = digit - 0x30
            case 0x41...0x46: value = digit - 0x41 + 10
            case 0x61...0x66: value = digit - 0x61 + 10
            default: return nil
            }
            if let first = high {
                append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
    }

    /// The bytes as lowercase hexadecimal digits.
    public var hex: String {
        let digits = [UInt8]("0123456789abcdef".utf8)
        return String(
            decoding: flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
            as: UTF8.self
        )
    }
}
