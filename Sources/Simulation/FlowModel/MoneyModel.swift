import CryptoPrimitives
import Directory
import Paths
import Wire

/// Tickets of a run.
public struct MoneyFigures: Sendable {
    /// Ticks each relay earned.
    public var earnedTicks: [Double]
    /// Ticks each client spent.
    public var spentTicks: [Float]
    /// Orders clients sent to the mints.
    public var orders: UInt64 = 0
    /// Vouchers the mints signed, by denomination's code.
    public var issued: [UInt64] = [0, 0, 0]
    /// Vouchers relays took, by denomination's code.
    public var opened: [UInt64] = [0, 0, 0]
    /// Ticks of vouchers that were opened and not spent to the end: money until reclaimed.
    public var strandedTicks = 0.0
    /// Of the orders, those a circuit waited for.
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
/// A hop is paid for its cells and a few ticks ahead, by a voucher of 16 ticks, then 64, then 1,024;
/// the end of a circuit that was not broken fills the last one to its class. A guard's voucher lives
/// across circuits. A wallet holds vouchers for its guards, its middles and eight exits, buys them in
/// batches, and buys at once what a circuit lacks.
struct MoneyModel {
    let network: DrawnNetwork
    let plan: NetworkPlan
    let streams: Streams

    /// Exits a wallet holds vouchers for.
    private static let stockedExits = 8
    /// Looks at the stock in a ticket epoch, on average.
    private static let looksPerEpoch = 84.0

    /// What one client has at hand, by relay; few of them, so searched in turn.
    private struct Stock {
        var relays: [UInt16] = []
        var trial: [Int32] = []
        var small: [Int32] = []
        var large: [Int32] = []

        mutating func place(of relay: UInt16) -> Int {
            if let place = relays.firstIndex(of: relay) { return place }
            relays.append(relay)
            trial.append(0)
            small.append(0)
            large.append(0)
            return relays.count - 1
        }

        mutating func clear() {
            relays.removeAll(keepingCapacity: true)
            trial.removeAll(keepingCapacity: true)
            small.removeAll(keepingCapacity: true)
            large.removeAll(keepingCapacity: true)
        }
    }

    func run(_ lives: ClientLives) -> MoneyFigures {
        let relays = network.view.relays
        let exits = relays.indices.filter { relays[$0].flags.contains(.exit) }.map { UInt16($0) }
        var figures = MoneyFigures(relayCount: relays.count, clientCount: plan.clientCount)
        var stock = Stock()
        var first = 0
        let circuits = lives.circuits
        while first < circuits.count {
            let client = circuits.client[first]
            var end = first
            while end < circuits.count, circuits.client[end] == client { end += 1 }
            pay(client, first..<end, circuits, exits, &stock, &figures)
            first = end
        }
        return figures
    }

    private func pay(
        _ client: UInt32,
        _ range: Range<Int>,
        _ circuits: CircuitTable,
        _ exits: [UInt16],
        _ stock: inout Stock,
        _ figures: inout MoneyFigures
    ) {
        let batch = Int(plan.parameters.voucherBatch)
        stock.clear()
        // The stock it begins with: what its first circuits show of its middles, and eight exits.
        var draw = 0
        let unit = { () -> Double in
            draw += 1
            return streams.unit(client: client, step: 1 << 20 + draw)
        }
        for index in range {
            _ = stock.place(of: circuits.middle[index])
            if stock.relays.count >= Int(plan.parameters.middleSetCount) { break }
        }
        for _ in 0..<min(Self.stockedExits, exits.count) {
            _ = stock.place(of: exits[Int(unit() * Double(exits.count))])
        }
        let candidateCount = stock.relays.count
        buy(batch, .trial, of: candidateCount, &stock, &figures)
        buy(batch, .small, of: candidateCount, &stock, &figures)
        figures.orders += 1
        figures.issued[Denomination.large.index] += UInt64(
            max(2, min(3, Int(plan.parameters.guardPrimaryCount)))
        )

        var guardTicks = 0.0
        var guardRelay: UInt16?
        for index in range where circuits.cells[index] > 0 {
            let kind = circuits.kind[index]
            let cells = Double(circuits.cells[index])
            let isFilled = kind.contains(.ended) && !kind.contains(.broken)
            let wanted = [circuits.middle[index], circuits.exit[index]]
            let ticks = [
                cells / Double(plan.parameters.tickCells),
                cells / Double(plan.parameters.exitTickCells),
            ]
            for (relay, used) in zip(wanted, ticks) {
                let paid = paid(used, headStart: (unit() * 4).rounded(.down))
                let spent = open(relay, paid, isFilled, of: candidateCount, &stock, &figures)
                figures.earnedTicks[Int(relay)] += spent
                figures.spentTicks[Int(client)] += Float(spent)
            }
            let relay = circuits.guardRelay[index]
            if guardRelay != relay {
                settleGuard(guardRelay, guardTicks, client, &figures)
                guardTicks = (unit() * 4).rounded(.down) + 1
                guardRelay = relay
            }
            guardTicks += cells / Double(plan.parameters.tickCells)
        }
        settleGuard(guardRelay, guardTicks, client, &figures)
        let looks =
            plan.duration * Self.looksPerEpoch
            / Double(max(1, plan.parameters.ticketEpochSeconds))
        restock(looks, unit(), of: candidateCount, &stock, &figures)
    }

