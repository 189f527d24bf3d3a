public import Base
public import Circuits
import Paths
public import Wire

/// Questions to mints go over circuits of their own: no lease, no packets, nothing of the machine's.
///
/// Spec: §A.8.
extension ClientControl {
    /// Begins to keep one circuit ready for questions to mints, under the name `id`.
    ///
    /// ``close(_:now:)`` ends it; ``circuitReports()`` shows it as a spare one once it stands.
    public mutating func openErrands(_ id: TunnelID, now: Instant, wall: WallTime) {
        guard tunnels[id] == nil else { return }
        self.wall = wall
        var wanted = PathConstraints()
        wanted.reachesV4 = settings.reachesV4
        wanted.reachesV6 = settings.reachesV6
        var tunnel = Tunnel(id: id, wanted: wanted)
        tunnel.isForErrands = true
        tunnels[id] = tunnel
        maintain(now: now)
    }

    /// Sends a part of a sealed request to `hop`, which hands the whole on to its mint; a
    /// ``Notice/mintAnswer(_:_:_:)`` brings each part of the answer.
    ///
    /// - Returns: false if there is no such circuit, or it is not built yet.
    public mutating func ask(
        _ ask: MintAsk,
        hop: HopIndex,
        over id: CircuitID,
        now: Instant
    ) -> Bool {
        guard let stage = circuits[id]?.stage, stage == .ready || stage == .active else {
            return false
        }
        say(.mintAsk(ask), to: hop, over: id, now: now)
        return circuits[id] != nil
    }
}
