import Base
import EventLoop
import Foundation
import NamespaceSupport
import Synchronization

@testable import umbel_lab

/// Sees every IP packet one host puts on its cable, from the router's end.
///
/// A train of datagrams is one packet here, as it is on a virtual cable.
final class Wiretap: Sendable {
    /// An IP packet that passed.
    struct Packet: Sendable {
        var time: ContinuousClock.Instant
        var source: IPAddress
        var destination: IPAddress
        /// The transport protocol's number.
        var transport: UInt8
        /// Both 0 where the protocol has no ports.
        var sourcePort: UInt16 = 0
        var destinationPort: UInt16 = 0
        /// What follows the UDP header; else what follows the IP header.
        var payload: [UInt8]

        var isUDP: Bool { transport == 17 }

        /// What IPv6 needs to find neighbours: solicitations and advertisements.
        var isNeighbourDiscovery: Bool {
            transport == 58 && (133...136).contains(payload.first ?? 0)
        }

        var text: String {
            "\(source):\(sourcePort) > \(destination):\(destinationPort)"
                + " protocol \(transport), \(payload.count) bytes"
        }
    }

    /// Packets kept at most; what comes later makes ``packets()`` fail.
    private static let limit = 200_000

    private final class Record: Sendable {
        let packets = Mutex<[Packet]>([])
        let isOver = Atomic(false)
        let isFull = Atomic(false)
    }

    private let record = Record()

    /// Listens on the cable of `host` from now on, until this value goes.
    init(_ lab: Lab, host: String) throws {
        let socket = try NamespaceSupport.NetworkNamespace.inside(lab.namespace("core")) {
            try PacketSocket(interface: host)
        }
        let record = record
        _ = try LoopThread.start(name: "wiretap", owning: socket) { socket in
            Self.listen(socket, record)
        }
    }

    deinit {
        record.isOver.store(true, ordering: .relaxed)
    }

    /// Everything that passed so far.
    func packets() -> [Packet] {
        precondition(!record.isFull.load(ordering: .relaxed), "more passed than can be kept")
        return record.packets.withLock { $0 }
    }

    /// Forgets what passed so far.
    func clear() {
        record.packets.withLock { $0 = [] }
    }

    private static func listen(_ socket: borrowing PacketSocket, _ record: Record) {
        var buffer = [UInt8](repeating: 0, count: 1 << 17)
        while !record.isOver.load(ordering: .relaxed) {
            var entry = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 50) > 0 else { continue }
            while let frame = try? socket.receive(into: &buffer) {
                guard let packet = Packet(frame) else { continue }
                record.packets.withLock { packets in
                    if packets.count < limit {
                        packets.append(packet)
                    } else {
                        record.isFull.store(true, ordering: .relaxed)
                    }
                }
            }
        }
    }
}

extension Wiretap.Packet {
    /// The IP packet of an Ethernet frame; `nil` for other protocols and what is cut short.
    init?(_ frame: [UInt8]) {
        guard frame.count > 14 else { return nil }
        let type = UInt16(frame[12]) << 8 | UInt16(frame[13])
        self.init(type: type, packet: Array(frame[14...]))
    }

    /// The packet whose bytes are `ip`; `nil` where they are cut short.
    init?(ip: [UInt8]) {
        self.init(type: (ip.first ?? 0) >> 4 == 4 ? 0x0800 : 0x86dd, packet: ip)
    }

    private init?(type: UInt16, packet: [UInt8]) {
        time = .now
        let start: Int
        switch type {
        case 0x0800 where packet.count >= 20:
            transport = packet[9]
            source = IPAddress(v4: Self.number32(packet, 12))
            destination = IPAddress(v4: Self.number32(packet, 16))
            start = Int(packet[0] & 15) * 4
        case 0x86dd where packet.count >= 40:
            transport = packet[6]
            source = IPAddress(high: Self.number64(packet, 8), low: Self.number64(packet, 16))
            destination = IPAddress(high: Self.number64(packet, 24), low: Self.number64(packet, 32))
            start = 40
        default: return nil
        }
        payload = Array(packet[min(start, packet.count)...])
        guard [6, 17].contains(transport), payload.count >= 8 else { return }
        sourcePort = UInt16(payload[0]) << 8 | UInt16(payload[1])
        destinationPort = UInt16(payload[2]) << 8 | UInt16(payload[3])
        if transport == 17 { payload.removeFirst(8) }
    }

    private static func number32(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        bytes[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func number64(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
        bytes[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
