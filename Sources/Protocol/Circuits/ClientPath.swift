import Base
public import CryptoPrimitives
public import Onion
public import Wire

/// The hot part of a circuit at its client: three hops' layers, both ways.
///
/// Spec: §C.3.
///
/// Owned by the client's shard; the control plane installs keys as hops answer.
public struct ClientPath: ~Copyable {
    /// What became of a backward cell.
    public enum Opened: Equatable, Sendable {
        /// Records of this hop lie at the start of the body; the flags are those of all layers.
        case records(HopIndex, LayerHeader.Flags)
        /// Cover or parity, with the flags of all layers.
        case nothing(LayerHeader.Flags)
        /// The next hop's key is not there yet: go on with ``resume(_:body:from:)``.
        case waiting(Position)
        /// It was dropped.
        case dropped(LayerOpener.Verdict)
    }

    /// Where opening a cell stopped.
    public struct Position: Equatable, Sendable {
        /// The hop whose layer comes next.
        public let hop: HopIndex
        /// That layer's counter.
        public let counter: LayerCounter
        /// The flags of the layers before it.
        public let flags: LayerHeader.Flags
    }

    /// What a cell's layers say of its place in a schedule.
    public struct Schedule: Equatable, Sendable {
        /// Whether the guard, too, is to keep to the schedule from this cell on.
        public var tellsGuard: Bool
        /// How many slots the middle holds the cell.
        public var hold: UInt16

        /// Puts a schedule's word together.
        public init(tellsGuard: Bool, hold: UInt16) {
            self.tellsGuard = tellsGuard
            self.hold = hold
        }
    }

    /// What came in the middle's layer of a cell of a circuit with parity.
    public struct MiddleLayer: Equatable, Sendable {
        /// Its count.
        public let count: UInt32
        /// How many forward cells the middle has opened, modulo 2^16; `nil` where it does not say.
        public let heard: UInt16?
    }

    struct Hop: ~Copyable {
        var early: LayerSealer?
        var sealer: LayerSealer?
        var opener: LayerOpener?
    }

    /// The circuit's name.
    public let id: CircuitID
    /// Its number on the link to the guard.
    public let number: CircuitNumber
    private var first = Hop()
    private var second = Hop()
    private var third = Hop()
    // Parity of the middle's layer both ways, of a `mix` circuit, and the cell it brought back.
    private var hasParity = false
    private var parity: (reader: ParityReader, maker: ParityMaker)?
    private var rebuilt: (cell: ParityReader.Rebuilt, flags: LayerHeader.Flags)?
    private var middleLayer: MiddleLayer?
    /// Cells sent.
    public private(set) var sentCells: UInt64 = 0
    /// Cells received and opened.
    public private(set) var receivedCells: UInt64 = 0

    /// Makes a path without keys.
    public init(id: CircuitID, number: CircuitNumber) {
        self.id = id
        self.number = number
    }

    /// Makes every fifth cell of the middle's layer parity of the four before it, each way.
    ///
    /// - Precondition: no main keys are installed; the start given for the middle is a multiple of
    ///   five.
    public mutating func useParity() {
        hasParity = true
        parity = (ParityReader(), ParityMaker())
    }

    /// Installs the early key of `hop`; it carries extensions only and ends with the main keys.
    public mutating func setEarly(_ key: Secret, start: UInt32, at hop: HopIndex) {
        withHop(hop) { $0.early = LayerSealer(key: key, epoch: 0, start: start) }
    }

    /// Installs the main keys of `hop` and ends its early phase.
    public mutating func setKeys(
        forward: Secret,
        backward: Secret,
        start: UInt32,
        at hop: HopIndex
    ) {
        let window = parity == nil ? 2_048 : 8_192
        withHop(hop) { state in
            state.sealer = LayerSealer(key: forward, epoch: 1, start: start)
            state.opener = LayerOpener(key: backward, epoch: 1, windowBitCount: window)
            state.early = nil
        }
    }

