public import Base
public import Circuits
public import CryptoPrimitives
public import Flows
public import Links
public import Mixing
public import Wire

/// A tunnel of a client: one TUN device with circuits of its own.
public struct TunnelID: Hashable, Comparable, Sendable {
    /// Counts up from 1.
    public let rawValue: UInt32

    /// Takes the number over.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Whether `lhs` is older.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}

/// A lease at an exit as the client numbers it: what flows are pinned to.
public struct LeaseID: Hashable, Comparable, Sendable {
    /// Counts up from 1.
    public let rawValue: UInt32

    /// Takes the number over.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Whether `lhs` is older.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}

/// What the control plane tells the client's shard to do.
public enum ClientCommand: Sendable {
    /// Take an established link.
    case addLink(NewLink)
    /// Use the new session of a link.
    case renewLink(LinkID, NewSession)
    /// Forget a link, with or without a goodbye.
    case removeLink(LinkID, saysGoodbye: Bool)
    /// Send a handshake datagram.
    case sendHandshake([UInt8], to: SocketAddress)
    /// Send a cell whose body is sealed under the link's key.
    case sendCell(LinkID, CircuitNumber, CellCommand, [UInt8])
    /// Send a control message to the guard.
    case sendLinkControl(LinkID, LinkControlMessage)
    /// Take a circuit that is being built.
    case addCircuit(CircuitID, LinkID, CircuitNumber, TunnelID)
    /// Take the shape of a circuit's traffic, before any key of it.
    case shape(CircuitID, ShapePlan)
    /// Let a circuit's cells leave by its schedule from now on.
    case keepSchedule(CircuitID)
    /// Install the early key of a hop.
    case setEarly(CircuitID, HopIndex, key: Secret, start: UInt32)
    /// Install the main keys of a hop.
    case setKeys(CircuitID, HopIndex, forward: Secret, backward: Secret, start: UInt32)
    /// Say something to a hop: the body of a CTRL record.
    case sendControl(CircuitID, HopIndex, [UInt8])
    /// Let a hop send back at most so many cells, for at most so long, as fast as it goes.
    case measure(CircuitID, HopIndex, cells: Int, time: TimeSpan)
    /// Send cells to a hop that sends them back, and report the round trips.
    case ping(CircuitID, EchoSeries, token: UInt64)
    /// Report what is counted of a circuit, now and after every so many cells.
    case countCells(CircuitID, every: UInt32)
    /// Send a packet to a circuit's exit that is being probed; what comes back is reported, until the
    /// circuit is bound to a lease.
    case sendProbe(CircuitID, [UInt8])
    /// Forget a circuit.
    case removeCircuit(CircuitID)
    /// Take a TUN device.
    case addTunnel(TunnelID, TunCoalescer.Offload)
    /// Take a tunnel without a TUN device: what comes over it is reported packet by packet.
    case addInternalTunnel(TunnelID)
    /// Send an IP packet over an internal tunnel.
    case sendPacket(TunnelID, [UInt8])
    /// Forget a TUN device and the flows of its leases.
    case removeTunnel(TunnelID)
    /// Let a lease's packets go over this circuit.
    case bind(LeaseID, TunnelID, CircuitID)
    /// Let new flows of a tunnel begin on this lease; `nil` stops them.
    case setCurrent(TunnelID, LeaseID?)
    /// Forget a lease and its flows.
    case endLease(LeaseID)
}

/// What the client's shard reports to the control plane.
public enum ClientEvent: Sendable {
    /// Something about a link.
    case link(LinkEvent)
    /// A handshake datagram came.
    case handshake([UInt8], from: SocketAddress)
    /// CREATED came: 112 bytes.
    case created(CircuitID, [UInt8])
    /// DESTROY came.
    case destroyed(CircuitID, DestroyReason?)
    /// A hop says something: the body of a CTRL record.
    case control(CircuitID, HopIndex, [UInt8])
    /// A measurement is done: kilobits a second that came back; `nil` for next to nothing.
    case measured(CircuitID, kilobits: UInt32?)
    /// A series of echoes is over: what came of it.
    case pinged(CircuitID, token: UInt64, EchoSeries.Outcome)
    /// Cells went out and nothing came back for this long.
    case silent(CircuitID, TimeSpan)
    /// A layer's key has come to its end.
    case exhausted(CircuitID)
    /// No flow is left on a lease that is not current.
    case leaseUnused(LeaseID)
    /// What was counted of a circuit.
    case counted(CircuitID, HopCounts)
    /// A hop of a circuit drops cells for lack of pay.
    case unpaid(CircuitID)
    /// A packet came over an internal tunnel.
    case packet(TunnelID, [UInt8])
    /// The beginning of a packet that came from an exit that is being probed.
    case probed(CircuitID, [UInt8])
    /// How cells of a `mix` circuit came of late.
    case judged(CircuitID, GridWatch.Outcome)

    /// Whether it may be dropped under overload: its cause comes again, or it changes nothing.
    public var isRepeated: Bool {
        switch self {
        case .handshake, .created, .control, .silent, .exhausted, .leaseUnused, .counted,
            .unpaid, .packet, .probed, .judged:
            true
        case .link(let event): event.isRepeated
        case .destroyed, .measured, .pinged: false
        }
    }
}

/// Counts of a client's shard, for status and tests.
public struct ClientCounters: Sendable, Equatable {
    /// Packets taken from TUN devices and put into cells.
    public var sentPackets: UInt64 = 0
    /// Bytes of those packets.
    public var sentBytes: UInt64 = 0
    /// Packets handed to TUN devices.
    public var receivedPackets: UInt64 = 0
    /// Bytes of those packets.
    public var receivedBytes: UInt64 = 0
    /// Packets dropped since no circuit could carry them: blocked, not leaked.
    public var blockedPackets: UInt64 = 0
    /// Packets that are none, or not from or for the tunnel's addresses.
    public var malformedPackets: UInt64 = 0
    /// Cells that did not open.
    public var droppedCells: UInt64 = 0
    /// Cells of circuits the client does not know.
    public var unknownCircuit: UInt64 = 0
    /// Datagrams not made or events not reported because a bound was reached.
    public var overflow: UInt64 = 0
    /// Times a packet told its sender of congestion towards the exit.
    public var forwardSignals: UInt64 = 0
    /// Packets from the exit that came through a long queue.
    public var backwardSignals: UInt64 = 0
    /// Cells dropped because too many of their circuit waited for their time.
    public var lateCells: UInt64 = 0
}

/// What a circuit's shard side counted, for status.
public struct CircuitTraffic: Sendable, Equatable {
    /// Cells sent.
    public var sentCells: UInt64
    /// Cells received.
    public var receivedCells: UInt64
    /// Bytes of packets sent.
    public var sentBytes: UInt64
    /// Bytes of packets received.
    public var receivedBytes: UInt64
    /// Flows that go over it.
    public var flows: Int
    /// How its schedule is kept; `nil` in `fast`.
    public var shaped: ShapedTraffic?
}
