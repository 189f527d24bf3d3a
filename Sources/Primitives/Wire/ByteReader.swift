public import Base

/// Reads a message from front to back; every read is bounds checked and throws.
///
/// For control messages and documents; the packet path uses views at fixed offsets instead.
public struct ByteReader {
    private let bytes: [UInt8]
    /// Index of the next byte to read.
    public private(set) var offset: Int
    private let end: Int

    /// Starts at the front of `bytes`.
    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
        offset = 0
        end = bytes.count
    }

    /// Bytes not read yet.
    public var remainingByteCount: Int {
        end - offset
    }

    /// Reads a big-endian integer.
    public mutating func read<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type = T.self
    ) throws(WireError) -> T {
        let range = try take(MemoryLayout<T>.size)
        return unsafe bytes.span.bytes.loadBigEndian(at: range.lowerBound)
    }

    /// Reads `count` bytes.
    public mutating func read(byteCount count: Int) throws(WireError) -> [UInt8] {
        Array(bytes[try take(count)])
    }

    /// Reads 32 bytes.
    public mutating func readBytes32() throws(WireError) -> Bytes32 {
        let range = try take(32)
        return unsafe Bytes32(bytes.span.bytes, at: range.lowerBound)
    }

    /// Reads all that is left.
    public mutating func readRemaining() -> [UInt8] {
        defer { offset = end }
        return Array(bytes[offset..<end])
    }

    /// Requires that nothing is left.
    public func finish() throws(WireError) {
        guard remainingByteCount == 0 else {
            throw .trailing(byteCount: remainingByteCount)
        }
    }

    private mutating func take(_ count: Int) throws(WireError) -> Range<Int> {
        guard count >= 0, count <= remainingByteCount else {
            throw .truncated(neededByteCount: count, foundByteCount: remainingByteCount)
        }
        defer { offset += count }
        return offset..<offset + count
    }
}

/// Builds a message from front to back, big-endian.
public struct ByteWriter {
    /// What has been written so far.
    public private(set) var bytes: [UInt8] = []

    /// Starts empty.
    public init(capacity: Int = 0) {
        bytes.reserveCapacity(capacity)
    }

    /// Appends `value` big-endian.
    public mutating func write<T: FixedWidthInteger>(_ value: T) {
        for shift in stride(from: T.bitWidth - 8, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: shift)))
        }
    }

    /// Appends `more` as they are.
    public mutating func write(_ more: [UInt8]) {
        bytes.append(contentsOf: more)
    }

    /// Appends the 32 bytes of `value`.
    public mutating func write(_ value: Bytes32) {
        bytes.append(contentsOf: value.bytes)
    }

    /// Appends `count` zero bytes.
    public mutating func writeZeros(_ count: Int) {
        bytes.append(contentsOf: repeatElement(0, count: count))
    }
}
