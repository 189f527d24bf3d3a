import Base
import Circuits
import Paths
import Wire

extension ClientControl {
    /// Time a guard has to answer before another one is tried beside it.
    static let dialPatience: TimeSpan = .seconds(1)
    /// Guards tried at the same time for one tunnel, at most.
    private static let dialLimit = 3

    /// Begins another circuit beside each that waits too long for its guard, over a guard that is not
    /// waited for.
    ///
    /// What answers first is used. The guard that does not counts as failed only when all its tries
    /// went unanswered, so that a slow one is not passed over for good.
    mutating func startBeside(_ id: TunnelID, now: Instant) {
        let waiting = circuits.values.filter { $0.tunnel == id && $0.stage == .waitingForLink }
            .sorted { $0.id < $1.id }
        for circuit in waiting where circuit.hedgeDue <= now {
            circuits[circuit.id]?.isHedged = true
            let guards = Set(waiting.map(\.path.guardRelay.id))
            guard guards.count < Self.dialLimit, var wanted = tunnels[id]?.wanted else { return }
            wanted.excluded.formUnion(guards)
            let isForLease = tunnels[id]?.leases.values.contains { lease in
                lease.circuit == nil && lease.exit == circuit.path.exit.id
            }
            if isForLease == true { wanted.exit = circuit.path.exit.id }
            // Without another guard the one that is slow is waited for.
            _ = try? startCircuit(for: id, wanting: wanted, because: .slowGuard, now: now)
        }
    }
}

extension ClientControl.Circuit {
    /// When another circuit is to be begun beside this one; never, where none is.
    var hedgeDue: Instant {
        guard !isHedged, !isSpare, survey == nil else { return .distantFuture }
        switch stage {
        case .waitingForLink: return begun + ClientControl.dialPatience
        case .building where cause.isUrgent: return begun + ClientControl.buildPatience
        default: return .distantFuture
        }
    }
}
