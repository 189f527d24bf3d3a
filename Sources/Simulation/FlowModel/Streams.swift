import Base
public import CryptoPrimitives
import Foundation

/// Random streams of one seed: one for each purpose and index, the same whoever draws first.
public struct Streams: Sendable {
    /// What a stream is for.
    public enum Purpose: UInt64, Sendable {
        case relays = 1
        case uptime, clients, guards, adversary, departures, keys
    }

    /// What all streams come from.
    public let seed: UInt64

    /// Streams of `seed`.
    public init(seed: UInt64) {
        self.seed = seed
    }

    /// The stream for `purpose` and `index`.
    public func generator(_ purpose: Purpose, _ index: Int = 0) -> RandomGenerator {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(32)
        for word in [seed, purpose.rawValue, UInt64(truncatingIfNeeded: index), 0] {
            for shift in 0..<8 as Range<UInt64> {
                bytes.append(UInt8(truncatingIfNeeded: word >> (8 * shift)))
            }
        }
        return RandomGenerator(seed: Secret(copying: bytes))
    }

    /// A number from 0 up to 1 that belongs to a client and a step.
    ///
    /// For draws of every client in every step, where a generator for each would be memory without
    /// use: a mixing function of the three, in the manner of SplitMix64.
    @inline(__always)
    func unit(client: UInt32, step: Int) -> Double {
        var word = seed &+ 0x9e37_79b9_7f4a_7c15 &* (UInt64(client) << 24 ^ UInt64(step) &+ 1)
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        word ^= word >> 31
        return Double(word >> 11) * 0x1p-53
    }
}

extension RandomGenerator {
    /// A number from 0 up to 1.
    mutating func unit() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// A number above 0, exponential with this mean.
    mutating func exponential(mean: Double) -> Double {
        -mean * log(1 - unit())
    }

    /// A number of the standard normal distribution (Box and Muller).
    mutating func normal() -> Double {
        let radius = (-2 * log(1 - unit())).squareRoot()
        return radius * cos(2 * .pi * unit())
    }

    mutating func draw(_ law: NetworkPlan.LogNormal) -> Double {
        min(max(law.median * exp(law.spread * normal()), law.least), law.most)
    }

    /// Weibull with this mean and shape.
    mutating func weibull(mean: Double, shape: Double) -> Double {
        let scale = mean / tgamma(1 + 1 / shape)
        return scale * pow(-log(1 - unit()), 1 / shape)
    }

    /// A place in `sums`, which ascend, by the widths between them.
    mutating func place(in sums: [Double]) -> Int {
        let mark = unit() * (sums.last ?? 0)
        var low = 0
        var high = sums.count - 1
        while low < high {
            let middle = (low + high) / 2
            if sums[middle] > mark { high = middle } else { low = middle + 1 }
        }
        return max(0, low)
    }
}

/// A running hash of what a run comes to: equal for equal seeds.
public struct RunHash: Hashable, Sendable, CustomStringConvertible {
    private(set) var state: UInt64 = 0xcbf2_9ce4_8422_2325

    /// Of nothing yet.
    public init() {}

    mutating func add(_ word: UInt64) {
        state = (state ^ word) &* 0x9e37_79b9_7f4a_7c15
        state ^= state >> 29
    }

    mutating func add(_ value: Double) {
        add(value.bitPattern)
    }

    /// Sixteen digits.
    public var description: String {
        let digits = String(state, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
