import Base
import Circuits
import CryptoPrimitives
import Flows
import Paths
import Tickets
public import Wire

/// Exits that were used are audited now and then, each over circuits made for it.
///
/// Spec: §A.7.
extension ClientControl {
    /// The tunnel of an audit with this number.
    private static func auditTunnel(_ side: Int) -> TunnelID {
        TunnelID(rawValue: .max - 2 - UInt32(side))
    }

    /// The number of an audit's tunnel; `nil` for any other.
    static func auditSide(_ id: TunnelID) -> Int? {
        let side = Int(UInt32.max - 2) - Int(id.rawValue)
        return (0..<3).contains(side) ? side : nil
    }

    /// How good a relay is held to be, in thousandths: 500 where nothing is known.
    public func reputation(of relay: NodeID) -> UInt64 {
        cashier.reputation.score(of: relay, at: wall)
    }

    /// Begins an audit of an exit that begins to serve, if the lot falls on it and none is under way.
    mutating func mayAudit(_ exit: NodeID, of tunnel: TunnelID, now: Instant) {
        guard settings.auditShare > 0, audit == nil, Self.auditSide(tunnel) == nil,
            !settings.auditNames.isEmpty, random.next(below: settings.auditShare) == 0
        else { return }
        let choice = Int(random.next(below: UInt64(settings.auditNames.count)))
        let name = settings.auditNames[choice]
        audit = ExitAudit(of: exit, name: name, random: &random, now: now)
        drainAudit(now: now)
    }

    /// Lets the audit know what is connected and what time it is.
    mutating func tendAudit(now: Instant) {
        guard audit != nil else { return }
        for side in 0..<3 {
            let tunnel = tunnels[Self.auditTunnel(side)]
            guard let tunnel, tunnel.state == .connected,
                let exit = tunnel.current.flatMap({ tunnel.leases[$0] })?.exit
            else { continue }
            audit?.connected(side, to: exit, now: now)
        }
        audit?.advance(to: now)
        drainAudit(now: now)
    }

    /// Takes a packet that came over a tunnel of an audit.
    mutating func receivePacket(_ bytes: [UInt8], of tunnel: TunnelID, now: Instant) {
        guard let side = Self.auditSide(tunnel) else { return }
        audit?.receive(bytes, over: side, now: now)
        drainAudit(now: now)
    }

    private mutating func drainAudit(now: Instant) {
        while let step = audit?.nextStep() {
            switch step {
            case .open(let side, let exit, let others):
                openAudit(Self.auditTunnel(side), exit: exit, others: others, now: now)
            case .send(let side, let packet):
                commands.append(.sendPacket(Self.auditTunnel(side), packet))
            case .end(let verdicts):
                audit = nil
                for side in 0..<3 { close(Self.auditTunnel(side), now: now) }
                for verdict in verdicts { note(verdict.exit, isGood: verdict.isGood, now: now) }
            }
        }
    }

    private mutating func openAudit(
        _ id: TunnelID,
        exit: NodeID?,
        others: Set<NodeID>,
        now: Instant
    ) {
        var wanted = PathConstraints()
        wanted.reachesV4 = settings.reachesV4
        wanted.reachesV6 = settings.reachesV6
        wanted.exit = exit
        wanted.excluded = others
        tunnels[id] = Tunnel(id: id, wanted: wanted)
        commands.append(.addInternalTunnel(id))
        startMissing(id, now: now)
    }

    /// Notes what an audit found, and leaves an exit that was found out.
    private mutating func note(_ exit: NodeID, isGood: Bool, now: Instant) {
        cashier.reputation.noteAudit(exit, isGood: isGood, at: wall)
        notices.append(.audited(exit, isGood: isGood))
        guard !isGood else { return }
        // Whose owner wants this exit and no other keeps it.
        for id in circuits.keys.sorted() {
            guard let circuit = circuits[id], circuit.path.exit.id == exit,
                tunnels[circuit.tunnel]?.wanted.exit != exit
            else { continue }
            drop(id, isOrderly: false, now: now)
        }
        for id in tunnels.keys.sorted() where tunnels[id]?.wanted.exit != exit {
            let leases = tunnels[id]?.leases.values.filter { $0.exit == exit } ?? []
            for lease in leases.sorted(by: { $0.id < $1.id }) { endLease(lease.id, now: now) }
        }
    }
}