    /// Ticks paid for `used` ones: some ahead, a sixteenth once much is paid.
    private func paid(_ used: Double, headStart: Double) -> Double {
        (used.rounded(.down) + max(1 + headStart, min(used / 15, 256).rounded(.down)))
    }

    /// Opens vouchers at a middle or exit until `paid` ticks are paid.
    ///
    /// - Returns: the ticks, with what fills the last voucher to its class.
    private func open(
        _ relay: UInt16,
        _ paid: Double,
        _ isFilled: Bool,
        of candidateCount: Int,
        _ stock: inout Stock,
        _ figures: inout MoneyFigures
    ) -> Double {
        var left = paid
        var spent = 0.0
        var denomination = Denomination.trial
        while left > 0 {
            take(relay, denomination, of: candidateCount, &stock, &figures)
            let size = Double(denomination.tickCount)
            var part = min(left, size)
            left -= part
            if left <= 0, isFilled {
                let width: Double = denomination == .large ? 64 : 16
                part = min(size, (part / width).rounded(.up) * width)
            }
            figures.strandedTicks += size - part
            spent += part
            denomination = denomination.next
        }
        return spent
    }

    private func take(
        _ relay: UInt16,
        _ denomination: Denomination,
        of candidateCount: Int,
        _ stock: inout Stock,
        _ figures: inout MoneyFigures
    ) {
        let place = stock.place(of: relay)
        figures.opened[denomination.index] += 1
        switch denomination {
        case .trial:
            if stock.trial[place] == 0 {
                // Bought at once; the rest of the batch is for the others of the stock.
                stock.trial[place] += 1
                figures.urgentOrders += 1
                buy(
                    Int(plan.parameters.voucherBatch) - 1,
                    .trial,
                    of: candidateCount,
                    &stock,
                    &figures
                )
                figures.issued[Denomination.trial.index] += 1
            }
            stock.trial[place] -= 1
        case .small:
            if stock.small[place] == 0 {
                let batch = Int32(plan.parameters.voucherBatch)
                stock.small[place] += batch
                figures.issued[denomination.index] += UInt64(batch)
                figures.orders += 1
                figures.urgentOrders += 1
            }
            stock.small[place] -= 1
        case .large:
            if stock.large[place] == 0 {
                stock.large[place] += 2
                figures.issued[denomination.index] += 2
                figures.orders += 1
                figures.urgentOrders += 1
            }
            stock.large[place] -= 1
        }
    }

    /// An order of `count` vouchers, spread over the first relays of the stock.
    private func buy(
        _ count: Int,
        _ denomination: Denomination,
        of candidateCount: Int,
        _ stock: inout Stock,
        _ figures: inout MoneyFigures
    ) {
        figures.orders += 1
        figures.issued[denomination.index] += UInt64(count)
        guard candidateCount > 0 else { return }
        for place in 0..<candidateCount {
            let share = Int32(
                count / candidateCount + (place < count % candidateCount ? 1 : 0)
            )
            if denomination == .trial {
                stock.trial[place] += share
            } else {
                stock.small[place] += share
            }
        }
    }

    private func settleGuard(
        _ relay: UInt16?,
        _ ticks: Double,
        _ client: UInt32,
        _ figures: inout MoneyFigures
    ) {
        guard let relay else { return }
        // A sixteenth ahead, as at other hops, and no class: its voucher lives on.
        let paid = ticks.rounded(.down) + min(ticks / 15, 256).rounded(.down)
        figures.earnedTicks[Int(relay)] += paid
        figures.spentTicks[Int(client)] += Float(paid)
        let count = max(1, (paid / 1_024).rounded(.up))
        figures.opened[Denomination.large.index] += UInt64(count)
        figures.strandedTicks += count * 1_024 - paid
        // Three came with the first order; what it uses beyond comes two at a time.
        let more = max(0, count - 2)
        figures.issued[Denomination.large.index] += UInt64((more / 2).rounded(.up)) * 2
        figures.orders += UInt64((more / 2).rounded(.up))
    }

    /// The looks a wallet takes at times of its own, which fill up what is missing.
    private func restock(
        _ looks: Double,
        _ unit: Double,
        of candidateCount: Int,
        _ stock: inout Stock,
        _ figures: inout MoneyFigures
    ) {
        let count = Int(looks) + (unit < looks - looks.rounded(.down) ? 1 : 0)
        guard count > 0 else { return }
        let batch = Int(plan.parameters.voucherBatch)
        if stock.trial.prefix(candidateCount).contains(0) {
            buy(batch, .trial, of: candidateCount, &stock, &figures)
        }
        if stock.small.prefix(candidateCount).contains(0) {
            buy(batch, .small, of: candidateCount, &stock, &figures)
        }
    }
}
