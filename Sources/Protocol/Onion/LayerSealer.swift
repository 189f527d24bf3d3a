import Base
public import CryptoPrimitives
public import Wire

/// Seals the layer of one hop, with a counter that never repeats under its key.
///
/// Spec: §C.3.
public struct LayerSealer: ~Copyable {
    /// Cells after which a key ends: 2^29.
    public static let cellLimit: UInt32 = 1 << 29

    private let key: AEADKey
    private let epoch: UInt8
    private var next: UInt32
    private let end: UInt32

    /// Begins with `start`, drawn from 0..<2^29, in key epoch `epoch`.
    public init(key: Secret, epoch: UInt8, start: UInt32) {
        self.init(key: key, epoch: epoch, start: start, cellLimit: Self.cellLimit)
    }

    /// Begins with `start` a key that ends after `cellLimit` cells.
    init(key: Secret, epoch: UInt8, start: UInt32, cellLimit: UInt32) {
        precondition(start < Self.cellLimit, "start counter out of range")
        precondition(cellLimit <= Self.cellLimit, "a key ends at 2^29 cells")
        self.key = AEADKey(key)
        self.epoch = epoch
        next = start
        end = start + cellLimit
    }

    /// The counter the next layer gets; `nil` when the key has come to its end.
    ///
    /// What seals the layer around it writes this into its own header first.
    public var nextCounter: LayerCounter? {
        next < end ? LayerCounter(epoch: epoch, count: next) : nil
    }

    /// Seals the inside that begins at `offset` together with `header`, for or by the hop `hop`.
    ///
    /// - Precondition: ``nextCounter`` is not `nil`; the layer lies within `bytes`.
    /// - Returns: the counter used, for the header around this layer.
    public mutating func seal(
        _ bytes: inout MutableRawSpan,
        layerAt offset: Int,
        hop: HopIndex,
        header: LayerHeader
    ) -> LayerCounter {
        precondition(next < end, "layer key is used up")
        let counter = LayerCounter(epoch: epoch, count: next)
        next += 1
        let inner = OnionLayer.innerByteCount(at: hop)
        header.store(to: &bytes, at: offset + inner)
        let textEnd = offset + inner + OnionLayer.headerByteCount
        key.seal(
            &bytes,
            text: offset..<textEnd,
            tagOffset: textEnd,
            nonce: UInt64(counter.rawValue),
            authenticating: 0..<0
        )
        return counter
    }
}

/// Opens the layer of one hop, each counter once.
///
/// Spec: §C.3, §C.4 (replay).
public struct LayerOpener: ~Copyable {
    /// What became of a layer.
    public enum Verdict: Equatable, Sendable {
        /// It is authentic and seen for the first time; its inside lies open.
        case opened(LayerHeader)
        /// Its counter was seen before or is too old to tell.
        case replayed
        /// It was not sealed with this key and counter.
        case forged
        /// It is authentic but its header makes no sense.
        case malformed
    }

    private let key: AEADKey
    private let epoch: UInt8
    private var replay: ReplayWindow

    /// Opens layers of key epoch `epoch`; `windowBitCount` is 2048 in `fast`, 8192 in `mix`.
    public init(key: Secret, epoch: UInt8, windowBitCount: Int = 2048) {
        self.key = AEADKey(key)
        self.epoch = epoch
        replay = ReplayWindow(bitCount: windowBitCount)
    }

    /// Opens in place the layer of `hop` that begins at `offset`.
    public mutating func open(
        _ bytes: inout MutableRawSpan,
        layerAt offset: Int,
        hop: HopIndex,
        counter: LayerCounter
    ) -> Verdict {
        guard counter.epoch == epoch else { return .forged }
        guard replay.isFresh(UInt64(counter.count)) else { return .replayed }
        let inner = OnionLayer.innerByteCount(at: hop)
        let textEnd = offset + inner + OnionLayer.headerByteCount
        guard
            key.open(
                &bytes,
                text: offset..<textEnd,
                tagOffset: textEnd,
                nonce: UInt64(counter.rawValue),
                authenticating: 0..<0
            )
        else { return .forged }
        // Only after authentication: a forger must not move the window.
        replay.commit(UInt64(counter.count))
        guard let header = try? LayerHeader(parsing: bytes.bytes, at: offset + inner) else {
            return .malformed
        }
        return .opened(header)
    }

    /// Notes that the layer with `counter` is known by other means, so that it will not open later;
    /// false where it was seen before, or is too old to tell.
    public mutating func markSeen(_ counter: LayerCounter) -> Bool {
        guard counter.epoch == epoch, replay.isFresh(UInt64(counter.count)) else { return false }
        replay.commit(UInt64(counter.count))
        return true
    }
}
