import Base
import Circuits
import Paths
import Wire

extension ClientControl {
    /// Time a circuit that packets wait for may be built before another one is begun beside it.
    static let buildPatience: TimeSpan = .milliseconds(400)
    /// Circuits of one tunnel that are built too slowly, at most, while more are begun.
    private static let slowLimit = 3

    /// Begins another circuit beside each that packets wait for and that is built too slowly: by another
    /// middle, and to another exit where none is asked for by a lease.
    ///
    /// A relay that has died, or came back just now, is missed by its neighbours only when they use their
    /// links of before.
    mutating func startBesideSlow(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels[id] else { return }
        let slow = circuits.values.filter {
            $0.tunnel == id && $0.stage == .building && $0.hedgeDue <= now
        }
        for circuit in slow.sorted(by: { $0.id < $1.id }) {
            circuits[circuit.id]?.isHedged = true
            guard tunnel.state != .connected, slow.count <= Self.slowLimit else { continue }
            let exit = circuit.path.exit.id
            var wanted = tunnel.wanted
            wanted.excluded.insert(circuit.path.middle.id)
            if tunnel.leases.values.contains(where: { $0.circuit == nil && $0.exit == exit }) {
                wanted.exit = exit
            } else {
                wanted.excluded.formUnion(tunnel.leases.values.map(\.exit) + [exit])
                if startNear(id, wanting: wanted, because: circuit.cause, now: now) { continue }
            }
            _ = try? startCircuit(for: id, wanting: wanted, because: circuit.cause, now: now)
        }
    }
}

extension CircuitCause {
    /// Whether packets wait for the circuit.
    var isUrgent: Bool {
        switch self {
        case .replacement, .doubt: true
        default: false
        }
    }
}
