public import Base
import Circuits
import CryptoPrimitives
import Links
import Mixing
import Wire

// Cells of `padded` and `mix` circuits: kept until their time, cover and PAD where nothing waits.
extension RelayShard {
    /// Datagrams that may still be made when the next circuit is served.
    private static let shapingReserve = 40
    /// How much later than at its time a cell may leave before it is counted as late.
    private static let lateLimit: TimeSpan = .milliseconds(1)

    /// Takes the machine's civil time over, in nanoseconds since 1970: what slots are counted by.
    public mutating func setCivilTime(nanoseconds: UInt64, now: Instant) {
        shaper.clock.set(civilNanoseconds: nanoseconds, now: now)
        links.toldClock = shaper.clock.ownOffset
    }

    /// How far this shard's slots are from the machine's own clock, in nanoseconds.
    public var slotCorrection: Int64 {
        shaper.clock.correctionNanoseconds
    }

    // MARK: Cells that come

    /// Notes a forward cell that opened: its client may have begun to keep a schedule.
    mutating func noteShaped(_ index: Int, slot: Int, now: Instant) {
        guard let opened = circuits[slot].path?.opened else { return }
        shaper.circuits[index].heard &+= 1
        guard opened.header.command != .parity, opened.header.flags.contains(.slotHold) else {
            return
        }
        shaper.circuits[index].lastScheduled = now
        guard !shaper.circuits[index].isRunning else { return }
        shaper.start(index, now: now)
        askClocks(of: slot, now: now)
    }

    /// Handles the cell that parity brought back, if the one before it did.
    mutating func handleRebuilt(
        _ bytes: inout MutableRawSpan,
        slot: Int,
        now: Instant
    ) {
        guard circuits[slot].path?.hasRebuilt == true, let datagram = links.output.allocate(),
            let outcome = circuits[slot].path?.takeRebuilt(
                &bytes,
                body: datagram + Datagram.bodyOffset
            )
        else { return }
        counters.rebuiltCells += 1
        handle(outcome, &bytes, datagram: datagram, slot: slot, isMarked: false, now: now)
    }

    /// Keeps a forward cell until its slot; false where it goes on at once.
    mutating func holdForward(
        _ counter: LayerCounter,
        _ bytes: RawSpan,
        body: Int,
        slot: Int,
        now: Instant
    ) -> Bool {
        let index = Int(circuits[slot].shaped)
        guard shaper.circuits[index].isRunning else { return false }
        var held = HeldCell(cell: -1)
        held.counter = counter.rawValue
        switch shaper.circuits[index].role {
        case .paddedMiddle:
            return false
        case .guardRelay:
            guard !shaper.circuits[index].forward.isFull else {
                noteUnkept(slot)
                return true
            }
            held.cell = shaper.store.keep(bytes, body: body)
            _ = shaper.circuits[index].forward.append(held)
        case .mixMiddle(let length):
            guard let opened = circuits[slot].path?.opened,
                opened.header.flags.contains(.slotHold),
                shaper.circuits[index].hold.contains(opened.header.auxiliary)
            else {
                counters.drops[RelayPath.Drop.malformed.rawValue] += 1
                return true
            }
            guard !shaper.circuits[index].forward.isFull else {
                noteUnkept(slot)
                return true
            }
            held.order = opened.count
            held.due =
                arrival(of: opened.count, index: index, length, now: now)
                + UInt64(opened.header.auxiliary)
            held.cell = shaper.store.keep(bytes, body: body)
            _ = shaper.circuits[index].forward.insert(held)
            let span = length.span * UInt64(opened.header.auxiliary)
            counters.holds[HoldLength.step(of: span)] += 1
            counters.holdMicroseconds += span.nanoseconds / 1_000
        }
        return true
    }

    /// Cells kept until their slots.
    public var heldCellCount: Int {
        shaper.store.count
    }

