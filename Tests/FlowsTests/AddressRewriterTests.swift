import Base
import Flows
import Testing
import Wire

@Suite("Tunnel address and lease address")
struct AddressRewriterTests {
    private static let leaseV4: [UInt8] = [100, 64, 3, 9]
    private static let leaseV6: [UInt8] =
        [0xfd, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 3, 9]
    private let rewriter = AddressRewriter(
        lease: AddressPair(
            v4: IPAddress(v4: 0x6440_0309),
            v6: IPAddress(high: 0xfd00_0001_ffff_0000, low: 0x0309)
        )
    )

    private func rewrite(_ bytes: [UInt8], isForward: Bool) throws(FlowError) -> [UInt8] {
        var arena = [0xee] + bytes + [0xee]
        let packet = 1..<1 + bytes.count
        let header: IPHeader
        do {
            header = try IPHeader(parsing: arena.span.bytes, packet)
        } catch {
            throw .malformed(error)
        }
        try arena.withArena { (span) throws(FlowError) in
            if isForward {
                try rewriter.rewriteForward(packet, header: header, in: &span)
            } else {
                try rewriter.rewriteBackward(packet, header: header, in: &span)
            }
        }
        #expect(arena.first == 0xee && arena.last == 0xee)
        return Array(arena[packet])
    }

    private func lease(_ isV6: Bool) -> [UInt8] { isV6 ? Self.leaseV6 : Self.leaseV4 }
    private func tunnel(_ isV6: Bool) -> [UInt8] {
        isV6 ? PacketMaker.tunnelV6 : PacketMaker.tunnelV4
    }
    private func remote(_ isV6: Bool) -> [UInt8] {
        isV6 ? PacketMaker.remoteV6 : PacketMaker.remoteV4
    }

    @Test(
        "a rewritten packet is the one the lease would have sent or the tunnel got",
        arguments: 0..<100
    )
    func plain(seed: Int) throws {
        var seeded = Seeded(seed)
        var maker = PacketMaker(seed: &seeded, payload: seeded.bytes(seeded.int(0...300)))
        if seed % 5 == 0 {
            maker.protocolNumber = maker.isV6 ? 58 : 1
            maker.payload = [maker.isV6 ? 128 : 8, 0, 0, 0] + seeded.bytes(20)
        }
        if seed % 7 == 0, !maker.isV6 { maker.ipOptions = [1, 1, 1, 0] }
        maker.source = tunnel(maker.isV6)
        var expected = maker
        expected.source = lease(maker.isV6)
        #expect(try rewrite(maker.bytes, isForward: true) == expected.bytes)

        maker.source = remote(maker.isV6)
        maker.destination = lease(maker.isV6)
        expected = maker
        expected.destination = tunnel(maker.isV6)
        #expect(try rewrite(maker.bytes, isForward: false) == expected.bytes)
    }

    @Test(
        "a packet whose checksum the kernel left unmade gets one that is right for its new address",
        arguments: 0..<40
    )
    func unsummed(seed: Int) throws {
        var seeded = Seeded(seed)
        var maker = PacketMaker(seed: &seeded, payload: seeded.bytes(seeded.int(0...300)))
        maker.source = remote(maker.isV6)
        maker.destination = lease(maker.isV6)
        var expected = maker
        expected.destination = tunnel(maker.isV6)
        var bytes = maker.bytes
        let packet = 0..<bytes.count
        let header = try IPHeader(parsing: bytes.span.bytes, packet)
        let field =
            header.transportOffset + (header.protocolNumber == IPProtocol.tcp ? 16 : 6)
        // What the kernel leaves there: the sum of everything but header and payload, unfinished.
        let whole = bytes.span.bytes.loadBigEndian(at: field, as: UInt16.self)
        bytes[field] = 0
        bytes[field + 1] = 0
        var sum = InternetChecksum()
        sum.add(bytes.span.bytes, header.transportOffset..<bytes.count)
        let unfinished = InternetChecksum.difference(from: sum.folded, to: ~whole)
        bytes[field] = UInt8(unfinished >> 8)
        bytes[field + 1] = UInt8(truncatingIfNeeded: unfinished)
        var offload = VirtioNetHeader()
        offload.needsChecksum = true
        offload.checksumStart = UInt16(header.transportOffset)
        offload.checksumOffset = UInt16(field - header.transportOffset)
        var arena = bytes + [UInt8](repeating: 0, count: bytes.count)
        try arena.withArena { (span) throws(FlowError) in
            try rewriter.rewriteBackward(packet, header: header, isUnsummed: true, in: &span)
            let tunnel = try TunPacket(parsing: span.bytes, header: offload, packet: packet)
            tunnel.writeSegment(0, in: &span, to: bytes.count)
        }
        #expect(Array(arena[bytes.count...]) == expected.bytes)
    }

