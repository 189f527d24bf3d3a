public import Base

/// What the packet path needs to know of an IPv4 or IPv6 header, checked once.
///
/// IPv6 extension headers are walked (at most ``maximumExtensionCount``) up to the transport
/// header. An IPv6 packet from or to a v4-mapped address is refused: no network carries it, and
/// ``Base/IPAddress`` could not tell it from IPv4.
public struct IPHeader: Hashable, Sendable, BitwiseCopyable {
    /// The version field.
    public enum Version: UInt8, Sendable, BitwiseCopyable {
        /// RFC 791.
        case v4 = 4
        /// RFC 8200.
        case v6 = 6
    }

    /// The place of a fragment in its datagram.
    public struct Fragment: Hashable, Sendable, BitwiseCopyable {
        /// The datagram's identification; 16 bits in IPv4.
        public let identification: UInt32
        /// Bytes of the datagram's payload before this fragment's.
        public let offset: Int
        /// Whether no fragment comes after this one.
        public let isLast: Bool
    }

    /// Extension headers of one IPv6 packet that are walked before it is refused.
    public static let maximumExtensionCount = 8

    /// The version.
    public let version: Version
    /// Bytes of the IP header: 20 to 60, or 40 for IPv6 without its extension headers.
    public let headerByteCount: Int
    /// Where the transport header begins, from the packet's first byte on.
    public let transportOffset: Int
    /// Bytes of the whole packet by its own account.
    public let byteCount: Int
    /// The transport protocol; of a later IPv6 fragment, the one its fragment header names.
    public let protocolNumber: UInt8
    /// Who sent it.
    public let source: IPAddress
    /// Where it goes.
    public let destination: IPAddress
    /// Its place if it is a fragment, `nil` for a whole packet.
    public let fragment: Fragment?
    /// DSCP in the high six bits, ECN in the low two.
    public let trafficClass: UInt8
    /// Time to live.
    public let hopLimit: UInt8
    /// Whether the packet names places to go other than its destination.
    public let hasSourceRoute: Bool

    /// The differentiated services code point.
    public var dscp: UInt8 { trafficClass >> 2 }
    /// The explicit congestion notification bits.
    public var ecn: UInt8 { trafficClass & 3 }
    /// Whether the version is 6.
    public var isV6: Bool { version == .v6 }
    /// Whether the transport header is in another fragment.
    public var isLaterFragment: Bool { (fragment?.offset ?? 0) > 0 }

    /// Reads the header of the packet that fills `range` exactly.
    ///
    /// - Throws: ``WireError`` where the range lies outside the span, a length does not fit or a
    ///   field is malformed.
    public init(parsing span: RawSpan, _ range: Range<Int>) throws(WireError) {
        try self.init(span, range, isWhole: true)
    }

    /// Reads the header of a packet of which `range` holds the front, as ICMP errors quote it.
    ///
    /// The headers must be there up to ``transportOffset``; ``byteCount`` may exceed the range.
    ///
    /// - Throws: ``WireError`` as for a whole packet, but for the length.
    public init(parsingFrontOf span: RawSpan, _ range: Range<Int>) throws(WireError) {
        try self.init(span, range, isWhole: false)
    }

    private init(_ span: RawSpan, _ range: Range<Int>, isWhole: Bool) throws(WireError) {
        guard range.lowerBound >= 0, range.upperBound <= span.byteCount else {
            throw .truncated(neededByteCount: range.upperBound, foundByteCount: span.byteCount)
        }
        guard range.count >= V4.byteCount else {
            throw .truncated(neededByteCount: V4.byteCount, foundByteCount: range.count)
        }
        switch span.byte(at: range.lowerBound) >> 4 {
        case 4: try self.init(v4: span, range, isWhole: isWhole)
        case 6: try self.init(v6: span, range, isWhole: isWhole)
        case let other: throw .unknown(field: "IP version", value: UInt64(other))
        }
    }

    private init(v4 span: RawSpan, _ range: Range<Int>, isWhole: Bool) throws(WireError) {
        let start = range.lowerBound
        let headerByteCount = Int(span.byte(at: start) & 15) * 4
        guard headerByteCount >= V4.byteCount else { throw .invalid(field: "IHL") }
        guard headerByteCount <= range.count else {
            throw .truncated(neededByteCount: headerByteCount, foundByteCount: range.count)
        }
        let byteCount = Int(span.loadBigEndian(at: start + V4.totalLength, as: UInt16.self))
        guard byteCount >= headerByteCount else { throw .invalid(field: "total length") }
        try Self.check(byteCount, against: range, isWhole: isWhole)
        let word = span.loadBigEndian(at: start + V4.fragment, as: UInt16.self)
        if word & 0x3fff == 0 {
            fragment = nil
        } else {
            let offset = Int(word & 0x1fff) * 8
            guard offset + byteCount - headerByteCount <= 0xffff else {
                throw .invalid(field: "fragment offset")
            }
            fragment = Fragment(
                identification: UInt32(
                    span.loadBigEndian(at: start + V4.identification, as: UInt16.self)
                ),
                offset: offset,
                isLast: word & 0x2000 == 0
            )
        }
        version = .v4
        self.headerByteCount = headerByteCount
        transportOffset = headerByteCount
        self.byteCount = byteCount
        protocolNumber = span.byte(at: start + V4.protocolNumber)
        source = IPAddress(v4: span.loadBigEndian(at: start + V4.source))
        destination = IPAddress(v4: span.loadBigEndian(at: start + V4.destination))
        trafficClass = span.byte(at: start + V4.trafficClass)
        hopLimit = span.byte(at: start + V4.hopLimit)
        hasSourceRoute =
            headerByteCount > V4.byteCount
            ? try Self.hasSourceRoute(span, start + V4.byteCount..<start + headerByteCount)
            : false
    }

