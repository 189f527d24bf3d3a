import Base
import Wire

/// A TCP or UDP packet as the coalescer sees it: plain headers, checked, with payload behind them.
struct Segment: BitwiseCopyable {
    let start: Int
    let byteCount: Int
    let isV6: Bool
    let isTCP: Bool
    let transportOffset: Int
    /// IP and transport header.
    let headerByteCount: Int
    /// Addresses, ports and protocol mixed: equal for one flow, seldom for two.
    let tag: UInt64

    var payloadByteCount: Int { byteCount &- headerByteCount }
    var transport: Int { start &+ transportOffset }

    /// Reads the packet in `range`; `nil` for whatever has no place in a run: other protocols,
    /// fragments, IP options, extension headers, lengths that do not match.
    init?(_ arena: RawSpan, _ range: Range<Int>) {
        start = range.lowerBound
        byteCount = range.count
        guard byteCount >= IPLayout.v4ByteCount + TransportLayout.udpByteCount else { return nil }
        let front = arena.loadBigEndian(at: start, as: UInt32.self)
        let protocolNumber: UInt8
        var tag: UInt64
        switch front >> 24 {
        case 0x45:
            isV6 = false
            transportOffset = IPLayout.v4ByteCount
            let middle = arena.loadBigEndian(at: start &+ IPLayout.v4Fragment, as: UInt32.self)
            // Total length; then no fragment and no reserved flag.
            guard Int(front & 0xffff) == byteCount, middle >> 16 & 0xbfff == 0 else { return nil }
            protocolNumber = UInt8(truncatingIfNeeded: middle)
            tag = arena.loadBigEndian(at: start &+ IPLayout.v4Source)
        case 0x60...0x6f:
            guard byteCount >= IPLayout.v6ByteCount + TransportLayout.udpByteCount else {
                return nil
            }
            isV6 = true
            transportOffset = IPLayout.v6ByteCount
            let middle = arena.loadBigEndian(
                at: start &+ IPLayout.v6PayloadLength,
                as: UInt32.self
            )
            guard Int(middle >> 16) &+ IPLayout.v6ByteCount == byteCount else { return nil }
            protocolNumber = UInt8(truncatingIfNeeded: middle >> 8)
            tag = 0
            for index in 0..<4 {
                let word: UInt64 = arena.loadBigEndian(
                    at: start &+ IPLayout.v6Source &+ 8 &* index
                )
                tag = (tag ^ word) &* 0x9e37_79b9_7f4a_7c15
            }
        default:
            return nil
        }
        let transport = start &+ transportOffset
        switch protocolNumber {
        case IPProtocol.tcp:
            isTCP = true
            guard byteCount &- transportOffset >= TransportLayout.tcpByteCount else { return nil }
            let count = arena.byte(at: transport &+ TransportLayout.tcpDataOffset) >> 4
            headerByteCount = transportOffset &+ Int(count) &* 4
            guard count >= 5, headerByteCount <= byteCount else { return nil }
        case IPProtocol.udp:
            isTCP = false
            headerByteCount = transportOffset &+ TransportLayout.udpByteCount
            let length: UInt16 = arena.loadBigEndian(at: transport &+ TransportLayout.udpLength)
            guard Int(length) == byteCount &- transportOffset else { return nil }
        default:
            return nil
        }
        let ports: UInt32 = arena.loadBigEndian(at: transport)
        self.tag =
            (tag &+ UInt64(ports) << 8 &+ UInt64(protocolNumber)) &* 0x9e37_79b9_7f4a_7c15
    }

    /// Whether both are packets of one flow.
    @inline(__always)
    func isSameFlow(as other: Self, _ arena: RawSpan) -> Bool {
        guard tag == other.tag, isV6 == other.isV6, isTCP == other.isTCP,
            same(UInt32.self, transportOffset, other, arena)
        else { return false }
        guard isV6 else { return same(UInt64.self, IPLayout.v4Source, other, arena) }
        return same(UInt64.self, 8, other, arena) && same(UInt64.self, 16, other, arena)
            && same(UInt64.self, 24, other, arena) && same(UInt64.self, 32, other, arena)
    }

