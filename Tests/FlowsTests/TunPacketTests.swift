import Base
import Flows
import Testing
import Wire

@Suite("Reads from the TUN device")
struct TunPacketTests {
    /// Splits `bytes` with `offload` through an arena with guard bytes around each segment.
    private func split(_ bytes: [UInt8], _ offload: VirtioNetHeader) throws -> [[UInt8]] {
        let start = 37
        let packet = start..<start + bytes.count
        let front = [UInt8](repeating: 0xa5, count: start) + bytes
        let read = try TunPacket(parsing: front.span.bytes, header: offload, packet: packet)
        return (0..<read.segmentCount).map { index in
            let expected = read.byteCount(ofSegment: index)
            var arena = front + [UInt8](repeating: 0xa5, count: expected + 22)
            let target = packet.upperBound + 11
            let count = arena.withArena { read.writeSegment(index, in: &$0, to: target) }
            #expect(count == expected)
            #expect(arena[packet.upperBound..<target].allSatisfy { $0 == 0xa5 })
            #expect(arena[(target + count)...].allSatisfy { $0 == 0xa5 })
            #expect(arena[..<packet.upperBound].elementsEqual(front))
            return Array(arena[target..<target + count])
        }
    }

    /// Reads from a TUN device of Linux 6.18 (x86-64) with checksum, TSO and USO offload, without
    /// their payload: offload header and packet headers of a UDP send with `UDP_SEGMENT` 300 (its
    /// 818 bytes are 0 to 255 thrice and 50 times "x"), of a UDP send of "hello" and of a TCP SYN.
    private static let reads: [(headers: String, segmentByteCounts: [Int])] = [
        (
            "01051c002c01140006004500034e855f4000401198240a0903010a09030985e31e61033a1d67",
            [328, 328, 246]
        ),
        (
            "01000000000014000600450000218560400040119b500a0903010a090309ca9a1e62000d1a3a",
            [33]
        ),
        (
            "010000000000140010004500003c751b40004006ab850a0903010a090309bb0201bb2b4e6c0f"
                + "00000000a002faf01a4a0000020405b40402080a8131f2d2000000000103030a",
            [60]
        ),
        (
            "010530002c012800060060093495033a1140fd00000c000000000000000000000001fd00000c"
                + "0000000000000000000000099d8a1e61033afd6e",
            [348, 348, 266]
        ),
        (
            "010000000000280006006008133f000d1140fd00000c000000000000000000000001fd00000c"
                + "000000000000000000000009a9b61e62000dfa41",
            [53]
        ),
        (
            "01000000000028001000600e18a100280640fd00000c000000000000000000000001fd00000c"
                + "0000000000000000000000099ae201bbf6dea0ea00000000a002fd20fa510000020405a00402"
                + "080a93098591000000000103030a",
            [80]
        ),
    ]

    @Test("what a Linux kernel hands over goes out whole and right", arguments: 0..<6)
    func kernel(index: Int) throws {
        var bytes = try #require([UInt8](hex: Self.reads[index].headers))
        let large = (0..<768).map { UInt8($0 & 255) } + [UInt8](repeating: 0x78, count: 50)
        bytes += [large, Array("hello".utf8), []][index % 3]
        let offload = try VirtioNetHeader(parsing: bytes.span.bytes, at: 0)
        #expect(offload.needsChecksum)
        let segments = try split(Array(bytes[10...]), offload)
        #expect(segments.map(\.count) == Self.reads[index].segmentByteCounts)
        #expect(segments.allSatisfy(hasRightChecksums))
        if index % 3 == 0 {
            let headerByteCount = index == 0 ? 28 : 48
            #expect(segments.flatMap { $0.dropFirst(headerByteCount) } == large)
        }
    }

    @Test("super-packets split into the segments a device would send", arguments: 0..<80)
    func superPackets(seed: Int) throws {
        var seeded = Seeded(seed)
        let size = seeded.int(1...1_400)
        let count =
            seeded.chance(10) ? seeded.int(0...size) : seeded.int(1...min(60_000, size * 40))
        var maker = PacketMaker(seed: &seeded, payload: seeded.bytes(count))
        maker.flags = 0x10 | (UInt8(truncatingIfNeeded: seeded.next()) & 0xc9)
        if !maker.isV6, seeded.chance(3) { maker.ipOptions = [1, 1, 1, 0] }
        let offload = maker.offload(size: size, hasECN: maker.flags & 0x80 != 0)
        let segments = try split(maker.unsummedBytes, offload)
        #expect(segments == maker.split(size: size).map(\.bytes))
        #expect(segments.allSatisfy(hasRightChecksums))
    }

