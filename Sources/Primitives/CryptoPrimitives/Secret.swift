import CSodium

/// Key material outside the packet path: bytes that never change, are wiped when the last owner lets
/// go, and never show in a log.
public final class Secret: Sendable, CustomStringConvertible, CustomReflectable {
    private let block: SecretBlock

    /// Bytes held.
    public var byteCount: Int {
        block.byteCount
    }

    /// Copies `bytes`; whoever gave them still has to wipe them.
    public convenience init(copying bytes: [UInt8], in memory: SecretMemory = .shared) {
        unsafe self.init(copying: bytes.span.bytes, in: memory)
    }

    /// Copies the bytes of `span`.
    public convenience init(copying span: RawSpan, in memory: SecretMemory = .shared) {
        unsafe self.init(byteCount: span.byteCount, in: memory) { target in
            unsafe span.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
        }
    }

    /// Takes `byteCount` bytes of locked memory and lets `write` set them.
    init(
        byteCount: Int,
        in memory: SecretMemory = .shared,
        _ write: (UnsafeMutableRawBufferPointer) -> Void
    ) {
        var block = SecretBlock(byteCount: byteCount, in: memory)
        unsafe write(
            UnsafeMutableRawBufferPointer(start: block.mutableStart, count: byteCount)
        )
        self.block = block
    }

    /// Lends the bytes to `body`, which must not keep a copy it does not wipe.
    public func withBytes<R: ~Copyable, E: Error>(
        _ body: (RawSpan) throws(E) -> R
    ) throws(E) -> R {
        let buffer = unsafe UnsafeRawBufferPointer(start: block.start, count: byteCount)
        return try unsafe body(buffer.bytes)
    }

    /// Lends the bytes as C takes them.
    func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        unsafe try body(UnsafeRawBufferPointer(start: block.start, count: byteCount))
    }

    /// Lends the address of the first byte to C.
    func withUnsafeStart<R>(_ body: (UnsafePointer<UInt8>) -> R) -> R {
        unsafe body(block.start.assumingMemoryBound(to: UInt8.self))
    }

    /// A secret of its own with the bytes in `range`.
    ///
    /// - Precondition: `range` lies within the secret.
    public func slice(_ range: Range<Int>) -> Secret {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "slice out of secret")
        return unsafe withUnsafeBytes { bytes in
            unsafe Secret(byteCount: range.count) { target in
                unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[range]))
            }
        }
    }

    /// Whether both hold the same bytes, in constant time for a given length.
    public func isEqual(to other: Secret) -> Bool {
        Sodium.prepare()
        guard byteCount == other.byteCount else { return false }
        return unsafe sodium_memcmp(block.start, other.block.start, byteCount) == 0
    }

    /// The length, never the bytes.
    public var description: String {
        "Secret(\(byteCount) bytes)"
    }

    /// A mirror without children, so that `dump` shows nothing either.
    public var customMirror: Mirror {
        Mirror(self, children: [])
    }
}
