import Base
import Foundation
import NamespaceSupport

@testable import umbel_lab

/// Puts whole IP packets into a tunnel, past everything the kernel would check, and sees answers.
struct TunnelInjector: ~Copyable {
    private let socket: PacketSocket

    /// Opens the interface `name` on `host`.
    init(_ lab: Lab, host: String, interface name: String) throws {
        socket = try NamespaceSupport.NetworkNamespace.inside(lab.namespace(host)) {
            try PacketSocket(interface: name)
        }
    }

    /// Sends `payload` by UDP to `destination`, saying it came from `source`.
    func send(_ payload: [UInt8], from source: SocketAddress, to destination: SocketAddress) {
        socket.send(RawPacket.udp(payload, from: source, to: destination))
    }

    /// The packets that came out of the tunnel since the last look.
    func answers() -> [Wiretap.Packet] {
        var buffer = [UInt8](repeating: 0, count: 1 << 17)
        var packets: [Wiretap.Packet] = []
        while let bytes = try? socket.receive(into: &buffer) {
            if let packet = Wiretap.Packet(ip: bytes) { packets.append(packet) }
        }
        return packets
    }
}

/// IP packets made by hand.
enum RawPacket {
    /// A UDP datagram with right checksums.
    static func udp(
        _ payload: [UInt8],
        from source: SocketAddress,
        to destination: SocketAddress
    ) -> [UInt8] {
        let isV4 = destination.ip.isV4
        let length = big(UInt16(8 + payload.count))
        let addresses = [source.ip, destination.ip].flatMap { isV4 ? $0.bytes.suffix(4) : $0.bytes }
        let ports = big(source.port) + big(destination.port)
        let sum = checksum(addresses + [0, 17] + length + ports + length + payload)
        let datagram = ports + length + big(sum == 0 ? 0xffff : sum) + payload
        guard isV4 else {
            return [0x60, 0, 0, 0] + length + [17, 64] + addresses + datagram
        }
        var header: [UInt8] = [0x45, 0] + big(UInt16(20 + datagram.count)) + [0, 0, 0, 0, 64, 17]
        header += [0, 0] + addresses
        header.replaceSubrange(10..<12, with: big(checksum(header)))
        return header + datagram
    }

    private static func big(_ number: UInt16) -> [UInt8] {
        [UInt8(number >> 8), UInt8(truncatingIfNeeded: number)]
    }

    private static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            let low = index + 1 < bytes.count ? UInt32(bytes[index + 1]) : 0
            sum += UInt32(bytes[index]) << 8 + low
        }
        while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
        return ~UInt16(sum)
    }
}

extension Wiretap.Packet {
    /// The address a packet was to that this ICMP message says is prohibited; `nil` for others.
    var prohibitedDestination: IPAddress? {
        switch (transport, payload.first, payload.dropFirst().first) {
        case (1, 3, 13) where payload.count >= 28:
            IPAddress(v4: payload[24..<28].reduce(0) { $0 << 8 | UInt32($1) })
        case (58, 1, 1) where payload.count >= 48:
            IPAddress(
                high: payload[32..<40].reduce(0) { $0 << 8 | UInt64($1) },
                low: payload[40..<48].reduce(0) { $0 << 8 | UInt64($1) }
            )
        default: nil
        }
    }
}