    /// The slot a forward cell came in, or would have come in had nothing gone wrong.
    private mutating func arrival(
        of order: UInt32,
        index: Int,
        _ length: SlotLength,
        now: Instant
    ) -> UInt64 {
        let slot = shaper.clock.slot(at: now, length)
        if let newest = shaper.circuits[index].newest, order < newest.order {
            let behind = UInt64(newest.order - order)
            return newest.slot > behind ? newest.slot - behind : 0
        }
        shaper.circuits[index].newest = (slot, order)
        return slot
    }

    /// Keeps a cell for the client that has no layer of this hop yet; false where it goes at once.
    mutating func holdBackward(
        _ header: LayerHeader,
        _ bytes: RawSpan,
        body: Int,
        slot: Int,
        now: Instant
    ) -> Bool {
        let index = Int(circuits[slot].shaped)
        guard shaper.circuits[index].isRunning else { return false }
        if case .guardRelay = shaper.circuits[index].role { return false }
        let isOwn = header.command == .deliver
        let isFull =
            isOwn ? shaper.circuits[index].own.isFull : shaper.circuits[index].backward.isFull
        guard !isFull else {
            noteUnkept(slot)
            return true
        }
        var held = HeldCell(cell: shaper.store.keep(bytes, body: body))
        held.header = header
        if isOwn {
            _ = shaper.circuits[index].own.append(held)
        } else {
            if shaper.circuits[index].backward.count >= shaper.circuits[index].markDepth {
                held.header.flags.insert(.congestionExperienced)
                counters.markedCells += 1
            }
            _ = shaper.circuits[index].backward.append(held)
        }
        let backlog = shaper.circuits[index].own.count + shaper.circuits[index].backward.count
        if shaper.circuits[index].ladder != nil {
            shaper.circuits[index].ladder?.noteBacklog(backlog, now: now, random: &shaper.random)
            planLadder(index)
        }
        return true
    }

    /// Keeps a sealed cell for the client until its slot; false where it goes at once.
    mutating func holdSealed(
        _ counter: LayerCounter,
        _ bytes: RawSpan,
        body: Int,
        slot: Int,
        isOwn: Bool
    ) -> Bool {
        let index = Int(circuits[slot].shaped)
        guard shaper.circuits[index].isRunning,
            case .guardRelay = shaper.circuits[index].role
        else { return false }
        let isFull =
            isOwn ? shaper.circuits[index].own.isFull : shaper.circuits[index].backward.isFull
        guard !isFull else {
            noteUnkept(slot)
            return true
        }
        var held = HeldCell(cell: shaper.store.keep(bytes, body: body))
        held.counter = counter.rawValue
        if isOwn {
            _ = shaper.circuits[index].own.append(held)
        } else {
            _ = shaper.circuits[index].backward.append(held)
        }
        return true
    }

    private mutating func noteUnkept(_ slot: Int) {
        counters.unkeptCells += 1
        circuits[slot].meter.noteShed()
    }

    /// Sends the parity that is owed where no schedule is kept yet.
    mutating func settleParity(_ bytes: inout MutableRawSpan, slot: Int, now: Instant) {
        guard shaper.circuits[Int(circuits[slot].shaped)].hasParity,
            circuits[slot].path?.owesParity == true, let datagram = links.output.allocate()
        else { return }
        sendParity(&bytes, datagram: datagram, slot: slot, now: now)
    }

    // MARK: Cells that leave

    /// Sends what leaves now.
    mutating func advanceShaping(to now: Instant, bytes: inout MutableRawSpan) {
        if let reading = links.takeClockReading() {
            shaper.clock.note(
                microseconds: reading.microseconds,
                sent: reading.sent,
                received: reading.received
            )
        }
        for place in shaper.rounds.indices {
            while links.output.remainingCapacity > Self.shapingReserve,
                let index = shaper.rounds[place].takeNext(now: now, clock: shaper.clock)
            {
                serve(index, slot: shaper.rounds[place].slot, &bytes, now: now)
            }
        }
        while links.output.remainingCapacity > Self.shapingReserve,
            let index = shaper.ladders.popDue(now: now)
        {
            serveLadder(index, &bytes, now: now)
        }
        shaper.replan()
    }

