/// Fills the ends of forwarded cells and the bodies of padding: bytes nobody can tell from sealed
/// ones, at the price of a copy.
///
/// AES-256-GCM over zeros, 16 KiB at a time, each under a number of its own; the tags are not used.
/// What was given out stays in the buffer until the next refill, since filler is no secret once
/// sent. Spec: protocol §C.2, §C.3.
public struct FillerGenerator: ~Copyable, Sendable {
    private let key: AEADKey
    private var block: SecretBlock
    /// Offset in the block of the first byte not given out.
    private var offset = blockByteCount
    private var nonce: UInt64 = 0

    private static let blockByteCount = 16_384

    /// Starts the stream of `key`, which must serve nothing else.
    ///
    /// - Precondition: `key` has 32 bytes.
    public init(key: Secret) {
        self.key = AEADKey(key)
        block = SecretBlock(
            byteCount: Self.blockByteCount + AEADKey.tagByteCount,
            in: .shared
        )
    }

    /// Overwrites `range` with the next bytes of the stream.
    ///
    /// - Precondition: `range` lies within `bytes`.
    public mutating func fill(_ bytes: inout MutableRawSpan, range: Range<Int>) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= bytes.byteCount,
            "fill out of span"
        )
        unsafe bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            var done = range.lowerBound
            while done < range.upperBound {
                if offset == Self.blockByteCount { refill() }
                let step = min(range.upperBound - done, Self.blockByteCount - offset)
                unsafe (base + done).copyMemory(from: block.start + offset, byteCount: step)
                offset += step
                done += step
            }
        }
    }

    private mutating func refill() {
        unsafe block.mutableStart.initializeMemory(
            as: UInt8.self,
            repeating: 0,
            count: Self.blockByteCount
        )
        var span = unsafe UnsafeMutableRawBufferPointer(
            start: block.mutableStart,
            count: block.byteCount
        ).mutableBytes
        key.seal(
            &span,
            text: 0..<Self.blockByteCount,
            tagOffset: Self.blockByteCount,
            nonce: nonce,
            authenticating: 0..<0
        )
        nonce += 1
        offset = 0
    }
}
