/// A client's circuits: `GET /v1/circuits`.
public struct CircuitsReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The circuits, oldest first.
    public var circuits: [CircuitReport]

    /// Makes a report in the current schema.
    public init(circuits: [CircuitReport]) {
        schema = reportSchema
        self.circuits = circuits
    }
}

/// What a client knows of one of its circuits.
public struct CircuitReport: Codable, Hashable, Sendable {
    /// Where a circuit stands.
    public enum State: String, Codable, CaseIterable, Sendable {
        /// Its hops are being built.
        case building
        /// Ready, but carrying nothing.
        case spare
        /// Carrying traffic, and taking new flows.
        case active
        /// Carrying its old flows only.
        case retiring
        /// Being closed.
        case closing
    }

    /// Names the circuit to its client; the network never sees it.
    public var id: UInt64
    /// Where it stands.
    public var state: State
    /// The relays of its path, guard first.
    public var hops: [Hop]
    /// Seconds since it was begun.
    public var ageSeconds: UInt64
    /// Milliseconds its building took, all three hops; `nil` while it is being built.
    public var buildTime: Double?
    /// Cells sent towards the exit.
    public var cellsForward: UInt64
    /// Cells that came back.
    public var cellsBackward: UInt64
    /// Bytes of IP packets sent towards the exit.
    public var bytesForward: UInt64
    /// Bytes of IP packets that came back.
    public var bytesBackward: UInt64
    /// What its traffic is kept apart from others' by.
    public var isolation: String
    /// The tunnel it serves; `nil` for a spare.
    public var tunnel: TunnelID?
    /// Why it was begun, or put to its present use.
    public var cause: String?
    /// Flows that go over it; `nil` where that is not told.
    public var flows: Int?
    /// How its traffic looks; `nil` where the daemon does not say.
    public var traffic: TrafficReport?

    /// A relay on a path.
    public struct Hop: Codable, Hashable, Sendable {
        /// 1 for the guard, rising towards the exit.
        public var position: Int
        /// The relay's name.
        public var nickname: String
        /// The relay's identifier, 64 hexadecimal digits.
        public var id: String
        /// Its country, two letters.
        public var country: String
        /// Its address and port.
        public var address: String
        /// The last round trip to it in milliseconds; `nil` before one was measured.
        public var roundTrip: Double?
        /// Ticks paid to it for this circuit; `nil` where nothing is paid.
        public var paidTicks: UInt64?
        /// Whether the wallet has no voucher for it, which the circuit waits for; `nil` where nothing
        /// is paid.
        public var lacksVoucher: Bool?
        /// The family its operator declares; `nil` for none.
        public var family: String?
        /// The autonomous system it stands in; `nil` where that is not known.
        public var autonomousSystem: UInt32?
        /// Whether it left the last pings unanswered.
        public var isSilent: Bool?
        /// What it said last of what it carried; `nil` before it was asked.
        public var stat: HopStat?

        /// Makes a hop from its parts.
        public init(
            position: Int,
            nickname: String,
            id: String,
            country: String,
            address: String,
            roundTrip: Double? = nil,
            paidTicks: UInt64? = nil,
            lacksVoucher: Bool? = nil,
            family: String? = nil,
            autonomousSystem: UInt32? = nil,
            isSilent: Bool? = nil,
            stat: HopStat? = nil
        ) {
            self.family = family
            self.autonomousSystem = autonomousSystem
            self.isSilent = isSilent
            self.stat = stat
            self.position = position
            self.nickname = nickname
            self.id = id
            self.country = country
            self.address = address
            self.roundTrip = roundTrip
            self.paidTicks = paidTicks
            self.lacksVoucher = lacksVoucher
        }

        private enum CodingKeys: String, CodingKey {
            case position, nickname, id, country, address, family, stat
            case autonomousSystem = "as"
            case isSilent = "silent"
            case roundTrip = "rtt_ms"
            case paidTicks = "paid_ticks"
            case lacksVoucher = "lacks_voucher"
        }
    }

    /// Makes a report from its parts.
    public init(
        id: UInt64,
        state: State,
        hops: [Hop],
        ageSeconds: UInt64,
        buildTime: Double? = nil,
        cellsForward: UInt64 = 0,
        cellsBackward: UInt64 = 0,
        bytesForward: UInt64 = 0,
        bytesBackward: UInt64 = 0,
        isolation: String,
        tunnel: TunnelID? = nil,
        cause: String? = nil,
        flows: Int? = nil,
        traffic: TrafficReport? = nil
    ) {
        self.traffic = traffic
        self.cause = cause
        self.flows = flows
        self.id = id
        self.state = state
        self.hops = hops
        self.ageSeconds = ageSeconds
        self.buildTime = buildTime
        self.cellsForward = cellsForward
        self.cellsBackward = cellsBackward
        self.bytesForward = bytesForward
        self.bytesBackward = bytesBackward
        self.isolation = isolation
        self.tunnel = tunnel
    }

    private enum CodingKeys: String, CodingKey {
        case id, state, hops, isolation, tunnel, cause, flows, traffic
        case ageSeconds = "age_s"
        case buildTime = "build_ms"
        case cellsForward = "cells_forward"
        case cellsBackward = "cells_backward"
        case bytesForward = "bytes_forward"
        case bytesBackward = "bytes_backward"
    }
}
