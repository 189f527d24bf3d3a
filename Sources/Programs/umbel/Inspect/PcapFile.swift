import Base
import ControlAPI

/// The UDP datagrams in a capture file of the classic format, as tcpdump and `umbel-lab capture` write.
///
/// Source: the format's description at the tcpdump project (`pcap-savefile(5)`). Links of Ethernet, of
/// raw IP and of Linux' cooked captures are read; fragments of IP are left out.
struct PcapFile {
    /// One datagram on its way.
    struct Datagram {
        /// Microseconds since 1970.
        var time: UInt64
        var source: SocketAddress
        var destination: SocketAddress
        var payload: [UInt8]
    }

    private(set) var datagrams: [Datagram] = []
    /// Frames that are no UDP datagram.
    private(set) var skipped = 0

    /// Reads the file's bytes.
    ///
    /// - Throws: ``Failure`` for what is no capture file.
    init(_ bytes: [UInt8], name: String) throws(Failure) {
        guard bytes.count >= 24, let order = Self.order(bytes) else {
            throw Failure(
                "\(name) is no capture file",
                why: "it does not begin as one in the classic pcap format",
                hint: "tcpdump -w FILE udp, or umbel-lab capture HOST FILE",
                exit: .usage
            )
        }
        let link = Self.load(bytes, 20, order.isLittle)
        var offset = 24
        while offset + 16 <= bytes.count {
            let seconds = Self.load(bytes, offset, order.isLittle)
            let fraction = Self.load(bytes, offset + 4, order.isLittle)
            let count = Int(Self.load(bytes, offset + 8, order.isLittle))
            offset += 16
            // A capture that was cut off ends with part of a frame.
            guard count <= bytes.count - offset else { break }
            let micros = UInt64(order.isNano ? fraction / 1_000 : fraction)
            let time = UInt64(seconds) * 1_000_000 + micros
            let frame = Array(bytes[offset..<offset + count])
            if let datagram = Self.datagram(frame, link: link, time: time) {
                datagrams.append(datagram)
            } else {
                skipped += 1
            }
            offset += count
        }
    }

    private static func order(_ bytes: [UInt8]) -> (isLittle: Bool, isNano: Bool)? {
        switch Array(bytes[0..<4]) {
        case [0xd4, 0xc3, 0xb2, 0xa1]: (true, false)
        case [0xa1, 0xb2, 0xc3, 0xd4]: (false, false)
        case [0x4d, 0x3c, 0xb2, 0xa1]: (true, true)
        case [0xa1, 0xb2, 0x3c, 0x4d]: (false, true)
        default: nil
        }
    }

    private static func load(_ bytes: [UInt8], _ offset: Int, _ isLittle: Bool) -> UInt32 {
        let part = bytes[offset..<offset + 4]
        return (isLittle ? Array(part.reversed()) : Array(part)).reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> Int {
        Int(bytes[offset]) << 8 | Int(bytes[offset + 1])
    }

    private static func datagram(_ frame: [UInt8], link: UInt32, time: UInt64) -> Datagram? {
        switch link {
        case 1:
            guard frame.count >= 14 else { return nil }
            return packet(Array(frame[14...]), type: word(frame, 12), time: time)
        case 113:
            guard frame.count >= 16 else { return nil }
            return packet(Array(frame[16...]), type: word(frame, 14), time: time)
        case 101, 12, 228, 229:
            guard let first = frame.first else { return nil }
            return packet(frame, type: first >> 4 == 4 ? 0x0800 : 0x86dd, time: time)
        default:
            return nil
        }
    }

    private static func packet(_ packet: [UInt8], type: Int, time: UInt64) -> Datagram? {
        let start: Int
        let source: IPAddress
        let destination: IPAddress
        switch type {
        case 0x0800:
            guard packet.count >= 20, packet[9] == 17, word(packet, 6) & 0x3fff == 0 else {
                return nil
            }
            start = Int(packet[0] & 15) * 4
            source = IPAddress(v4: big(packet, 12))
            destination = IPAddress(v4: big(packet, 16))
        case 0x86dd:
            guard packet.count >= 40, packet[6] == 17 else { return nil }
            start = 40
            source = IPAddress(high: wide(packet, 8), low: wide(packet, 16))
            destination = IPAddress(high: wide(packet, 24), low: wide(packet, 32))
        default:
            return nil
        }
        guard start >= 20, packet.count >= start + 8 else { return nil }
        let end = min(packet.count, start + word(packet, start + 4))
        guard end >= start + 8 else { return nil }
        return Datagram(
            time: time,
            source: SocketAddress(ip: source, port: UInt16(word(packet, start))),
            destination: SocketAddress(ip: destination, port: UInt16(word(packet, start + 2))),
            payload: Array(packet[(start + 8)..<end])
        )
    }

    private static func big(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
        bytes[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func wide(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
        bytes[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
