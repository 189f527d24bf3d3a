public import Base

/// The packets of one host in a capture: what it sent and what it got.
///
/// Reads the classic pcap format in either byte order, with micro- or nanoseconds, of Ethernet,
/// of Linux cooked captures and of plain IP. Lengths are those of the IP packets on the wire, also
/// where the capture cut them short.
public struct PacketReplay: Hashable, Sendable {
    /// What is wrong with a capture.
    public enum Fault: Error, Hashable, Sendable {
        /// It does not begin as a pcap file does.
        case noCapture
        /// Frames of this link type are not known.
        case linkType(UInt32)
        /// The record at this offset says it has more bytes than there are, or than can be.
        case record(offset: Int)
        /// No packet is of a host that both sends and receives.
        case noHost
    }

    /// One packet.
    public struct Packet: Hashable, Sendable {
        /// Seconds since the first packet of the capture; never negative.
        public var time: Double
        /// Bytes of the IP packet.
        public var byteCount: Int
        /// Whether the host sent it.
        public var isFromHost: Bool
    }

    /// The host.
    public let host: IPAddress
    /// Its packets, in order of time.
    public let packets: [Packet]

    /// Bytes a record may have at most.
    static let recordLimit = 262_144

    /// Reads a capture.
    ///
    /// - Parameter host: whose packets; `nil` takes the source of the first packet of IP.
    /// - Throws: ``Fault``.
    public init(parsing bytes: [UInt8], host: IPAddress? = nil) throws(Fault) {
        let reader = Reader(bytes: bytes)
        let header = try reader.header()
        var offset = 24
        var chosen = host
        var first: Double?
        var packets: [Packet] = []
        while offset < bytes.count {
            guard offset + 16 <= bytes.count else { throw .record(offset: offset) }
            let captured = Int(reader.word(offset + 8, header.isBigEndian))
            let original = Int(reader.word(offset + 12, header.isBigEndian))
            guard captured <= Self.recordLimit, original <= Self.recordLimit,
                captured <= bytes.count - offset - 16
            else { throw .record(offset: offset) }
            let time =
                Double(reader.word(offset, header.isBigEndian))
                + Double(reader.word(offset + 4, header.isBigEndian)) / header.unitsPerSecond
            let start = first ?? time
            first = start
            let frame = bytes[offset + 16..<offset + 16 + captured]
            if let packet = Reader.packet(frame, skipping: header.linkByteCount) {
                let own = chosen ?? packet.source
                chosen = own
                if packet.source == own || packet.destination == own {
                    packets.append(
                        Packet(
                            time: max(0, time - start),
                            byteCount: packet.byteCount,
                            isFromHost: packet.source == own
                        )
                    )
                }
            }
            offset += 16 + captured
        }
        guard let chosen, !packets.isEmpty else { throw .noHost }
        self.host = chosen
        self.packets = packets.sorted { $0.time < $1.time }
    }

    /// The packets as transfers: each packet of the host begins one, with what follows it to the host.
    public var transfers: [Transfer] {
        var transfers: [Transfer] = []
        for packet in packets {
            if packet.isFromHost || transfers.isEmpty {
                transfers.append(
                    Transfer(
                        time: packet.time,
                        uploadByteCount: packet.isFromHost ? packet.byteCount : 1,
                        downloadByteCount: packet.isFromHost ? 1 : packet.byteCount
                    )
                )
            } else {
                transfers[transfers.count - 1].downloadByteCount += packet.byteCount
            }
        }
        return transfers
    }

    /// When its packets come one way, in seconds.
    public func times(fromHost: Bool) -> [Double] {
        packets.filter { $0.isFromHost == fromHost }.map(\.time)
    }
}

/// Numbers of a capture; whoever asks has checked that the bytes are there.
private struct Reader {
    let bytes: [UInt8]

    struct Header {
        var isBigEndian: Bool
        var unitsPerSecond: Double
        var linkByteCount: Int
    }

    func word(_ offset: Int, _ isBigEndian: Bool) -> UInt32 {
        let word = bytes[offset..<offset + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return isBigEndian ? word : word.byteSwapped
    }

    func header() throws(PacketReplay.Fault) -> Header {
        guard bytes.count >= 24 else { throw .noCapture }
        let isBigEndian: Bool
        let unitsPerSecond: Double
        switch word(0, true) {
        case 0xa1b2_c3d4: (isBigEndian, unitsPerSecond) = (true, 1e6)
        case 0xd4c3_b2a1: (isBigEndian, unitsPerSecond) = (false, 1e6)
        case 0xa1b2_3c4d: (isBigEndian, unitsPerSecond) = (true, 1e9)
        case 0x4d3c_b2a1: (isBigEndian, unitsPerSecond) = (false, 1e9)
        default: throw .noCapture
        }
        let type = word(20, isBigEndian) & 0x0fff_ffff
        let counts: [UInt32: Int] = [1: 14, 12: 0, 101: 0, 113: 16, 276: 20]
        guard let count = counts[type] else { throw .linkType(type) }
        return Header(
            isBigEndian: isBigEndian,
            unitsPerSecond: unitsPerSecond,
            linkByteCount: count
        )
    }

    /// The IP packet of a frame; `nil` where it is none.
    static func packet(
        _ frame: ArraySlice<UInt8>,
        skipping linkByteCount: Int
    ) -> (source: IPAddress, destination: IPAddress, byteCount: Int)? {
        let packet = Array(frame.dropFirst(linkByteCount))
        guard let first = packet.first else { return nil }
        switch first >> 4 {
        case 4 where packet.count >= 20:
            return (
                IPAddress(v4: UInt32(truncatingIfNeeded: number(packet[12..<16]))),
                IPAddress(v4: UInt32(truncatingIfNeeded: number(packet[16..<20]))),
                Int(number(packet[2..<4]))
            )
        case 6 where packet.count >= 40:
            return (
                IPAddress(high: number(packet[8..<16]), low: number(packet[16..<24])),
                IPAddress(high: number(packet[24..<32]), low: number(packet[32..<40])),
                40 + Int(number(packet[4..<6]))
            )
        default: return nil
        }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}