    /// Whether a cell for `hop` can be sealed now.
    public func canSend(to hop: HopIndex) -> Bool {
        Self.canSeal(first) && (hop == .first || Self.canSeal(second))
            && (hop != .third || Self.canSeal(third))
    }

    /// Seals the payload that begins at `body` for `hop`, one layer a hop.
    ///
    /// - Precondition: ``canSend(to:)``; the payload is `OnionLayer.innerByteCount(at: hop)` bytes.
    /// - Returns: the header for the link.
    public mutating func seal(
        _ bytes: inout MutableRawSpan,
        body: Int,
        for hop: HopIndex,
        command: LayerCommand = .deliver,
        schedule: Schedule? = nil
    ) -> LinkHeader {
        var header = LayerHeader(command: command)
        if hop == .third {
            let counter = Self.seal(&third, &bytes, body, .third, header)
            header = LayerHeader(command: .forward, nextCounter: counter.rawValue)
        }
        if hop != .first {
            if let schedule {
                header.flags = .slotHold
                header.auxiliary = schedule.hold
            }
            if hasParity { addParity(header, bytes.bytes, body: body) }
            let counter = Self.seal(&second, &bytes, body, .second, header)
            header = LayerHeader(command: .forward, nextCounter: counter.rawValue)
        }
        if schedule?.tellsGuard == true { header.flags = .slotHold }
        return sealFirst(&bytes, body: body, header)
    }

    /// Whether the next cell for the middle or beyond is to be parity: ``sealParity(_:body:schedule:)``.
    public var owesParity: Bool {
        guard hasParity else { return false }
        switch second.sealer {
        case .some(let sealer):
            guard let next = sealer.nextCounter else { return false }
            return ParityPlace.isParity(next.count)
        case .none: return false
        }
    }

    /// Puts the parity of the last forward cells to `body` and seals it.
    ///
    /// - Precondition: ``owesParity`` and ``canSend(to:)`` the middle.
    public mutating func sealParity(
        _ bytes: inout MutableRawSpan,
        body: Int,
        schedule: Schedule?
    ) -> LinkHeader {
        guard let header = parity?.maker.take(to: &bytes, body: body) else {
            preconditionFailure("no parity is owed")
        }
        let counter = Self.seal(&second, &bytes, body, .second, header)
        var outer = LayerHeader(command: .forward, nextCounter: counter.rawValue)
        if schedule?.tellsGuard == true { outer.flags = .slotHold }
        return sealFirst(&bytes, body: body, outer)
    }

    private mutating func sealFirst(
        _ bytes: inout MutableRawSpan,
        body: Int,
        _ header: LayerHeader
    ) -> LinkHeader {
        let counter = Self.seal(&first, &bytes, body, .first, header)
        sentCells += 1
        return LinkHeader(circuit: number, counter: counter.rawValue, command: .forward)
    }

    /// Opens the backward cell whose body begins at `body`, as far as keys reach.
    public mutating func open(
        _ bytes: inout MutableRawSpan,
        body: Int,
        counter: LayerCounter
    ) -> Opened {
        resume(&bytes, body: body, from: Position(hop: .first, counter: counter, flags: []))
    }

    /// Goes on opening a cell that had to wait.
    public mutating func resume(
        _ bytes: inout MutableRawSpan,
        body: Int,
        from position: Position
    ) -> Opened {
        var hop = position.hop
        var counter = position.counter
        var flags = position.flags
        while true {
            let verdict: LayerOpener.Verdict? =
                switch hop {
                case .first: first.opener?.open(&bytes, layerAt: body, hop: hop, counter: counter)
                case .second: second.opener?.open(&bytes, layerAt: body, hop: hop, counter: counter)
                default: third.opener?.open(&bytes, layerAt: body, hop: hop, counter: counter)
                }
            guard let verdict else {
                return .waiting(Position(hop: hop, counter: counter, flags: flags))
            }
            guard case .opened(let header) = verdict else { return .dropped(verdict) }
            if hasParity, hop == .second {
                noteMiddle(header, counter, flags, bytes.bytes, body: body)
            }
            // Those of parity are the sum of four commands.
            if header.command != .parity { flags.formUnion(header.flags) }
            switch header.command {
            case .deliver:
                receivedCells += 1
                return .records(hop, flags)
            case .drop, .parity:
                receivedCells += 1
                return .nothing(flags)
            case .forward:
                guard let next = hop.next else { return .dropped(.malformed) }
                hop = next
                counter = LayerCounter(rawValue: header.nextCounter)
            }
        }
    }

