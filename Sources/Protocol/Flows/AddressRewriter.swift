import Base
public import Wire

/// Changes one end of a client's packets between its tunnel address and its lease's, in place.
///
/// Checksums are updated incrementally, so a wrong one stays wrong; a UDP checksum of zero stays
/// zero. The packet an ICMP error quotes is changed with it. Works on fragments too: what they
/// have of headers is all that changes.
public struct AddressRewriter: Sendable, BitwiseCopyable {
    private let tunnel: AddressPair
    private let lease: AddressPair

    /// Makes the rewriter of one lease.
    public init(lease: AddressPair, tunnel: AddressPair = AddressPair.Tunnel.client) {
        self.lease = lease
        self.tunnel = tunnel
    }

    /// Gives a packet from the client the lease's address as source.
    ///
    /// - Throws: ``FlowError/foreignSource`` for a source other than the tunnel's,
    ///   ``FlowError/foreignQuote`` for an ICMP error about a packet the client never got,
    ///   ``FlowError/malformed(_:)``; the packet is as it was then.
    /// - Precondition: `header` is that of the packet in `packet`.
    public func rewriteForward(
        _ packet: Range<Int>,
        header: IPHeader,
        in arena: inout MutableRawSpan
    ) throws(FlowError) {
        guard let old = header.isV6 ? tunnel.v6 : tunnel.v4, header.source == old,
            let new = header.isV6 ? lease.v6 : lease.v4
        else { throw .foreignSource }
        let change = Change(old: old, new: new, isSource: true)
        try change.apply(to: packet, header, in: &arena)
    }

    /// Gives a packet to the lease's address the tunnel's as destination.
    ///
    /// - Throws: ``FlowError/foreignDestination`` for another destination,
    ///   ``FlowError/foreignQuote`` for an ICMP error about a packet the lease never sent,
    ///   ``FlowError/malformed(_:)``; the packet is as it was then.
    /// - Parameter isUnsummed: whether the offload header leaves the transport's checksum to be
    ///   made: its field then holds the sum of the pseudo-header, not complemented.
    /// - Precondition: `header` is that of the packet in `packet`.
    public func rewriteBackward(
        _ packet: Range<Int>,
        header: IPHeader,
        isUnsummed: Bool = false,
        in arena: inout MutableRawSpan
    ) throws(FlowError) {
        guard let old = header.isV6 ? lease.v6 : lease.v4, header.destination == old,
            let new = header.isV6 ? tunnel.v6 : tunnel.v4
        else { throw .foreignDestination }
        let change = Change(old: old, new: new, isSource: false)
        try change.apply(to: packet, header, isUnsummed: isUnsummed, in: &arena)
    }
}

/// One address put in place of another, at one end of a packet.
private struct Change {
    let old: IPAddress
    let new: IPAddress
    let isSource: Bool
    /// What the change adds to a sum that covers the address.
    let difference: UInt16

    init(old: IPAddress, new: IPAddress, isSource: Bool) {
        self.old = old
        self.new = new
        self.isSource = isSource
        difference = InternetChecksum.difference(from: Self.sum(old), to: Self.sum(new))
    }

    private static func sum(_ address: IPAddress) -> UInt16 {
        var sum = InternetChecksum()
        if let v4 = address.v4 {
            sum.add(v4)
        } else {
            sum.add(address.high)
            sum.add(address.low)
        }
        return sum.folded
    }

    func apply(
        to packet: Range<Int>,
        _ header: IPHeader,
        isUnsummed: Bool = false,
        in arena: inout MutableRawSpan
    ) throws(FlowError) {
        let start = packet.lowerBound
        let transport = start + header.transportOffset
        var quoted: (place: Range<Int>, header: IPHeader)?
        if Self.isICMPError(header, arena.bytes, transport, packet.upperBound) {
            let place = transport + TransportLayout.icmpByteCount..<packet.upperBound
            let quote: IPHeader
            do {
                quote = try IPHeader(parsingFrontOf: arena.bytes, place)
            } catch {
                throw .malformed(error)
            }
            guard quote.version == header.version,
                (isSource ? quote.destination : quote.source) == old
            else { throw .foreignQuote }
            quoted = (place, quote)
        }
        storeAddress(at: start, header, asSource: isSource, in: &arena)
        if isUnsummed, let field = Self.checksumOffset(of: header.protocolNumber) {
            guard transport + field + 2 <= packet.upperBound else { return }
            let sum: UInt16 = arena.loadBigEndian(at: transport + field)
            arena.storeBigEndian(
                ~InternetChecksum.updated(~sum, by: difference),
                at: transport + field
            )
            return
        }
        // What the changes add to the sum an ICMP checksum covers.
        var covered = InternetChecksum()
        if header.isV6 { covered.add(difference) }
        if let quoted { applyToQuote(quoted.place, quoted.header, in: &arena, &covered) }
        if header.protocolNumber == IPProtocol.icmp, !header.isV6 {
            guard quoted != nil else { return }
            update(transport + TransportLayout.icmpChecksum, by: covered.folded, in: &arena)
        } else if header.protocolNumber == IPProtocol.icmpV6, header.isV6 {
            guard !header.isLaterFragment,
                transport + TransportLayout.icmpChecksum + 2 <= packet.upperBound
            else { return }
            update(transport + TransportLayout.icmpChecksum, by: covered.folded, in: &arena)
        } else {
            _ = updateTransport(header, at: transport, end: packet.upperBound, in: &arena)
        }
    }

