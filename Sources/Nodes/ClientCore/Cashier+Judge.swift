import Base
import Circuits
import Tickets
import Wire

// Whether circuits give what they are paid for.
extension Cashier {
    /// Learns that a hop drops cells for lack of pay: all say what they have.
    mutating func heardUnpaid(_ id: CircuitID, now: Instant) {
        guard let payment = payments[id], now - payment.askedAt >= Self.askInterval else { return }
        payments[id]?.askedAt = now
        // What is not paid for its losses is not paid for any more, and carries nothing.
        if let blamed = payment.blamed { return leave(id, blamed) }
        for hop in HopIndex.all { steps.append(.say(id, hop, .reportAsk)) }
    }

    mutating func askForJudge(_ id: CircuitID, now: Instant) {
        guard let payment = payments[id], payment.isStanding,
            now - payment.judgedAt >= Self.judgeInterval,
            payment.counts.total - payment.judgedCells >= Self.judgeCells,
            payment.hops.allSatisfy({ !$0.isAsked })
        else { return }
        for hop in HopIndex.all {
            payments[id]?.hops[hop.offset].isAsked = true
            steps.append(.say(id, hop, .reportAsk))
        }
    }

    mutating func judge(_ id: CircuitID, now: Instant, wall: WallTime) {
        guard let payment = payments[id] else { return }
        // Reports are as far apart as the way is long: what is on it, or waits at a hop, is not lost.
        let way = Self.wayTime + min(payment.judge.queueDelay, Self.queueTimeLimit)
        let verdict = payments[id]?.judge.judge(
            skewPermille: way.nanoseconds * 1_000 / max(1, (now - payment.judgedAt).nanoseconds)
        )
        payments[id]?.judgedAt = now
        payments[id]?.judgedCells = payment.counts.total
        guard let verdict = verdict ?? nil else { return }
        switch verdict {
        case .good:
            for offset in 0..<3 {
                reputation.note(payment.hops[offset].relay, isGood: true, at: wall)
                payments[id]?.hops[offset].payer.isSuspended = false
            }
            payments[id]?.blamed = nil
        case .bad(let near, let far):
            blame(near, far, of: id, at: wall)
        case .leave(let near, let far):
            blame(near, far, of: id, at: wall)
            leave(id, (near, far))
        }
    }

    mutating func leave(_ id: CircuitID, _ places: (near: Int, far: Int)) {
        fail(id, nil, "too much is lost between hops \(places.near) and \(places.far)")
    }

    /// Notes the ends of a segment that loses too much, and pays them nothing until it is better.
    mutating func blame(_ near: Int, _ far: Int, of id: CircuitID, at wall: WallTime) {
        guard let payment = payments[id] else { return }
        payments[id]?.blamed = (near, far)
        for place in [near, far] where (1...3).contains(place) {
            reputation.note(payment.hops[place - 1].relay, isGood: false, at: wall)
            payments[id]?.hops[place - 1].payer.isSuspended = true
        }
    }

    /// Takes a hop's report.
    mutating func receive(
        _ report: HopReport,
        from hop: HopIndex,
        of id: CircuitID,
        now: Instant,
        wall: WallTime
    ) {
        guard let known = payments[id]?.hops[hop.offset] else { return }
        do throws(HopPayer.Complaint) {
            try payments[id]?.hops[hop.offset].payer.note(report)
        } catch {
            reputation.note(known.relay, isGood: false, at: wall)
            return fail(id, hop, "hop \(hop.rawValue) counts cells that were not there")
        }
        let isWaiting =
            UInt64(report.usedCells) / UInt64(max(1, known.tickCells))
            >= UInt64(report.paidTicks) + known.windowTicks
        if isWaiting {
            payments[id]?.hops[hop.offset].payer.noteUnpaid()
            // At the guard ticks may have come over another circuit; elsewhere they were shown here.
            if hop != .first, known.payer.paidTicks > UInt64(report.paidTicks),
                known.lastPaid != .zero, now - known.lastPaid >= Self.countLimit
            {
                reputation.note(known.relay, isGood: false, at: wall)
                return fail(id, hop, "hop \(hop.rawValue) does not count what it was paid")
            }
        }
        if known.isAsked {
            payments[id]?.hops[hop.offset].isAsked = false
            payments[id]?.judge.note(report, at: hop.offset)
            // Reports of two rounds are of two moments: only those of one are compared.
            if payments[id]?.hops.contains(where: \.isAsked) == false {
                judge(id, now: now, wall: wall)
            }
        }
        tend(id, now: now, wall: wall)
    }
}
