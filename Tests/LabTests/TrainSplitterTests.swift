import Foundation
import Testing

@testable import umbel_lab

@Suite("Trains in a capture become datagrams")
struct TrainSplitterTests {
    /// An Ethernet frame with one UDP datagram, checksums left zero as a virtual cable leaves them.
    static func frame(v4: Bool, payload: [UInt8], identification: UInt16 = 0xfffe) -> [UInt8] {
        let ethernet = [UInt8](repeating: 2, count: 12) + (v4 ? [0x08, 0x00] : [0x86, 0xdd])
        let udp = 8 + payload.count
        let ip: [UInt8]
        if v4 {
            let total = 20 + udp
            ip =
                [0x45, 0, UInt8(total >> 8), UInt8(total & 255)]
                + [UInt8(identification >> 8), UInt8(identification & 255), 0x40, 0]
                + [64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7]
        } else {
            ip =
                [0x60, 0, 0, 0, UInt8(udp >> 8), UInt8(udp & 255), 17, 64]
                + [0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [1]
                + [0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [2]
        }
        let header: [UInt8] = [0x11, 0x51, 0x11, 0x52, UInt8(udp >> 8), UInt8(udp & 255), 0, 0]
        return ethernet + ip + header + payload
    }

    /// Sum of 16-bit words with carries added back: 0xffff where a checksum holds.
    private func sum(_ bytes: [UInt8]) -> Int {
        let padded = bytes.count % 2 == 0 ? bytes : bytes + [0]
        var total = 0
        for index in stride(from: 0, to: padded.count, by: 2) {
            total += Int(padded[index]) << 8 | Int(padded[index + 1])
        }
        while total > 0xffff { total = total & 0xffff + total >> 16 }
        return total
    }

    @Test(
        "a train of four is four datagrams with right lengths and checksums",
        arguments: [true, false]
    )
    func train(v4: Bool) throws {
        let payload = (0..<3 * 1392 + 101).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let parts = TrainSplitter().split(Self.frame(v4: v4, payload: payload))
        #expect(parts.count == 4)
        let headers = v4 ? 42 : 62
        #expect(parts.map { $0.count - headers } == [1392, 1392, 1392, 101])
        #expect(parts.flatMap { Array($0[headers...]) } == payload)
        for (index, part) in parts.enumerated() {
            let udpLength = part.count - headers + 8
            let udp = Array(part[(headers - 8)...])
            #expect(Int(udp[4]) << 8 | Int(udp[5]) == udpLength)
            let addresses = v4 ? Array(part[26..<34]) : Array(part[22..<54])
            let pseudo = addresses + [0, 17, UInt8(udpLength >> 8), UInt8(udpLength & 255)]
            #expect(sum(pseudo + udp) == 0xffff)
            if v4 {
                #expect(sum(Array(part[14..<34])) == 0xffff)
                #expect(Int(part[16]) << 8 | Int(part[17]) == part.count - 14)
                #expect((Int(part[18]) << 8 | Int(part[19])) == (0xfffe + index) & 0xffff)
            } else {
                #expect(Int(part[18]) << 8 | Int(part[19]) == udpLength)
            }
        }
    }

    @Test("a datagram that fits the cable is left as it is, to the byte")
    func single() {
        for count in [0, 1, 1391, 1392, 1472] {
            let frame = Self.frame(v4: true, payload: [UInt8](repeating: 9, count: count))
            #expect(TrainSplitter().split(frame) == [frame])
        }
    }

    @Test("what is no whole UDP datagram is left as it is")
    func others() {
        let long = [UInt8](repeating: 1, count: 5_000)
        var tcp = Self.frame(v4: true, payload: long)
        tcp[14 + 9] = 6
        var fragment = Self.frame(v4: true, payload: long)
        fragment[14 + 6] = 0x20
        var arp = Self.frame(v4: true, payload: long)
        arp[13] = 6
        var short = Self.frame(v4: true, payload: long)
        short.removeLast(10)
        var header = Self.frame(v4: true, payload: long)
        header[14] = 0x44
        for frame in [tcp, fragment, arp, short, header, [], [1, 2, 3]] {
            #expect(TrainSplitter().split(frame) == [frame])
        }
    }

    private func capture(_ frames: [[UInt8]], bigEndian: Bool) -> [UInt8] {
        let number = { (value: UInt32) -> [UInt8] in
            let big = (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
            return bigEndian ? big : big.reversed()
        }
        let version: [UInt8] = bigEndian ? [0, 2, 0, 4] : [2, 0, 4, 0]
        var bytes = number(0xa1b2_c3d4) + version
        for value in [0, 0, 262_144, 1] as [UInt32] { bytes += number(value) }
        for (index, frame) in frames.enumerated() {
            for value in [index, 7, frame.count, frame.count] { bytes += number(UInt32(value)) }
            bytes += frame
        }
        return bytes
    }

    @Test("a whole capture is rewritten, in either byte order", arguments: [true, false])
    func file(bigEndian: Bool) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            UUID().uuidString
        )
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (raw, cut) = (folder.path + "/raw", folder.path + "/cut")
        let train = Self.frame(v4: true, payload: [UInt8](repeating: 3, count: 2 * 1392))
        let plain = Self.frame(v4: true, payload: [4, 5, 6])
        let bytes = capture([plain, train, plain], bigEndian: bigEndian)
        // A capture cut off in its last record is taken up to there.
        try Data(bytes + [1, 2, 3]).write(to: URL(fileURLWithPath: raw))
        let outcome = try TrainSplitter().rewrite(raw, to: cut)
        #expect(outcome == .init(frameCount: 3, trainCount: 1, datagramCount: 4))
        let parts = TrainSplitter().split(train)
        var expected = capture([plain] + parts + [plain], bigEndian: bigEndian)
        // Both datagrams of the train have its time; the helper numbers them apart.
        let seconds = [0, 1, 1, 2].map { UInt8($0) }
        var offset = 24
        for (frame, second) in zip([plain] + parts + [plain], seconds) {
            expected[offset + (bigEndian ? 3 : 0)] = second
            offset += 16 + frame.count
        }
        #expect(FileManager.default.contents(atPath: cut) == Data(expected))
    }

    @Test("what is no Ethernet capture is refused")
    func refused() throws {
        let path = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        var linkType = capture([], bigEndian: false)
        linkType[20] = 101
        for bytes in [[], [1, 2, 3], [UInt8](repeating: 0, count: 24), linkType] {
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            #expect(throws: LabError.self) { try TrainSplitter().rewrite(path, to: path + ".out") }
            try? FileManager.default.removeItem(atPath: path + ".out")
        }
    }
}
