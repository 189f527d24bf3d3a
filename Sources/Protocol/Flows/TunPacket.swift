import Base
public import Wire

/// One read from the TUN device, checked: a packet, or a super-packet to be split into segments.
///
/// The packet itself stays where it lies in the arena. Each segment is written somewhere else,
/// complete: lengths, identification, sequence number, flags and honest checksums.
public struct TunPacket: Sendable {
    private enum Plan: BitwiseCopyable {
        case whole
        case wholeUnsummed(start: Int, field: Int)
        case tcp
        case udp
    }

    /// Where the packet lies.
    public let packet: Range<Int>
    /// Its IP header.
    public let header: IPHeader
    /// The flow all its segments belong to.
    public let flowKey: FlowKey
    /// Segments it makes, at least 1.
    public let segmentCount: Int

    private let plan: Plan
    /// IP and transport header.
    private let headerByteCount: Int
    /// Payload of each segment but the last.
    private let segmentByteCount: Int

    /// Checks the packet that fills `packet` of `arena` against its offload header.
    ///
    /// - Throws: ``FlowError/malformed(_:)`` or ``FlowError/invalidOffload(field:)``.
    public init(
        parsing arena: RawSpan,
        header offload: VirtioNetHeader,
        packet: Range<Int>
    ) throws(FlowError) {
        let header: IPHeader
        do { header = try IPHeader(parsing: arena, packet) } catch { throw .malformed(error) }
        self.packet = packet
        self.header = header
        flowKey = FlowKey(header, in: arena, packetOffset: packet.lowerBound)
        guard offload.segmentation != .none else {
            headerByteCount = header.transportOffset
            segmentByteCount = 0
            segmentCount = 1
            plan = try Self.wholePlan(offload, header, packet)
            return
        }
        let isTCP = offload.segmentation != .udpL4
        guard header.fragment == nil,
            header.protocolNumber == (isTCP ? IPProtocol.tcp : IPProtocol.udp),
            !isTCP || header.isV6 == (offload.segmentation == .tcpV6)
        else { throw .invalidOffload(field: "gso_type") }
        guard offload.segmentByteCount > 0 else { throw .invalidOffload(field: "gso_size") }
        let transportByteCount =
            isTCP
            ? try Self.tcpHeaderByteCount(arena, packet, header.transportOffset)
            : TransportLayout.udpByteCount
        headerByteCount = header.transportOffset + transportByteCount
        let payloadByteCount = packet.count - headerByteCount
        guard payloadByteCount >= 0 else { throw .invalidOffload(field: "hdr_len") }
        segmentByteCount = Int(offload.segmentByteCount)
        segmentCount = max(1, (payloadByteCount + segmentByteCount - 1) / segmentByteCount)
        plan = isTCP ? .tcp : .udp
    }

    /// Bytes of segment `index` with its headers.
    ///
    /// - Precondition: `index` is less than ``segmentCount``.
    public func byteCount(ofSegment index: Int) -> Int {
        precondition(index >= 0 && index < segmentCount, "no such segment")
        switch plan {
        case .whole, .wholeUnsummed:
            return packet.count
        case .tcp, .udp:
            let begin = index &* segmentByteCount
            return headerByteCount
                &+ min(segmentByteCount, packet.count &- headerByteCount &- begin)
        }
    }

    /// Writes segment `index` to `offset`, ready to travel, and returns its bytes' count.
    ///
    /// - Precondition: `index` is less than ``segmentCount``; the segment fits behind `offset`
    ///   and does not touch ``packet``.
    @discardableResult
    public func writeSegment(
        _ index: Int,
        in arena: inout MutableRawSpan,
        to offset: Int
    ) -> Int {
        let byteCount = byteCount(ofSegment: index)
        switch plan {
        case .whole:
            arena.move(packet, to: offset)
        case .wholeUnsummed(let start, let field):
            arena.move(packet, to: offset)
            var sum = InternetChecksum()
            sum.add(arena.bytes, offset + start..<offset + byteCount)
            arena.storeBigEndian(
                header.protocolNumber == IPProtocol.udp ? sum.udpComplement : sum.complement,
                at: offset + field
            )
        case .tcp:
            copySegment(index, byteCount, in: &arena, to: offset)
            patchTCP(index, in: &arena, at: offset)
            let sum = transportSum(byteCount, in: arena.bytes, at: offset)
            arena.storeBigEndian(
                sum.complement,
                at: offset &+ header.transportOffset &+ TransportLayout.tcpChecksum
            )
        case .udp:
            copySegment(index, byteCount, in: &arena, to: offset)
            let transport = offset &+ header.transportOffset
            arena.storeBigEndian(
                UInt16(truncatingIfNeeded: byteCount &- header.transportOffset),
                at: transport &+ TransportLayout.udpLength
            )
            arena.storeBigEndian(UInt16(0), at: transport &+ TransportLayout.udpChecksum)
            let sum = transportSum(byteCount, in: arena.bytes, at: offset)
            arena.storeBigEndian(sum.udpComplement, at: transport &+ TransportLayout.udpChecksum)
        }
        return byteCount
    }

