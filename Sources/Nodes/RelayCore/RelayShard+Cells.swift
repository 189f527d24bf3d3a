import Base
import Circuits
import CryptoPrimitives
import Flows
import Links
import Mixing
import Onion
import Wire

// Cells are peeled and passed on, towards the exit and back.
extension RelayShard {
    mutating func receiveCell(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        link: Int,
        header: LinkHeader,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        let place = routes.value(for: Self.key(link, header.circuit))
        switch header.command {
        case .forward:
            guard let place, place & 1 == 0 else {
                counters.unknownCircuit += 1
                return
            }
            receiveForward(&bytes, datagram: datagram, slot: place >> 1, header: header, now: now)
        case .backward:
            guard let place, place & 1 == 1 else {
                counters.unknownCircuit += 1
                return
            }
            receiveBackward(&bytes, datagram: datagram, slot: place >> 1, header: header, now: now)
        case .create:
            // Each end of a link draws its numbers from a half of its own.
            guard header.circuit.isFromInitiator != links.isInitiator(at: link) else {
                counters.drops[RelayPath.Drop.malformed.rawValue] += 1
                return
            }
            if place == nil, !begin(link: link, number: header.circuit, bytes: &bytes, now: now) {
                counters.overflow += 1
                return destroy(header.circuit, on: link, .busy, bytes: &bytes, now: now)
            }
            let content = bytes.bytes.copyBytes(body..<body + CreateBody.circuitByteCount)
            note(.create(links.id(at: link), header.circuit, content))
        case .created:
            guard let place, place & 1 == 1 else {
                counters.unknownCircuit += 1
                return
            }
            let content = bytes.bytes.copyBytes(body..<body + CreatedBody.byteCount)
            note(.created(links.id(at: link), header.circuit, content))
        case .destroy:
            let reason = DestroyReason(rawValue: bytes.byte(at: body))
            guard let place else {
                note(.refused(links.id(at: link), header.circuit, reason))
                return
            }
            let slot = place >> 1
            if place & 1 == 1 {
                guard let id = circuits[slot].path?.id, !circuits[slot].hasLostNext else { return }
                circuits[slot].hasLostNext = true
                note(.nextLost(id))
                return
            }
            if let id = circuits[slot].path?.id { note(.destroyed(id)) }
            remove(slot, now: now)
        case .padding, .linkControl:
            return
        }
    }

