public import Base
import CryptoPrimitives
public import Wire

/// The log of all consensus digests, as the roots of its complete subtrees (RFC 6962 hashing).
///
/// Holds at most 32 hashes whatever its size; every document signs size and root of the log before
/// it, so documents form one chain (§E.3).
public struct DirectoryLog: Hashable, Sendable {
    /// Documents in the log.
    public private(set) var size: UInt32
    /// The digest added last; zero while the log is empty.
    public private(set) var lastDigest: Bytes32
    // Roots of complete subtrees, the largest first: one for each bit set in `size`.
    private var peaks: [Bytes32]

    /// Starts with no document.
    public init() {
        size = 0
        lastDigest = .zero
        peaks = []
    }

    /// The root over all digests; SHA-256 of nothing for the empty log.
    public var root: Bytes32 {
        guard var root = peaks.last else { return SHA256.digest([]) }
        for peak in peaks.dropLast().reversed() { root = Self.node(peak, root) }
        return root
    }

    /// Adds a document's digest.
    ///
    /// - Precondition: the log has room; its size is 32 bits.
    public mutating func append(_ digest: Bytes32) {
        precondition(size < .max, "log is full")
        var hash = SHA256.digest([0], digest.bytes)
        var rest = size
        while rest & 1 == 1, let left = peaks.popLast() {
            hash = Self.node(left, hash)
            rest >>= 1
        }
        peaks.append(hash)
        size += 1
        lastDigest = digest
    }

    /// Reads what ``encoded()`` wrote: `size u32 | last digest 32 | hashes`.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        size = try reader.read()
        lastDigest = try reader.readBytes32()
        peaks = []
        for _ in 0..<size.nonzeroBitCount { peaks.append(try reader.readBytes32()) }
        try reader.finish()
        guard (size == 0) == (lastDigest == .zero) else { throw .invalid(field: "last digest") }
    }

    /// The log's state as bytes, for the authority's disk.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter(capacity: 36 + 32 * peaks.count)
        writer.write(size)
        writer.write(lastDigest)
        for peak in peaks { writer.write(peak) }
        return writer.bytes
    }

    private static func node(_ left: Bytes32, _ right: Bytes32) -> Bytes32 {
        SHA256.digest([1], left.bytes, right.bytes)
    }
}
