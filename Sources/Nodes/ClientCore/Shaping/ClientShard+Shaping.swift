public import Base
import Circuits
import CryptoPrimitives
import Links
import Mixing
import Wire

// Cells of `padded` and `mix` circuits: kept until their time, cover where nothing waits.
extension ClientShard {
    /// Datagrams that may still be made when the next circuit is served.
    private static let shapingReserve = 8
    /// Time without a slot after which what was counted before says nothing: the machine slept.
    private static let sleepLimit: TimeSpan = .seconds(1)

    /// Takes the machine's civil time over, in nanoseconds since 1970: what slots are counted by.
    public mutating func setCivilTime(nanoseconds: UInt64, now: Instant) {
        shaper.clock.set(civilNanoseconds: nanoseconds, now: now)
    }

    /// How far this client's slots are from its own clock, in nanoseconds.
    public var slotCorrection: Int64 {
        shaper.clock.correctionNanoseconds
    }

    // MARK: Circuits

    /// Takes the shape of a circuit that is being built.
    mutating func setShape(_ plan: ShapePlan, slot: Int, now: Instant) {
        guard plan.shape != .fast, circuits[slot].shaped < 0, !shaper.circuits.isFull else {
            return
        }
        let shaped = ShapedTunnelCircuit(plan, circuit: slot, now: now)
        circuits[slot].shaped = Int32(truncatingIfNeeded: shaper.circuits.insert(shaped))
        if case .mix = plan.shape { circuits[slot].path.useParity() }
    }

    /// Lets the cells of a circuit leave by its schedule from now on.
    mutating func keepSchedule(slot: Int, now: Instant) {
        let index = Int(circuits[slot].shaped)
        guard index >= 0, !shaper.circuits[index].isRunning else { return }
        shaper.circuits[index].isRunning = true
        shaper.circuits[index].lastServed = now
        shaper.circuits[index].watch.restart(now: now)
        if let length = shaper.circuits[index].length {
            for place in shaper.rounds.indices where shaper.rounds[place].length == length {
                shaper.rounds[place].add(index, now: now, clock: shaper.clock)
            }
            let link = circuits[slot].route.slot
            if links.slot(of: circuits[slot].route.link) == link {
                links.setAsksClock(true, at: link, now: now)
            }
        } else {
            let ladder = RateLadder(step: 0, now: now, random: &random)
            shaper.circuits[index].ladder = ladder
            shaper.ladders.set(index, to: ladder.due)
        }
        shaper.replan()
    }

    /// Forgets the schedule of a circuit that goes away.
    mutating func endShaping(_ slot: Int, now: Instant) {
        let index = Int(circuits[slot].shaped)
        guard index >= 0 else { return }
        circuits[slot].shaped = -1
        shaper.remove(index)
        let route = circuits[slot].route
        let isNeeded = (0..<shaper.circuits.endIndex).contains { other in
            shaper.circuits.contains(other) && shaper.circuits[other].length != nil
                && circuits[shaper.circuits[other].circuit].route.link == route.link
        }
        if !isNeeded, links.slot(of: route.link) == route.slot {
            links.setAsksClock(false, at: route.slot, now: now)
        }
    }

    /// How the schedule of the circuit in `slot` is kept; `nil` where it has none.
    func shapedTraffic(_ slot: Int) -> ShapedTraffic? {
        let index = Int(circuits[slot].shaped)
        return index >= 0 ? shaper.circuits[index].traffic : nil
    }

    // MARK: Cells that are made

    /// Keeps a cell until its time; false where it leaves at once.
    mutating func hold(
        _ bytes: RawSpan,
        body: Int,
        slot: Int,
        for hop: HopIndex,
        isControl: Bool,
        wantsAnswer: Bool,
        now: Instant
    ) -> Bool {
        let index = Int(circuits[slot].shaped)
        guard shaper.circuits[index].isRunning else { return false }
        let isFull =
            isControl ? shaper.circuits[index].own.isFull : shaper.circuits[index].waiting.isFull
        guard !isFull else {
            counters.lateCells += 1
            circuits[slot].owesForwardMark = true
            return true
        }
        var held = HeldCell(cell: shaper.store.keep(bytes, body: body))
        held.hop = UInt8(truncatingIfNeeded: hop.offset)
        held.wantsAnswer = wantsAnswer
        if isControl {
            _ = shaper.circuits[index].own.append(held)
        } else {
            _ = shaper.circuits[index].waiting.append(held)
        }
        let waiting = shaper.circuits[index].waiting.count
        if waiting > shaper.circuits[index].markDepth { circuits[slot].owesForwardMark = true }
        let backlog = waiting + shaper.circuits[index].own.count
        if shaper.circuits[index].ladder != nil {
            shaper.circuits[index].ladder?.noteBacklog(backlog, now: now, random: &random)
            planLadder(index)
        }
        return true
    }

