public import Base
import Flows
import Links
import Wire

// Cells that wait for a line whose rate is limited, and the bound on all that waits.
extension RelayShard {
    /// Cells that leave the queue in one batch at most: what one batch brings at most.
    private static let releaseLimit = 180
    /// Datagrams that may still be made when the queue is left alone: answers to what is released.
    private static let releaseReserve = 16
    /// Bytes of packets that fragments may be put together in for one cell.
    private static let packetByteCount = 65_535
    private static let waitingCellByteCount = Datagram.bodyByteCount + 48

    /// Takes other limits from now on, and cells from `budget`, which other shards may share.
    public mutating func setLimits(
        _ limits: LineLimits,
        sharing budget: LineBudget,
        now: Instant
    ) {
        guard limits != self.limits else { return }
        self.limits = limits
        pacer = LinePacer(budget)
        if queued.count > 0 { releaseDue = now }
    }

    /// Bytes of cells and packets that wait here, on all circuits.
    public var waitingByteCount: Int {
        queued.byteCount + waitingCellCount * Self.waitingCellByteCount + fragmentByteCount
            + shaper.byteCount
    }

    /// Lets a cell wait for its turn.
    mutating func enqueue(
        _ cell: FairQueue.Departure,
        bytes: RawSpan,
        body: Int,
        now: Instant
    ) {
        let slot = cell.circuit
        let pays = circuits[slot].meter.carriesPackets && !circuits[slot].meter.isRefusing
        // Out of the circuit while it is changed: the queue knows nothing of circuits.
        var lane =
            cell.kind == .forward ? circuits[slot].forwardLane : circuits[slot].backwardLane
        let isTaken = queued.append(
            cell,
            bytes: bytes,
            body: body,
            lane: &lane,
            isPaid: pays,
            now: now
        )
        if cell.kind == .forward {
            circuits[slot].forwardLane = lane
        } else {
            circuits[slot].backwardLane = lane
        }
        guard !isTaken else { return }
        counters.lateCells += 1
        circuits[slot].meter.noteShed()
    }

    /// Sends what waits and may go now, in the order of its turns.
    mutating func releaseQueued(_ bytes: inout MutableRawSpan, now: Instant) {
        // What did not wait goes first, and is paid for by what does.
        pacer.charge(sent: links.output.count, received: 0, now: now)
        var released = 0
        while released < Self.releaseLimit, pacer.isOpen(at: now),
            links.output.remainingCapacity > Self.releaseReserve,
            scratchUsed + Self.packetByteCount <= ArenaLayout.scratch.count,
            let cell = queued.next(target: pacer.delayTarget, now: now)
        {
            released += 1
            let before = links.output.count
            release(cell, &bytes, now: now)
            let sent = max(1, links.output.count - before)
            pacer.charge(sent: sent, received: 1, now: now)
        }
        noteDropped()
        releaseDue =
            queued.count == 0
            ? .distantFuture : pacer.isOpen(at: now) ? now : pacer.nextLook
    }

    private mutating func release(
        _ cell: FairQueue.Departure,
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard let datagram = links.output.allocate() else { return }
        queued.release(cell.cell, into: &bytes, at: datagram + Datagram.bodyOffset)
        switch cell.kind {
        case .forward:
            openForward(
                &bytes,
                datagram: datagram,
                slot: cell.circuit,
                counter: LayerCounter(rawValue: cell.counter),
                isMarked: cell.isMarked,
                now: now
            )
        case .backward:
            passBackward(
                &bytes,
                datagram: datagram,
                slot: cell.circuit,
                counter: cell.counter,
                isMarked: cell.isMarked,
                now: now
            )
        case .made:
            var header = LayerHeader(command: .deliver)
            if cell.isMarked {
                header.flags = .congestionExperienced
                counters.markedCells += 1
            }
            sendBackward(&bytes, datagram: datagram, slot: cell.circuit, header: header, now: now)
        }
    }

    private mutating func noteDropped() {
        guard !queued.dropped.isEmpty else { return }
        counters.lateCells += UInt64(queued.dropped.count)
        for slot in queued.dropped where circuits.contains(slot) {
            circuits[slot].meter.noteShed()
        }
        queued.clearDropped()
    }

    /// Ends the circuits whose cells and packets wait longest until a tenth of the room is free.
    ///
    /// Who sends and does not take is the one to go: what stands longest is what nobody moves.
    mutating func enforceQuota(_ bytes: inout MutableRawSpan, now: Instant) {
        guard waitingByteCount > limits.waitingByteLimit else { return }
        var stale: [(since: Instant, slot: Int)] = []
        for slot in 0..<circuits.endIndex where circuits.contains(slot) {
            guard let since = waitingSince(slot) else { continue }
            stale.append((since, slot))
        }
        stale.sort { ($0.since, $0.slot) < ($1.since, $1.slot) }
        let goal = limits.waitingByteLimit - limits.waitingByteLimit / 10
        for (_, slot) in stale {
            guard waitingByteCount > goal else { return }
            counters.quotaKills += 1
            kill(slot, bytes: &bytes, now: now)
        }
    }

    /// Since when the oldest of what a circuit lets wait does; `nil` where it lets nothing.
    private func waitingSince(_ slot: Int) -> Instant? {
        let forward = queued.oldest(of: circuits[slot].forwardLane)
        let backward = queued.oldest(of: circuits[slot].backwardLane)
        var since = [forward, backward].compactMap(\.self).min()
        if !circuits[slot].waiting.isEmpty {
            since = min(since ?? .distantFuture, circuits[slot].lastUsed)
        }
        switch circuits[slot].reassembler {
        case .some(let reassembler):
            guard reassembler.byteCount > 0, let begun = reassembler.begun else { return since }
            return min(since ?? .distantFuture, begun)
        case .none: return since
        }
    }
}
