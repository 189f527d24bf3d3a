/// Bytes that prove themselves: a function of who sends them and where they stand.
enum Pattern {
    /// Sixteen of these begin every packet: no datagram but at an exit may show eight in a row.
    static let canary: UInt8 = 0xc7
    static let canaryCount = 16
    /// Bytes a payload has at least.
    static let minimumByteCount = canaryCount + 16

    static func mix(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// The payload of packet `number` of `flow`, one way or the other.
    static func payload(flow: UInt32, number: UInt32, isAnswer: Bool, byteCount: Int) -> [UInt8] {
        precondition(byteCount >= minimumByteCount, "payload too small to prove itself")
        var bytes = [UInt8](repeating: canary, count: canaryCount)
        bytes.reserveCapacity(byteCount + 8)
        append(UInt64(flow) << 32 | UInt64(number), to: &bytes)
        append((isAnswer ? 1 << 32 : 0) | UInt64(byteCount), to: &bytes)
        var state = mix(UInt64(flow) << 33 | UInt64(number) << 1 | (isAnswer ? 1 : 0))
        while bytes.count < byteCount {
            state = mix(state)
            append(state, to: &bytes)
        }
        bytes.removeLast(bytes.count - byteCount)
        return bytes
    }

    /// What a payload says of itself, if every byte of it is right.
    static func proven(_ bytes: [UInt8]) -> (flow: UInt32, number: UInt32, isAnswer: Bool)? {
        guard bytes.count >= minimumByteCount else { return nil }
        let first = word(bytes, canaryCount)
        let second = word(bytes, canaryCount + 8)
        let claim = (
            flow: UInt32(truncatingIfNeeded: first >> 32),
            number: UInt32(truncatingIfNeeded: first),
            isAnswer: second >> 32 == 1
        )
        let expected = payload(
            flow: claim.flow,
            number: claim.number,
            isAnswer: claim.isAnswer,
            byteCount: bytes.count
        )
        return expected == bytes ? claim : nil
    }

    /// The bytes of stream `stream` from `offset` on; every 1,200 begin with the canary.
    static func stream(_ stream: UInt32, offset: Int, byteCount: Int) -> [UInt8] {
        precondition(offset.isMultiple(of: 1_200), "streams are made of whole segments")
        var bytes: [UInt8] = []
        bytes.reserveCapacity(byteCount + 8)
        var position = offset
        while bytes.count < byteCount {
            if position.isMultiple(of: 1_200) {
                append(0xc7c7_c7c7_c7c7_c7c7, to: &bytes)
                append(0xc7c7_c7c7_c7c7_c7c7, to: &bytes)
                position += 16
            } else {
                append(mix(UInt64(stream) << 40 ^ UInt64(position)), to: &bytes)
                position += 8
            }
        }
        bytes.removeLast(bytes.count - byteCount)
        return bytes
    }

    private static func append(_ word: UInt64, to bytes: inout [UInt8]) {
        unsafe withUnsafeBytes(of: word.bigEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
        bytes[offset..<offset + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}
