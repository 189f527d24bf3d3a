public import CryptoPrimitives

extension Secret {
    /// The bytes, for comparing with known ones.
    public var exposed: [UInt8] {
        withBytes { span in
            var bytes: [UInt8] = []
            for offset in 0..<span.byteCount {
                bytes.append(unsafe span.unsafeLoad(fromByteOffset: offset, as: UInt8.self))
            }
            return bytes
        }
    }

    /// 32 bytes that follow from `number`.
    public static func numbered(_ number: UInt64) -> Secret {
        Secret(copying: BLAKE2b.hash(Array("test \(number)".utf8), byteCount: 32))
    }
}

extension RandomGenerator {
    /// The generator of a test's seed.
    public init(testSeed: UInt64) {
        self.init(seed: .numbered(testSeed))
    }

    /// Draws a number of `range`.
    public mutating func next(in range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(next(below: UInt64(range.count)))
    }

    /// Whether something with a chance of `permille` in a thousand happens.
    public mutating func happens(permille: UInt64) -> Bool {
        next(below: 1000) < permille
    }
}

extension [UInt8] {
    /// A copy with bit `bit` of the whole array turned over.
    public func flipping(bit: Int) -> [UInt8] {
        var copy = self
        copy[bit / 8] ^= 1 << UInt8(bit % 8)
        return copy
    }
}
