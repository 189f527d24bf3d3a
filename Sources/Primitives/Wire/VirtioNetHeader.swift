import Base

/// The 10 bytes Linux puts before each packet of a TUN device opened with `IFF_VNET_HDR`.
///
/// Says what the kernel left undone: a checksum to complete, a super-packet to split. Fields are
/// in the byte order of the host, as the device uses them unless told otherwise.
public struct VirtioNetHeader: Hashable, Sendable, BitwiseCopyable {
    /// How a super-packet is to be split.
    public enum Segmentation: UInt8, Sendable, BitwiseCopyable {
        /// Not a super-packet.
        case none = 0
        /// TCP over IPv4.
        case tcpV4 = 1
        /// TCP over IPv6.
        case tcpV6 = 4
        /// UDP over either, each segment a datagram of its own (USO).
        case udpL4 = 5
    }

    /// Bytes of the header.
    public static let byteCount = 10

    /// Whether the transport checksum field holds only the pseudo-header's sum.
    public var needsChecksum: Bool
    /// Whether the transport checksum has been verified.
    public var isDataValid: Bool
    /// How the packet is to be split.
    public var segmentation: Segmentation
    /// Whether the super-packet carries CWR, which belongs to its first segment only.
    public var hasECN: Bool
    /// Bytes of IP and transport header; a hint only in what the kernel writes.
    public var headerByteCount: UInt16
    /// Payload bytes of each segment but the last.
    public var segmentByteCount: UInt16
    /// Where the checksummed bytes begin, from the IP header on.
    public var checksumStart: UInt16
    /// Where the checksum field is, from ``checksumStart`` on.
    public var checksumOffset: UInt16

    /// Makes the header of a packet that is complete.
    public init(isDataValid: Bool = false) {
        needsChecksum = false
        self.isDataValid = isDataValid
        segmentation = .none
        hasECN = false
        headerByteCount = 0
        segmentByteCount = 0
        checksumStart = 0
        checksumOffset = 0
    }

    /// Reads the header at `offset`.
    ///
    /// - Throws: ``WireError/truncated(neededByteCount:foundByteCount:)``, or
    ///   ``WireError/unknown(field:value:)`` for a way of splitting that was never asked for.
    public init(parsing span: RawSpan, at offset: Int) throws(WireError) {
        guard offset >= 0, offset <= span.byteCount - Self.byteCount else {
            throw .truncated(
                neededByteCount: Self.byteCount,
                foundByteCount: max(0, span.byteCount - offset)
            )
        }
        let type = span.byte(at: offset + Layout.type)
        guard let segmentation = Segmentation(rawValue: type & ~Layout.ecn) else {
            throw .unknown(field: "gso_type", value: UInt64(type))
        }
        let flags = span.byte(at: offset + Layout.flags)
        needsChecksum = flags & Layout.needsChecksum != 0
        isDataValid = flags & Layout.dataValid != 0
        self.segmentation = segmentation
        hasECN = type & Layout.ecn != 0
        headerByteCount = Self.load(span, offset + Layout.headerByteCount)
        segmentByteCount = Self.load(span, offset + Layout.segmentByteCount)
        checksumStart = Self.load(span, offset + Layout.checksumStart)
        checksumOffset = Self.load(span, offset + Layout.checksumOffset)
    }

    /// Writes the header to `offset`.
    ///
    /// - Precondition: its 10 bytes lie within the span.
    public func store(to span: inout MutableRawSpan, at offset: Int) {
        let flags =
            (needsChecksum ? Layout.needsChecksum : 0) | (isDataValid ? Layout.dataValid : 0)
        span.storeBigEndian(flags, at: offset + Layout.flags)
        span.storeBigEndian(
            segmentation.rawValue | (hasECN ? Layout.ecn : 0),
            at: offset + Layout.type
        )
        // `.bigEndian` undoes the swap of the store: host order.
        span.storeBigEndian(headerByteCount.bigEndian, at: offset + Layout.headerByteCount)
        span.storeBigEndian(segmentByteCount.bigEndian, at: offset + Layout.segmentByteCount)
        span.storeBigEndian(checksumStart.bigEndian, at: offset + Layout.checksumStart)
        span.storeBigEndian(checksumOffset.bigEndian, at: offset + Layout.checksumOffset)
    }

    private static func load(_ span: RawSpan, _ offset: Int) -> UInt16 {
        span.loadBigEndian(at: offset, as: UInt16.self).bigEndian
    }

    private enum Layout {
        static let flags = 0
        static let type = 1
        static let headerByteCount = 2
        static let segmentByteCount = 4
        static let checksumStart = 6
        static let checksumOffset = 8

        static let needsChecksum: UInt8 = 1
        static let dataValid: UInt8 = 2
        static let ecn: UInt8 = 0x80
    }
}
