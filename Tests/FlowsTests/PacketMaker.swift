import Base
import Wire

/// A seeded generator: the same seed makes the same packets.
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: Int) {
        state = UInt64(truncatingIfNeeded: seed) &* 0x9e37_79b9_7f4a_7c15
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }

    mutating func int(_ range: ClosedRange<Int>) -> Int {
        Int.random(in: range, using: &self)
    }

    mutating func chance(_ oneIn: Int) -> Bool {
        int(1...oneIn) == 1
    }
}

extension [UInt8] {
    /// Lends the bytes as an arena.
    mutating func withArena<Result, Failure: Error>(
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var span = mutableSpan
        var raw = span.mutableBytes
        return try body(&raw)
    }

    func word(_ offset: Int) -> UInt16 {
        UInt16(self[offset]) << 8 | UInt16(self[offset + 1])
    }

    mutating func setWord(_ offset: Int, _ value: UInt16) {
        self[offset] = UInt8(value >> 8)
        self[offset + 1] = UInt8(value & 255)
    }
}

/// The ones' complement sum, word by word.
func naiveSum(_ bytes: [UInt8]) -> UInt16 {
    var sum = 0
    for index in stride(from: 0, to: bytes.count, by: 2) {
        sum += Int(bytes[index]) * 256 + (index + 1 < bytes.count ? Int(bytes[index + 1]) : 0)
    }
    while sum > 0xffff { sum = sum % 0x10000 + sum / 0x10000 }
    return UInt16(sum)
}

/// A packet as its fields; ``bytes`` builds it in the plainest way there is.
struct PacketMaker {
    var isV6 = false
    var protocolNumber: UInt8 = 6
    var source: [UInt8] = []
    var destination: [UInt8] = []
    var sourcePort: UInt16 = 40_000
    var destinationPort: UInt16 = 443
    var sequence: UInt32 = 1
    var acknowledgement: UInt32 = 77
    var flags: UInt8 = 0x10
    var window: UInt16 = 500
    var urgent: UInt16 = 0
    var tcpOptions: [UInt8] = []
    var trafficClass: UInt8 = 0
    var hopLimit: UInt8 = 64
    var identification: UInt16 = 0
    var mayFragment = false
    var ipOptions: [UInt8] = []
    var payload: [UInt8] = []

