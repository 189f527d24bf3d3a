public import Base
public import Circuits
import Directory
import Links
import Paths
public import Wire

extension ClientControl {
    /// A circuit as people look at it.
    public struct CircuitReport: Sendable {
        /// How far it is.
        public enum Stage: String, Sendable {
            /// Being built.
            case building
            /// Built, carrying nothing.
            case spare
            /// Carrying a lease.
            case active
        }

        /// The circuit.
        public let id: CircuitID
        /// The tunnel it serves.
        public let tunnel: TunnelID
        /// How far it is.
        public let stage: Stage
        /// Its relays, the guard first.
        public let hops: [RelayRecord]
        /// The address its guard is reached by; `nil` where that relay is listed no more.
        public let guardAddress: SocketAddress?
        /// When it was begun.
        public let begun: Instant
        /// How long it took to build.
        public let buildTime: TimeSpan?
        /// Last measured round trip to each hop.
        public let roundTrips: [TimeSpan?]
        /// Whether new flows begin on it.
        public let isCurrent: Bool
        /// What was paid for it; `nil` where nothing is.
        public let pay: CircuitPayReport?
        /// Why it was begun, or put to its present use.
        public let cause: CircuitCause
        /// What each hop said last of what it carried.
        public let statements: [HopStatement?]
        /// Hops whose last series of echoes went unanswered.
        public let isSilent: [Bool]
        /// What its traffic looks like.
        public let shape: TrafficShape
        /// What its loops found; `nil` before its schedule is kept.
        public let loops: LoopReport?
        /// Cells that one tick pays for at guard and middle.
        public let tickCells: Int
    }

    /// All circuits but those that measure or audit, the oldest first.
    public func circuitReports() -> [CircuitReport] {
        circuits.values.filter { $0.survey == nil && Self.auditSide($0.tunnel) == nil }.sorted {
            $0.id < $1.id
        }.map { circuit in
            CircuitReport(
                id: circuit.id,
                tunnel: circuit.tunnel,
                stage: circuit.stage == .active
                    ? .active : circuit.stage == .ready ? .spare : .building,
                hops: circuit.path.hops,
                guardAddress: circuit.path.hops.first.flatMap { address(of: $0) },
                begun: circuit.begun,
                buildTime: circuit.buildTime,
                roundTrips: circuit.roundTrips,
                isCurrent: circuit.lease != nil
                    && tunnels[circuit.tunnel]?.current == circuit.lease,
                pay: cashier.report(of: circuit.id),
                cause: circuit.cause,
                statements: circuit.statements,
                isSilent: circuit.isSilent,
                shape: circuit.shape,
                loops: circuit.loop?.report,
                tickCells: Int(selector.view.parameters.tickCells)
            )
        }
    }

    /// How the tunnel `id` stands; `nil` if there is none.
    public func state(of id: TunnelID) -> TunnelState? {
        tunnels[id]?.state
    }

    /// Since when the tunnel `id` is connected.
    public func connectedSince(_ id: TunnelID) -> Instant? {
        tunnels[id]?.connectedSince
    }
}