    private mutating func receiveForward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        header: LinkHeader,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        let counter = LayerCounter(rawValue: header.counter)
        circuits[slot].lastUsed = now
        let judgement = judge(slot)
        guard judgement != .shed else {
            counters.shedCells += 1
            circuits[slot].meter.noteShed()
            return
        }
        if pacer.isLimiting {
            let departure = FairQueue.Departure(
                circuit: slot,
                kind: .forward,
                counter: header.counter,
                isMarked: judgement == .mark,
                cell: -1
            )
            return enqueue(departure, bytes: bytes.bytes, body: body, now: now)
        }
        openForward(
            &bytes,
            datagram: datagram,
            slot: slot,
            counter: counter,
            isMarked: judgement == .mark,
            now: now
        )
    }

    mutating func openForward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        counter: LayerCounter,
        isMarked: Bool,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        guard let outcome = circuits[slot].path?.openForward(&bytes, body: body, counter: counter)
        else {
            wait(slot, bytes: bytes.bytes, body: body, counter: counter, isOpened: false)
            return
        }
        let shaped = Int(circuits[slot].shaped)
        if shaped >= 0, !outcome.isDropped { noteShaped(shaped, slot: slot, now: now) }
        handle(
            outcome,
            &bytes,
            datagram: datagram,
            slot: slot,
            isMarked: isMarked,
            now: now
        )
        if shaped >= 0 { handleRebuilt(&bytes, slot: slot, now: now) }
    }

    /// Counts a cell that came for the circuit and says what the queue behind it makes of it.
    private mutating func judge(_ slot: Int) -> Judgement {
        let isOverShare = meter.count(&circuits[slot].share)
        guard isOverShare, queue != .short else { return .pass }
        return queue == .long ? .mark : .shed
    }

    mutating func handle(
        _ outcome: RelayPath.Forwarded,
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        isMarked: Bool,
        now: Instant
    ) {
        if case .dropped(let reason) = outcome {
            counters.drops[reason.rawValue] += 1
            return
        }
        let verdict = circuits[slot].meter.takeForward()
        if verdict != .carried { noteCounts(verdict, slot: slot, now: now) }
        switch outcome {
        case .pass(let counter) where verdict != .refused:
            if isMarked {
                circuits[slot].owesForwardMark = true
                counters.markedCells += 1
            }
            pass(counter, &bytes, datagram: datagram, slot: slot, now: now)
        case .records(let isEarly):
            // Unpaid too: what is in it may be pay.
            if verdict != .refused { counters.deliveredCells += 1 }
            receiveRecords(
                &bytes,
                body: datagram + Datagram.bodyOffset,
                slot: slot,
                isEarly: isEarly,
                isMarked: isMarked,
                now: now
            )
        case .pass, .nothing, .dropped:
            return
        }
    }

    /// Tells the control plane that a tick is full, or, now and then, that cells are not paid for.
    private mutating func noteCounts(_ verdict: CellMeter.Verdict, slot: Int, now: Instant) {
        if verdict == .refused {
            counters.unpaidCells += 1
            guard now - circuits[slot].toldUnpaid >= Self.unpaidInterval else { return }
            circuits[slot].toldUnpaid = now
        } else {
            // The client hears of them no oftener: the control plane is not woken for the others.
            guard now - circuits[slot].toldCounts >= circuits[slot].meter.reportInterval else {
                return
            }
            circuits[slot].toldCounts = now
        }
        guard let id = circuits[slot].path?.id else { return }
        note(.counted(id, counts(of: slot)))
    }

    func counts(of slot: Int) -> CellCounts {
        var counts = circuits[slot].meter.counts
        counts.queueDelay = queueDelay.units
        return counts
    }

    mutating func pass(
        _ counter: LayerCounter,
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        guard let next = circuits[slot].next else {
            // The last hop has nobody to pass anything on to.
            guard circuits[slot].path?.hop != .third else {
                counters.drops[RelayPath.Drop.noNextHop.rawValue] += 1
                return
            }
            wait(slot, bytes: bytes.bytes, body: body, counter: counter, isOpened: true)
            return
        }
        guard let hop = circuits[slot].path?.hop, isCurrent(next) else { return }
        if circuits[slot].shaped >= 0,
            holdForward(counter, bytes.bytes, body: body, slot: slot, now: now)
        {
            return
        }
        send(counter, to: next, &bytes, datagram: datagram, slot: slot, hop: hop, now: now)
    }

    /// Sends a cell that has waited, and whose inside lies at the body, on to the next hop.
    mutating func sendForward(
        _ counter: LayerCounter,
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        now: Instant
    ) {
        guard let next = circuits[slot].next, let hop = circuits[slot].path?.hop, isCurrent(next)
        else { return }
        send(counter, to: next, &bytes, datagram: datagram, slot: slot, hop: hop, now: now)
    }

    // Both ways of a cell end here; a call more is a call for each cell.
    @inline(__always)
    mutating func send(
        _ counter: LayerCounter,
        to next: Route,
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        hop: HopIndex,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        filler.fill(
            &bytes,
            range: body + OnionLayer.innerByteCount(at: hop)..<body + Datagram.bodyByteCount
        )
        let header = LinkHeader(
            circuit: next.number,
            counter: counter.rawValue,
            command: .forward
        )
        if links.send(&bytes, datagram: datagram, link: next.slot, header: header, now: now) {
            circuits[slot].hasCarried = true
            circuits[slot].meter.notePassed()
            counters.forwardCells += 1
        }
    }

    private mutating func receiveBackward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        header: LinkHeader,
        now: Instant
    ) {
        circuits[slot].lastUsed = now
        let judgement = judge(slot)
        circuits[slot].meter.noteFromNext()
        guard judgement != .shed else {
            counters.shedCells += 1
            circuits[slot].meter.noteShed()
            return
        }
        if pacer.isLimiting {
            let departure = FairQueue.Departure(
                circuit: slot,
                kind: .backward,
                counter: header.counter,
                isMarked: judgement == .mark,
                cell: -1
            )
            let body = datagram + Datagram.bodyOffset
            return enqueue(departure, bytes: bytes.bytes, body: body, now: now)
        }
        passBackward(
            &bytes,
            datagram: datagram,
            slot: slot,
            counter: header.counter,
            isMarked: judgement == .mark,
            now: now
        )
    }

    mutating func passBackward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        counter: UInt32,
        isMarked: Bool,
        now: Instant
    ) {
        guard isPaid(slot, now: now) else { return }
        var layer = LayerHeader(command: .forward, nextCounter: counter)
        if isMarked {
            layer.flags = .congestionExperienced
            counters.markedCells += 1
        }
        sendBackward(&bytes, datagram: datagram, slot: slot, header: layer, now: now)
    }

    /// Counts a backward cell; false where nobody has paid for it.
    mutating func isPaid(_ slot: Int, now: Instant) -> Bool {
        let verdict = circuits[slot].meter.takeBackward()
        if verdict != .carried { noteCounts(verdict, slot: slot, now: now) }
        return verdict != .refused
    }

    mutating func sendBackward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        header: LayerHeader,
        now: Instant
    ) {
        let isShaped = circuits[slot].shaped >= 0
        let body = datagram + Datagram.bodyOffset
        if isShaped, holdBackward(header, bytes.bytes, body: body, slot: slot, now: now) { return }
        seal(&bytes, datagram: datagram, slot: slot, header: header, isShaped: isShaped, now: now)
        if isShaped { settleParity(&bytes, slot: slot, now: now) }
    }

    /// Seals a cell for the client that has waited, or is cover, and sends it.
    mutating func emitBackward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        header: LayerHeader,
        now: Instant
    ) {
        seal(&bytes, datagram: datagram, slot: slot, header: header, isShaped: true, now: now)
    }

    @inline(__always)
    private mutating func seal(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        header: LayerHeader,
        isShaped: Bool,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        let previous = circuits[slot].previous
        var header = header
        if circuits[slot].owesForwardMark {
            circuits[slot].owesForwardMark = false
            header.flags.insert(.forwardCongestion)
        }
        if circuits[slot].meter.isRefusing { header.flags.insert(.unpaid) }
        guard isCurrent(previous), circuits[slot].path?.canSealBackward == true,
            let hop = circuits[slot].path?.hop,
            let counter = circuits[slot].path?.sealBackward(&bytes, body: body, header: header)
        else { return }
        filler.fill(
            &bytes,
            range: body + OnionLayer.byteCount(at: hop)..<body + Datagram.bodyByteCount
        )
        if isShaped,
            holdSealed(
                counter,
                bytes.bytes,
                body: body,
                slot: slot,
                isOwn: header.command == .deliver
            )
        {
            return
        }
        sendSealed(counter, to: previous, &bytes, datagram: datagram, now: now)
    }

    /// Seals the parity that is owed, and sends it.
    mutating func sendParity(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        guard isCurrent(circuits[slot].previous), let hop = circuits[slot].path?.hop,
            let counter = circuits[slot].path?.sealParity(&bytes, body: body)
        else { return }
        circuits[slot].meter.countOwn()
        counters.parityCells += 1
        filler.fill(
            &bytes,
            range: body + OnionLayer.byteCount(at: hop)..<body + Datagram.bodyByteCount
        )
        let previous = circuits[slot].previous
        sendSealed(counter, to: previous, &bytes, datagram: datagram, now: now)
    }

    @inline(__always)
    mutating func sendSealed(
        _ counter: LayerCounter,
        to previous: Route,
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        now: Instant
    ) {
        let link = LinkHeader(
            circuit: previous.number,
            counter: counter.rawValue,
            command: .backward
        )
        if links.send(&bytes, datagram: datagram, link: previous.slot, header: link, now: now) {
            counters.backwardCells += 1
        }
    }
}
