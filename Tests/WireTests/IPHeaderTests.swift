import Base
import Testing
import Wire

@Suite("IP headers")
struct IPHeaderTests {
    /// A UDP header over IPv4, 192.168.0.1 to 192.168.0.199, 115 bytes.
    private static let v4: [UInt8] =
        [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ] + [UInt8](repeating: 0, count: 95)

    /// 2001:db8::1 to 2001:db8::2, class 0xb9, with `chain` in front of 8 bytes of UDP.
    private static func v6(next: UInt8, chain: [UInt8] = []) -> [UInt8] {
        let count = chain.count + 8
        let address: [UInt8] = [0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11)
        return [0x6b, 0x90, 0, 0, UInt8(count >> 8), UInt8(count & 255), next, 61]
            + address + [1] + address + [2] + chain + [0, 1, 0, 2, 0, 8, 0, 0]
    }

    private func parse(_ bytes: [UInt8]) throws(WireError) -> IPHeader {
        try IPHeader(parsing: bytes.span.bytes, 0..<bytes.count)
    }

    @Test("an IPv4 header reads as it is drawn")
    func goldenV4() throws {
        let header = try parse(Self.v4)
        #expect(header.version == .v4)
        #expect(header.headerByteCount == 20)
        #expect(header.transportOffset == 20)
        #expect(header.byteCount == 115)
        #expect(header.protocolNumber == 17)
        #expect(header.source.description == "192.168.0.1")
        #expect(header.destination.description == "192.168.0.199")
        #expect(header.fragment == nil)
        #expect(header.hopLimit == 64)
        var sum = InternetChecksum()
        sum.add(Self.v4.span.bytes, 0..<20)
        #expect(sum.folded == 0xffff)
    }

    @Test("an IPv6 header reads as it is drawn")
    func goldenV6() throws {
        let header = try parse(Self.v6(next: 17))
        #expect(header.isV6)
        #expect(header.headerByteCount == 40)
        #expect(header.transportOffset == 40)
        #expect(header.byteCount == 48)
        #expect(header.protocolNumber == 17)
        #expect(header.source.description == "2001:db8::1")
        #expect(header.destination.description == "2001:db8::2")
        #expect(header.trafficClass == 0xb9)
        #expect(header.dscp == 46)
        #expect(header.ecn == 1)
        #expect(header.hopLimit == 61)
    }