    private mutating func serve(
        _ index: Int,
        slot: UInt64,
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let circuit = shaper.circuits[index].circuit
        guard !isSilent(index, circuit: circuit, now: now) else { return }
        if let length = shaper.circuits[index].length,
            shaper.clock.lateness(of: slot, at: now, length) > Self.lateLimit
        {
            counters.lateReleases += 1
        }
        switch shaper.circuits[index].role {
        case .guardRelay:
            passOne(index, circuit: circuit, &bytes, now: now)
            returnOne(index, circuit: circuit, &bytes, now: now)
        case .mixMiddle:
            // Those behind it waited for it, by design: only the first can be late.
            if let due = shaper.circuits[index].forward.firstDue, due < slot {
                counters.lateReleases += 1
            }
            while links.output.remainingCapacity > 2,
                let held = shaper.circuits[index].forward.removeFirst(dueIn: slot)
            {
                emitForward(held, circuit: circuit, &bytes, now: now)
            }
            _ = sendShaped(index, circuit: circuit, &bytes, now: now)
        case .paddedMiddle:
            return
        }
    }

    private mutating func serveLadder(
        _ index: Int,
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let circuit = shaper.circuits[index].circuit
        guard !isSilent(index, circuit: circuit, now: now) else { return }
        if let due = shaper.circuits[index].ladder?.due, now - due > Self.lateLimit {
            counters.lateReleases += 1
        }
        let isReal = sendShaped(index, circuit: circuit, &bytes, now: now)
        let backlog = shaper.circuits[index].own.count + shaper.circuits[index].backward.count
        shaper.circuits[index].ladder?.noteCell(
            isReal: isReal,
            backlog: backlog,
            now: now,
            random: &shaper.random
        )
        planLadder(index)
    }

    private mutating func planLadder(_ index: Int) {
        guard let due = shaper.circuits[index].ladder?.due else { return }
        shaper.ladders.set(index, to: due)
        shaper.replan()
    }

    /// Ends the schedule of a circuit whose client has stopped keeping it.
    private mutating func isSilent(_ index: Int, circuit: Int, now: Instant) -> Bool {
        guard now - shaper.circuits[index].lastScheduled > RelayShaper.silenceLimit else {
            return false
        }
        shaper.stop(index)
        forgetClocks(of: circuit, now: now)
        return true
    }

    /// Guard: the forward cell of this slot, or PAD.
    private mutating func passOne(
        _ index: Int,
        circuit: Int,
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) {
        if let held = shaper.circuits[index].forward.removeFirst() {
            emitForward(held, circuit: circuit, &bytes, now: now)
        } else if let next = circuits[circuit].next, isCurrent(next) {
            sendPadding(link: next.slot, &bytes, now: now)
        }
    }

    /// Guard: the backward cell of this slot, or PAD.
    private mutating func returnOne(
        _ index: Int,
        circuit: Int,
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let previous = circuits[circuit].previous
        guard isCurrent(previous) else { return }
        guard
            let held = shaper.circuits[index].own.removeFirst()
                ?? shaper.circuits[index].backward.removeFirst()
        else { return sendPadding(link: previous.slot, &bytes, now: now) }
        guard let datagram = links.output.allocate() else { return shaper.store.drop(held.cell) }
        shaper.store.release(held.cell, into: &bytes, at: datagram + Datagram.bodyOffset)
        let header = LinkHeader(
            circuit: previous.number,
            counter: held.counter,
            command: .backward
        )
        if links.send(&bytes, datagram: datagram, link: previous.slot, header: header, now: now) {
            counters.backwardCells += 1
            counters.slotCells += 1
        }
    }

    private mutating func emitForward(
        _ held: HeldCell,
        circuit: Int,
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard let datagram = links.output.allocate() else { return shaper.store.drop(held.cell) }
        shaper.store.release(held.cell, into: &bytes, at: datagram + Datagram.bodyOffset)
        counters.slotCells += 1
        sendForward(
            LayerCounter(rawValue: held.counter),
            &bytes,
            datagram: datagram,
            slot: circuit,
            now: now
        )
    }