    /// Sends the parity that is owed where no schedule is kept yet.
    mutating func settleParity(_ bytes: inout MutableRawSpan, slot: Int, now: Instant) {
        guard circuits[slot].path.owesParity, circuits[slot].path.canSend(to: .second),
            let datagram = links.output.allocate()
        else { return }
        let header = circuits[slot].path.sealParity(
            &bytes,
            body: datagram + Datagram.bodyOffset,
            schedule: nil
        )
        count(.second, slot: slot)
        let link = circuits[slot].route.slot
        _ = links.send(&bytes, datagram: datagram, link: link, header: header, now: now)
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
                _ = sendScheduled(index, &bytes, now: now)
                shaper.circuits[index].watch.noteSlot(shaper.rounds[place].slot)
                judge(index, now: now)
            }
        }
        while links.output.remainingCapacity > Self.shapingReserve,
            let index = shaper.ladders.popDue(now: now)
        {
            let isReal = sendScheduled(index, &bytes, now: now)
            let backlog = shaper.circuits[index].waiting.count + shaper.circuits[index].own.count
            shaper.circuits[index].ladder?.noteCell(
                isReal: isReal,
                backlog: backlog,
                now: now,
                random: &random
            )
            planLadder(index)
        }
        shaper.replan()
    }

    private mutating func planLadder(_ index: Int) {
        guard let due = shaper.circuits[index].ladder?.due else { return }
        shaper.ladders.set(index, to: due)
        shaper.replan()
    }

    /// Sends the next cell of a circuit, cover where none waits; whether it was a real one.
    private mutating func sendScheduled(
        _ index: Int,
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) -> Bool {
        let slot = shaper.circuits[index].circuit
        let link = circuits[slot].route.slot
        if now - shaper.circuits[index].lastServed > Self.sleepLimit {
            shaper.circuits[index].watch.restart(now: now)
        }
        shaper.circuits[index].lastServed = now
        guard links.slot(of: circuits[slot].route.link) == link else { return false }
        guard circuits[slot].path.canSend(to: .third) else {
            note(.exhausted(circuits[slot].path.id))
            return false
        }
        guard let datagram = links.output.allocate() else { return false }
        let body = datagram + Datagram.bodyOffset
        shaper.circuits[index].scheduledCells += 1
        if circuits[slot].path.owesParity {
            let header = circuits[slot].path.sealParity(
                &bytes,
                body: body,
                schedule: schedule(index, for: .second)
            )
            count(.second, slot: slot)
            shaper.circuits[index].watch.noteSent()
            _ = links.send(&bytes, datagram: datagram, link: link, header: header, now: now)
            return false
        }
        let held =
            shaper.circuits[index].own.removeFirst()
            ?? shaper.circuits[index].waiting.removeFirst()
        let hop = held.flatMap { HopIndex(offset: Int($0.hop)) } ?? .second
        if let held {
            shaper.store.release(held.cell, into: &bytes, at: body)
            if held.wantsAnswer, circuits[slot].unansweredSince == nil {
                circuits[slot].unansweredSince = now
            }
        } else {
            bytes.zero(body..<body + Datagram.bodyByteCount)
            shaper.circuits[index].coverCells += 1
        }
        let header = circuits[slot].path.seal(
            &bytes,
            body: body,
            for: hop,
            command: held == nil ? .drop : .deliver,
            schedule: schedule(index, for: hop)
        )
        count(hop, slot: slot)
        if hop != .first { shaper.circuits[index].watch.noteSent() }
        _ = links.send(&bytes, datagram: datagram, link: link, header: header, now: now)
        return held != nil
    }

    /// What a cell's layers say of its schedule.
    private mutating func schedule(_ index: Int, for hop: HopIndex) -> ClientPath.Schedule {
        guard shaper.circuits[index].length != nil else {
            return ClientPath.Schedule(tellsGuard: false, hold: 0)
        }
        let range = shaper.circuits[index].plan.hold
        let width = UInt64(range.upperBound - range.lowerBound)
        let drawn = hop == .third ? UInt16(truncatingIfNeeded: random.next(below: width)) : 0
        return ClientPath.Schedule(tellsGuard: true, hold: range.lowerBound + drawn)
    }

    // MARK: Cells that come

    /// Notes how the cell that was opened last came.
    mutating func noteShaped(_ slot: Int, now: Instant) {
        let index = Int(circuits[slot].shaped)
        guard let layer = circuits[slot].path.takeMiddleLayer(),
            let length = shaper.circuits[index].length, shaper.circuits[index].isRunning
        else { return }
        shaper.circuits[index].watch.noteReceived(
            layer.count,
            heard: layer.heard,
            slot: shaper.clock.slot(at: now, length)
        )
    }

    /// Handles the cell that parity brought back, if the one before it did.
    mutating func handleRebuilt(_ bytes: inout MutableRawSpan, slot: Int, now: Instant) {
        guard circuits[slot].path.hasRebuilt, let datagram = links.output.allocate() else { return }
        let body = datagram + Datagram.bodyOffset
        guard let outcome = circuits[slot].path.takeRebuilt(&bytes, body: body) else { return }
        shaper.circuits[Int(circuits[slot].shaped)].rebuiltCells += 1
        handle(outcome, slot: slot, body: body, bytes: &bytes, now: now)
    }

    private mutating func judge(_ index: Int, now: Instant) {
        let slot = shaper.circuits[index].circuit
        guard shaper.circuits[index].watch.isDue(now: now) else { return }
        let route = circuits[slot].route
        if links.slot(of: route.link) == route.slot {
            let count = links.takePaddingCount(at: route.slot)
            shaper.circuits[index].watch.notePadding(count)
        }
        guard let outcome = shaper.circuits[index].watch.judge(now: now) else { return }
        note(.judged(circuits[slot].path.id, outcome))
    }
}
