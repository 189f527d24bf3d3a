import Base
import Circuits
import CryptoPrimitives
import Flows
import Links
import Onion
import Wire

// Cells that came are opened hop by hop, and those that go are sealed.
extension ClientShard {
    mutating func handle(
        _ outcome: ClientPath.Opened,
        slot: Int,
        body: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        switch outcome {
        case .records(let hop, let flags):
            noteAnswer(flags, slot: slot, now: now)
            count(hop, slot: slot)
            let isMarked = isQueueLong || flags.contains(.congestionExperienced)
            receiveRecords(
                from: hop,
                slot: slot,
                body: body,
                isMarked: isMarked,
                isForwardMarked: flags.contains(.forwardCongestion),
                bytes: &bytes,
                now: now
            )
        case .nothing(let flags):
            noteAnswer(flags, slot: slot, now: now)
            // Cover and parity are the middle's.
            if circuits[slot].shaped >= 0 { count(.second, slot: slot) }
        case .dropped:
            counters.droppedCells += 1
        case .waiting(let position):
            guard circuits[slot].waiting.count < Self.waitingCellLimit else {
                counters.droppedCells += 1
                return
            }
            circuits[slot].waiting.append(
                WaitingCell(
                    body: bytes.bytes.copyBytes(body..<body + Datagram.bodyByteCount),
                    position: position
                )
            )
        }
    }

    /// Notes that hops live, and what the flags of their layers say.
    private mutating func noteAnswer(_ flags: LayerHeader.Flags, slot: Int, now: Instant) {
        circuits[slot].unansweredSince = nil
        if flags.contains(.forwardCongestion) { circuits[slot].owesForwardMark = true }
        if flags.contains(.unpaid), circuits[slot].countMark != .max,
            now - circuits[slot].toldUnpaid >= Self.unpaidInterval
        {
            circuits[slot].toldUnpaid = now
            note(.unpaid(circuits[slot].path.id))
        }
    }

    /// Counts a cell for, or from, `hop`.
    mutating func count(_ hop: HopIndex, slot: Int) {
        circuits[slot].counts.note(hop.offset)
        if circuits[slot].counts.total >= circuits[slot].countMark { noteCounts(slot) }
    }

    mutating func noteCounts(_ slot: Int) {
        let (total, step) = (circuits[slot].counts.total, circuits[slot].countStep)
        // Pay is ahead by a sixteenth of what is used, up to a bound: an eighth of that is soon enough.
        let stride = max(step, min(total / 128, step * Self.widestCount))
        circuits[slot].countMark = total + stride
        note(.counted(circuits[slot].path.id, circuits[slot].counts))
    }

    mutating func releaseWaiting(
        _ slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let waiting = circuits[slot].waiting
        circuits[slot].waiting = []
        for cell in waiting {
            // Opened where cells are made; the place is not used for anything else afterwards.
            guard let datagram = links.output.allocate() else {
                counters.overflow += 1
                return
            }
            let body = datagram + Datagram.bodyOffset
            bytes.copy(cell.body, to: body)
            let outcome = circuits[slot].path.resume(&bytes, body: body, from: cell.position)
            handle(outcome, slot: slot, body: body, bytes: &bytes, now: now)
        }
    }

    private mutating func receiveRecords(
        from hop: HopIndex,
        slot: Int,
        body: Int,
        isMarked: Bool,
        isForwardMarked: Bool,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        var cursor = RecordCursor(payload: body..<body + OnionLayer.innerByteCount(at: hop))
        do throws(WireError) {
            while let record = try cursor.next(in: bytes.bytes) {
                switch record {
                case .control(let range):
                    note(.control(circuits[slot].path.id, hop, bytes.bytes.copyBytes(range)))
                case .probe(let range):
                    guard bytes.byte(at: range.lowerBound) == 1 else { continue }
                    let sequence: UInt32 = bytes.bytes.loadBigEndian(at: range.lowerBound + 1)
                    let mark: UInt64 = bytes.bytes.loadBigEndian(at: range.lowerBound + 5)
                    if !runningSeries.isEmpty,
                        receiveSeries(
                            slot: slot,
                            hop: hop,
                            sequence: sequence,
                            mark: mark,
                            now: now
                        )
                    {
                        continue
                    }
                    guard hop == circuits[slot].echo?.hop else { continue }
                    circuits[slot].echo?.receive(
                        sequence: sequence,
                        mark: mark,
                        isMarked: isMarked || isForwardMarked,
                        now: now
                    )
                case .packet(let range):
                    // Only the exit speaks to the tunnel.
                    guard hop == .third else { continue }
                    deliver(range, slot: slot, isMarked: isMarked, bytes: &bytes, now: now)
                case .firstFragment, .furtherFragment:
                    guard hop == .third else { continue }
                    receiveFragment(
                        record,
                        slot: slot,
                        isMarked: isMarked,
                        bytes: &bytes,
                        now: now
                    )
                }
            }
        } catch {
            counters.droppedCells += 1
        }
    }

    // MARK: Cells

    mutating func sendControl(
        _ record: [UInt8],
        over slot: Int,
        to hop: HopIndex,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard circuits[slot].path.canSend(to: hop), let datagram = links.output.allocate() else {
            counters.overflow += 1
            return
        }
        bytes.copy(
            RecordPayload.make(kind: ControlRecord.recordKind, body: record, hop: hop),
            to: datagram + Datagram.bodyOffset
        )
        sendCell(
            slot,
            datagram: datagram,
            to: hop,
            isControl: true,
            wantsAnswer: !ControlRecord.isAcknowledgement(record),
            bytes: &bytes,
            now: now
        )
    }

    mutating func sendCell(
        _ slot: Int,
        datagram: Int,
        to hop: HopIndex,
        isControl: Bool = false,
        wantsAnswer: Bool = true,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let route = circuits[slot].route
        guard links.slot(of: route.link) == route.slot else { return }
        guard circuits[slot].path.canSend(to: hop) else {
            return note(.exhausted(circuits[slot].path.id))
        }
        let body = datagram + Datagram.bodyOffset
        let isShaped = circuits[slot].shaped >= 0
        if isShaped,
            hold(
                bytes.bytes,
                body: body,
                slot: slot,
                for: hop,
                isControl: isControl,
                wantsAnswer: wantsAnswer,
                now: now
            )
        {
            return
        }
        let header = circuits[slot].path.seal(&bytes, body: body, for: hop)
        count(hop, slot: slot)
        if wantsAnswer, circuits[slot].unansweredSince == nil {
            circuits[slot].unansweredSince = now
        }
        _ = links.send(&bytes, datagram: datagram, link: route.slot, header: header, now: now)
        if isShaped { settleParity(&bytes, slot: slot, now: now) }
    }
}