    /// Changes the other end of the quoted packet, and adds what that does to the sum of the
    /// ICMP message around it.
    private func applyToQuote(
        _ place: Range<Int>,
        _ header: IPHeader,
        in arena: inout MutableRawSpan,
        _ covered: inout InternetChecksum
    ) {
        // In IPv4 the header's own checksum takes the address's change back.
        if header.isV6 { covered.add(difference) }
        storeAddress(at: place.lowerBound, header, asSource: !isSource, in: &arena)
        let transport = place.lowerBound + header.transportOffset
        let change =
            header.protocolNumber == IPProtocol.icmpV6 && header.isV6
            ? updateField(
                transport + TransportLayout.icmpChecksum,
                ofPacket: header,
                end: place.upperBound,
                in: &arena
            )
            : updateTransport(header, at: transport, end: place.upperBound, in: &arena)
        covered.add(change)
    }

    /// Where in its header a transport has its checksum; `nil` for those without a pseudo-header.
    private static func checksumOffset(of protocolNumber: UInt8) -> Int? {
        switch protocolNumber {
        case IPProtocol.tcp: TransportLayout.tcpChecksum
        // All three have it at the same place.
        case IPProtocol.udp, IPProtocol.udpLite, IPProtocol.dccp: TransportLayout.udpChecksum
        default: nil
        }
    }

    /// Updates a TCP, UDP, DCCP or UDP-Lite checksum, and returns what its own change adds.
    private func updateTransport(
        _ header: IPHeader,
        at transport: Int,
        end: Int,
        in arena: inout MutableRawSpan
    ) -> UInt16 {
        guard let field = Self.checksumOffset(of: header.protocolNumber) else { return 0 }
        return updateField(transport + field, ofPacket: header, end: end, in: &arena)
    }

    private func updateField(
        _ offset: Int,
        ofPacket header: IPHeader,
        end: Int,
        in arena: inout MutableRawSpan
    ) -> UInt16 {
        guard !header.isLaterFragment, offset + 2 <= end else { return 0 }
        let before: UInt16 = arena.loadBigEndian(at: offset)
        let isUDP = header.protocolNumber == IPProtocol.udp
        if isUDP, before == 0 { return 0 }
        var after = InternetChecksum.updated(before, by: difference)
        if isUDP, after == 0 { after = 0xffff }
        arena.storeBigEndian(after, at: offset)
        return InternetChecksum.difference(from: before, to: after)
    }

    private func update(_ offset: Int, by change: UInt16, in arena: inout MutableRawSpan) {
        let before: UInt16 = arena.loadBigEndian(at: offset)
        arena.storeBigEndian(InternetChecksum.updated(before, by: change), at: offset)
    }

    private func storeAddress(
        at start: Int,
        _ header: IPHeader,
        asSource: Bool,
        in arena: inout MutableRawSpan
    ) {
        if let v4 = new.v4 {
            let offset = asSource ? IPLayout.v4Source : IPLayout.v4Destination
            arena.storeBigEndian(v4, at: start + offset)
            update(start + IPLayout.v4Checksum, by: difference, in: &arena)
        } else {
            let offset = asSource ? IPLayout.v6Source : IPLayout.v6Destination
            arena.storeBigEndian(new.high, at: start + offset)
            arena.storeBigEndian(new.low, at: start + offset + 8)
        }
    }

    private static func isICMPError(
        _ header: IPHeader,
        _ arena: RawSpan,
        _ transport: Int,
        _ end: Int
    ) -> Bool {
        guard !header.isLaterFragment, transport + TransportLayout.icmpByteCount <= end else {
            return false
        }
        return ICMPType.isError(
            arena.byte(at: transport),
            protocolNumber: header.protocolNumber,
            isV6: header.isV6
        )
    }
}
