public import Base
public import Circuits
import Paths
public import Wire

/// Questions to mints go over circuits of their own: no lease, no packets, nothing of the machine's.
///
/// They are paid for where there are vouchers for all hops, and of first contact elsewhere. Spec: §A.8.
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

    /// Whether something may be asked over this circuit: it stands, and every hop that is to be paid
    /// is.
    public func mayAsk(over id: CircuitID) -> Bool {
        circuits[id]?.stage == .ready && cashier.mayCarry(id)
    }

    /// Pieces of messages that wait on their way to a hop.
    public func waitingCount(of hop: HopIndex, over id: CircuitID) -> Int {
        circuits[id]?.channels[hop.offset].waitingCount ?? 0
    }

    /// Whether a circuit for questions could be paid for, were it built now.
    public mutating func couldPayErrands(now: Instant) -> Bool {
        var wanted = PathConstraints()
        wanted.reachesV4 = settings.reachesV4
        wanted.reachesV6 = settings.reachesV6
        guard let path = try? payablePath(wanted, now: now) else { return false }
        return cashier.canPay(path.hops.map(\.id), at: wall)
    }

    /// Whether nobody pays for this circuit, for want of vouchers.
    public func isFirstContact(_ id: CircuitID) -> Bool {
        circuits[id]?.isFirstContact ?? false
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
