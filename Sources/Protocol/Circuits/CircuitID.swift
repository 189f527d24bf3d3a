public import Wire

/// A circuit as control plane and packet path of one node name it; never used twice by a node.
public struct CircuitID: Hashable, Comparable, Sendable {
    /// Counts up from 1.
    public let rawValue: UInt64

    /// Takes the number over.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// Whether `lhs` is older.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}

/// Records of kind and length, as cells carry them.
///
/// Spec: §C.4.
public enum RecordPayload {
    /// Bytes before a record's body: kind u8, length u16.
    public static let headerByteCount = 3

    /// The payload of a cell for `hop` that holds just one record of `kind`.
    ///
    /// - Precondition: it fits.
    public static func make(kind: UInt8, body: [UInt8], hop: HopIndex) -> [UInt8] {
        let capacity = OnionLayer.innerByteCount(at: hop)
        precondition(body.count + headerByteCount <= capacity, "record larger than a cell")
        var writer = ByteWriter(capacity: capacity)
        writer.write(kind)
        writer.write(UInt16(truncatingIfNeeded: body.count))
        writer.write(body)
        writer.writeZeros(capacity - writer.bytes.count)
        return writer.bytes
    }
}