    /// Takes what came in the middle's layer last, if one was opened since the last call.
    public mutating func takeMiddleLayer() -> MiddleLayer? {
        guard let layer = middleLayer else { return nil }
        middleLayer = nil
        return layer
    }

    /// Whether the cell opened last made another one whole: see ``takeRebuilt(_:body:)``.
    public var hasRebuilt: Bool {
        rebuilt != nil
    }

    /// Puts the cell that parity brought back to `body` and opens what is left of it; `nil` where it
    /// had come after all.
    public mutating func takeRebuilt(_ bytes: inout MutableRawSpan, body: Int) -> Opened? {
        guard let (cell, flags) = rebuilt else { return nil }
        rebuilt = nil
        let counter = LayerCounter(epoch: 1, count: cell.count)
        guard second.opener?.markSeen(counter) == true else { return nil }
        parity?.reader.write(cell, to: &bytes, body: body)
        switch cell.header.command {
        case .forward:
            let next = LayerCounter(rawValue: cell.header.nextCounter)
            return resume(
                &bytes,
                body: body,
                from: Position(hop: .third, counter: next, flags: flags)
            )
        case .deliver: return .records(.second, flags)
        case .drop, .parity: return .nothing(flags)
        }
    }

    // Not inlined: circuits without parity pay for a comparison and no more.
    @inline(never)
    private mutating func addParity(_ header: LayerHeader, _ bytes: RawSpan, body: Int) {
        guard Self.hasMainKey(second) else { return }
        parity?.maker.add(header, bytes, body: body)
    }

    @inline(never)
    private mutating func noteMiddle(
        _ header: LayerHeader,
        _ counter: LayerCounter,
        _ flags: LayerHeader.Flags,
        _ bytes: RawSpan,
        body: Int
    ) {
        let heard =
            header.command != .parity && header.flags.contains(.slotHold)
            ? header.auxiliary : nil
        middleLayer = MiddleLayer(count: counter.count, heard: heard)
        let found = parity?.reader.note(counter.count, header, bytes, body: body)
        rebuilt = (found ?? nil).map { ($0, flags) }
    }

    private static func hasMainKey(_ hop: borrowing Hop) -> Bool {
        switch hop.sealer {
        case .some: true
        case .none: false
        }
    }

    private static func canSeal(_ hop: borrowing Hop) -> Bool {
        switch hop.sealer {
        case .some(let sealer): return sealer.nextCounter != nil
        case .none: break
        }
        switch hop.early {
        case .some(let early): return early.nextCounter != nil
        case .none: return false
        }
    }

    private static func seal(
        _ state: inout Hop,
        _ bytes: inout MutableRawSpan,
        _ body: Int,
        _ hop: HopIndex,
        _ header: LayerHeader
    ) -> LayerCounter {
        if let counter = state.sealer?.seal(&bytes, layerAt: body, hop: hop, header: header) {
            return counter
        }
        guard let counter = state.early?.seal(&bytes, layerAt: body, hop: hop, header: header)
        else { preconditionFailure("no key to seal for hop \(hop.rawValue)") }
        return counter
    }

    private mutating func withHop(_ hop: HopIndex, _ body: (inout Hop) -> Void) {
        switch hop {
        case .first: body(&first)
        case .second: body(&second)
        default: body(&third)
        }
    }
}
