import Base
import Circuits
import Directory
import Paths
import Wire

// An exit that may be dead: another one is made ready while the one in use is asked once more.
//
// A circuit that ends beyond its guard tells nothing of who ended it: its middle may be closing, or
// its exit may be gone. The spare leads to the same exit; whether that lives shows only by its answer.
extension ClientControl {
    /// The circuit of `lease` was ended beyond its guard: begins one to another exit, which is used
    /// if no circuit takes the lease over within ``patience(for:)``, and dropped if one does.
    ///
    /// Without another exit that suits, the one in use is waited for.
    mutating func doubtExit(of lease: LeaseID, now: Instant) {
        guard
            let (id, tunnel) = tunnels.first(where: { $1.current == lease }),
            let lost = tunnel.leases[lease], lost.circuit == nil, !lost.isExitDoubted,
            tunnel.wanted.exit == nil
        else { return }
        tunnels[id]?.leases[lease]?.isExitDoubted = true
        if startNear(id, wanting: tunnel.wanted, because: .doubt, now: now) { return }
        var wanted = tunnel.wanted
        wanted.excluded.insert(lost.exit)
        _ = try? startCircuit(for: id, wanting: wanted, because: .doubt, now: now)
    }

    /// Begins a circuit to another exit in the country of the one used last; false where there is
    /// none, or something else was asked for.
    mutating func startNear(
        _ id: TunnelID,
        wanting wanted: PathConstraints,
        because cause: CircuitCause,
        now: Instant
    ) -> Bool {
        guard wanted.exit == nil, wanted.exitCountries.isEmpty, let lost = tunnels[id]?.lastExit,
            let country = selector.view.relay(lost)?.country
        else { return false }
        var near = wanted
        near.exitCountries = [country]
        near.excluded.insert(lost)
        return (try? startCircuit(for: id, wanting: near, because: cause, now: now)) != nil
    }

    /// Time a lease may be without a circuit before new flows get another one.
    ///
    /// Of an exit in doubt the answer to OPEN_TUN is waited for, also where the first question is lost
    /// on the way.
    func patience(for lease: Lease) -> TimeSpan {
        guard lease.isExitDoubted, let trip = exitTrips[lease.exit] else { return Self.patience }
        return min(Self.patience, Self.repetition + trip * 2)
    }

    private static let patience: TimeSpan = .milliseconds(1_500)
    /// When a question to a hop that has not answered anything yet is asked again (§C.4).
    private static let repetition: TimeSpan = .milliseconds(300)
}
