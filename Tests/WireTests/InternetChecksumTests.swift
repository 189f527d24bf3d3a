import Base
import CWordSum
import Testing
import Wire

/// Word by word, the way RFC 1071 says it, sharing nothing with the code it judges.
private func naiveSum(_ bytes: [UInt8]) -> UInt16 {
    var sum = 0
    var index = 0
    while index < bytes.count {
        let low = index + 1 < bytes.count ? Int(bytes[index + 1]) : 0
        sum += Int(bytes[index]) * 256 + low
        if sum > 0xffff { sum -= 0xffff }
        index += 2
    }
    return UInt16(sum)
}

@Suite("Internet checksum")
struct InternetChecksumTests {
    @Test("RFC 1071's example sums to ddf2")
    func rfc1071() {
        let bytes: [UInt8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]
        var sum = InternetChecksum()
        sum.add(bytes.span.bytes, 0..<8)
        #expect(sum.folded == 0xddf2)
        #expect(sum.complement == 0x220d)
    }

    @Test("RFC 1624's example updates to zero, not to ffff")
    func rfc1624() {
        #expect(InternetChecksum.updated(0xdd2f, replacing: 0x5555, with: 0x3285) == 0x0000)
    }

    @Test("every length and every start agree with the naive sum", arguments: 0..<8)
    func lengths(start: Int) {
        var state = UInt64(start) &* 0x9e37_79b9_7f4a_7c15 &+ 1
        let bytes = (0..<1_500).map { _ -> UInt8 in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
        for count in Array(0..<300) + [1_279, 1_280, 1_281, 1_480] {
            var sum = InternetChecksum()
            sum.add(bytes.span.bytes, start..<start + count)
            #expect(sum.folded == naiveSum(Array(bytes[start..<start + count])), "count \(count)")
        }
    }

    @Test("every processor's sum is the one all have", arguments: 0..<8)
    func processors(start: Int) {
        let bytes = (0..<1_500).map { UInt8(truncatingIfNeeded: $0 &* $0 &* 7 &+ start) }
        unsafe bytes.withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress else { return }
            for count in 0...(bytes.count - start) {
                let wide = unsafe cwordsum(base + start, count)
                #expect(unsafe wide == cwordsum_plain(base + start, count), "count \(count)")
            }
        }
    }

    @Test("64 KiB of ones does not overflow")
    func ones() {
        let bytes = [UInt8](repeating: 0xff, count: 65_535)
        var sum = InternetChecksum()
        sum.add(bytes.span.bytes, 0..<65_535)
        #expect(sum.folded == naiveSum(bytes))
    }

    @Test("an incremental update equals summing again", arguments: 0..<200)
    func incremental(seed: Int) {
        var state = UInt64(seed) &+ 7
        func next() -> UInt16 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt16(truncatingIfNeeded: state >> 40)
        }
        var words = (0..<10).map { _ in next() }
        func checksum() -> UInt16 {
            var sum = InternetChecksum()
            for word in words { sum.add(word) }
            return sum.complement
        }
        let before = checksum()
        let index = seed % 10
        let old = words[index]
        words[index] = seed % 7 == 0 ? 0 : next()
        let updated = InternetChecksum.updated(before, replacing: old, with: words[index])
        #expect(updated == checksum())
    }

    @Test("a pseudo-header counts addresses, protocol and length")
    func pseudoHeader() {
        // The UDP datagram 10.0.0.1:53 -> 10.0.0.2:53 without payload.
        var packet = [UInt8](repeating: 0, count: 20)
        packet[12...19] = [10, 0, 0, 1, 10, 0, 0, 2]
        let udp: [UInt8] = [0, 53, 0, 53, 0, 8, 0, 0]
        var sum = InternetChecksum()
        sum.addPseudoHeader(
            packet.span.bytes,
            packetOffset: 0,
            isV6: false,
            protocolNumber: 17,
            byteCount: 8
        )
        sum.add(udp.span.bytes, 0..<8)
        #expect(
            sum.folded == naiveSum([10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0, 8] + udp)
        )
    }
}
