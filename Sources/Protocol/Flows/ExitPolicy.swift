public import Base
public import Wire

/// Where an exit lets packets go: one predicate on the address actually used.
///
/// Refused by default: every address that is not on the public internet, also where it hides in a
/// NAT64, 6to4 or Teredo address; the exit's own; SMTP; DNS past the tunnel's resolver. The
/// operator's `allow` opens networks in spite of that, but the clients' pool never.
/// Spec: design §4.
public struct ExitPolicy: Sendable {
    /// What becomes of a packet.
    public enum Verdict: Hashable, Sendable {
        /// It goes to its destination.
        case accept
        /// It is a question to the resolver inside the tunnel.
        case dns
        /// It is answered with "administratively prohibited".
        case refuse(Reason)
    }

    /// What a packet is refused for; each a counter.
    public enum Reason: Hashable, Sendable {
        /// An address that is not on the public internet.
        case address
        /// An address of the exit or of another client.
        case ownAddress
        /// A port the exit does not serve.
        case port
        /// DNS to another than the tunnel's resolver, or something else than DNS to that.
        case resolver
        /// A protocol other than TCP, UDP and ICMP.
        case protocolNumber
        /// An ICMP message that has no business beyond a link.
        case message
        /// A route of the sender's making.
        case sourceRoute
        /// A fragment that could hide a transport header, or a packet too short to have one.
        case headerHidden
    }

    /// Networks opened in spite of all rules but ``own`` and ``pools``.
    public let allow: [IPNetwork]
    /// The exit's own addresses; `allow` opens one only by naming exactly that address.
    public let own: [IPNetwork]
    /// Where leases come from: clients never reach each other.
    public let pools: [IPNetwork]
    /// TCP and UDP ports served.
    public let ports: [ClosedRange<UInt16>]

    /// Makes the policy of an exit.
    public init(
        allow: [IPNetwork] = [],
        own: [IPNetwork],
        pools: [IPNetwork],
        ports: [ClosedRange<UInt16>] = [1...65_535]
    ) {
        self.allow = allow
        self.own = own
        self.pools = pools
        self.ports = ports
    }

    /// Judges the packet in `packet` whose header is `header`.
    ///
    /// - Precondition: `header` is that of the packet, which lies within `arena`.
    public func verdict(
        for packet: Range<Int>,
        header: IPHeader,
        in arena: RawSpan
    ) -> Verdict {
        guard !header.hasSourceRoute else { return .refuse(.sourceRoute) }
        if let fragment = header.fragment, fragment.offset > 0 {
            // A second fragment this early would carry, or overwrite, part of the header.
            guard fragment.offset >= Self.hiddenByteCount else { return .refuse(.headerHidden) }
            return verdict(header, port: nil)
        }
        let transport = packet.lowerBound + header.transportOffset
        let byteCount = packet.upperBound - transport
        switch header.protocolNumber {
        case IPProtocol.tcp where byteCount >= TransportLayout.tcpByteCount,
            IPProtocol.udp where byteCount >= TransportLayout.udpByteCount:
            return verdict(header, port: arena.loadBigEndian(at: transport + 2))
        case IPProtocol.icmp where !header.isV6 && byteCount >= TransportLayout.icmpByteCount,
            IPProtocol.icmpV6 where header.isV6 && byteCount >= TransportLayout.icmpByteCount:
            guard ICMPType.mayLeave(arena.byte(at: transport), isV6: header.isV6) else {
                return .refuse(.message)
            }
            return verdict(header, port: nil)
        case IPProtocol.tcp, IPProtocol.udp, IPProtocol.icmp, IPProtocol.icmpV6:
            return .refuse(.headerHidden)
        default:
            return .refuse(.protocolNumber)
        }
    }

    /// Judges a destination, with the port where the packet shows one.
    ///
    /// `protocolNumber` is one of TCP, UDP and ICMP of either family; all others are refused.
    public func verdict(
        destination: IPAddress,
        protocolNumber: UInt8,
        port: UInt16?
    ) -> Verdict {
        let isICMP = protocolNumber == (destination.isV4 ? IPProtocol.icmp : IPProtocol.icmpV6)
        guard isICMP || protocolNumber == IPProtocol.tcp || protocolNumber == IPProtocol.udp
        else { return .refuse(.protocolNumber) }
        let resolver = AddressPair.Tunnel.resolver
        if destination == resolver.v4 || destination == resolver.v6 {
            return port == 53 && !isICMP ? .dns : .refuse(.resolver)
        }
        guard !isOwn(destination) else { return .refuse(.ownAddress) }
        let isAllowed = allow.contains { $0.contains(destination) }
        guard isAllowed || Self.isPublic(destination) else { return .refuse(.address) }
        guard !isICMP, let port else { return .accept }
        if !isAllowed {
            guard port != 25 else { return .refuse(.port) }
            guard port != 53, port != 853 else { return .refuse(.resolver) }
        }
        return ports.contains { $0.contains(port) } ? .accept : .refuse(.port)
    }