    /// Whether the headers of both differ only where segments of one super-packet do.
    ///
    /// `index` is the number of segments between `first` and this one; sequence numbers are the
    /// caller's to compare.
    @inline(__always)
    func hasEqualHeaders(to first: Self, index: Int, _ arena: RawSpan) -> Bool {
        guard headerByteCount == first.headerByteCount else { return false }
        if isV6 {
            // Version, class and flow label; hop limit (next header was compared).
            guard same(UInt32.self, 0, first, arena),
                same(UInt16.self, IPLayout.v6NextHeader, first, arena)
            else { return false }
        } else {
            // Version and TOS; fragment flags, TTL and protocol.
            guard same(UInt16.self, 0, first, arena),
                same(UInt32.self, IPLayout.v4Fragment, first, arena)
            else { return false }
            // Where fragmenting is allowed the identification counts, and will when split again.
            let fragment = arena.byte(at: start &+ IPLayout.v4Fragment)
            let mine: UInt16 = arena.loadBigEndian(at: start &+ IPLayout.v4Identification)
            let firsts: UInt16 = arena.loadBigEndian(at: first.start &+ IPLayout.v4Identification)
            guard fragment & 0x40 != 0 || mine == firsts &+ UInt16(truncatingIfNeeded: index)
            else { return false }
        }
        guard isTCP else { return true }
        // Acknowledgement; data offset and flags but for PSH; window; urgent pointer; options.
        let flagsHere: UInt16 = arena.loadBigEndian(at: transport &+ 12)
        let flagsFirst: UInt16 = arena.loadBigEndian(at: first.transport &+ 12)
        guard same(UInt32.self, transportOffset &+ 8, first, arena),
            (flagsHere ^ flagsFirst) & ~UInt16(TCPFlags.psh) == 0,
            same(UInt16.self, transportOffset &+ 14, first, arena),
            same(UInt16.self, transportOffset &+ 18, first, arena)
        else { return false }
        var offset = transportOffset &+ TransportLayout.tcpByteCount
        while offset < headerByteCount {
            guard same(UInt32.self, offset, first, arena) else { return false }
            offset &+= 4
        }
        return true
    }

    /// Whether the segment may be part of a run: payload, and of the flags only ACK and PSH.
    @inline(__always)
    func isMergeable(_ arena: RawSpan) -> Bool {
        guard payloadByteCount > 0 else { return false }
        guard isTCP else {
            return arena.loadBigEndian(
                at: transport &+ TransportLayout.udpChecksum,
                as: UInt16.self
            ) != 0
        }
        let word: UInt16 = arena.loadBigEndian(at: transport &+ 12)
        return word & 0x0fff & ~UInt16(TCPFlags.psh) == UInt16(TCPFlags.ack)
    }

    /// Whether IPv4 header checksum and transport checksum are right.
    func hasValidChecksums(_ arena: RawSpan) -> Bool {
        if !isV6 {
            var sum = InternetChecksum()
            sum.add(arena.loadBigEndian(at: start, as: UInt64.self))
            sum.add(arena.loadBigEndian(at: start &+ 8, as: UInt64.self))
            sum.add(arena.loadBigEndian(at: start &+ 16, as: UInt32.self))
            guard sum.folded == 0xffff else { return false }
        }
        if !isTCP {
            let field = transport &+ TransportLayout.udpChecksum
            guard arena.loadBigEndian(at: field, as: UInt16.self) != 0 else { return false }
        }
        var sum = InternetChecksum()
        sum.addPseudoHeader(
            arena,
            packetOffset: start,
            isV6: isV6,
            protocolNumber: isTCP ? IPProtocol.tcp : IPProtocol.udp,
            byteCount: byteCount &- transportOffset
        )
        sum.add(arena, transport..<start &+ byteCount)
        return sum.folded == 0xffff
    }

    /// The payload's place.
    var payloadPiece: ArenaPiece {
        ArenaPiece(offset: start &+ headerByteCount, byteCount: payloadByteCount)
    }

    /// TCP's sequence number; of a UDP segment nothing meaningful.
    func sequence(_ arena: RawSpan) -> UInt32 {
        arena.loadBigEndian(at: transport &+ TransportLayout.tcpSequence)
    }

    /// The sequence number of the byte after the payload.
    func nextSequence(_ arena: RawSpan) -> UInt32 {
        sequence(arena) &+ UInt32(truncatingIfNeeded: payloadByteCount)
    }

    /// Whether this is TCP with PSH.
    func isPushed(_ arena: RawSpan) -> Bool {
        isTCP && arena.byte(at: transport &+ TransportLayout.tcpFlags) & TCPFlags.psh != 0
    }

    @inline(__always)
    private func same<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type,
        _ offset: Int,
        _ other: Self,
        _ arena: RawSpan
    ) -> Bool {
        arena.loadBigEndian(at: start &+ offset, as: type)
            == arena.loadBigEndian(at: other.start &+ offset, as: type)
    }
}
