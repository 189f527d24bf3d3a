import Base
import CryptoPrimitives
import Directory
import Paths
import Tickets
import Wire

/// Tickets of a run.
public struct MoneyFigures: Sendable {
    /// Ticks each relay earned.
    public var earnedTicks: [Double]
    /// Of those, ticks that came all at once, to fill a voucher whose circuit ended.
    public var filledTicks = 0.0
    /// Ticks each client spent.
    public var spentTicks: [Float]
    /// Orders clients sent to the mints.
    public var orders: UInt64 = 0
    /// Vouchers the mints signed, by denomination's code.
    public var issued: [UInt64] = Denomination.allCases.map { _ in 0 }
    /// Vouchers relays took, by denomination's code.
    public var opened: [UInt64] = Denomination.allCases.map { _ in 0 }
    /// Ticks of vouchers that were opened and not spent to the end: money until reclaimed.
    public var strandedTicks = 0.0
    /// Of the orders, those a circuit waited for, or would wait for soon.
    public var urgentOrders: UInt64 = 0

    init(relayCount: Int, clientCount: Int) {
        earnedTicks = [Double](repeating: 0, count: relayCount)
        spentTicks = [Float](repeating: 0, count: clientCount)
    }

    /// Vouchers signed.
    public var issuedCount: UInt64 { issued.reduce(0, +) }
    /// Vouchers taken: rows relays deposit at each mint.
    public var openedCount: UInt64 { opened.reduce(0, +) }

    /// Ticks of the vouchers signed.
    public var issuedTicks: Double {
        Denomination.allCases.reduce(0) { $0 + Double(issued[$1.index]) * Double($1.tickCount) }
    }
}

/// What circuits cost their clients and bring their relays (§A.5).
///
/// Each circuit that is used pays each hop, for itself; a guard's voucher lives across circuits.
struct MoneyModel {
    let network: DrawnNetwork
    let plan: NetworkPlan
    let streams: Streams

    func run(_ lives: ClientLives) -> MoneyFigures {
        var figures = MoneyFigures(
            relayCount: network.view.relays.count,
            clientCount: plan.clientCount
        )
        var first = 0
        let circuits = lives.circuits
        while first < circuits.count {
            let client = circuits.client[first]
            var end = first
            while end < circuits.count, circuits.client[end] == client { end += 1 }
            pay(client, first..<end, lives, &figures)
            first = end
        }
        return figures
    }

    private func pay(
        _ client: UInt32,
        _ range: Range<Int>,
        _ lives: ClientLives,
        _ figures: inout MoneyFigures
    ) {
        let circuits = lives.circuits
        guard let firstIndex = range.first else { return }
        var draw = 0
        let unit = { () -> Double in
            draw += 1
            return streams.unit(client: client, step: 1 << 20 + draw)
        }
        // Its middles, as far as its circuits show them, and the exits it has vouchers for.
        var candidates: [UInt16] = []
        for index in range where !candidates.contains(circuits.middle[index]) {
            candidates.append(circuits.middle[index])
            if candidates.count >= Int(plan.parameters.middleSetCount) { break }
        }
        candidates += lives.stock(of: client)
        var shelf = VoucherShelf(
            candidates: candidates,
            guardRelay: circuits.guardRelay[firstIndex],
            guardCount: min(Int(plan.parameters.guardPrimaryCount), network.guardCount),
            plan.parameters,
            from: Double(circuits.start[firstIndex]),
            client: client,
            streams: streams
        )
        var purse: VoucherSpending?
        var guardRelay = circuits.guardRelay[firstIndex]
        for index in range where !circuits.kind[index].contains(.spare) {
            shelf.look(until: Double(circuits.start[index]))
            let kind = circuits.kind[index]
            let cells = Double(circuits.cells[index])
            let paid = { (cellCount: UInt32) in
                VoucherSpending.paid(
                    used: Int(cells / Double(max(1, cellCount))),
                    headStart: Int(unit() * 4),
                    turn: unit()
                )
            }
            // Evenly over its life: a circuit that is fast for a while only is not told apart.
            let seconds = Double(circuits.end[index] - circuits.start[index])
            let isFast = { (ticks: Int) in
                seconds * 1e9 <= Double(ticks) * Double(OpenVoucher.fastTick.nanoseconds)
            }
            for (relay, cellCount) in [
                (circuits.middle[index], plan.parameters.tickCells),
                (circuits.exit[index], plan.parameters.exitTickCells),
            ] {
                let ticks = paid(cellCount)
                var hop = VoucherSpending(paying: ticks) {
                    shelf.take($0, at: relay, isGuard: false, isFast: isFast(ticks))
                }
                if kind.contains(.ended), !kind.contains(.broken) {
                    let paid = hop.spent
                    hop.fill()
                    figures.filledTicks += Double(hop.spent - paid)
                }
                note(hop, relay, client, &figures)
            }
            let relay = circuits.guardRelay[index]
            if relay != guardRelay {
                if let purse { note(purse, guardRelay, client, &figures) }
                purse = nil
                guardRelay = relay
                shelf.setGuard(relay)
            }
            let ticks = paid(plan.parameters.tickCells)
            let take = { (count: Int) in
                shelf.take(count, at: relay, isGuard: true, isFast: isFast(ticks))
            }
            if purse == nil {
                purse = VoucherSpending(paying: ticks, take: take)
            } else {
                purse?.pay(ticks, take: take)
            }
        }
        if let purse { note(purse, guardRelay, client, &figures) }
        shelf.look(until: plan.duration)
        figures.orders += UInt64(shelf.orders)
        figures.urgentOrders += UInt64(shelf.urgentOrders)
        for code in figures.issued.indices {
            figures.issued[code] += UInt64(shelf.issued[code])
            figures.opened[code] += UInt64(shelf.opened[code])
        }
    }

    private func note(
        _ hop: VoucherSpending,
        _ relay: UInt16,
        _ client: UInt32,
        _ figures: inout MoneyFigures
    ) {
        figures.earnedTicks[Int(relay)] += Double(hop.spent)
        figures.spentTicks[Int(client)] += Float(hop.spent)
        figures.strandedTicks += Double(hop.left)
    }
}
