import Base
import Wire

/// Super-packets as the kernel hands them out at a TUN device.
enum SuperPacket {
    /// Payload of each segment where the tunnel's MTU is 1280 and TCP sends time stamps.
    static let segmentByteCount = 1_228

    /// A super-packet of TCP over IPv4, its offload header first.
    static func tcp(from source: IPAddress, to destination: IPAddress, segmentCount: Int) -> [UInt8]
    {
        let headerByteCount = 20 + 32
        let total = headerByteCount + segmentCount * segmentByteCount
        var bytes = [UInt8](repeating: 0, count: VirtioNetHeader.byteCount + total)
        var offload = VirtioNetHeader()
        offload.needsChecksum = true
        offload.segmentation = .tcpV4
        offload.headerByteCount = UInt16(headerByteCount)
        offload.segmentByteCount = UInt16(segmentByteCount)
        offload.checksumStart = 20
        offload.checksumOffset = 16
        for index in VirtioNetHeader.byteCount + headerByteCount..<bytes.count {
            bytes[index] = UInt8(truncatingIfNeeded: index &* 167 &+ index >> 8)
        }
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        offload.store(to: &raw, at: 0)
        let start = VirtioNetHeader.byteCount
        raw.storeBigEndian(UInt16(0x4500), at: start)
        raw.storeBigEndian(UInt16(total), at: start + 2)
        raw.storeBigEndian(UInt32(0x4000_4006), at: start + 6)
        raw.storeBigEndian(UInt32(truncatingIfNeeded: source.low), at: start + 12)
        raw.storeBigEndian(UInt32(truncatingIfNeeded: destination.low), at: start + 16)
        var sum = InternetChecksum()
        sum.add(raw.bytes, start..<start + 20)
        raw.storeBigEndian(sum.complement, at: start + 10)
        let transport = start + 20
        raw.storeBigEndian(UInt16(40_000), at: transport)
        raw.storeBigEndian(UInt16(443), at: transport + 2)
        // Data offset 8 words, ACK; window; two fillers and a time stamp.
        raw.storeBigEndian(UInt32(0x8010_01f4), at: transport + 12)
        raw.storeBigEndian(UInt32(0x0101_080a), at: transport + 20)
        var pseudo = InternetChecksum()
        pseudo.addPseudoHeader(
            raw.bytes,
            packetOffset: start,
            isV6: false,
            protocolNumber: 6,
            byteCount: total - 20
        )
        raw.storeBigEndian(pseudo.folded, at: transport + 16)
        return bytes
    }
}