    @Test("a packet that is no super-packet passes as it is", arguments: 0..<20)
    func whole(seed: Int) throws {
        var seeded = Seeded(seed)
        let maker = PacketMaker(seed: &seeded, payload: seeded.bytes(seeded.int(0...1_200)))
        #expect(try split(maker.bytes, VirtioNetHeader()) == [maker.bytes])
    }

    @Test("a checksum the kernel left open is completed", arguments: 0..<40)
    func completed(seed: Int) throws {
        var seeded = Seeded(seed)
        let maker = PacketMaker(seed: &seeded, payload: seeded.bytes(seeded.int(0...1_200)))
        var offload = maker.offload(size: 0)
        offload.segmentation = .none
        #expect(try split(maker.unsummedBytes, offload) == [maker.bytes])
    }

    @Test("a UDP checksum that sums to zero is sent as ffff", arguments: [false, true])
    func udpZero(isSuper: Bool) throws {
        var maker = PacketMaker(protocolNumber: 17, payload: [0, 0])
        // Choose the payload so that the complement is zero.
        let sum = naiveSum(maker.pseudoHeader + maker.transportHeader)
        maker.payload = [UInt8(~sum >> 8), UInt8(~sum & 255)]
        var offload = maker.offload(size: 2)
        if !isSuper { offload.segmentation = .none }
        let segment = try #require(try split(maker.unsummedBytes, offload).first)
        #expect(segment.word(26) == 0xffff)
    }

    @Test("an IPv6 super-packet with extension headers keeps them in each segment")
    func extensionHeaders() throws {
        let maker = PacketMaker(isV6: true, payload: [UInt8](repeating: 7, count: 3_000))
        var bytes = maker.unsummedBytes
        bytes.insert(contentsOf: [6, 0, 1, 4, 0, 0, 0, 0], at: 40)
        bytes[6] = 60
        bytes.setWord(4, bytes.word(4) + 8)
        let segments = try split(bytes, maker.offload(size: 1_000))
        #expect(segments.count == 3)
        for (segment, expected) in zip(segments, maker.split(size: 1_000)) {
            var plain = segment
            plain.removeSubrange(40..<48)
            plain[6] = 6
            plain.setWord(4, plain.word(4) - 8)
            #expect(plain == expected.bytes)
        }
    }

    @Test("an offload header that does not fit its packet is refused")
    func refused() {
        let tcp = PacketMaker(payload: [1, 2, 3])
        let udp = PacketMaker(protocolNumber: 17, payload: [1, 2, 3])
        let six = PacketMaker(isV6: true, payload: [1, 2, 3])
        func error(_ maker: PacketMaker, _ offload: VirtioNetHeader) -> FlowError? {
            do {
                _ = try split(maker.unsummedBytes, offload)
                return nil
            } catch {
                return error as? FlowError
            }
        }
        #expect(error(tcp, udp.offload(size: 2)) == .invalidOffload(field: "gso_type"))
        #expect(error(udp, tcp.offload(size: 2)) == .invalidOffload(field: "gso_type"))
        #expect(error(six, tcp.offload(size: 2)) == .invalidOffload(field: "gso_type"))
        #expect(error(tcp, tcp.offload(size: 0)) == .invalidOffload(field: "gso_size"))
        var offload = tcp.offload(size: 0)
        offload.segmentation = .none
        offload.checksumOffset = 60_000
        #expect(error(tcp, offload) == .invalidOffload(field: "csum_offset"))
        offload.checksumStart = 8
        #expect(error(tcp, offload) == .invalidOffload(field: "csum_start"))
    }

    @Test("no truncation and no flipped byte makes it trap or write past the segment")
    func hostile() throws {
        var seeded = Seeded(4)
        for round in 0..<400 {
            let maker = PacketMaker(seed: &seeded, payload: seeded.bytes(seeded.int(0...300)))
            var bytes = maker.unsummedBytes
            if round % 2 == 0 { bytes.removeLast(seeded.int(0...bytes.count)) }
            for _ in 0..<seeded.int(0...4) where !bytes.isEmpty {
                bytes[seeded.int(0...min(bytes.count - 1, 60))] = UInt8(seeded.int(0...255))
            }
            var offload = maker.offload(size: seeded.int(0...100))
            if seeded.chance(3) { offload.segmentation = .none }
            if seeded.chance(3) { offload.checksumOffset = UInt16(seeded.int(0...65_535)) }
            if seeded.chance(3) { offload.checksumStart = UInt16(seeded.int(0...65_535)) }
            let segments = (try? split(bytes, offload)) ?? []
            #expect(segments.reduce(0) { $0 + $1.count } < 70_000)
        }
        for count in 0...80 {
            let maker = PacketMaker(payload: [UInt8](repeating: 1, count: 60))
            let front = Array(maker.unsummedBytes.prefix(count))
            #expect(throws: FlowError.self) { try split(front, maker.offload(size: 10)) }
        }
    }
}
