import Base
public import CryptoPrimitives
import Onion
public import Wire

/// The hot part of a circuit at one relay: one layer, both ways.
///
/// Spec: §B.3, §C.3.
///
/// Owned by one shard with both halves, since the links on either side are that shard's too.
public struct RelayPath: ~Copyable {
    /// Early cells a client may send before it has the main key.
    public static let earlyCellLimit = 8

    /// What became of a forward cell.
    public enum Forwarded: Equatable, Sendable {
        /// Its inside begins at the body: pass it on under this counter.
        case pass(LayerCounter)
        /// Records for this hop lie at the start of the body; early ones may only extend.
        case records(isEarly: Bool)
        /// Cover ends here.
        case nothing
        /// It was dropped.
        case dropped(Drop)

        /// Whether it was dropped.
        public var isDropped: Bool {
            if case .dropped = self { true } else { false }
        }
    }

    /// Why a forward cell was dropped; each is a counter.
    public enum Drop: Int, CaseIterable, Sendable {
        /// Its counter was seen before.
        case replayed
        /// It is not authentic.
        case forged
        /// Authentic, but makes no sense here.
        case malformed
        /// The early phase is over or its allowance used up.
        case earlyRefused
        /// It wants to go on where the circuit ends.
        case noNextHop
        /// The queue for what cannot be handled yet is full.
        case queueFull
    }

    /// The circuit's name.
    public let id: CircuitID
    /// This relay's place in it.
    public let hop: HopIndex
    // Expanded when the first early cell comes: most circuits never have one.
    private var earlyKey: Secret?
    private var early: LayerOpener?
    private var earlyCells = 0
    private var opener: LayerOpener
    private var sealer: LayerSealer
    // Of the middle of a `mix` circuit: parity both ways, and the cell it brought back.
    private let hasParity: Bool
    private var parity: (reader: ParityReader, maker: ParityMaker)?
    private var rebuilt: ParityReader.Rebuilt?
    /// Header and count of the forward layer opened last.
    public private(set) var opened = (header: LayerHeader(command: .drop), count: UInt32(0))
    /// Forward cells that opened.
    public private(set) var forwardCells: UInt64 = 0
    /// Backward cells taken or made.
    public private(set) var backwardCells: UInt64 = 0

    /// Takes a circuit's keys over.
    ///
    /// - Parameters:
    ///   - early: the early forward key; `nil` where early data is refused.
    ///   - start: first backward counter, drawn from 0..<2^29; a multiple of five with parity.
    ///   - hasParity: whether every fifth cell is parity of the four before it, each way.
    public init(
        id: CircuitID,
        hop: HopIndex,
        early: Secret?,
        forward: Secret,
        backward: Secret,
        start: UInt32,
        hasParity: Bool = false
    ) {
        self.id = id
        self.hop = hop
        earlyKey = early
        opener = LayerOpener(key: forward, epoch: 1, windowBitCount: hasParity ? 8_192 : 2_048)
        self.hasParity = hasParity
        if hasParity { parity = (ParityReader(), ParityMaker()) }
        sealer = LayerSealer(key: backward, epoch: 1, start: start)
    }

    /// Opens this hop's layer of the forward cell whose body begins at `body`.
    public mutating func openForward(
        _ bytes: inout MutableRawSpan,
        body: Int,
        counter: LayerCounter
    ) -> Forwarded {
        let isEarly = counter.epoch == 0
        let verdict: LayerOpener.Verdict
        if isEarly {
            if let key = earlyKey.take() {
                early = LayerOpener(key: key, epoch: 0, windowBitCount: 128)
            }
            guard earlyCells < Self.earlyCellLimit,
                let early = early?.open(
                    &bytes,
                    layerAt: body,
                    hop: hop,
                    counter: counter
                )
            else { return .dropped(.earlyRefused) }
            verdict = early
        } else {
            verdict = opener.open(&bytes, layerAt: body, hop: hop, counter: counter)
        }
        switch verdict {
        case .replayed: return .dropped(.replayed)
        case .forged: return .dropped(.forged)
        case .malformed: return .dropped(.malformed)
        case .opened(let header):
            if isEarly {
                earlyCells += 1
            } else if early != nil || earlyKey != nil {
                early = nil
                earlyKey = nil
            }
            forwardCells += 1
            opened = (header, counter.count)
            if hasParity, !isEarly { noteParity(header, counter, bytes.bytes, body: body) }
            switch header.command {
            case .forward: return .pass(LayerCounter(rawValue: header.nextCounter))
            case .deliver: return .records(isEarly: isEarly)
            case .drop, .parity: return .nothing
            }
        }
    }

    /// Whether the cell opened last made another one whole: see ``takeRebuilt(_:body:)``.
    public var hasRebuilt: Bool {
        rebuilt != nil
    }

    /// Puts the cell that parity brought back to `body`; `nil` where it had come after all.
    public mutating func takeRebuilt(_ bytes: inout MutableRawSpan, body: Int) -> Forwarded? {
        guard let found = rebuilt else { return nil }
        rebuilt = nil
        let counter = LayerCounter(epoch: 1, count: found.count)
        guard opener.markSeen(counter) else { return nil }
        parity?.reader.write(found, to: &bytes, body: body)
        opened = (found.header, found.count)
        switch found.header.command {
        case .forward: return .pass(LayerCounter(rawValue: found.header.nextCounter))
        case .deliver: return .records(isEarly: false)
        case .drop, .parity: return .nothing
        }
    }

    /// Whether another backward layer can be sealed.
    public var canSealBackward: Bool {
        sealer.nextCounter != nil
    }

    /// Whether the next backward layer is to be parity: ``sealParity(_:body:)``.
    public var owesParity: Bool {
        guard hasParity, let next = sealer.nextCounter else { return false }
        return ParityPlace.isParity(next.count)
    }

    /// Puts the parity of the last backward cells to `body` and seals it.
    ///
    /// - Precondition: ``owesParity``.
    public mutating func sealParity(
        _ bytes: inout MutableRawSpan,
        body: Int
    ) -> LayerCounter {
        guard let header = parity?.maker.take(to: &bytes, body: body) else {
            preconditionFailure("no parity is owed")
        }
        backwardCells += 1
        return sealer.seal(&bytes, layerAt: body, hop: hop, header: header)
    }

    /// Adds this hop's layer to what begins at `body`.
    ///
    /// - Precondition: ``canSealBackward``, and not ``owesParity``.
    public mutating func sealBackward(
        _ bytes: inout MutableRawSpan,
        body: Int,
        header: LayerHeader
    ) -> LayerCounter {
        backwardCells += 1
        if hasParity { addParity(header, bytes.bytes, body: body) }
        return sealer.seal(&bytes, layerAt: body, hop: hop, header: header)
    }

    // Not inlined: circuits without parity pay for a comparison and no more.
    @inline(never)
    private mutating func addParity(_ header: LayerHeader, _ bytes: RawSpan, body: Int) {
        parity?.maker.add(header, bytes, body: body)
    }

    @inline(never)
    private mutating func noteParity(
        _ header: LayerHeader,
        _ counter: LayerCounter,
        _ bytes: RawSpan,
        body: Int
    ) {
        rebuilt = parity?.reader.note(counter.count, header, bytes, body: body)
    }
}