    private static func wholePlan(
        _ offload: VirtioNetHeader,
        _ header: IPHeader,
        _ packet: Range<Int>
    ) throws(FlowError) -> Plan {
        guard offload.needsChecksum else { return .whole }
        let start = Int(offload.checksumStart)
        let field = start + Int(offload.checksumOffset)
        guard start >= header.headerByteCount else { throw .invalidOffload(field: "csum_start") }
        guard field + 2 <= packet.count else { throw .invalidOffload(field: "csum_offset") }
        return .wholeUnsummed(start: start, field: field)
    }

    private static func tcpHeaderByteCount(
        _ arena: RawSpan,
        _ packet: Range<Int>,
        _ transportOffset: Int
    ) throws(FlowError) -> Int {
        let found = packet.count - transportOffset
        guard found >= TransportLayout.tcpByteCount else {
            throw .malformed(
                .truncated(
                    neededByteCount: TransportLayout.tcpByteCount,
                    foundByteCount: found
                )
            )
        }
        let start = packet.lowerBound + transportOffset
        let count = Int(arena.byte(at: start + TransportLayout.tcpDataOffset) >> 4) * 4
        guard count >= TransportLayout.tcpByteCount, count <= found else {
            throw .malformed(.invalid(field: "TCP data offset"))
        }
        return count
    }

    /// Headers and this segment's payload, with the IP header made right for them.
    private func copySegment(
        _ index: Int,
        _ byteCount: Int,
        in arena: inout MutableRawSpan,
        to offset: Int
    ) {
        let start = packet.lowerBound
        let payload = start &+ headerByteCount &+ index &* segmentByteCount
        arena.move(start..<start &+ headerByteCount, to: offset)
        arena.move(
            payload..<payload &+ byteCount &- headerByteCount,
            to: offset &+ headerByteCount
        )
        if header.isV6 {
            arena.storeBigEndian(
                UInt16(truncatingIfNeeded: byteCount &- IPLayout.v6ByteCount),
                at: offset &+ IPLayout.v6PayloadLength
            )
            return
        }
        arena.storeBigEndian(
            UInt16(truncatingIfNeeded: byteCount),
            at: offset &+ IPLayout.v4TotalLength
        )
        let identification: UInt16 = arena.loadBigEndian(at: offset &+ IPLayout.v4Identification)
        arena.storeBigEndian(
            identification &+ UInt16(truncatingIfNeeded: index),
            at: offset &+ IPLayout.v4Identification
        )
        arena.storeIPv4Checksum(headerByteCount: header.headerByteCount, at: offset)
    }

    /// The sequence number moves on; FIN and PSH close the last segment, CWR opens the first.
    private func patchTCP(_ index: Int, in arena: inout MutableRawSpan, at offset: Int) {
        let transport = offset &+ header.transportOffset
        let sequence: UInt32 = arena.loadBigEndian(at: transport &+ TransportLayout.tcpSequence)
        arena.storeBigEndian(
            sequence &+ UInt32(truncatingIfNeeded: index &* segmentByteCount),
            at: transport &+ TransportLayout.tcpSequence
        )
        var flags = arena.byte(at: transport &+ TransportLayout.tcpFlags)
        if index > 0 { flags &= ~TCPFlags.cwr }
        if index < segmentCount &- 1 { flags &= ~(TCPFlags.fin | TCPFlags.psh) }
        arena.storeBigEndian(flags, at: transport &+ TransportLayout.tcpFlags)
        arena.storeBigEndian(UInt16(0), at: transport &+ TransportLayout.tcpChecksum)
    }

    private func transportSum(
        _ byteCount: Int,
        in arena: RawSpan,
        at offset: Int
    ) -> InternetChecksum {
        var sum = InternetChecksum()
        sum.addPseudoHeader(
            arena,
            packetOffset: offset,
            isV6: header.isV6,
            protocolNumber: header.protocolNumber,
            byteCount: byteCount &- header.transportOffset
        )
        sum.add(arena, offset &+ header.transportOffset..<offset &+ byteCount)
        return sum
    }
}
