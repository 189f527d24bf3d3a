/// Types of ICMP message, by what they mean for a tunnel.
enum ICMPType {
    static let v4Unreachable: UInt8 = 3
    static let v4EchoRequest: UInt8 = 8
    static let v6Unreachable: UInt8 = 1
    static let v6PacketTooBig: UInt8 = 2
    static let v6EchoRequest: UInt8 = 128

    /// Whether the message is about a packet, and quotes it.
    static func isError(_ type: UInt8, protocolNumber: UInt8, isV6: Bool) -> Bool {
        switch protocolNumber {
        case IPProtocol.icmp where !isV6:
            // Unreachable, source quench, redirect, time exceeded, parameter problem.
            type == 3 || type == 4 || type == 5 || type == 11 || type == 12
        case IPProtocol.icmpV6 where isV6:
            // RFC 4443: the high bit tells errors from the rest.
            type < 128
        default:
            false
        }
    }

    /// Whether a client may send the message beyond the exit: echo and the errors of RFC 4443 and
    /// their like, but nothing that speaks to a link (redirects, neighbours, routers, groups).
    static func mayLeave(_ type: UInt8, isV6: Bool) -> Bool {
        isV6
            ? (1...4).contains(type) || type == 128 || type == 129
            : [0, 3, 8, 11, 12].contains(type)
    }
}
