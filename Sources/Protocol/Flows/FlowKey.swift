public import Base
public import Wire

/// What makes packets one flow: addresses, protocol and ports, as the packets carry them.
///
/// ICMP echo has its identifier in place of both ports. Other ICMP, other protocols and all
/// fragments (the first too, so that a datagram stays together) have none.
public struct FlowKey: Hashable, Sendable, BitwiseCopyable {
    let sourceHigh, sourceLow, destinationHigh, destinationLow: UInt64
    /// Source port, destination port and protocol from bit 24, 8 and 0 on.
    let packed: UInt64

    /// Makes the key of a flow.
    public init(
        source: IPAddress,
        destination: IPAddress,
        protocolNumber: UInt8,
        sourcePort: UInt16 = 0,
        destinationPort: UInt16 = 0
    ) {
        sourceHigh = source.high
        sourceLow = source.low
        destinationHigh = destination.high
        destinationLow = destination.low
        packed =
            UInt64(sourcePort) << 24 | UInt64(destinationPort) << 8 | UInt64(protocolNumber)
    }

    /// Makes the key of the packet at `packetOffset` whose header is `header`.
    ///
    /// A transport header cut short counts as one without ports.
    public init(_ header: IPHeader, in span: RawSpan, packetOffset: Int) {
        var ports: UInt32 = 0
        let transport = packetOffset + header.transportOffset
        let end = min(packetOffset + header.byteCount, span.byteCount)
        if header.fragment == nil, end - transport >= 8 {
            switch header.protocolNumber {
            case IPProtocol.tcp, IPProtocol.udp, IPProtocol.sctp, IPProtocol.dccp,
                IPProtocol.udpLite:
                ports = span.loadBigEndian(at: transport)
            case IPProtocol.icmp where !header.isV6:
                if span.byte(at: transport) & ~8 == 0 {
                    ports = Self.echo(span, transport)
                }
            case IPProtocol.icmpV6 where header.isV6:
                if span.byte(at: transport) & ~1 == 128 {
                    ports = Self.echo(span, transport)
                }
            default:
                break
            }
        }
        self.init(
            source: header.source,
            destination: header.destination,
            protocolNumber: header.protocolNumber,
            sourcePort: UInt16(truncatingIfNeeded: ports >> 16),
            destinationPort: UInt16(truncatingIfNeeded: ports)
        )
    }

    /// Where the flow's packets come from.
    public var source: IPAddress { IPAddress(high: sourceHigh, low: sourceLow) }
    /// Where they go.
    public var destination: IPAddress { IPAddress(high: destinationHigh, low: destinationLow) }
    /// Their transport protocol.
    public var protocolNumber: UInt8 { UInt8(truncatingIfNeeded: packed) }
    /// Their source port, 0 if there is none.
    public var sourcePort: UInt16 { UInt16(truncatingIfNeeded: packed >> 24) }
    /// Their destination port, 0 if there is none.
    public var destinationPort: UInt16 { UInt16(truncatingIfNeeded: packed >> 8) }

    /// The key of the answers.
    public var reversed: Self {
        Self(
            source: destination,
            destination: source,
            protocolNumber: protocolNumber,
            sourcePort: destinationPort,
            destinationPort: sourcePort
        )
    }

    private static func echo(_ span: RawSpan, _ transport: Int) -> UInt32 {
        UInt32(span.loadBigEndian(at: transport + 4, as: UInt16.self)) &* 0x1_0001
    }

    /// Whether both are one flow.
    public static func == (lhs: Self, rhs: Self) -> Bool {
        // One comparison instead of five branches.
        (lhs.sourceHigh ^ rhs.sourceHigh) | (lhs.sourceLow ^ rhs.sourceLow)
            | (lhs.destinationHigh ^ rhs.destinationHigh)
            | (lhs.destinationLow ^ rhs.destinationLow) | (lhs.packed ^ rhs.packed) == 0
    }
}

/// Protocol numbers of the IP header that are treated in their own way.
public enum IPProtocol {
    /// ICMP for IPv4.
    public static let icmp: UInt8 = 1
    /// TCP.
    public static let tcp: UInt8 = 6
    /// UDP.
    public static let udp: UInt8 = 17
    /// DCCP.
    public static let dccp: UInt8 = 33
    /// ICMP for IPv6.
    public static let icmpV6: UInt8 = 58
    /// SCTP.
    public static let sctp: UInt8 = 132
    /// UDP-Lite.
    public static let udpLite: UInt8 = 136
}
