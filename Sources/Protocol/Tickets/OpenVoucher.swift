public import Base
public import Wire

/// A voucher that is being spent: how far it was shown, and how far it may be.
///
/// What may be shown is on disk before it is: after a crash nothing is shown twice. It is reserved
/// ahead in strides, so that no payment waits for the disk. Spec: §A.5.
public struct OpenVoucher: Sendable {
    /// Time a tick takes where a large voucher is used up within 10 s, and a bulk one within 80 s.
    public static let fastTick = TimeSpan.seconds(10) / UInt64(Denomination.large.tickCount)

    /// The voucher.
    public let voucher: OwnedVoucher
    /// Its name.
    public let name: Bytes32
    private var chain: PaymentChain
    /// Ticks shown.
    public private(set) var index: UInt32
    /// Ticks that may be shown.
    public private(set) var reserved: UInt32
    /// When it began to pay, and the ticks shown before.
    private var begun: (at: Instant, index: UInt32)?

    /// Begins to spend a voucher that was just taken, with its first stride, and that nobody was
    /// shown.
    public init(taken voucher: OwnedVoucher) {
        self.init(voucher, index: 0, reserved: voucher.content.denomination.stride)
    }

    /// Goes on with a voucher of which as much as it says may have been shown.
    public init(resuming voucher: OwnedVoucher) {
        let spent = voucher.spent ?? 0
        self.init(voucher, index: spent, reserved: spent)
    }

    private init(_ voucher: OwnedVoucher, index: UInt32, reserved: UInt32) {
        self.voucher = voucher
        name = voucher.content.name
        chain = voucher.chain
        self.index = min(index, chain.count)
        self.reserved = min(reserved, chain.count)
    }

    /// Ticks nobody was shown.
    public var left: UInt32 {
        chain.count - index
    }

    /// Whether so little is left that the voucher after it is made ready.
    ///
    /// A relay takes one only once it is on its disk, and what a fast path carries meanwhile would
    /// stand still: 256 ticks are a quarter of a second at 2.5 Gbit/s.
    public var isNearEnd: Bool {
        left <= chain.count / voucher.content.denomination.lastPart
    }

    /// Learns that it pays from now on.
    public mutating func begin(at now: Instant) {
        if begun == nil { begun = (now, index) }
    }

    /// Whether it is large or bulk and is used up so fast that a bulk one comes next: at least a tick
    /// in each ``fastTick`` since it began to pay.
    public func isFast(at now: Instant) -> Bool {
        guard voucher.content.denomination.isForMuch, let begun, index > begun.index else {
            return false
        }
        return now - begun.at <= Self.fastTick * UInt64(index - begun.index)
    }

    /// What shows it for the first time, with its first tick; `nil` where it was spent further.
    public mutating func open() -> PayOpen? {
        guard index <= 1 else { return nil }
        index = 1
        return PayOpen(voucher: voucher.proof, place: chain.walk(to: 1))
    }

    /// Shows at most `ticks` further ticks, as far as they are reserved; `nil` for none.
    public mutating func advance(by ticks: UInt64) -> (place: ChainPlace, ticks: UInt64)? {
        let step = min(ticks, UInt64(reserved - index))
        guard step > 0 else { return nil }
        index += UInt32(clamping: step)
        return (chain.walk(to: index), step)
    }

    /// The mark to reserve up to now, before `ticks` further ones run out; `nil` where enough is.
    public func wantedReserve(for ticks: UInt64) -> UInt32? {
        let stride = voucher.content.denomination.stride
        let target = UInt64(index) + ticks + UInt64(stride / 2)
        guard target > UInt64(reserved), reserved < chain.count else { return nil }
        let strides = (target + UInt64(stride) - 1) / UInt64(stride)
        return UInt32(min(UInt64(chain.count), strides * UInt64(stride)))
    }

    /// Learns that ticks up to `mark` are on disk as spent.
    public mutating func noteReserved(_ mark: UInt32) {
        reserved = max(reserved, min(mark, chain.count))
    }

    /// Shows what fills it to its class on an orderly close; `nil` where it is full or not opened.
    ///
    /// So the deposits of a circuit's hops look alike. Spec: §A.5.6.
    public mutating func topUp() -> (place: ChainPlace, ticks: UInt64)? {
        guard index > 0 else { return nil }
        let width = voucher.content.denomination.fillWidth
        let target = min(chain.count, (index + width - 1) / width * width)
        return advance(by: UInt64(target - index))
    }
}

extension Denomination {
    /// Ticks of a voucher reserved at a time.
    ///
    /// At the end of a fast path ticks go by faster than a disk that is busy.
    var stride: UInt32 {
        switch self {
        case .trial, .small: 16
        case .large: 256
        case .bulk: 2_048
        }
    }

    /// What part of a voucher is left when the next one is made ready: one in so many.
    public var lastPart: UInt32 {
        switch self {
        case .trial, .small: 2
        case .large: 4
        case .bulk: 8
        }
    }

    /// Ticks to whose multiple a voucher is filled on an orderly close.
    public var fillWidth: UInt32 {
        switch self {
        case .trial, .small: 16
        case .large, .bulk: 64
        }
    }

    /// Whether it is for those who carry more than a little.
    var isForMuch: Bool {
        self == .large || self == .bulk
    }
}
