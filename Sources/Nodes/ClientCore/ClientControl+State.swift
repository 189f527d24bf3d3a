import Base
import Circuits
import Links
import Paths
import Wire

extension ClientControl {
    struct Circuit {
        enum Stage: Equatable {
            case waitingForLink, waitingForKeys, building, ready, opening, active
        }

        let id: CircuitID
        let tunnel: TunnelID
        let path: Path
        let begun: Instant
        /// What its traffic is to look like.
        let shape: TrafficShape
        /// Its loops, once its schedule is kept.
        var loop: LoopState?
        /// When its cover ends, where its tunnel is closed already.
        var lingersUntil: Instant?
        var stage = Stage.waitingForLink
        /// Whether it was begun to stand ready, while nothing lacked a circuit.
        var isSpare = false
        var link: LinkID?
        var number = CircuitNumber(rawValue: 0)
        var build: CircuitBuild?
        var channels = HopIndex.all.map { ControlChannel(hop: $0) }
        var lease: LeaseID?
        /// When the exit was asked for addresses.
        var openingSince: Instant?
        /// The exit's answer, while a hop has not taken its voucher yet.
        var opened: ControlMessage.TunnelOpened?
        /// What is found out of its exit.
        var probe: ExitProbe?
        var buildTime: TimeSpan?
        var isProbed = false
        /// Whether another guard was looked for because this one's does not answer.
        var isHedged = false
        /// The token of the ping that is all the circuit is for; `nil` for any other.
        var survey: UInt64?
        /// Whether its hops were told that it will not be paid for.
        var isFirstContact = false
        /// Ticks its hops said they serve beyond what is paid.
        var windows = [UInt16](repeating: 0, count: 3)
        var roundTrips = [TimeSpan?](repeating: nil, count: 3)
        /// Whether the last series of echoes to a hop went unanswered.
        var isSilent = [false, false, false]
        /// What each hop said last of what it carried.
        var statements = [HopStatement?](repeating: nil, count: 3)
        var cause = CircuitCause.first
    }

    struct Lease {
        let id: LeaseID
        let exit: NodeID
        var secret: Bytes32
        var circuit: CircuitID?
        let opened: Instant
        var families: UInt8
        /// Since when no circuit carries it.
        var lostSince: Instant?
        /// How its last circuit ended; `nil` while none has.
        var lastEnd: CircuitEnd?
        /// Whether that may be its exit's death.
        var isExitDoubted = false
    }

    struct Tunnel {
        let id: TunnelID
        var wanted: PathConstraints
        /// What the traffic of its circuits is to look like.
        var shape = TrafficShape.fast
        /// From when on it carries packets; `nil` before its first schedule is kept.
        var carriesFrom: Instant?
        /// Whether its circuits carry questions to mints and nothing else.
        var isForErrands = false
        var leases: [LeaseID: Lease] = [:]
        var current: LeaseID?
        var state = TunnelState.connecting(reason: nil)
        var failures = 0
        /// Why the last try came to nothing; `nil` where none failed since it was connected.
        var lastFailure: String?
        var retryAt: Instant = .zero
        var spareFailures = 0
        var spareRetryAt: Instant = .zero
        var connectedSince: Instant?
        /// Exits in a row that did not do what they are for.
        var probeFailures = 0
        /// The exit in use, or the last one.
        var lastExit: NodeID?
    }

    struct Ping {
        let token: UInt64
        let circuit: CircuitID
        let hop: HopIndex
        let sent: Instant
    }
}
