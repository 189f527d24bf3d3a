public import Base
public import Circuits
public import Flows
public import Links
public import Onion
public import Wire

/// What the control plane tells a shard to do.
public enum RelayCommand: Sendable {
    /// Take an established link.
    case addLink(NewLink)
    /// Use the new session of a link.
    case renewLink(LinkID, NewSession)
    /// Forget a link, with or without a goodbye.
    case removeLink(LinkID, saysGoodbye: Bool)
    /// Keep a link alive while it is idle, or stop that.
    case keepLinkAlive(LinkID, Bool)
    /// Send a handshake datagram.
    case sendHandshake([UInt8], to: SocketAddress)
    /// Send a cell whose body is sealed under the link's key.
    case sendCell(LinkID, CircuitNumber, CellCommand, [UInt8])
    /// Send a control message to a neighbour.
    case sendLinkControl(LinkID, LinkControlMessage)
    /// Take a circuit whose CREATE was answered.
    case installCircuit(NewRelayCircuit)
    /// Forget a CREATE that came to nothing.
    case refuseCircuit(LinkID, CircuitNumber)
    /// Pass a circuit's cells on to this link.
    case setNext(CircuitID, LinkID, CircuitNumber)
    /// A circuit ends here again: its next hop refused it.
    case clearNext(CircuitID)
    /// Say something to a circuit's client: the body of a CTRL record.
    case sendControl(CircuitID, [UInt8])
    /// A circuit holds this lease from now on, and no other.
    case holdLease(CircuitID, UInt32)
    /// A circuit holds no lease any more.
    case releaseLease(CircuitID)
    /// Packets for this lease belong to that shard.
    case placeLease(UInt32, shard: Int)
    /// Carry so much for a circuit.
    case allow(CircuitID, CellAllowance)
    /// Report what was counted of a circuit.
    case count(CircuitID)
    /// Forget a circuit.
    case removeCircuit(CircuitID)
}

/// A circuit as the control plane hands it to a shard.
public struct NewRelayCircuit: Sendable {
    /// Its name.
    public let id: CircuitID
    /// The link its client's side is on.
    public let link: LinkID
    /// Its number there.
    public let number: CircuitNumber
    /// This relay's place in it.
    public let hop: HopIndex
    /// Early keys, where early cells are taken.
    public let early: EarlyKeys?
    /// The circuit's keys.
    public let keys: HandshakeKeys
    /// First backward counter.
    public let start: UInt32
    /// What is carried for it; `nil` for everything.
    public let allowance: CellAllowance?
    /// What its traffic is to look like; `nil` where cells leave as they come.
    public let shape: ShapeOrder?

    /// Puts a circuit together.
    public init(
        id: CircuitID,
        link: LinkID,
        number: CircuitNumber,
        hop: HopIndex,
        early: EarlyKeys?,
        keys: HandshakeKeys,
        start: UInt32,
        allowance: CellAllowance? = nil,
        shape: ShapeOrder? = nil
    ) {
        self.id = id
        self.link = link
        self.number = number
        self.hop = hop
        self.early = early
        self.keys = keys
        self.start = start
        self.allowance = allowance
        self.shape = shape
    }
}

/// What a shard reports to the control plane.
public enum RelayEvent: Sendable {
    /// Something about a link.
    case link(LinkEvent)
    /// A handshake datagram came.
    case handshake([UInt8], from: SocketAddress)
    /// CREATE came: 1208 bytes.
    case create(LinkID, CircuitNumber, [UInt8])
    /// CREATED came: 112 bytes.
    case created(LinkID, CircuitNumber, [UInt8])
    /// DESTROY came from the client's side, and the circuit with this name ended by it.
    case destroyed(CircuitID)
    /// DESTROY came from the next hop; the circuit stands until the control plane removes it.
    case nextLost(CircuitID)
    /// A next hop destroyed a circuit before it was known here, or refused a CREATE.
    case refused(LinkID, CircuitNumber, DestroyReason?)
    /// The client of a circuit says something: the body of a CTRL record.
    case control(CircuitID, [UInt8], isEarly: Bool)
    /// A circuit was idle for too long.
    case idle(CircuitID)
    /// What was counted of a circuit: a tick is full, it was asked for, or nobody pays.
    case counted(CircuitID, CellCounts)

    /// The circuit it speaks of, where that stands in the shard.
    var standingCircuit: CircuitID? {
        switch self {
        case .nextLost(let id), .control(let id, _, _), .idle(let id), .counted(let id, _): id
        case .link, .handshake, .create, .created, .destroyed, .refused: nil
        }
    }

    /// Whether it may be dropped under overload: its cause comes again, or it changes nothing.
    ///
    /// All other events tell of something that happens once, and must not be lost.
    public var isRepeated: Bool {
        switch self {
        case .handshake, .create, .created, .refused, .control, .idle, .counted: true
        case .link(let event): event.isRepeated
        case .destroyed, .nextLost: false
        }
    }
}

/// What an exit needs to carry packets.
public struct ExitSettings: Sendable {
    /// Addresses of leases; without IPv6 where the exit carries none.
    public var pool: LeasePool
    /// Networks opened though they are refused by default.
    public var allow: [IPNetwork]
    /// The exit's own addresses.
    public var own: [IPAddress]
    /// Destination ports that are accepted.
    public var ports: [ClosedRange<UInt16>]
    /// What the TUN device takes.
    public var offload: TunCoalescer.Offload
    /// Time a lease waits to be taken over.
    public var leaseIdleLimit: TimeSpan = .seconds(600)

