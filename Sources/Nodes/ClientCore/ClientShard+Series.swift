import Base
import Circuits
import Flows
import Links
import Onion
import Wire

/// A series of echoes over one circuit.
struct RunningSeries {
    let circuit: CircuitID
    let token: UInt64
    var series: EchoSeries
}

// Echoes at a steady pace: what `umbel ping` and `umbel trace` measure by.
extension ClientShard {
    /// Begins a series; one more than there may be ends with nothing sent.
    mutating func begin(_ series: EchoSeries, over id: CircuitID, token: UInt64) {
        guard runningSeries.count < EchoSeries.seriesLimit, slot(of: id) != nil else {
            return note(.pinged(id, token: token, series.outcome))
        }
        runningSeries.append(RunningSeries(circuit: id, token: token, series: series))
    }

    /// When a series has a cell to send, or is over.
    var nextSeriesDeadline: Instant {
        var deadline = Instant.distantFuture
        for running in runningSeries { deadline = min(deadline, running.series.nextDeadline) }
        return deadline
    }

    /// Sends the cells that are due, and reports the series that are over.
    mutating func advanceSeries(to now: Instant, bytes: inout MutableRawSpan) {
        for index in runningSeries.indices { sendDue(index, bytes: &bytes, now: now) }
        guard runningSeries.contains(where: { $0.series.isOver(at: now) }) else { return }
        for running in runningSeries where running.series.isOver(at: now) {
            note(.pinged(running.circuit, token: running.token, running.series.outcome))
        }
        runningSeries.removeAll { $0.series.isOver(at: now) }
    }

    private mutating func sendDue(_ index: Int, bytes: inout MutableRawSpan, now: Instant) {
        let hop = runningSeries[index].series.hop
        guard let slot = slot(of: runningSeries[index].circuit), canSend(slot, to: hop) else {
            return runningSeries[index].series.giveUp()
        }
        while links.output.remainingCapacity > Self.echoReserve, canSend(slot, to: hop),
            let cell = runningSeries[index].series.nextCell(now: now, using: &random)
        {
            guard sendProbe(cell, slot: slot, to: hop, bytes: &bytes, now: now) else { return }
        }
    }

    /// Takes a cell of a series that came back; false for any other.
    mutating func receiveSeries(
        slot: Int,
        hop: HopIndex,
        sequence: UInt32,
        mark: UInt64,
        now: Instant
    ) -> Bool {
        for index in runningSeries.indices
        where runningSeries[index].series.hop == hop
            && self.slot(of: runningSeries[index].circuit) == slot
        {
            if runningSeries[index].series.receive(sequence: sequence, mark: mark, now: now) {
                return true
            }
        }
        return false
    }

    /// Ends the series of a circuit that goes away: their last cells are lost.
    mutating func endSeries(of id: CircuitID) {
        for running in runningSeries where running.circuit == id {
            note(.pinged(id, token: running.token, running.series.outcome))
        }
        runningSeries.removeAll { $0.circuit == id }
    }
}