    /// Middle: the next cell for the client, cover where none waits; whether it was a real one.
    private mutating func sendShaped(
        _ index: Int,
        circuit: Int,
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) -> Bool {
        guard isCurrent(circuits[circuit].previous),
            circuits[circuit].path?.canSealBackward == true,
            let datagram = links.output.allocate()
        else { return false }
        let body = datagram + Datagram.bodyOffset
        if circuits[circuit].path?.owesParity == true {
            sendParity(&bytes, datagram: datagram, slot: circuit, now: now)
            return false
        }
        let held =
            shaper.circuits[index].own.removeFirst()
            ?? shaper.circuits[index].backward.removeFirst()
        var header = held?.header ?? LayerHeader(command: .drop)
        if shaper.circuits[index].hasParity {
            header.flags.insert(.slotHold)
            header.auxiliary = shaper.circuits[index].heard
        }
        if let held {
            shaper.store.release(held.cell, into: &bytes, at: body)
            counters.slotCells += 1
        } else {
            guard isPaid(circuit, now: now) else {
                sendPadding(link: circuits[circuit].previous.slot, &bytes, now: now)
                return false
            }
            bytes.zero(body..<body + Datagram.bodyByteCount)
            counters.coverCells += 1
        }
        emitBackward(&bytes, datagram: datagram, slot: circuit, header: header, now: now)
        return held != nil
    }

    private mutating func sendPadding(link: Int, _ bytes: inout MutableRawSpan, now: Instant) {
        guard let datagram = links.output.allocate() else { return }
        let body = datagram + Datagram.bodyOffset
        filler.fill(&bytes, range: body..<body + Datagram.bodyByteCount)
        let header = LinkHeader(circuit: CircuitNumber(rawValue: 0), command: .padding)
        if links.send(&bytes, datagram: datagram, link: link, header: header, now: now) {
            counters.paddingCells += 1
        }
    }

    // MARK: Clocks

    /// Asks the relays beside a circuit what their clocks show.
    private mutating func askClocks(of circuit: Int, now: Instant) {
        for link in relayLinks(of: circuit) { links.setAsksClock(true, at: link, now: now) }
    }

    /// Stops asking where no other circuit needs to know.
    private mutating func forgetClocks(of circuit: Int, now: Instant) {
        for link in relayLinks(of: circuit) { links.setAsksClock(false, at: link, now: now) }
        for index in 0..<shaper.circuits.endIndex
        where shaper.circuits.contains(index) && shaper.circuits[index].isRunning {
            askClocks(of: shaper.circuits[index].circuit, now: now)
        }
    }

    private func relayLinks(of circuit: Int) -> [Int] {
        [circuits[circuit].previous, circuits[circuit].next].compactMap { route in
            guard let route, isCurrent(route), links.peer(at: route.slot) != .client else {
                return nil
            }
            return route.slot
        }
    }

    // MARK: Circuits

    /// Takes a circuit that is to be shaped.
    mutating func beginShaping(_ order: ShapeOrder, slot: Int, hop: HopIndex) {
        guard !shaper.circuits.isFull,
            let shaped = ShapedCircuit(order, circuit: slot, hop: hop)
        else { return }
        circuits[slot].shaped = Int32(truncatingIfNeeded: shaper.circuits.insert(shaped))
    }

    /// Forgets a circuit that was shaped, before it goes.
    mutating func endShaping(_ slot: Int, now: Instant) {
        let index = Int(circuits[slot].shaped)
        guard index >= 0 else { return }
        circuits[slot].shaped = -1
        let wasRunning = shaper.circuits[index].isRunning
        shaper.stop(index)
        _ = shaper.circuits.remove(at: index)
        if wasRunning { forgetClocks(of: slot, now: now) }
    }
}
