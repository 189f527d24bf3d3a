import Base
import ControlAPI
import Wire

/// The UDP datagrams in a capture file, as tcpdump, Wireshark and `umbel-lab capture` write them.
///
/// Links of Ethernet, of raw IP and of Linux' cooked captures are read; fragments of IP are left out.
/// A train of datagrams that the kernel hands on as one frame is split into what the network carries.
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
    /// - Throws: ``Failure`` for what is no capture file, or none of links that are read.
    init(_ bytes: [UInt8], name: String) throws(Failure) {
        guard let capture = CaptureFrames(bytes) else {
            throw Failure(
                "\(name) is no capture file",
                why: "it begins neither as one of tcpdump nor as one of Wireshark",
                hint: "tcpdump -w FILE udp, or umbel-lab capture HOST FILE",
                exit: .usage
            )
        }
        if let frame = capture.frames.first(where: { !Self.links.contains($0.link) }) {
            throw Failure(
                "\(name) holds frames that cannot be read",
                why: "their links are of kind \(frame.link), and not Ethernet, IP or Linux' own",
                hint: "capture where Umbel's datagrams pass: tcpdump -i any -w FILE udp",
                exit: .usage
            )
        }
        for frame in capture.frames {
            guard let datagram = Self.datagram(frame) else {
                skipped += 1
                continue
            }
            datagrams += Self.split(datagram)
        }
    }

    /// The datagrams of a train, which is of as many bytes as all of them.
    private static func split(_ train: Datagram) -> [Datagram] {
        let size = Wire.Datagram.byteCount
        guard train.payload.count > size, train.payload.count.isMultiple(of: size) else {
            return [train]
        }
        return stride(from: 0, to: train.payload.count, by: size).map { start in
            var datagram = train
            datagram.payload = Array(train.payload[start..<start + size])
            return datagram
        }
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> Int {
        Int(bytes[offset]) << 8 | Int(bytes[offset + 1])
    }

    /// Kinds of links that are read: Ethernet, Linux' cooked captures of both versions, raw IP.
    private static let links: Set<UInt32> = [1, 113, 276, 12, 101, 228, 229]

    private static func datagram(_ frame: CaptureFrames.Frame) -> Datagram? {
        let (bytes, time) = (frame.bytes, frame.time)
        switch frame.link {
        case 1:
            guard bytes.count >= 14 else { return nil }
            return packet(Array(bytes[14...]), type: word(bytes, 12), time: time)
        case 113:
            guard bytes.count >= 16 else { return nil }
            return packet(Array(bytes[16...]), type: word(bytes, 14), time: time)
        case 276:
            guard bytes.count >= 20 else { return nil }
            return packet(Array(bytes[20...]), type: word(bytes, 0), time: time)
        default:
            guard let first = bytes.first else { return nil }
            return packet(bytes, type: first >> 4 == 4 ? 0x0800 : 0x86dd, time: time)
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
