public import Base
import CWordSum

/// The ones' complement sum IP, TCP, UDP and ICMP use (RFC 1071), with its incremental form.
///
/// Add ranges and words, each beginning at an even offset of what is summed, then read
/// ``folded`` or ``complement``. Words are those of the packet, read big-endian.
public struct InternetChecksum: Sendable, BitwiseCopyable {
    /// The sum so far, not folded: each addition contributes less than 2^33.
    @usableFromInline var sum: UInt64

    /// Starts at zero.
    @inlinable
    public init() {
        sum = 0
    }

    /// Adds a 16-bit word.
    @inlinable
    public mutating func add(_ word: UInt16) {
        sum &+= UInt64(word)
    }

    /// Adds the two words of `words`.
    @inlinable
    public mutating func add(_ words: UInt32) {
        sum &+= UInt64(words)
    }

    /// Adds the four words of `words`.
    @inlinable
    public mutating func add(_ words: UInt64) {
        sum &+= (words >> 32) &+ (words & 0xffff_ffff)
    }

    /// Adds the bytes in `range`; an odd last byte counts as the high half of a word.
    ///
    /// - Precondition: the range lies within the span.
    public mutating func add(_ span: RawSpan, _ range: Range<Int>) {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= span.byteCount,
            "sum out of span"
        )
        let native = unsafe span.withUnsafeBytes { buffer -> UInt64 in
            guard let base = buffer.baseAddress else { return 0 }
            return unsafe cwordsum(base + range.lowerBound, range.count)
        }
        // Summing in host order and swapping once gives the same as swapping each word.
        sum &+= UInt64(UInt16(bigEndian: Self.fold(native)))
    }

    /// Adds an IPv4 or IPv6 pseudo-header.
    ///
    /// Addresses are read from the IP header at `packetOffset`; `byteCount` is the length of
    /// transport header and payload.
    ///
    /// - Precondition: the fixed IP header lies within the span.
    @inlinable
    public mutating func addPseudoHeader(
        _ span: RawSpan,
        packetOffset: Int,
        isV6: Bool,
        protocolNumber: UInt8,
        byteCount: Int
    ) {
        if isV6 {
            add(span.loadBigEndian(at: packetOffset + 8, as: UInt64.self))
            add(span.loadBigEndian(at: packetOffset + 16, as: UInt64.self))
            add(span.loadBigEndian(at: packetOffset + 24, as: UInt64.self))
            add(span.loadBigEndian(at: packetOffset + 32, as: UInt64.self))
        } else {
            add(span.loadBigEndian(at: packetOffset + 12, as: UInt64.self))
        }
        add(UInt16(protocolNumber))
        add(UInt32(truncatingIfNeeded: byteCount))
    }

    /// The sum in 16 bits, not complemented; `0xffff` where a received checksum is right.
    @inlinable
    public var folded: UInt16 {
        Self.fold(sum)
    }

    /// What goes into a checksum field.
    @inlinable
    public var complement: UInt16 {
        ~folded
    }

    /// What goes into a UDP checksum field, where zero would mean "none".
    @inlinable
    public var udpComplement: UInt16 {
        let value = complement
        return value == 0 ? 0xffff : value
    }

    /// The checksum after the word `old` of its coverage became `new` (RFC 1624, equation 3).
    @inlinable
    public static func updated(
        _ checksum: UInt16,
        replacing old: UInt16,
        with new: UInt16
    ) -> UInt16 {
        updated(checksum, by: difference(from: old, to: new))
    }

    /// The checksum after its coverage changed by `difference`.
    @inlinable
    public static func updated(_ checksum: UInt16, by difference: UInt16) -> UInt16 {
        ~fold(UInt64(~checksum) &+ UInt64(difference))
    }

    /// What the sum gains when its part that folds to `old` is replaced by one folding to `new`.
    @inlinable
    public static func difference(from old: UInt16, to new: UInt16) -> UInt16 {
        fold(UInt64(~old) &+ UInt64(new))
    }

    @usableFromInline
    static func fold(_ sum: UInt64) -> UInt16 {
        var sum = (sum >> 32) &+ (sum & 0xffff_ffff)
        sum = (sum >> 16) &+ (sum & 0xffff)
        sum = (sum >> 16) &+ (sum & 0xffff)
        sum = (sum >> 16) &+ (sum & 0xffff)
        return UInt16(truncatingIfNeeded: sum)
    }
}