    /// Whether `address` is a unicast address of the public internet, and so is every IPv4
    /// address embedded in it.
    public static func isPublic(_ address: IPAddress) -> Bool {
        if let v4 = address.v4 { return isPublic(v4: v4) }
        let embedded = EmbeddedV4(address)
        guard embedded.isEmpty else { return embedded.allSatisfy(isPublic(v4:)) }
        // Global unicast is 2000::/3. All else is reserved or local: ::1, v4-compatible,
        // 64:ff9b:1::/48, fc00::/7, fe80::/10, ff00::/8.
        guard address.high >> 61 == 1 else { return false }
        switch address.high >> 32 {
        case 0x2001_0000...0x2001_01ff: return false  // IETF protocol assignments
        case 0x2001_0db8, 0x3fff_0000...0x3fff_0fff: return false  // documentation
        default: return true
        }
    }

    private static func isPublic(v4: UInt32) -> Bool {
        switch v4 {
        case 0x0000_0000...0x00ff_ffff,  // 0.0.0.0/8, this network
            0x0a00_0000...0x0aff_ffff,  // 10.0.0.0/8, private
            0x6440_0000...0x647f_ffff,  // 100.64.0.0/10, shared by carriers
            0x7f00_0000...0x7fff_ffff,  // 127.0.0.0/8, loopback
            0xa83f_8110,  // 168.63.129.16, a cloud's host channel
            0xa9fe_0000...0xa9fe_ffff,  // 169.254.0.0/16, link-local and metadata
            0xac10_0000...0xac1f_ffff,  // 172.16.0.0/12, private
            0xc000_0000...0xc000_00ff,  // 192.0.0.0/24, protocol assignments
            0xc000_0200...0xc000_02ff,  // 192.0.2.0/24, documentation
            0xc058_6300...0xc058_63ff,  // 192.88.99.0/24, 6to4 relays
            0xc0a8_0000...0xc0a8_ffff,  // 192.168.0.0/16, private
            0xc612_0000...0xc613_ffff,  // 198.18.0.0/15, benchmarks
            0xc633_6400...0xc633_64ff,  // 198.51.100.0/24, documentation
            0xcb00_7100...0xcb00_71ff,  // 203.0.113.0/24, documentation
            0xe000_0000...0xffff_ffff:  // multicast, reserved, broadcast
            false
        default:
            true
        }
    }

    private func verdict(_ header: IPHeader, port: UInt16?) -> Verdict {
        verdict(
            destination: header.destination,
            protocolNumber: header.protocolNumber,
            port: port
        )
    }

    private func isOwn(_ destination: IPAddress) -> Bool {
        if isOwnItself(destination) { return true }
        guard !destination.isV4 else { return false }
        return !EmbeddedV4(destination).allSatisfy { !isOwnItself(IPAddress(v4: $0)) }
    }

    private func isOwnItself(_ address: IPAddress) -> Bool {
        if pools.contains(where: { $0.contains(address) }) { return true }
        guard own.contains(where: { $0.contains(address) }) else { return false }
        return !allow.contains { $0.prefixBitCount == 128 && $0.base == address }
    }

    /// A fragment that begins before this many bytes of payload could complete a TCP header.
    private static let hiddenByteCount = 24
}

/// The IPv4 addresses a translator or tunnel would make of an IPv6 address: none, one or two.
private struct EmbeddedV4 {
    private var first: UInt32?
    private var second: UInt32?

    var isEmpty: Bool { first == nil }

    init(_ address: IPAddress) {
        if address.high == 0x0064_ff9b_0000_0000, address.low >> 32 == 0 {
            first = UInt32(truncatingIfNeeded: address.low)  // NAT64, RFC 6052
        } else if address.high >> 48 == 0x2002 {
            first = UInt32(truncatingIfNeeded: address.high >> 16)  // 6to4, RFC 3056
        } else if address.high >> 32 == 0x2001_0000 {
            // Teredo, RFC 4380: the server's, and the client's with all bits turned.
            first = UInt32(truncatingIfNeeded: address.high)
            second = ~UInt32(truncatingIfNeeded: address.low)
        }
    }

    func allSatisfy(_ predicate: (UInt32) -> Bool) -> Bool {
        (first.map(predicate) ?? true) && (second.map(predicate) ?? true)
    }
}
