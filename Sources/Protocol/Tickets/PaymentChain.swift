public import Base
import CryptoPrimitives
public import Wire

/// A chain of hashes: each value pays one tick more than the one before it.
///
/// `w_{i-1} = BLAKE2b-256("payword1" | u32 i | w_i)`; w_N is drawn, w_0 is the root that a voucher
/// commits to. Of a long chain each 64th value is kept; those between are hashed again. Spec: §A.3.
public struct PaymentChain: Sendable {
    private static let spacing: UInt32 = 64

    /// Ticks it pays.
    public let count: UInt32
    // Each 64th value by index, the root first; w_N behind them.
    private let marks: [Bytes32]
    // Values that were walked over last, from that with the highest index down.
    private var walked: [Bytes32] = []
    private var walkedTop: UInt32 = 0

    /// Makes the chain of `count` ticks that ends in `tail`; one hash a tick.
    public init(tail: Bytes32, count: UInt32) {
        self.count = count
        var marks = [tail]
        var value = tail
        var index = count
        while index > 0 {
            value = Self.step(value, index: index)
            index -= 1
            if index.isMultiple(of: Self.spacing) { marks.append(value) }
        }
        marks.reverse()
        self.marks = marks
    }

    /// The root, w_0.
    public var root: Bytes32 {
        marks[0]
    }

    /// The place that pays `index` ticks; at most 63 hashes.
    ///
    /// - Precondition: `index` is at most ``count``.
    public func place(_ index: UInt32) -> ChainPlace {
        var walker = self
        return walker.walk(to: index)
    }

    /// The place that pays `index` ticks, where those that pay some more are asked for next: they
    /// cost no hash up to the next mark.
    ///
    /// - Precondition: `index` is at most ``count``.
    public mutating func walk(to index: UInt32) -> ChainPlace {
        if let value = walkedValue(index) { return ChainPlace(index: index, value: value) }
        var (place, value) = mark(above: index)
        walkedTop = place
        walked.removeAll(keepingCapacity: true)
        walked.append(value)
        while place > index {
            value = Self.step(value, index: place)
            place -= 1
            walked.append(value)
        }
        return ChainPlace(index: index, value: value)
    }

    private func walkedValue(_ index: UInt32) -> Bytes32? {
        guard index <= walkedTop, Int(walkedTop - index) < walked.count else { return nil }
        return walked[Int(walkedTop - index)]
    }

    /// The nearest value that is kept from `index` on, and its own index.
    private func mark(above index: UInt32) -> (place: UInt32, value: Bytes32) {
        precondition(index <= count, "a place beyond the chain's end")
        let number = (index + Self.spacing - 1) / Self.spacing
        return (min(number * Self.spacing, count), marks[Int(number)])
    }

    /// Whether `place` leads to `earlier`; one hash for each tick between them.
    ///
    /// - Precondition: bound the distance before: a chain has at most 8,192 ticks.
    public static func leads(_ place: ChainPlace, to earlier: ChainPlace) -> Bool {
        guard place.index >= earlier.index,
            place.index - earlier.index <= Denomination.bulk.tickCount
        else { return false }
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

    /// What it is to come back as: the denominations of the new vouchers, in their order.
    public var change: [Denomination] {
        let ticks = voucher.denomination.tickCount
        return Denomination.change(for: ticks - min(ticks, spent))
    }
}
