import Base
import Testing
import Wire

@testable import Flows

@Suite("Writes to the TUN device")
struct TunCoalescerTests {
    /// Packets in an arena with a header region in front.
    private final class Bench {
        var arena: [UInt8]
        var coalescer: TunCoalescer
        var end: Int
        static let regionByteCount = 64 * TunCoalescer.headerSlotByteCount

        init(_ offload: TunCoalescer.Offload, byteCount: Int = 400_000) {
            arena = [UInt8](repeating: 0xee, count: Self.regionByteCount + byteCount)
            coalescer = TunCoalescer(offload: offload, headerRegion: 0..<Self.regionByteCount)
            end = Self.regionByteCount
        }

        func append(_ packet: [UInt8]) -> Bool {
            let range = end..<end + packet.count
            arena.replaceSubrange(range, with: packet)
            end = range.upperBound
            return arena.withArena { (span) in coalescer.append(range, in: &span) }
        }

        func flush() {
            arena.withArena { (span) in coalescer.flush(in: &span) }
        }

        /// What the shell would write.
        var writes: [[UInt8]] {
            coalescer.list.writes.map { write in
                let bytes = coalescer.list.pieces[write.pieces].flatMap {
                    arena[$0.offset..<$0.offset + $0.byteCount]
                }
                #expect(bytes.count == write.byteCount)
                return bytes
            }
        }
    }

