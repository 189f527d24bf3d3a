import Base
import Circuits
import CryptoPrimitives
import Flows
import Links
import Onion
import Wire

// Circuits and tunnels come and go.
extension ClientShard {
    func slot(of id: CircuitID) -> Int? {
        names.value(for: UInt64(id.rawValue))
    }

    func slot(of id: TunnelID) -> Int? {
        for slot in 0..<tunnels.endIndex where tunnels.contains(slot) {
            if tunnels[slot].id == id { return slot }
        }
        return nil
    }

    mutating func addCircuit(
        _ id: CircuitID,
        link: LinkID,
        number: CircuitNumber,
        tunnel: TunnelID
    ) {
        guard !circuits.isFull, let linkSlot = links.slot(of: link) else {
            return note(.destroyed(id, .linkLost))
        }
        let route = Route(slot: linkSlot, link: link, number: number)
        let slot = circuits.insert(
            Circuit(route: route, tunnel: tunnel, path: ClientPath(id: id, number: number))
        )
        _ = routes.set(route.key, to: slot)
        _ = names.set(UInt64(id.rawValue), to: slot)
    }

    mutating func removeCircuit(_ slot: Int, now: Instant) {
        endShaping(slot, now: now)
        echoCircuits.removeAll { $0 == slot }
        if echoCircuits.isEmpty { nextEcho = .distantFuture }
        let circuit = circuits.remove(at: slot)
        routes.remove(circuit.route.key)
        names.remove(UInt64(circuit.path.id.rawValue))
        if !runningSeries.isEmpty { endSeries(of: circuit.path.id) }
        // Packets of its leases are blocked until another circuit takes them over.
        for index in leases.indices where leases[index].circuit == slot {
            leases[index].circuit = -1
        }
    }

    mutating func addTunnel(
        _ id: TunnelID,
        offload: TunCoalescer.Offload,
        isInternal: Bool = false
    ) {
        guard !tunnels.isFull, slot(of: id) == nil else {
            counters.overflow += 1
            return
        }
        // Each tunnel makes its headers in a part of the region of its own.
        let width = ArenaLayout.tunnelHeaders.count / Self.tunnelLimit
        var taken = Set<Int>()
        for slot in 0..<tunnels.endIndex where tunnels.contains(slot) {
            taken.insert(tunnels[slot].headerStart)
        }
        for place in 0..<Self.tunnelLimit {
            let start = ArenaLayout.tunnelHeaders.lowerBound + place * width
            guard !taken.contains(start) else { continue }
            _ = tunnels.insert(
                Tunnel(
                    id: id,
                    headerStart: start,
                    flows: FlowTable(capacity: flowLimit, seed: (random.next(), random.next())),
                    coalescer: TunCoalescer(
                        offload: offload,
                        headerRegion: start..<start + width
                    ),
                    isInternal: isInternal
                )
            )
            return
        }
    }
}
