import Base
import Flows
import Testing
import Wire

@Suite("Answers and marks")
struct ICMPReplyTests {
    private func answer(_ reply: ICMPReply, to bytes: [UInt8]) throws -> [UInt8]? {
        let offset = bytes.count + 3
        var arena = bytes + [UInt8](repeating: 0xee, count: ICMPReply.maximumByteCount + 6)
        let header = try IPHeader(parsing: arena.span.bytes, 0..<bytes.count)
        let count = arena.withArena {
            reply.write(
                answering: 0..<bytes.count,
                header: header,
                from: AddressPair.Tunnel.resolver,
                in: &$0,
                to: offset
            )
        }
        #expect(Array(arena[..<bytes.count]) == bytes)
        let end = offset + (count ?? 0)
        #expect(arena[end...].allSatisfy { $0 == 0xee })
        #expect(arena[bytes.count..<offset].allSatisfy { $0 == 0xee })
        return count.map { Array(arena[offset..<offset + $0]) }
    }

    @Test("a prohibited IPv4 packet is answered with type 3 code 13 that quotes it")
    func prohibitedV4() throws {
        let packet = PacketMaker(payload: [UInt8](repeating: 5, count: 900)).bytes
        let answer = try #require(try answer(.administrativelyProhibited, to: packet))
        #expect(answer.count == 576)
        #expect(hasRightChecksums(answer))
        #expect(Array(answer[..<10]) == [0x45, 0xc0, 2, 64, 0, 0, 0x40, 0, 64, 1])
        #expect(Array(answer[12..<22]) == [10, 111, 0, 1, 10, 111, 0, 2, 3, 13])
        #expect(Array(answer[28...]) == Array(packet.prefix(548)))
        // It must be read back as what it is.
        let header = try IPHeader(parsing: answer.span.bytes, 0..<answer.count)
        #expect(header.destination == AddressPair.Tunnel.client.v4)
    }

    @Test("a prohibited IPv6 packet is answered with type 1 code 1 within 1,280 bytes")
    func prohibitedV6() throws {
        let packet = PacketMaker(isV6: true, payload: [UInt8](repeating: 5, count: 1_300)).bytes
        let answer = try #require(try answer(.administrativelyProhibited, to: packet))
        #expect(answer.count == 1_280)
        #expect(hasRightChecksums(answer))
        #expect(Array(answer[40..<42]) == [1, 1])
        #expect(Array(answer[44..<48]) == [0, 0, 0, 0])
        #expect(Array(answer[48...]) == Array(packet.prefix(1_232)))
        #expect(Array(answer[24..<40]) == PacketMaker.tunnelV6)
    }

    @Test("a packet too big is answered with the size that fits")
    func tooBig() throws {
        let v4 = try #require(
            try answer(.packetTooBig(mtu: 1_280), to: PacketMaker(protocolNumber: 17).bytes)
        )
        #expect(Array(v4[20..<22]) == [3, 4])
        #expect(Array(v4[24..<28]) == [0, 0, 5, 0])
        #expect(hasRightChecksums(v4))
        let v6 = try #require(
            try answer(.packetTooBig(mtu: 1_280), to: PacketMaker(isV6: true).bytes)
        )
        #expect(Array(v6[40..<42]) == [2, 0])
        #expect(Array(v6[44..<48]) == [0, 0, 5, 0])
        #expect(hasRightChecksums(v6))
    }

    @Test("ICMP errors, later fragments and packets of or to many are never answered")
    func neverAnswered() throws {
        for type in 0...255 as ClosedRange<UInt8> {
            let body = [type] + [UInt8](repeating: 0, count: 7)
            let v4 = try answer(
                .administrativelyProhibited,
                to: PacketMaker(protocolNumber: 1, payload: body).bytes
            )
            #expect((v4 == nil) == [3, 4, 5, 11, 12].contains(type))
            let v6 = try answer(
                .administrativelyProhibited,
                to: PacketMaker(isV6: true, protocolNumber: 58, payload: body).bytes
            )
            #expect((v6 == nil) == (type < 128 || type == 137))
        }
        var fragment = PacketMaker(payload: [UInt8](repeating: 0, count: 30)).bytes
        fragment.setWord(6, 3)
        #expect(try answer(.administrativelyProhibited, to: fragment) == nil)
        for destination in [[224, 0, 0, 251], [255, 255, 255, 255], [127, 0, 0, 1]] as [[UInt8]] {
            var maker = PacketMaker()
            maker.destination = destination
            #expect(try answer(.administrativelyProhibited, to: maker.bytes) == nil)
            maker = PacketMaker()
            maker.source = destination
            #expect(try answer(.administrativelyProhibited, to: maker.bytes) == nil)
        }
        var six = PacketMaker(isV6: true)
        six.destination[0] = 0xff
        #expect(try answer(.packetTooBig(mtu: 1_280), to: six.bytes) == nil)
        six = PacketMaker(isV6: true)
        six.source = [UInt8](repeating: 0, count: 16)
        #expect(try answer(.packetTooBig(mtu: 1_280), to: six.bytes) == nil)
        let empty = PacketMaker(protocolNumber: 1).bytes
        #expect(try answer(.administrativelyProhibited, to: empty) == nil)
    }

    @Test("congestion is marked where ECN is understood, and the checksum stays right")
    func mark() throws {
        for isV6 in [false, true] {
            for trafficClass in 0...255 as ClosedRange<UInt8> {
                var maker = PacketMaker(isV6: isV6, payload: [1, 2])
                maker.trafficClass = trafficClass
                var bytes = maker.bytes
                let header = try IPHeader(parsing: bytes.span.bytes, 0..<bytes.count)
                #expect(header.trafficClass == trafficClass)
                let isMarked = bytes.withArena {
                    header.setCongestionExperienced(in: &$0, packetOffset: 0)
                }
                #expect(isMarked == (trafficClass & 3 != 0))
                if isMarked { maker.trafficClass |= 3 }
                #expect(bytes == maker.bytes)
            }
        }
    }
}
