public import Base
import CSodium

/// Random numbers from a seed of 32 bytes: the same seed gives the same bytes, and nobody without it
/// can tell them from chance.
///
/// One stream of bytes, whatever they are drawn as. ChaCha20 under nonce 0 fills 1 KiB: its first 32
/// bytes replace the key, the rest is output and is erased as it is drawn, so what was drawn cannot
/// be found again in memory.
public struct RandomGenerator: ~Copyable, Sendable {
    /// The buffer, then the key.
    private var block: SecretBlock
    /// Offset in the buffer of the first byte not drawn.
    private var offset = bufferByteCount

    private static let bufferByteCount = 1024
    private static let keyByteCount = 32

    /// Starts the stream of `seed`.
    ///
    /// - Precondition: `seed` has 32 bytes.
    public init(seed: Secret) {
        Sodium.prepare()
        precondition(seed.byteCount == Self.keyByteCount, "a seed has 32 bytes")
        var block = SecretBlock(byteCount: Self.bufferByteCount + Self.keyByteCount, in: .shared)
        unsafe seed.withUnsafeStart {
            unsafe (block.mutableStart + Self.bufferByteCount).copyMemory(
                from: $0,
                byteCount: Self.keyByteCount
            )
        }
        self.block = block
    }

    /// Draws eight bytes as a number, little-endian.
    public mutating func next() -> UInt64 {
        var value: UInt64 = 0
        unsafe withUnsafeMutableBytes(of: &value) { unsafe draw(into: $0) }
        return UInt64(littleEndian: value)
    }

    /// Draws a number from 0 up to but not `bound`, each as likely as any other.
    ///
    /// Draws again while the number falls in the uneven rest, with a chance below one half each time.
    ///
    /// - Precondition: `bound` is not 0.
    public mutating func next(below bound: UInt64) -> UInt64 {
        precondition(bound > 0, "nothing is below zero")
        var product = next().multipliedFullWidth(by: bound)
        if product.low < bound {
            let rest = (0 &- bound) % bound
            while product.low < rest {
                product = next().multipliedFullWidth(by: bound)
            }
        }
        return product.high
    }

    /// Draws `count` bytes.
    public mutating func bytes(_ count: Int) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initializedCount in
            unsafe draw(
                into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
            )
            initializedCount = count
        }
    }

    /// Draws 32 bytes that are not secret.
    public mutating func bytes32() -> Bytes32 {
        var words = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
        return unsafe withUnsafeMutableBytes(of: &words) { buffer in
            unsafe draw(into: buffer)
            return unsafe Bytes32(UnsafeRawBufferPointer(buffer).bytes)
        }
    }

    /// Draws a secret of `byteCount` bytes.
    public mutating func secret(byteCount: Int) -> Secret {
        unsafe Secret(byteCount: byteCount) { unsafe draw(into: $0) }
    }

    /// Draws the bytes of `range`.
    ///
    /// - Precondition: `range` lies within `bytes`.
    public mutating func fill(_ bytes: inout MutableRawSpan, range: Range<Int>) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= bytes.byteCount,
            "fill out of span"
        )
        unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe draw(into: UnsafeMutableRawBufferPointer(rebasing: buffer[range]))
        }
    }

    /// A generator of its own, seeded from this one.
    public mutating func split() -> RandomGenerator {
        RandomGenerator(seed: secret(byteCount: Self.keyByteCount))
    }

    private mutating func draw(into target: UnsafeMutableRawBufferPointer) {
        guard let base = target.baseAddress else { return }
        var done = 0
        while done < target.count {
            if offset == Self.bufferByteCount { refill() }
            let step = min(target.count - done, Self.bufferByteCount - offset)
            let drawn = unsafe block.mutableStart + offset
            unsafe (base + done).copyMemory(from: drawn, byteCount: step)
            unsafe drawn.initializeMemory(as: UInt8.self, repeating: 0, count: step)
            offset += step
            done += step
        }
    }

    private mutating func refill() {
        let buffer = unsafe block.mutableStart
        let key = unsafe buffer + Self.bufferByteCount
        unsafe umbel_chacha20_stream(buffer, Self.bufferByteCount, key)
        unsafe key.copyMemory(from: buffer, byteCount: Self.keyByteCount)
        unsafe buffer.initializeMemory(as: UInt8.self, repeating: 0, count: Self.keyByteCount)
        offset = Self.keyByteCount
    }
}
