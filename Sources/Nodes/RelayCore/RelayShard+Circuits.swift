import Base
import Circuits
import CryptoPrimitives
import Flows
import Links
import Mixing
import Onion
import Wire

// Circuits of a shard come, go on, and go.
extension RelayShard {
    mutating func begin(
        link: Int,
        number: CircuitNumber,
        bytes: inout MutableRawSpan,
        now: Instant
    ) -> Bool {
        guard pendingCount < Self.pendingLimit,
            links.peer(at: link) != .client
                || links.circuitCount(at: link) < Self.clientCircuitLimit,
            !circuits.isFull || evict(bytes: &bytes, now: now)
        else { return false }
        let route = Route(slot: link, link: links.id(at: link), number: number)
        let slot = circuits.insert(Circuit(previous: route, now: now))
        guard routes.set(route.key, to: slot << 1) else {
            _ = circuits.remove(at: slot)
            return false
        }
        links.addCircuit(at: link)
        pendingCount += 1
        return true
    }

    /// Drops the circuit idle longest, of the next ones in turn, that never carried anything; false
    /// where there is none.
    private mutating func evict(bytes: inout MutableRawSpan, now: Instant) -> Bool {
        var oldest: Int?
        for _ in 0..<min(Self.evictionSpan, circuits.endIndex) {
            sweepPosition = sweepPosition + 1 < circuits.endIndex ? sweepPosition + 1 : 0
            guard circuits.contains(sweepPosition), !circuits[sweepPosition].hasCarried,
                now - circuits[sweepPosition].lastUsed >= Self.unusedLife
            else { continue }
            if let known = oldest, circuits[known].lastUsed <= circuits[sweepPosition].lastUsed {
                continue
            }
            oldest = sweepPosition
        }
        guard let oldest else { return false }
        kill(oldest, bytes: &bytes, now: now)
        return true
    }

    /// Ends a circuit for lack of room, and says so to both sides.
    mutating func kill(_ slot: Int, bytes: inout MutableRawSpan, now: Instant) {
        let previous = circuits[slot].previous
        if isCurrent(previous) {
            destroy(previous.number, on: previous.slot, .busy, bytes: &bytes, now: now)
        }
        if let id = circuits[slot].path?.id { note(.destroyed(id)) }
        remove(slot, now: now)
    }

    mutating func destroy(
        _ number: CircuitNumber,
        on link: Int,
        _ reason: DestroyReason,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let header = LinkHeader(circuit: number, command: .destroy)
        if !links.sendSealed(
            &bytes,
            link: link,
            header: header,
            body: [reason.rawValue],
            now: now
        ) {
            counters.overflow += 1
        }
    }

    mutating func install(
        _ new: NewRelayCircuit,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard let link = links.slot(of: new.link),
            let place = routes.value(for: Self.key(link, new.number)), place & 1 == 0,
            isPending(place >> 1), names.set(UInt64(new.id.rawValue), to: place >> 1)
        else { return note(.destroyed(new.id)) }
        let slot = place >> 1
        pendingCount -= 1
        if let shape = new.shape { beginShaping(shape, slot: slot, hop: new.hop) }
        let shaped = Int(circuits[slot].shaped)
        circuits[slot].path = RelayPath(
            id: new.id,
            hop: new.hop,
            early: new.early?.forward,
            forward: new.keys.forward,
            backward: new.keys.backward,
            start: new.start,
            hasParity: shaped >= 0 && shaper.circuits[shaped].hasParity
        )
        if let allowance = new.allowance { circuits[slot].meter.set(allowance) }
        circuits[slot].lastUsed = now
        releaseWaiting(slot, bytes: &bytes, now: now)
    }

    mutating func setNext(
        _ id: CircuitID,
        link: LinkID,
        number: CircuitNumber,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard let slot = slot(of: id), circuits[slot].next == nil,
            let linkSlot = links.slot(of: link)
        else { return }
        let route = Route(slot: linkSlot, link: link, number: number)
        guard routes.value(for: route.key) == nil, routes.set(route.key, to: slot << 1 | 1) else {
            counters.overflow += 1
            return
        }
        circuits[slot].next = route
        circuits[slot].hasLostNext = false
        links.addCircuit(at: linkSlot)
        releaseWaiting(slot, bytes: &bytes, now: now)
    }

    mutating func remove(_ slot: Int, now: Instant) {
        releaseLease(slot, now: now)
        endShaping(slot, now: now)
        let circuit = circuits.remove(at: slot)
        queued.remove(circuit.forwardLane)
        queued.remove(circuit.backwardLane)
        waitingCellCount -= circuit.waiting.count
        leave(circuit.previous)
        if let next = circuit.next { leave(next) }
        switch circuit.path {
        case .some(let path): names.remove(UInt64(path.id.rawValue))
        case .none: pendingCount -= 1
        }
    }

    mutating func leave(_ route: Route) {
        routes.remove(route.key)
        if isCurrent(route) { links.removeCircuit(at: route.slot) }
    }

    mutating func wait(
        _ slot: Int,
        bytes: RawSpan,
        body: Int,
        counter: LayerCounter,
        isOpened: Bool
    ) {
        guard circuits[slot].waiting.count < Self.waitingCellLimit else {
            counters.drops[RelayPath.Drop.queueFull.rawValue] += 1
            return
        }
        waitingCellCount += 1
        circuits[slot].waiting.append(
            WaitingCell(
                body: bytes.copyBytes(body..<body + Datagram.bodyByteCount),
                counter: counter,
                isOpened: isOpened
            )
        )
    }

    private mutating func releaseWaiting(
        _ slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let waiting = circuits[slot].waiting
        circuits[slot].waiting = []
        waitingCellCount -= waiting.count
        for cell in waiting {
            guard let datagram = links.output.allocate() else {
                counters.overflow += 1
                return
            }
            let body = datagram + Datagram.bodyOffset
            bytes.copy(cell.body, to: body)
            if cell.isOpened {
                pass(cell.counter, &bytes, datagram: datagram, slot: slot, now: now)
            } else if let outcome = circuits[slot].path?.openForward(
                &bytes,
                body: body,
                counter: cell.counter
            ) {
                handle(
                    outcome,
                    &bytes,
                    datagram: datagram,
                    slot: slot,
                    isMarked: false,
                    now: now
                )
            }
        }
    }
}
