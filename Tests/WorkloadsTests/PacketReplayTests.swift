import Base
import Testing
import Workloads

@Suite("A capture is replayed")
struct PacketReplayTests {
    private func words(_ values: [UInt32], isBig: Bool) -> [UInt8] {
        values.flatMap { value in
            let bytes = (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) }
            return isBig ? bytes : bytes.reversed()
        }
    }

    private func packet(from source: UInt8, to destination: UInt8, byteCount: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 20)
        bytes[0] = 0x45
        (bytes[2], bytes[3]) = (UInt8(byteCount >> 8), UInt8(byteCount & 255))
        bytes[12...15] = [192, 0, 2, source]
        bytes[16...19] = [192, 0, 2, destination]
        return bytes
    }

    /// A capture of plain IP whose records are cut to 20 bytes.
    private func capture(
        magic: UInt32 = 0xa1b2_c3d4,
        isBig: Bool,
        linkType: UInt32 = 101,
        padding: Int = 0
    ) -> [UInt8] {
        let unit: UInt32 = magic == 0xa1b2_3c4d ? 1_000 : 1
        var bytes = words([magic], isBig: isBig) + [0, 2, 0, 4]
        bytes += words([0, 0, 65_535, linkType], isBig: isBig)
        let packets: [(UInt32, UInt8, UInt8, Int)] = [
            (100_000, 1, 2, 60), (150_000, 2, 1, 1_500), (160_000, 2, 1, 500), (700_000, 1, 2, 40),
            (800_000, 3, 4, 1_500),
        ]
        for (micros, source, destination, byteCount) in packets {
            let data =
                [UInt8](repeating: 9, count: padding)
                + packet(from: source, to: destination, byteCount: byteCount)
            let lengths = [UInt32(data.count), UInt32(byteCount + padding)]
            bytes += words([7, micros * unit] + lengths, isBig: isBig) + data
        }
        return bytes
    }

    private let expected: [(Double, Int, Bool)] = [
        (0, 60, true), (0.05, 1_500, false), (0.06, 500, false), (0.6, 40, true),
    ]

    @Test(
        "either byte order, micro- and nanoseconds, and three kinds of frames are read",
        arguments: [
            (0xa1b2_c3d4 as UInt32, true, 101 as UInt32, 0), (0xa1b2_c3d4, false, 101, 0),
            (0xa1b2_3c4d, true, 1, 14), (0xa1b2_3c4d, false, 113, 16),
        ]
    )
    func formats(magic: UInt32, isBig: Bool, linkType: UInt32, padding: Int) throws {
        let bytes = capture(magic: magic, isBig: isBig, linkType: linkType, padding: padding)
        let replay = try PacketReplay(parsing: bytes)
        #expect(replay.host == IPAddress(v4: 0xc000_0201))
        try #require(replay.packets.count == expected.count)
        for (packet, (time, byteCount, isFromHost)) in zip(replay.packets, expected) {
            #expect(abs(packet.time - time) < 1e-6)
            #expect(packet.byteCount == byteCount)
            #expect(packet.isFromHost == isFromHost)
        }
    }

    @Test("what a host asks for and what comes is one transfer")
    func transfers() throws {
        let transfers = try PacketReplay(parsing: capture(isBig: true)).transfers
        try #require(transfers.count == 2)
        #expect(transfers[0].uploadByteCount == 60)
        #expect(transfers[0].downloadByteCount == 2_001)
        #expect(transfers[1].uploadByteCount == 40)
        #expect(abs(transfers[1].time - 0.6) < 1e-6)
    }

    @Test("another host's packets are taken when it is named, and a stranger has none")
    func named() throws {
        let other = IPAddress(v4: 0xc000_0203)
        let replay = try PacketReplay(parsing: capture(isBig: false), host: other)
        #expect(replay.packets.map(\.byteCount) == [1_500])
        #expect(throws: PacketReplay.Fault.noHost) {
            try PacketReplay(parsing: capture(isBig: true), host: IPAddress(v4: 1))
        }
    }

    @Test("a capture cut anywhere is refused or read up to there, and never read past its end")
    func cut() throws {
        let bytes = capture(isBig: true)
        var refused = 0
        for count in 0..<bytes.count {
            do throws(PacketReplay.Fault) {
                _ = try PacketReplay(parsing: Array(bytes[..<count]))
            } catch {
                refused += 1
            }
        }
        // Five record boundaries but the first, where no packet is yet.
        #expect(refused == bytes.count - 4)
        #expect(throws: PacketReplay.Fault.noCapture) {
            try PacketReplay(parsing: [UInt8](repeating: 0, count: 100))
        }
        #expect(throws: PacketReplay.Fault.linkType(7)) {
            try PacketReplay(parsing: capture(isBig: true, linkType: 7))
        }
    }
}
