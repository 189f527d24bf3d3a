import Base
import ControlAPI
import Testing
import Wire

@testable import umbel

@Suite("Capture files, as programs write them")
struct CaptureTests {
    private static let payload = [UInt8](repeating: 7, count: Wire.Datagram.byteCount)
    /// A number of a capture file: the width in bytes, and the value.
    private typealias Number = (width: Int, value: UInt64)

    private static func bytes(_ numbers: [Number], isLittle: Bool) -> [UInt8] {
        numbers.flatMap { width, value in
            let big = (0..<width).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
            return isLittle ? big.reversed() : big
        }
    }

    private static func big(_ value: Int) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }

    /// An IPv4 packet with one UDP datagram, from 192.0.2.1:4433 to 192.0.2.2:5000.
    private static func packet(_ payload: [UInt8]) -> [UInt8] {
        let udp = big(4_433) + big(5_000) + big(8 + payload.count) + [0, 0] + payload
        return [0x45, 0] + big(20 + udp.count) + [0, 0, 0, 0, 64, 17, 0, 0]
            + [192, 0, 2, 1, 192, 0, 2, 2] + udp
    }

    private static func classic(
        _ frame: [UInt8],
        link: UInt64,
        isLittle: Bool = true,
        isNano: Bool = false
    ) -> [UInt8] {
        let count = UInt64(frame.count)
        let head: [Number] = [
            (4, isNano ? 0xa1b2_3c4d : 0xa1b2_c3d4), (2, 2), (2, 4), (4, 0), (4, 0), (4, 65_535),
            (4, link), (4, 7), (4, isNano ? 8_999 : 8), (4, count), (4, count),
        ]
        return bytes(head, isLittle: isLittle) + frame
    }

    private static func block(_ type: UInt64, _ body: [UInt8], isLittle: Bool) -> [UInt8] {
        let padded = body + [UInt8](repeating: 0, count: (4 - body.count % 4) % 4)
        let length = UInt64(padded.count + 12)
        return bytes([(4, type), (4, length)], isLittle: isLittle) + padded
            + bytes([(4, length)], isLittle: isLittle)
    }

    /// A file of pcapng with a frame on its second interface, whose clock counts by `resolution`.
    private static func blocks(
        _ frame: [UInt8],
        link: UInt64,
        resolution: UInt8?,
        time: UInt64,
        isLittle: Bool
    ) -> [UInt8] {
        func block(_ type: UInt64, _ numbers: [Number], _ rest: [UInt8] = []) -> [UInt8] {
            Self.block(type, bytes(numbers, isLittle: isLittle) + rest, isLittle: isLittle)
        }
        let options =
            resolution.map {
                // A comment before it, of three bytes and one of padding.
                bytes([(2, 1), (2, 3)], isLittle: isLittle) + [97, 98, 99, 0]
                    + bytes([(2, 9), (2, 1)], isLittle: isLittle) + [$0, 0, 0, 0, 0, 0, 0, 0]
            } ?? []
        return block(0x0a0d_0d0a, [(4, 0x1a2b_3c4d), (2, 1), (2, 0), (8, .max)])
            + block(1, [(2, 1), (2, 0), (4, 0)])
            + block(1, [(2, link), (2, 0), (4, 0)], options)
            // Statistics, which are passed over.
            + block(5, [(4, 0), (4, 0), (4, 0)])
            + block(
                6,
                [
                    (4, 1), (4, time >> 32), (4, time & 0xffff_ffff), (4, UInt64(frame.count)),
                    (4, UInt64(frame.count)),
                ],
                frame
            )
    }

    private func check(_ file: [UInt8], time: UInt64 = 7_000_008) throws {
        let capture = try PcapFile(file, name: "file")
        #expect(capture.skipped == 0)
        try #require(capture.datagrams.count == 1)
        #expect(capture.datagrams[0].payload == Self.payload)
        #expect("\(capture.datagrams[0].source)" == "192.0.2.1:4433")
        #expect("\(capture.datagrams[0].destination)" == "192.0.2.2:5000")
        #expect(capture.datagrams[0].time == time)
    }

    @Test("tcpdump's files are read on every kind of link, `-i any` too")
    func links() throws {
        let packet = Self.packet(Self.payload)
        let ethernet = [UInt8](repeating: 2, count: 12) + [8, 0]
        let cooked = [UInt8](repeating: 0, count: 14) + [8, 0]
        // What `tcpdump -i any` writes since libpcap 1.10.
        let cookedAgain = [8, 0] + [UInt8](repeating: 0, count: 18)
        let heads = [(1, ethernet), (113, cooked), (276, cookedAgain), (101, []), (228, [])]
        for (link, head) in heads {
            try check(Self.classic(head + packet, link: UInt64(link)))
        }
        try check(Self.classic(packet, link: 101, isLittle: false))
        try check(Self.classic(packet, link: 101, isNano: true))
    }

    @Test("Wireshark's files are read, whatever their clock counts in", arguments: [true, false])
    func blocks(isLittle: Bool) throws {
        let packet = Self.packet(Self.payload)
        let clocks: [(UInt8?, UInt64)] = [
            (nil, 7_000_008), (6, 7_000_008), (9, 7_000_008_999), (3, 7_000),
            (0x80 | 10, 7 << 10 | 512),
        ]
        let seen: [UInt64] = [7_000_008, 7_000_008, 7_000_008, 7_000_000, 7_500_000]
        for ((resolution, time), expected) in zip(clocks, seen) {
            let file = Self.blocks(
                packet,
                link: 101,
                resolution: resolution,
                time: time,
                isLittle: isLittle
            )
            try check(file, time: expected)
        }
    }

    @Test("What is cut off anywhere gives no more than was whole, and never traps")
    func cuts() throws {
        let packet = Self.packet(Self.payload)
        let files = [
            Self.classic(packet, link: 101),
            Self.blocks(packet, link: 101, resolution: 9, time: 1, isLittle: true),
        ]
        for file in files {
            for count in 0..<file.count {
                let capture = try? PcapFile(Array(file[0..<count]), name: "file")
                #expect(capture?.datagrams.isEmpty != false)
            }
        }
    }

    @Test("A train of datagrams that the kernel shows as one frame is split")
    func train() throws {
        let payload = Self.payload + Self.payload.map { $0 + 1 }
        let capture = try PcapFile(Self.classic(Self.packet(payload), link: 101), name: "file")
        #expect(capture.datagrams.map(\.payload.count) == [1_392, 1_392])
        #expect(capture.datagrams.map { $0.payload[0] } == [7, 8])
        // What is no train is shown as it is.
        let odd = try PcapFile(Self.classic(Self.packet(payload + [1]), link: 101), name: "file")
        #expect(odd.datagrams.map(\.payload.count) == [2_785])
    }

    @Test("Links that cannot be read are refused, and not passed over in silence")
    func unknownLink() throws {
        let file = Self.classic(Self.packet(Self.payload), link: 127)
        let failure = #expect(throws: Failure.self) { try PcapFile(file, name: "file") }
        #expect(failure?.why.contains("of kind 127") == true)
    }
}