    private init(v6 span: RawSpan, _ range: Range<Int>, isWhole: Bool) throws(WireError) {
        let start = range.lowerBound
        guard range.count >= V6.byteCount else {
            throw .truncated(neededByteCount: V6.byteCount, foundByteCount: range.count)
        }
        let byteCount =
            V6.byteCount + Int(span.loadBigEndian(at: start + V6.payloadLength, as: UInt16.self))
        try Self.check(byteCount, against: range, isWhole: isWhole)
        source = Self.address(span, start + V6.source)
        destination = Self.address(span, start + V6.destination)
        guard !source.isV4, !destination.isV4 else { throw .invalid(field: "v4-mapped address") }
        version = .v6
        headerByteCount = V6.byteCount
        self.byteCount = byteCount
        trafficClass =
            UInt8(truncatingIfNeeded: span.loadBigEndian(at: start, as: UInt16.self) >> 4)
        hopLimit = span.byte(at: start + V6.hopLimit)
        let walk = try ExtensionWalk(
            span,
            start + V6.byteCount..<start + min(byteCount, range.count),
            first: span.byte(at: start + V6.nextHeader)
        )
        transportOffset = walk.offset - start
        protocolNumber = walk.protocolNumber
        fragment = walk.fragment
        hasSourceRoute = walk.hasSourceRoute
    }

    private static func check(
        _ byteCount: Int,
        against range: Range<Int>,
        isWhole: Bool
    ) throws(WireError) {
        guard isWhole else { return }
        guard byteCount <= range.count else {
            throw .truncated(neededByteCount: byteCount, foundByteCount: range.count)
        }
        guard byteCount == range.count else {
            throw .trailing(byteCount: range.count - byteCount)
        }
    }

    private static func address(_ span: RawSpan, _ offset: Int) -> IPAddress {
        IPAddress(high: span.loadBigEndian(at: offset), low: span.loadBigEndian(at: offset + 8))
    }

    /// Whether the IPv4 options hold a loose or strict source route.
    private static func hasSourceRoute(
        _ span: RawSpan,
        _ options: Range<Int>
    ) throws(WireError) -> Bool {
        var offset = options.lowerBound
        while offset < options.upperBound {
            let kind = span.byte(at: offset)
            if kind == 0 { return false }
            if kind == 1 {
                offset += 1
                continue
            }
            if kind == 131 || kind == 137 { return true }
            guard offset + 1 < options.upperBound else { throw .invalid(field: "IP option") }
            let count = Int(span.byte(at: offset + 1))
            guard count >= 2, count <= options.upperBound - offset else {
                throw .invalid(field: "IP option")
            }
            offset += count
        }
        return false
    }

    private enum V4 {
        static let trafficClass = 1
        static let totalLength = 2
        static let identification = 4
        static let fragment = 6
        static let hopLimit = 8
        static let protocolNumber = 9
        static let source = 12
        static let destination = 16
        static let byteCount = 20
    }

    private enum V6 {
        static let payloadLength = 4
        static let nextHeader = 6
        static let hopLimit = 7
        static let source = 8
        static let destination = 24
        static let byteCount = 40
    }
}

/// The way along IPv6 extension headers to the transport header.
private struct ExtensionWalk {
    var offset: Int
    var protocolNumber: UInt8
    var fragment: IPHeader.Fragment?
    var hasSourceRoute = false

    init(_ span: RawSpan, _ body: Range<Int>, first: UInt8) throws(WireError) {
        offset = body.lowerBound
        protocolNumber = first
        for _ in 0..<IPHeader.maximumExtensionCount {
            guard Self.isExtension(protocolNumber) else { return }
            guard offset + 8 <= body.upperBound else {
                throw .truncated(neededByteCount: 8, foundByteCount: body.upperBound - offset)
            }
            let kind = protocolNumber
            let length = Int(span.byte(at: offset + 1))
            var count = (length + 1) * 8
            switch kind {
            case 43:
                if span.byte(at: offset + 3) != 0 { hasSourceRoute = true }
            case 44:
                guard fragment == nil else { throw .invalid(field: "second fragment header") }
                count = 8
                fragment = try Self.fragment(span, at: offset, end: body.upperBound)
            case 51:
                count = (length + 2) * 4
            default:
                break
            }
            guard offset + count <= body.upperBound else {
                throw .truncated(neededByteCount: count, foundByteCount: body.upperBound - offset)
            }
            protocolNumber = span.byte(at: offset)
            offset += count
            // What follows a later fragment's header is the middle of something.
            if let fragment, fragment.offset > 0 { return }
        }
        guard !Self.isExtension(protocolNumber) else {
            throw .tooLarge(
                field: "extension headers",
                value: UInt64(IPHeader.maximumExtensionCount + 1),
                limit: UInt64(IPHeader.maximumExtensionCount)
            )
        }
    }

    private static func isExtension(_ kind: UInt8) -> Bool {
        // Hop-by-hop, routing, fragment, authentication, destination options.
        kind == 0 || kind == 43 || kind == 44 || kind == 51 || kind == 60
    }

    private static func fragment(
        _ span: RawSpan,
        at offset: Int,
        end: Int
    ) throws(WireError) -> IPHeader.Fragment {
        let word = span.loadBigEndian(at: offset + 2, as: UInt16.self)
        let position = Int(word & 0xfff8)
        guard position + end - offset - 8 <= 0xffff else {
            throw .invalid(field: "fragment offset")
        }
        return IPHeader.Fragment(
            identification: span.loadBigEndian(at: offset + 4),
            offset: position,
            isLast: word & 1 == 0
        )
    }
}
