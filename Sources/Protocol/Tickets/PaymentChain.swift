public import Base
import CryptoPrimitives
public import Wire

/// A chain of hashes: each value pays one tick more than the one before it.
///
/// `w_{i-1} = BLAKE2b-256("payword1" | u32 i | w_i)`; w_N is drawn, w_0 is the root that a voucher
/// commits to. Spec: §A.3.
public struct PaymentChain: Sendable {
    // By index, the root first.
    private let values: [Bytes32]

    /// Makes the chain of `count` ticks that ends in `tail`; one hash a tick.
    public init(tail: Bytes32, count: UInt32) {
        var values = [Bytes32](repeating: tail, count: Int(count) + 1)
        for index in stride(from: Int(count), to: 0, by: -1) {
            values[index - 1] = Self.step(values[index], index: UInt32(clamping: index))
        }
        self.values = values
    }

    /// The root, w_0.
    public var root: Bytes32 {
        values[0]
    }

    /// Ticks it pays.
    public var count: UInt32 {
        UInt32(clamping: values.count - 1)
    }

    /// The place that pays `index` ticks.
    ///
    /// - Precondition: `index` is at most ``count``.
    public func place(_ index: UInt32) -> ChainPlace {
        ChainPlace(index: index, value: values[Int(index)])
    }

    /// Whether `place` leads to `earlier`; one hash for each tick between them.
    ///
    /// - Precondition: bound the distance before: a chain has at most 1,024 ticks.
    public static func leads(_ place: ChainPlace, to earlier: ChainPlace) -> Bool {
        guard place.index >= earlier.index, place.index - earlier.index <= 1_024 else {
            return false
        }
        var value = place.value
        var index = place.index
        while index > earlier.index {
            value = step(value, index: index)
            index -= 1
        }
        return value == earlier.value
    }

    private static let label = Array("payword1".utf8)

    static func step(_ value: Bytes32, index: UInt32) -> Bytes32 {
        var writer = ByteWriter(capacity: 44)
        writer.write(label)
        writer.write(index)
        writer.write(value)
        return BLAKE2b.digest(writer.bytes)
    }
}

extension VoucherContent {
    /// The voucher's name, vid: BLAKE2b-256 of what is signed.
    public var name: Bytes32 {
        BLAKE2b.digest(encoded)
    }
}

/// The commitment to a reclaim secret: BLAKE2b-256.
enum ReclaimCommitment {
    static func make(_ secret: Bytes32) -> Bytes32 {
        BLAKE2b.digest(secret.bytes)
    }
}

extension MintReclaim {
    /// What a voucher says of the secret that reclaims it: BLAKE2b-256.
    public static func commitment(_ secret: Bytes32) -> Bytes32 {
        ReclaimCommitment.make(secret)
    }
}
