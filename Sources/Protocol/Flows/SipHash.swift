/// SipHash-1-3 over the five words of a flow key: hashing an outsider cannot aim.
///
/// Rounds are a parameter, so that tests hold it against the published SipHash-2-4.
struct SipHash: Sendable, BitwiseCopyable {
    private struct State: BitwiseCopyable {
        var v0, v1, v2, v3: UInt64

        @inline(__always)
        mutating func round() {
            v0 &+= v1
            v2 &+= v3
            v1 = Self.rotated(v1, 13) ^ v0
            v3 = Self.rotated(v3, 16) ^ v2
            v0 = Self.rotated(v0, 32)
            v2 &+= v1
            v0 &+= v3
            v1 = Self.rotated(v1, 17) ^ v2
            v3 = Self.rotated(v3, 21) ^ v0
            v2 = Self.rotated(v2, 32)
        }

        @inline(__always)
        static func rotated(_ word: UInt64, _ count: UInt64) -> UInt64 {
            word &<< count | word &>> (64 &- count)
        }
    }

    private let initial: State
    private let compressionRounds: Int
    private let finishingRounds: Int

    init(seed: (UInt64, UInt64), compressionRounds: Int = 1, finishingRounds: Int = 3) {
        initial = State(
            v0: seed.0 ^ 0x736f_6d65_7073_6575,
            v1: seed.1 ^ 0x646f_7261_6e64_6f6d,
            v2: seed.0 ^ 0x6c79_6765_6e65_7261,
            v3: seed.1 ^ 0x7465_6462_7974_6573
        )
        self.compressionRounds = compressionRounds
        self.finishingRounds = finishingRounds
    }

    /// The low half of the hash of `key`.
    func hash(_ key: FlowKey) -> UInt32 {
        UInt32(
            truncatingIfNeeded: hash(
                [
                    key.sourceHigh, key.sourceLow, key.destinationHigh, key.destinationLow,
                    key.packed,
                ]
            )
        )
    }

    /// The hash of 40 bytes, given as little-endian words.
    func hash(_ words: [5 of UInt64]) -> UInt64 {
        var state = initial
        for index in words.indices {
            compress(words[index], &state)
        }
        // The last block is the length in its top byte.
        compress(40 << 56, &state)
        state.v2 ^= 0xff
        for _ in 0..<finishingRounds { state.round() }
        return state.v0 ^ state.v1 ^ state.v2 ^ state.v3
    }

    @inline(__always)
    private func compress(_ word: UInt64, _ state: inout State) {
        state.v3 ^= word
        for _ in 0..<compressionRounds { state.round() }
        state.v0 ^= word
    }
}
