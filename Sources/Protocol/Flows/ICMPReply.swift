import Base
public import Wire

/// An ICMP error that answers a packet, written into the arena.
///
/// How often is the caller's to limit.
public enum ICMPReply: Hashable, Sendable {
    /// The packet may not go where it wants (type 3 code 13; IPv6 type 1 code 1).
    case administrativelyProhibited
    /// The packet must be at most `mtu` bytes (type 3 code 4; IPv6 type 2).
    case packetTooBig(mtu: Int)

    /// Bytes of the longest answer: 576 over IPv4, IPv6's minimum MTU over IPv6.
    public static let maximumByteCount = 1_280

    /// Writes the answer to the packet in `packet` to `offset`, from `sender` to the packet's source.
    ///
    /// It quotes as much of the packet as is allowed. Never answered: ICMP errors and redirects,
    /// fragments but the first, packets to or from addresses that are not one host's.
    ///
    /// - Parameter sender: where the answer comes from, such as ``AddressPair/Tunnel/resolver``.
    /// - Returns: its bytes' count; `nil` where the packet must not be answered.
    /// - Precondition: `header` is that of the packet; ``maximumByteCount`` bytes are behind
    ///   `offset` and do not touch the packet.
    public func write(
        answering packet: Range<Int>,
        header: IPHeader,
        from sender: AddressPair,
        in arena: inout MutableRawSpan,
        to offset: Int
    ) -> Int? {
        guard Self.mayAnswer(packet, header, in: arena.bytes) else { return nil }
        if header.isV6 {
            guard let v6 = sender.v6 else { return nil }
            return writeV6(packet, header, v6, in: &arena, to: offset)
        }
        return writeV4(packet, header, sender.v4, in: &arena, to: offset)
    }

    private static func mayAnswer(
        _ packet: Range<Int>,
        _ header: IPHeader,
        in arena: RawSpan
    ) -> Bool {
        guard !header.isLaterFragment, isOneHost(header.source), isOneHost(header.destination)
        else { return false }
        let transport = packet.lowerBound + header.transportOffset
        let isICMP =
            header.protocolNumber == (header.isV6 ? IPProtocol.icmpV6 : IPProtocol.icmp)
        guard isICMP else { return true }
        // A message without a type might be an error.
        guard transport < packet.upperBound else { return false }
        let type = arena.byte(at: transport)
        let isRedirect = header.isV6 && type == 137
        return !isRedirect
            && !ICMPType.isError(
                type,
                protocolNumber: header.protocolNumber,
                isV6: header.isV6
            )
    }

    /// Whether the address can be one host's: not unspecified, loopback, multicast or broadcast.
    private static func isOneHost(_ address: IPAddress) -> Bool {
        if let v4 = address.v4 {
            let first = v4 >> 24
            return first != 0 && first != 127 && first < 224
        }
        return address.high >> 56 != 0xff && !(address.high == 0 && address.low <= 1)
    }

    private func writeV4(
        _ packet: Range<Int>,
        _ header: IPHeader,
        _ sender: IPAddress,
        in arena: inout MutableRawSpan,
        to offset: Int
    ) -> Int {
        let front = IPLayout.v4ByteCount + TransportLayout.icmpByteCount
        let quoteByteCount = min(packet.count, 576 - front)
        let byteCount = front + quoteByteCount
        arena.zero(offset..<offset + front)
        // Version 4 of 20 bytes, class CS6, and "don't fragment" with no identification.
        arena.storeBigEndian(0x45c0 as UInt16, at: offset)
        arena.storeBigEndian(
            UInt16(truncatingIfNeeded: byteCount),
            at: offset + IPLayout.v4TotalLength
        )
        arena.storeBigEndian(0x4000 as UInt16, at: offset + IPLayout.v4Fragment)
        arena.storeBigEndian(
            UInt16(Self.hopLimit) << 8 | UInt16(IPProtocol.icmp),
            at: offset + IPLayout.v4Protocol - 1
        )
        arena.storeBigEndian(sender.v4 ?? 0, at: offset + IPLayout.v4Source)
        arena.storeBigEndian(header.source.v4 ?? 0, at: offset + IPLayout.v4Destination)
        arena.storeIPv4Checksum(headerByteCount: IPLayout.v4ByteCount, at: offset)
        let message = offset + IPLayout.v4ByteCount
        arena.storeBigEndian(ICMPType.v4Unreachable, at: message)
        switch self {
        case .administrativelyProhibited:
            arena.storeBigEndian(13 as UInt8, at: message + 1)
        case .packetTooBig(let mtu):
            arena.storeBigEndian(4 as UInt8, at: message + 1)
            arena.storeBigEndian(UInt16(clamping: mtu), at: message + 6)
        }
        quote(packet, quoteByteCount, in: &arena, to: message)
        var sum = InternetChecksum()
        sum.add(arena.bytes, message..<offset + byteCount)
        arena.storeBigEndian(sum.complement, at: message + TransportLayout.icmpChecksum)
        return byteCount
    }

    private func writeV6(
        _ packet: Range<Int>,
        _ header: IPHeader,
        _ sender: IPAddress,
        in arena: inout MutableRawSpan,
        to offset: Int
    ) -> Int {
        let front = IPLayout.v6ByteCount + TransportLayout.icmpByteCount
        let quoteByteCount = min(packet.count, Self.maximumByteCount - front)
        let byteCount = front + quoteByteCount
        arena.zero(offset..<offset + front)
        arena.storeBigEndian(0x6000_0000 as UInt32, at: offset)
        arena.storeBigEndian(
            UInt16(truncatingIfNeeded: byteCount - IPLayout.v6ByteCount),
            at: offset + IPLayout.v6PayloadLength
        )
        arena.storeBigEndian(
            UInt16(IPProtocol.icmpV6) << 8 | UInt16(Self.hopLimit),
            at: offset + IPLayout.v6NextHeader
        )
        arena.storeBigEndian(sender.high, at: offset + IPLayout.v6Source)
        arena.storeBigEndian(sender.low, at: offset + IPLayout.v6Source + 8)
        arena.storeBigEndian(header.source.high, at: offset + IPLayout.v6Destination)
        arena.storeBigEndian(header.source.low, at: offset + IPLayout.v6Destination + 8)
        let message = offset + IPLayout.v6ByteCount
        switch self {
        case .administrativelyProhibited:
            arena.storeBigEndian(ICMPType.v6Unreachable, at: message)
            arena.storeBigEndian(1 as UInt8, at: message + 1)
        case .packetTooBig(let mtu):
            arena.storeBigEndian(ICMPType.v6PacketTooBig, at: message)
            arena.storeBigEndian(UInt32(clamping: mtu), at: message + 4)
        }
        quote(packet, quoteByteCount, in: &arena, to: message)
        var sum = InternetChecksum()
        sum.addPseudoHeader(
            arena.bytes,
            packetOffset: offset,
            isV6: true,
            protocolNumber: IPProtocol.icmpV6,
            byteCount: byteCount - IPLayout.v6ByteCount
        )
        sum.add(arena.bytes, message..<offset + byteCount)
        arena.storeBigEndian(sum.complement, at: message + TransportLayout.icmpChecksum)
        return byteCount
    }

    private func quote(
        _ packet: Range<Int>,
        _ byteCount: Int,
        in arena: inout MutableRawSpan,
        to message: Int
    ) {
        arena.move(
            packet.lowerBound..<packet.lowerBound + byteCount,
            to: message + TransportLayout.icmpByteCount
        )
    }

    private static let hopLimit: UInt8 = 64
}