    static let tunnelV4: [UInt8] = [10, 111, 0, 2]
    static let tunnelV6: [UInt8] =
        [0xfd, 0x75, 0x6d, 0x62, 0x65, 0x6c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    static let remoteV4: [UInt8] = [93, 184, 215, 14]
    static let remoteV6: [UInt8] =
        [0x26, 0x06, 0x28, 0, 2, 0x1f, 0xcb, 7, 0x68, 0x20, 0x80, 0xda, 0xaf, 0x6b, 0x8b, 0x2c]

    init(isV6: Bool = false, protocolNumber: UInt8 = 6, payload: [UInt8] = []) {
        self.isV6 = isV6
        self.protocolNumber = protocolNumber
        self.payload = payload
        source = isV6 ? Self.tunnelV6 : Self.tunnelV4
        destination = isV6 ? Self.remoteV6 : Self.remoteV4
    }

    /// Some TCP or UDP packet with `payload`.
    init(seed: inout Seeded, payload: [UInt8]) {
        let isTCP = seed.chance(2)
        self.init(isV6: seed.chance(2), protocolNumber: isTCP ? 6 : 17, payload: payload)
        source = seed.bytes(isV6 ? 15 : 3) + [1]
        destination = [isV6 ? 0x2a : 9] + seed.bytes(isV6 ? 15 : 3)
        source[0] = isV6 ? 0x2a : 8
        sourcePort = UInt16(seed.int(1...65_535))
        destinationPort = UInt16(seed.int(1...65_535))
        sequence = UInt32(truncatingIfNeeded: seed.next())
        acknowledgement = UInt32(truncatingIfNeeded: seed.next())
        window = UInt16(seed.int(0...65_535))
        trafficClass = UInt8(seed.int(0...255))
        hopLimit = UInt8(seed.int(1...255))
        identification = UInt16(seed.int(0...65_535))
        mayFragment = seed.chance(2)
        tcpOptions = isTCP ? seed.bytes(4 * seed.int(0...10)) : []
    }

    var pseudoHeader: [UInt8] {
        let count = transportByteCount
        return source + destination
            + [
                0, protocolNumber, 0, UInt8(count >> 16), UInt8(count >> 8 & 255),
                UInt8(count & 255),
            ]
    }

    var transportHeaderByteCount: Int {
        switch protocolNumber {
        case 6: 20 + tcpOptions.count
        case 17: 8
        default: 0
        }
    }

    var transportByteCount: Int { transportHeaderByteCount + payload.count }

    var ipHeaderByteCount: Int { isV6 ? 40 : 20 + ipOptions.count }

    var headerByteCount: Int { ipHeaderByteCount + transportHeaderByteCount }

    var checksumOffset: Int? {
        switch protocolNumber {
        case 6: 16
        case 17: 6
        case 58 where isV6, 1 where !isV6: 2
        default: nil
        }
    }

    var transportHeader: [UInt8] {
        var writer = ByteWriter()
        switch protocolNumber {
        case 6:
            writer.write(sourcePort)
            writer.write(destinationPort)
            writer.write(sequence)
            writer.write(acknowledgement)
            writer.write(UInt8(transportHeaderByteCount * 4))
            writer.write(flags)
            writer.write(window)
            writer.write(0 as UInt16)
            writer.write(urgent)
            writer.write(tcpOptions)
        case 17:
            writer.write(sourcePort)
            writer.write(destinationPort)
            writer.write(UInt16(truncatingIfNeeded: transportByteCount))
            writer.write(0 as UInt16)
        default:
            break
        }
        return writer.bytes
    }

    var ipHeader: [UInt8] {
        var writer = ByteWriter()
        if isV6 {
            writer.write(0x6000_0000 | UInt32(trafficClass) << 20 | 0xabcde)
            writer.write(UInt16(truncatingIfNeeded: transportByteCount))
            writer.write(protocolNumber)
            writer.write(hopLimit)
            writer.write(source + destination)
            return writer.bytes
        }
        writer.write(UInt8(0x40 + ipHeaderByteCount / 4))
        writer.write(trafficClass)
        writer.write(UInt16(truncatingIfNeeded: ipHeaderByteCount + transportByteCount))
        writer.write(identification)
        writer.write((mayFragment ? 0 : 0x4000) as UInt16)
        writer.write(hopLimit)
        writer.write(protocolNumber)
        writer.write(0 as UInt16)
        writer.write(source + destination + ipOptions)
        var bytes = writer.bytes
        bytes.setWord(10, ~naiveSum(bytes))
        return bytes
    }

    /// The packet with right checksums.
    var bytes: [UInt8] {
        var transport = transportHeader + payload
        if let checksumOffset, checksumOffset + 2 <= transport.count {
            let pseudo = protocolNumber == 1 ? [] : pseudoHeader
            var checksum = ~naiveSum(pseudo + transport)
            if protocolNumber == 17, checksum == 0 { checksum = 0xffff }
            transport.setWord(checksumOffset, checksum)
        }
        return ipHeader + transport
    }

    /// The packet as a kernel hands it over that left the checksum to the device.
    var unsummedBytes: [UInt8] {
        var transport = transportHeader + payload
        if let checksumOffset { transport.setWord(checksumOffset, naiveSum(pseudoHeader)) }
        return ipHeader + transport
    }

    /// What a device makes of the packet: segments of `size` payload bytes each.
    func split(size: Int) -> [PacketMaker] {
        stride(from: 0, to: max(1, payload.count), by: size).enumerated().map { index, start in
            var segment = self
            segment.payload = Array(payload[start..<min(start + size, payload.count)])
            segment.sequence = sequence &+ UInt32(start)
            segment.identification = identification &+ UInt16(index)
            let isLast = start + size >= payload.count
            if !isLast { segment.flags &= ~0x09 }
            if index > 0 { segment.flags &= ~0x80 }
            return segment
        }
    }

    /// The offload header of this super-packet, cut into `size`.
    func offload(size: Int, hasECN: Bool = false) -> VirtioNetHeader {
        var header = VirtioNetHeader()
        header.needsChecksum = true
        header.segmentation = protocolNumber == 17 ? .udpL4 : isV6 ? .tcpV6 : .tcpV4
        header.hasECN = hasECN
        header.headerByteCount = UInt16(headerByteCount)
        header.segmentByteCount = UInt16(size)
        header.checksumStart = UInt16(ipHeaderByteCount)
        header.checksumOffset = UInt16(checksumOffset ?? 0)
        return header
    }
}

/// Whether the checksums of a whole TCP, UDP or ICMP packet are right, judged by hand.
func hasRightChecksums(_ packet: [UInt8]) -> Bool {
    let isV6 = packet[0] >> 4 == 6
    let headerByteCount = isV6 ? 40 : Int(packet[0] & 15) * 4
    if !isV6, naiveSum(Array(packet[..<headerByteCount])) != 0xffff { return false }
    let protocolNumber = isV6 ? packet[6] : packet[9]
    let transport = Array(packet[headerByteCount...])
    if protocolNumber == 17, transport.word(6) == 0 { return !isV6 }
    let addresses = isV6 ? packet[8..<40] : packet[12..<20]
    let count = transport.count
    let pseudo =
        protocolNumber == 1
        ? []
        : addresses + [0, protocolNumber, UInt8(count >> 8), UInt8(count & 255)]
    return naiveSum(pseudo + transport) == 0xffff
}
