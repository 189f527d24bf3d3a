import Base
import Flows
import Testing
import Wire

@Suite("Reads from the TUN device")
struct TunPacketTests {
    /// Splits `bytes` with `offload` through an arena with guard bytes around each segment.
    private func split(_ bytes: [UInt8], _ offload: VirtioNetHeader) throws -> [[UInt8]] {
        let start = 37
        var arena = [UInt8](repeating: 0xa5, count: start + bytes.count + 70_000)
        arena.replaceSubrange(start..<start + bytes.count, with: bytes)
        let packet = start..<start + bytes.count
        let read = try TunPacket(parsing: arena.span.bytes, header: offload, packet: packet)
        return (0..<read.segmentCount).map { index in
            let target = start + bytes.count + 11
            for place in target - 11..<arena.count { arena[place] = 0xa5 }
            let expected = read.byteCount(ofSegment: index)
            let count = arena.withArena { read.writeSegment(index, in: &$0, to: target) }
            #expect(count == expected)
            #expect(arena[target - 11..<target].allSatisfy { $0 == 0xa5 })
            #expect(arena[(target + count)...].allSatisfy { $0 == 0xa5 })
            #expect(Array(arena[packet]) == bytes)
            return Array(arena[target..<target + count])
        }
    }

    @Test("super-packets split into the segments a device would send", arguments: 0..<150)
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