    /// What the kernel makes of one write, done by hand.
    private func expand(_ write: [UInt8]) throws -> [[UInt8]] {
        let offload = try VirtioNetHeader(parsing: write.span.bytes, at: 0)
        let packet = Array(write[10...])
        guard offload.segmentation != .none else { return [packet] }
        let isV6 = packet[0] >> 4 == 6
        let ip = isV6 ? 40 : 20
        let isTCP = offload.segmentation != .udpL4
        let headers = ip + (isTCP ? Int(packet[ip + 12] >> 4) * 4 : 8)
        #expect(offload.needsChecksum && !offload.isDataValid)
        #expect(Int(offload.headerByteCount) == headers)
        #expect(Int(offload.checksumStart) == ip)
        #expect(offload.checksumOffset == (isTCP ? 16 : 6))
        #expect(packet.count <= 65_535)
        if !isV6 { #expect(naiveSum(Array(packet[..<20])) == 0xffff) }
        #expect(Int(packet.word(isV6 ? 4 : 2)) == packet.count - (isV6 ? 40 : 0))
        if !isTCP { #expect(Int(packet.word(ip + 4)) == packet.count - ip) }
        // The field holds the pseudo-header's sum of the super-packet.
        let count = packet.count - ip
        let pseudo =
            (isV6 ? packet[8..<40] : packet[12..<20])
            + [0, isTCP ? 6 : 17, UInt8(count >> 8), UInt8(count & 255)]
        let field = ip + Int(offload.checksumOffset)
        #expect(packet.word(field) == naiveSum(Array(pseudo)))

        var maker = PacketMaker(isV6: isV6, protocolNumber: isTCP ? 6 : 17)
        maker.payload = Array(packet[headers...])
        maker.source = Array(isV6 ? packet[8..<24] : packet[12..<16])
        maker.destination = Array(isV6 ? packet[24..<40] : packet[16..<20])
        maker.sourcePort = packet.word(ip)
        maker.destinationPort = packet.word(ip + 2)
        maker.trafficClass = isV6 ? UInt8(packet.word(0) >> 4 & 255) : packet[1]
        maker.hopLimit = packet[isV6 ? 7 : 8]
        maker.identification = isV6 ? 0 : packet.word(4)
        maker.mayFragment = !isV6 && packet[6] & 0x40 == 0
        if isTCP {
            maker.sequence = UInt32(packet.word(ip + 4)) << 16 | UInt32(packet.word(ip + 6))
            maker.acknowledgement =
                UInt32(packet.word(ip + 8)) << 16 | UInt32(packet.word(ip + 10))
            maker.flags = packet[ip + 13]
            maker.window = packet.word(ip + 14)
            maker.urgent = packet.word(ip + 18)
            maker.tcpOptions = Array(packet[(ip + 20)..<headers])
        }
        return maker.split(size: Int(offload.segmentByteCount)).map(\.bytes)
    }

    @Test("what was split comes together again and splits into the same bytes", arguments: 0..<40)
    func roundTrip(seed: Int) throws {
        var seeded = Seeded(seed)
        let size = seeded.int(100...1_400)
        var maker = PacketMaker(
            seed: &seeded,
            payload: seeded.bytes(seeded.int(2 * size...min(60_000, 60 * size)))
        )
        maker.flags = seeded.chance(2) ? 0x18 : 0x10
        let segments = maker.split(size: size).map(\.bytes)
        let bench = Bench(.tcpAndUDP)
        for segment in segments { #expect(bench.append(segment)) }
        bench.flush()
        let writes = bench.writes
        #expect(writes.count == 1)
        #expect(bench.coalescer.list.writes.first?.packetCount == segments.count)
        #expect(try writes.flatMap(expand) == segments)
    }

    @Test(
        "any mix of flows and faults goes out byte for byte, each flow in order",
        arguments: 0..<150
    )
    func mix(seed: Int) throws {
        var seeded = Seeded(seed)
        var flows: [PacketMaker] = (0..<seeded.int(1...12)).map { _ in
            PacketMaker(seed: &seeded, payload: seeded.bytes(seeded.int(1...300)))
        }
        // A datagram that a flipped bit takes out of its flow leaves a gap in the identification,
        // which only counts where fragmenting is allowed.
        for index in flows.indices where flows[index].protocolNumber == 17 {
            flows[index].mayFragment = true
        }
        var sent: [[UInt8]] = []
        let bench = Bench([.none, .tcp, .tcpAndUDP][seed % 3])
        var received: [[UInt8]] = []
        func drain(_ bench: Bench) throws {
            bench.flush()
            received += try bench.writes.flatMap(expand)
            bench.coalescer.removeAll()
            bench.end = Bench.regionByteCount
        }
        for _ in 0..<300 {
            let index = seeded.int(0...flows.count - 1)
            var packet = flows[index]
            packet.flags = 0x10
            switch seeded.int(0...30) {
            case 0: packet.flags = UInt8(seeded.int(0...255))
            case 1: packet.hopLimit ^= 1
            case 2: packet.trafficClass ^= 3
            case 3: packet.window ^= 1
            case 4: packet.acknowledgement &+= 1
            case 5 where !packet.tcpOptions.isEmpty: packet.tcpOptions[0] ^= 1
            case 6: packet.payload = []
            case 7: packet.payload.removeLast(packet.payload.count / 2)
            case 8: packet.sequence &+= 5
            case 9: packet.flags = 0x18
            case 10 where !packet.isV6: packet.ipOptions = [1, 1, 1, 0]
            case 11: packet.urgent = 3
            case 12 where packet.mayFragment: packet.identification &+= 9
            case 13 where packet.protocolNumber == 6: packet.mayFragment.toggle()
            default: break
            }
            var bytes = packet.bytes
            if seeded.chance(25) {
                let place = seeded.int(0...bytes.count - 1)
                bytes[place] ^= UInt8(1 << seeded.int(0...7))
            }
            flows[index].sequence &+= UInt32(packet.payload.count)
            flows[index].identification &+= 1
            if !bench.append(bytes) {
                try drain(bench)
                #expect(bench.append(bytes))
            }
            sent.append(bytes)
        }
        try drain(bench)
        #expect(sent.sorted(by: before) == received.sorted(by: before))
        for flow in flows {
            let mine = { (packet: [UInt8]) -> Bool in
                let ip = flow.isV6 ? 40 : Int(packet[0] & 15) * 4
                return packet[0] >> 4 == (flow.isV6 ? 6 : 4) && packet.count > ip + 4
                    && packet[flow.isV6 ? 6 : 9] == flow.protocolNumber
                    && packet.dropFirst(flow.isV6 ? 8 : 12)
                        .starts(with: flow.source + flow.destination)
                    && packet.dropFirst(ip).starts(with: flow.transportHeader.prefix(4))
            }
            #expect(sent.filter(mine) == received.filter(mine))
        }
    }

    private func before(_ lhs: [UInt8], _ rhs: [UInt8]) -> Bool {
        lhs.lexicographicallyPrecedes(rhs)
    }

    @Test("a packet with a wrong checksum goes out alone and not vouched for", arguments: 0..<60)
    func laundering(seed: Int) throws {
        var seeded = Seeded(seed)
        var maker = PacketMaker(seed: &seeded, payload: seeded.bytes(3_000))
        maker.flags = 0x10
        var segments = maker.split(size: 1_000).map(\.bytes)
        let place = seeded.int(maker.headerByteCount...segments[1].count - 1)
        segments[1][place] ^= UInt8(1 << seeded.int(0...7))
        let bench = Bench(.tcpAndUDP)
        for segment in segments { #expect(bench.append(segment)) }
        bench.flush()
        let bad = try #require(bench.writes.first { Array($0[10...]) == segments[1] })
        #expect(bad[0] == 0)
        #expect(bench.writes.count == 3)
    }

    @Test("a verified packet alone is vouched for")
    func dataValid() {
        let bench = Bench(.tcp)
        #expect(bench.append(PacketMaker(payload: [1]).bytes))
        bench.flush()
        #expect(bench.writes.first?.prefix(10) == [2, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test("no super-packet passes 64 segments or 65,535 bytes", arguments: [200, 1_240])
    func limits(size: Int) throws {
        var maker = PacketMaker(payload: [UInt8](repeating: 3, count: size * 150))
        maker.payload[0] = 9
        let segments = maker.split(size: size).map(\.bytes)
        let bench = Bench(.tcpAndUDP)
        for segment in segments { #expect(bench.append(segment)) }
        bench.flush()
        #expect(bench.writes.count == 3)
        #expect(bench.coalescer.list.writes.allSatisfy { $0.packetCount <= 64 })
        #expect(bench.coalescer.list.writes.allSatisfy { $0.byteCount <= 65_535 + 10 })
        #expect(try bench.writes.flatMap(expand) == segments)
    }

    @Test("runs of nine flows side by side need no more room than eight")
    func manyFlows() throws {
        let bench = Bench(.tcp)
        var expected = 0
        for index in 0..<3 {
            for flow in 0..<9 {
                var maker = PacketMaker(payload: [UInt8](repeating: 1, count: 50))
                maker.sourcePort = UInt16(1_000 + flow)
                maker.sequence = UInt32(50 * index)
                #expect(bench.append(maker.bytes))
                expected += 1
            }
        }
        bench.flush()
        let packets = bench.coalescer.list.writes.reduce(0) { $0 + $1.packetCount }
        #expect(packets == expected)
    }

    @Test("a packet that may not be fragmented merges whatever its identification")
    func identification() throws {
        for mayFragment in [false, true] {
            let bench = Bench(.tcp)
            for index in 0..<3 {
                var maker = PacketMaker(payload: [UInt8](repeating: 1, count: 50))
                maker.sequence = UInt32(50 * index)
                maker.mayFragment = mayFragment
                #expect(bench.append(maker.bytes))
            }
            bench.flush()
            #expect(bench.writes.count == (mayFragment ? 3 : 1))
        }
    }

    @Test("a full header region takes nothing more and loses nothing")
    func full() {
        let region = 2 * TunCoalescer.headerSlotByteCount
        var arena = [UInt8](repeating: 0, count: region + 100)
        let packet = PacketMaker(protocolNumber: 50, payload: [1, 2]).bytes
        arena.replaceSubrange(region..<region + packet.count, with: packet)
        var coalescer = TunCoalescer(offload: .tcp, headerRegion: 0..<region)
        let range = region..<region + packet.count
        let taken = arena.withArena { (span) -> [Bool] in
            var taken: [Bool] = []
            for _ in 0..<3 { taken.append(coalescer.append(range, in: &span)) }
            coalescer.flush(in: &span)
            return taken
        }
        #expect(taken == [true, true, false])
        var writeCount = coalescer.list.writes.count
        #expect(writeCount == 2)
        coalescer.removeAll()
        let isTaken = arena.withArena { (span) in coalescer.append(range, in: &span) }
        #expect(isTaken)
        writeCount = coalescer.list.writes.count
        #expect(writeCount == 1)
    }

    @Test("bytes of every length and any content pass without a trap")
    func hostile() {
        var seeded = Seeded(9)
        for count in 0..<200 {
            let bench = Bench(.tcpAndUDP, byteCount: 2_000)
            let maker = PacketMaker(seed: &seeded, payload: seeded.bytes(100))
            #expect(bench.append(Array(maker.bytes.prefix(count))))
            var noise = seeded.bytes(count)
            if count > 0 { noise[0] = count % 2 == 0 ? 0x45 : 0x60 }
            #expect(bench.append(noise))
            bench.flush()
            #expect(bench.coalescer.list.writes.count == 2)
        }
    }
}