    @Test("extension headers are walked to the transport header, eight at most")
    func extensions() throws {
        let options: [UInt8] = [60, 0, 1, 4, 0, 0, 0, 0]
        let last: [UInt8] = [17, 1] + [UInt8](repeating: 0, count: 14)
        let authentication: [UInt8] = [17, 4] + [UInt8](repeating: 0, count: 22)
        #expect(try parse(Self.v6(next: 0, chain: options + last)).transportOffset == 64)
        #expect(try parse(Self.v6(next: 51, chain: authentication)).transportOffset == 64)
        let seven = [[UInt8]](repeating: options, count: 7).flatMap { $0 }
        #expect(try parse(Self.v6(next: 60, chain: seven + last)).protocolNumber == 17)
        #expect(throws: WireError.self) {
            try parse(Self.v6(next: 60, chain: options + seven + last))
        }
        // No next header: nothing follows, nothing is walked.
        #expect(try parse(Self.v6(next: 59)).protocolNumber == 59)
    }

    @Test("fragments of both versions tell their place")
    func fragments() throws {
        var v4 = Self.v4
        v4[4...7] = [0x12, 0x34, 0x20, 0x02]
        var fragment = try #require(try parse(v4).fragment)
        #expect(fragment.identification == 0x1234)
        #expect(fragment.offset == 16)
        #expect(!fragment.isLast)
        #expect(try parse(v4).isLaterFragment)
        v4[6...7] = [0x1f, 0xff]
        #expect(throws: WireError.invalid(field: "fragment offset")) { try parse(v4) }

        let first = Self.v6(next: 44, chain: [17, 0, 0, 1, 1, 2, 3, 4])
        #expect(try parse(first).transportOffset == 48)
        #expect(try !parse(first).isLaterFragment)
        let later = Self.v6(next: 44, chain: [60, 0, 0, 0x10, 1, 2, 3, 4])
        fragment = try #require(try parse(later).fragment)
        #expect(fragment.identification == 0x0102_0304)
        #expect(fragment.offset == 16)
        #expect(fragment.isLast)
        // What follows is not a header of options, whatever the fragment header says.
        #expect(try parse(later).transportOffset == 48)
        let two = Self.v6(next: 44, chain: [44, 0, 0, 1, 1, 2, 3, 4, 17, 0, 0, 1, 1, 2, 3, 4])
        #expect(throws: WireError.self) { try parse(two) }
    }

    @Test("lengths must fit exactly")
    func lengths() throws {
        for bytes in [Self.v4, Self.v6(next: 17)] {
            for count in 0..<bytes.count {
                #expect(throws: WireError.self) { try parse(Array(bytes.prefix(count))) }
            }
            #expect(throws: WireError.trailing(byteCount: 1)) { try parse(bytes + [0]) }
        }
        var short = Self.v4
        short[0] = 0x44
        #expect(throws: WireError.invalid(field: "IHL")) { try parse(short) }
        short = Self.v4
        short[3] = 19
        #expect(throws: WireError.invalid(field: "total length")) { try parse(short) }
        short[0] = 0x55
        #expect(throws: WireError.unknown(field: "IP version", value: 5)) { try parse(short) }
        #expect(throws: WireError.self) {
            try IPHeader(parsing: Self.v4.span.bytes, 1..<Self.v4.count + 1)
        }
    }

    @Test("the front of a packet is enough where it is quoted")
    func front() throws {
        let front = Array(Self.v4.prefix(28))
        #expect(try IPHeader(parsingFrontOf: front.span.bytes, 0..<28).byteCount == 115)
        #expect(throws: WireError.self) {
            try IPHeader(parsingFrontOf: front.span.bytes, 0..<19)
        }
    }

    @Test("an IPv6 packet from or to a v4-mapped address is refused")
    func mapped() {
        for place in [8, 24] {
            var bytes = Self.v6(next: 17)
            bytes[place..<place + 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 8, 8, 8, 8]
            #expect(throws: WireError.invalid(field: "v4-mapped address")) { try parse(bytes) }
        }
    }

    @Test(
        "IPv4 options are walked only as far as they go",
        arguments: [0, 1, 2, 3, 200] as [UInt8]
    )
    func options(length: UInt8) {
        var bytes = Self.v4
        bytes[0] = 0x46
        bytes[20...23] = [7, length, 0, 0]
        if length < 2 || length > 4 {
            #expect(throws: WireError.invalid(field: "IP option")) { try parse(bytes) }
        } else {
            #expect(throws: Never.self) { try parse(bytes) }
        }
    }

    @Test("no bytes make it trap or point outside the packet", arguments: 0..<200)
    func hostile(seed: Int) {
        var state = UInt64(seed) &+ 99
        func next() -> UInt8 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
        for base in [Self.v4, Self.v6(next: 60, chain: [17, 0, 1, 4, 0, 0, 0, 0])] {
            var bytes = base
            for _ in 0..<3 { bytes[Int(next()) % min(bytes.count, 56)] = next() }
            if let header = try? parse(bytes) {
                #expect(header.transportOffset <= bytes.count)
                #expect(header.byteCount == bytes.count)
            }
            let front = Array(bytes.prefix(Int(next()) % 60))
            if let header = try? IPHeader(parsingFrontOf: front.span.bytes, 0..<front.count) {
                #expect(header.transportOffset <= front.count)
            }
        }
    }

    @Test("the offload header is written and read in host order")
    func virtio() throws {
        var header = VirtioNetHeader()
        header.needsChecksum = true
        header.segmentation = .tcpV6
        header.hasECN = true
        header.headerByteCount = 0x0102
        header.segmentByteCount = 0x0304
        header.checksumStart = 0x0506
        header.checksumOffset = 0x0708
        var bytes = [UInt8](repeating: 0xee, count: 12)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        header.store(to: &raw, at: 1)
        let isLittle = UInt16(1).littleEndian == 1
        let words: [UInt8] =
            isLittle ? [2, 1, 4, 3, 6, 5, 8, 7] : [1, 2, 3, 4, 5, 6, 7, 8]
        #expect(bytes == [0xee, 1, 0x84] + words + [0xee])
        #expect(try VirtioNetHeader(parsing: bytes.span.bytes, at: 1) == header)
        #expect(throws: WireError.self) { try VirtioNetHeader(parsing: bytes.span.bytes, at: 3) }
        bytes[2] = 3
        #expect(throws: WireError.unknown(field: "gso_type", value: 3)) {
            try VirtioNetHeader(parsing: bytes.span.bytes, at: 1)
        }
    }
}