    @Test("a source other than the tunnel's address is refused and the packet left alone")
    func spoofed() {
        for isV6 in [false, true] {
            var maker = PacketMaker(isV6: isV6)
            for source in [lease(isV6), remote(isV6)] {
                maker.source = source
                #expect(throws: FlowError.foreignSource) {
                    try rewrite(maker.bytes, isForward: true)
                }
            }
            maker.source = tunnel(isV6)
            maker.source[maker.source.count - 1] ^= 1
            #expect(throws: FlowError.foreignSource) {
                try rewrite(maker.bytes, isForward: true)
            }
            #expect(throws: FlowError.foreignDestination) {
                try rewrite(maker.bytes, isForward: false)
            }
        }
    }

    @Test("IPv6 through an exit without it is refused")
    func familyMissing() {
        let rewriter = AddressRewriter(lease: AddressPair(v4: IPAddress(v4: 0x6440_0309), v6: nil))
        var bytes = PacketMaker(isV6: true).bytes
        let before = bytes
        #expect(throws: FlowError.foreignSource) {
            let header = try IPHeader(parsing: bytes.span.bytes, 0..<bytes.count)
            try bytes.withArena {
                try rewriter.rewriteForward(0..<before.count, header: header, in: &$0)
            }
        }
        #expect(bytes == before)
    }

    @Test("a UDP checksum of zero stays zero, and a result of zero becomes ffff")
    func udpZero() throws {
        var bytes = PacketMaker(protocolNumber: 17, payload: [1, 2, 3]).bytes
        bytes.setWord(26, 0)
        #expect(try rewrite(bytes, isForward: true).word(26) == 0)

        var maker = PacketMaker(protocolNumber: 17, payload: [0, 0])
        maker.source = Self.leaseV4
        let sum = naiveSum(maker.pseudoHeader + maker.transportHeader)
        maker.payload = [UInt8(~sum >> 8), UInt8(~sum & 255)]
        maker.source = PacketMaker.tunnelV4
        #expect(try rewrite(maker.bytes, isForward: true).word(26) == 0xffff)
    }

    @Test("a wrong checksum stays wrong")
    func wrongStays() throws {
        var bytes = PacketMaker(payload: [1, 2, 3, 4]).bytes
        bytes[bytes.count - 1] ^= 0x10
        #expect(!hasRightChecksums(bytes))
        #expect(!hasRightChecksums(try rewrite(bytes, isForward: true)))
    }

    @Test("of a later fragment only the IP header changes")
    func laterFragment() throws {
        var bytes = PacketMaker(protocolNumber: 17, payload: [UInt8](repeating: 1, count: 40)).bytes
        bytes.setWord(6, 0x2003)
        bytes.setWord(10, 0)
        bytes.setWord(10, ~naiveSum(Array(bytes[..<20])))
        let rewritten = try rewrite(bytes, isForward: true)
        #expect(rewritten[20...] == bytes[20...])
        #expect(Array(rewritten[12..<16]) == Self.leaseV4)
        #expect(naiveSum(Array(rewritten[..<20])) == 0xffff)
    }

    /// An ICMP error about `quoted`, of which it keeps `byteCount` bytes.
    private func error(
        about quoted: PacketMaker,
        from source: [UInt8],
        to destination: [UInt8],
        byteCount: Int
    ) -> PacketMaker {
        var maker = PacketMaker(
            isV6: quoted.isV6,
            protocolNumber: quoted.isV6 ? 58 : 1,
            payload: [quoted.isV6 ? 1 : 3, 4, 0, 0, 0, 0, 0, 0] + quoted.bytes.prefix(byteCount)
        )
        maker.source = source
        maker.destination = destination
        return maker
    }

    @Test("an ICMP error and the packet it quotes change together", arguments: 0..<100)
    func quotes(seed: Int) throws {
        var seeded = Seeded(seed)
        var quoted = PacketMaker(seed: &seeded, payload: seeded.bytes(seeded.int(0...60)))
        let isV6 = quoted.isV6
        if seed % 4 == 0 {
            quoted.protocolNumber = isV6 ? 58 : 1
            quoted.payload = [isV6 ? 128 : 8, 0, 0, 0] + seeded.bytes(8)
        }
        let byteCount = quoted.ipHeaderByteCount + seeded.int(8...quoted.transportByteCount)

        // From a router to the lease, about what the lease sent.
        quoted.source = lease(isV6)
        quoted.destination = remote(isV6)
        var quotedInside = quoted
        quotedInside.source = tunnel(isV6)
        let incoming = error(
            about: quoted,
            from: remote(isV6),
            to: lease(isV6),
            byteCount: byteCount
        )
        let inside = error(
            about: quotedInside,
            from: remote(isV6),
            to: tunnel(isV6),
            byteCount: byteCount
        )
        #expect(try rewrite(incoming.bytes, isForward: false) == inside.bytes)

        // From the client, about what it got.
        quoted.source = remote(isV6)
        quoted.destination = tunnel(isV6)
        var quotedOutside = quoted
        quotedOutside.destination = lease(isV6)
        let outgoing = error(
            about: quoted,
            from: tunnel(isV6),
            to: remote(isV6),
            byteCount: byteCount
        )
        let outside = error(
            about: quotedOutside,
            from: lease(isV6),
            to: remote(isV6),
            byteCount: byteCount
        )
        #expect(try rewrite(outgoing.bytes, isForward: true) == outside.bytes)
    }

    @Test("an ICMP error about somebody else's packet is refused")
    func foreignQuote() {
        for isV6 in [false, true] {
            var quoted = PacketMaker(isV6: isV6)
            quoted.source = remote(isV6)
            quoted.destination = lease(isV6)
            let forward = error(
                about: quoted,
                from: tunnel(isV6),
                to: remote(isV6),
                byteCount: 60
            )
            #expect(throws: FlowError.foreignQuote) {
                try rewrite(forward.bytes, isForward: true)
            }
            let backward = error(
                about: quoted,
                from: remote(isV6),
                to: lease(isV6),
                byteCount: 60
            )
            #expect(throws: FlowError.foreignQuote) {
                try rewrite(backward.bytes, isForward: false)
            }
        }
    }

    @Test("no truncation and no flipped byte makes it trap or leave the packet", arguments: 0..<200)
    func hostile(seed: Int) {
        var seeded = Seeded(seed)
        let isV6 = seeded.chance(2)
        var quoted = PacketMaker(isV6: isV6, payload: seeded.bytes(30))
        quoted.source = lease(isV6)
        let maker = error(
            about: quoted,
            from: remote(isV6),
            to: lease(isV6),
            byteCount: seeded.int(0...90)
        )
        var bytes = maker.bytes
        for _ in 0..<seeded.int(0...3) {
            bytes[seeded.int(0...bytes.count - 1)] = UInt8(seeded.int(0...255))
        }
        // Guard bytes are checked inside.
        if let rewritten = try? rewrite(bytes, isForward: false) {
            #expect(rewritten.count == bytes.count)
        }
    }
}
