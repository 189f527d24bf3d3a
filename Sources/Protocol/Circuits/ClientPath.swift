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
        /// Cover, or parity of a mode not in use, with the flags of all layers.
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
    /// Cells sent.
    public private(set) var sentCells: UInt64 = 0
    /// Cells received and opened.
    public private(set) var receivedCells: UInt64 = 0

    /// Makes a path without keys.
    public init(id: CircuitID, number: CircuitNumber) {
        self.id = id
        self.number = number
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
        withHop(hop) { state in
            state.sealer = LayerSealer(key: forward, epoch: 1, start: start)
            state.opener = LayerOpener(key: backward, epoch: 1)
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
        command: LayerCommand = .deliver
    ) -> LinkHeader {
        var header = LayerHeader(command: command)
        if hop == .third {
            let counter = Self.seal(&third, &bytes, body, .third, header)
            header = LayerHeader(command: .forward, nextCounter: counter.rawValue)
        }
        if hop != .first {
            let counter = Self.seal(&second, &bytes, body, .second, header)
            header = LayerHeader(command: .forward, nextCounter: counter.rawValue)
        }
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
            flags.formUnion(header.flags)
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
