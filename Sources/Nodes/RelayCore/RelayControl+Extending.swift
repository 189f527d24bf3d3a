import Base
import Circuits
import CryptoPrimitives
import DequeModule
import Directory
import Flows
import Links
import Onion
import Tickets
import Wire

// Circuits are led on to their next hops.
extension RelayControl {
    mutating func extend(
        _ id: CircuitID,
        to next: NodeID,
        create: [UInt8],
        now: Instant
    ) {
        guard let circuit = circuits[id] else { return }
        let isBack = links[circuit.previous.link]?.peer == .relay(next)
        guard circuit.hop != .third, next != identity.relay, !isBack, !circuit.wasExtended
        else { return failExtend(id, .refused, now: now) }
        circuits[id]?.wasExtended = true
        circuits[id]?.extend = PendingExtend(next: next, create: create)
        guard view?.freshness(at: wall) != .expired else {
            return failExtend(id, .unknownRelay, now: now)
        }
        let neighbour = Neighbour(relay: next, shard: circuit.shard)
        if let link = relayLinks[neighbour] {
            return beginExtend(id, over: link, now: now)
        }
        guard let target = linkTarget(next) else {
            return failExtend(id, .unknownRelay, now: now)
        }
        guard waitingForLink[neighbour, default: []].count < Self.extendsWaitingLimit else {
            return failExtend(id, .busy, now: now)
        }
        waitingForLink[neighbour, default: []].append(id)
        guard dialing[neighbour] == nil else { return }
        let link = drawLink()
        guard dialer.dial(target, as: link, shard: neighbour.shard, now: now) else {
            waitingForLink[neighbour]?.removeAll { $0 == id }
            return failExtend(id, .busy, now: now)
        }
        dialing[neighbour] = link
        dialed[link] = neighbour
    }

    mutating func beginExtend(_ id: CircuitID, over link: LinkID, now: Instant) {
        guard let extend = circuits[id]?.extend, let state = links[link] else { return }
        var key: RouteKey
        repeat {
            let drawn = UInt32(truncatingIfNeeded: random.next()) & 0x7fff_ffff
            key = RouteKey(
                link: link,
                number: CircuitNumber(rawValue: state.isInitiator ? drawn | 1 << 31 : drawn)
            )
        } while byNext[key] != nil || key.number.rawValue & 0x7fff_ffff == 0
        byNext[key] = id
        circuits[id]?.next = key
        links[link]?.circuits.insert(id)
        if state.isInitiator { tell(.keepLinkAlive(link, true), to: link) }
        // First CREATE: cells that wait for the next hop leave with `setNext` and must follow it.
        tell(.sendCell(link, key.number, .create, extend.create), to: link)
        tell(.setNext(id, link, key.number), to: id)
        noteCreateTry(id, now: now)
    }

    /// The next hop destroyed the circuit: before it was created, only the extension has failed.
    mutating func loseNext(_ id: CircuitID, now: Instant) {
        guard let circuit = circuits[id], let next = circuit.next else { return }
        guard circuit.extend != nil else {
            sendDestroy(circuit.previous, .finished)
            tell(.removeCircuit(id), to: id)
            return forget(id, now: now)
        }
        byNext[next] = nil
        leave(next.link, id)
        circuits[id]?.next = nil
        tell(.clearNext(id), to: id)
        failExtend(id, .busy, now: now)
    }

    private mutating func noteCreateTry(_ id: CircuitID, now: Instant) {
        guard var extend = circuits[id]?.extend else { return }
        extend.tries += 1
        circuits[id]?.extendDue = now + extend.wait
        extend.wait = extend.wait * 3 / 2
        circuits[id]?.extend = extend
        schedule(id)
    }

    mutating func failExtend(
        _ id: CircuitID,
        _ failure: ControlMessage.ExtendFailure,
        now: Instant
    ) {
        guard circuits[id] != nil else { return }
        counters.failedExtends += 1
        if failure != .refused {
            circuits[id]?.extend = nil
            circuits[id]?.extendDue = .distantFuture
        }
        say(.extended(.failed(failure)), to: id, now: now)
    }

    mutating func tend(_ id: CircuitID, now: Instant) {
        guard let circuit = circuits[id] else { return }
        if circuit.extendDue <= now, let extend = circuit.extend, let next = circuit.next {
            if extend.tries >= Self.createTryLimit {
                failExtend(id, .unreachable, now: now)
            } else {
                tell(.sendCell(next.link, next.number, .create, extend.create), to: next.link)
                noteCreateTry(id, now: now)
            }
        }
        pump(id, now: now)
    }
}