    /// Puts settings together.
    public init(
        v4Pool: IPNetwork,
        v6Pool: IPNetwork?,
        allow: [IPNetwork],
        own: [IPAddress],
        ports: [ClosedRange<UInt16>] = [1...65_535],
        leaseLimit: Int = 4_096,
        offload: TunCoalescer.Offload
    ) {
        pool = LeasePool(v4: v4Pool, v6: v6Pool, capacity: leaseLimit)
        self.allow = allow
        self.own = own
        self.ports = ports
        self.offload = offload
    }
}

/// Counts of a relay's shard, for metrics and tests.
public struct RelayCounters: Sendable, Equatable {
    /// Cells passed on towards exits.
    public var forwardCells: UInt64 = 0
    /// Cells passed on, or made, towards clients.
    public var backwardCells: UInt64 = 0
    /// Cells whose records were for this hop.
    public var deliveredCells: UInt64 = 0
    /// Cells sent back because they asked for it.
    public var echoedCells: UInt64 = 0
    /// Cells dropped, by ``RelayPath/Drop``.
    public var drops = [UInt64](repeating: 0, count: RelayPath.Drop.allCases.count)
    /// Cells of circuits this relay does not know.
    public var unknownCircuit: UInt64 = 0
    /// Datagrams not made or events not reported because a bound was reached.
    public var overflow: UInt64 = 0
    /// Packets handed to the TUN device.
    public var exitPackets: UInt64 = 0
    /// Packets taken from the TUN device.
    public var returnPackets: UInt64 = 0
    /// Bytes of packets handed to the TUN device.
    public var exitBytes: UInt64 = 0
    /// Bytes of packets taken from the TUN device.
    public var returnBytes: UInt64 = 0
    /// Packets the exit policy refused.
    public var policyRefused: UInt64 = 0
    /// Packets with a source other than the tunnel's, or that are none.
    public var malformedPackets: UInt64 = 0
    /// Packets from the TUN device for no lease.
    public var unknownLease: UInt64 = 0
    /// Cells passed on whose circuit brought more than its share to a long queue.
    public var markedCells: UInt64 = 0
    /// Cells dropped because their circuit brought more than its share to an overlong queue.
    public var shedCells: UInt64 = 0
    /// Packets dropped to tell their senders of a long queue.
    public var signalDrops: UInt64 = 0
    /// Datagrams and packets that belonged to another shard.
    public var handedOver: UInt64 = 0
    /// Cells dropped because nobody had paid for them.
    public var unpaidCells: UInt64 = 0
    /// Datagrams taken from sockets.
    public var receivedDatagrams: UInt64 = 0
    /// Datagrams made for sockets.
    public var sentDatagrams: UInt64 = 0
    /// Cells dropped because they had waited too long for a limited line.
    public var lateCells: UInt64 = 0
    /// Circuits ended because what waited here was too much.
    public var quotaKills: UInt64 = 0
    /// Cover made for circuits' clients.
    public var coverCells: UInt64 = 0
    /// PAD sent in slots that had no cell.
    public var paddingCells: UInt64 = 0
    /// Cells that parity brought back.
    public var rebuiltCells: UInt64 = 0
    /// Cells that left in slots of `padded` and `mix` circuits; cover and PAD are counted apart.
    public var slotCells: UInt64 = 0
    /// Parity of `mix` circuits.
    public var parityCells: UInt64 = 0
    /// Slots that were served, and held cells that left, later than they should.
    public var lateReleases: UInt64 = 0
    /// Cells dropped because their circuit had all it may keep for its slots.
    public var unkeptCells: UInt64 = 0
    /// Cells that were held, by ``HoldLength``.
    public var holds = [UInt64](repeating: 0, count: HoldLength.bounds.count + 1)
    /// How long all of them are held, in microseconds.
    public var holdMicroseconds: UInt64 = 0

    /// Nothing counted yet.
    public init() {}

    /// Adds the counts of another shard.
    public mutating func add(_ other: RelayCounters) {
        for count in Self.counts { self[keyPath: count] += other[keyPath: count] }
        drops = zip(drops, other.drops).map { $0 + $1 }
        holds = zip(holds, other.holds).map { $0 + $1 }
    }

    private static var counts: [WritableKeyPath<RelayCounters, UInt64>] {
        [
            \.forwardCells, \.backwardCells, \.deliveredCells, \.unknownCircuit, \.overflow,
            \.exitPackets, \.returnPackets, \.policyRefused, \.malformedPackets, \.unknownLease,
            \.markedCells, \.shedCells, \.signalDrops, \.handedOver, \.echoedCells,
            \.unpaidCells, \.exitBytes, \.returnBytes, \.receivedDatagrams, \.sentDatagrams,
            \.lateCells, \.quotaKills, \.coverCells, \.paddingCells, \.rebuiltCells,
            \.slotCells, \.parityCells, \.lateReleases, \.unkeptCells, \.holdMicroseconds,
        ]
    }
}
