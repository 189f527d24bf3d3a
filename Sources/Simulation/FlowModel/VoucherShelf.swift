import Foundation
import Tickets
import Wire

/// What one client's wallet holds, and when it buys (§A.5.1).
///
/// The product's `VoucherStock` and `Wallet` without their messages: at drawn times the wallet looks
/// and orders what is missing of a large voucher for each guard, a trial and a small one for each
/// middle and eight exits; what a circuit lacks is ordered at once. Money is always enough.
struct VoucherShelf {
    /// What happened, for the sums.
    private(set) var orders = 0
    /// Orders a circuit waited for.
    private(set) var urgentOrders = 0
    /// Vouchers signed, by denomination's code.
    private(set) var issued = Denomination.allCases.map { _ in 0 }
    /// Vouchers opened, by denomination's code.
    private(set) var opened = Denomination.allCases.map { _ in 0 }

    private struct Entry {
        var relay: UInt16
        var isCandidate: Bool
        var counts = Denomination.allCases.map { _ in 0 }
        /// Large vouchers that were opened.
        var largeOpened = 0
    }

    private var entries: [Entry] = []
    private let batch: Int
    private let guardCount: Int
    private var guardRelay: UInt16
    // Guards but the one in use whose large voucher was bought.
    private var otherGuards = 0
    private let meanLook: Double
    private var nextLook: Double
    private let streams: Streams
    private let client: UInt32
    private var lookCount = 0

    // Beyond all steps and payments that draw for a client.
    private static let firstStep = 1 << 22

    /// Looks in an epoch, on average.
    static let looksPerEpoch = 84.0

    /// - Parameters:
    ///   - candidates: middles and stocked exits.
    ///   - guardCount: guards a large voucher is held for.
    init(
        candidates: [UInt16],
        guardRelay: UInt16,
        guardCount: Int,
        _ parameters: NetworkParameters,
        from time: Double,
        client: UInt32,
        streams: Streams
    ) {
        entries = candidates.map { Entry(relay: $0, isCandidate: true) }
        batch = Int(parameters.voucherBatch)
        self.guardCount = guardCount
        self.guardRelay = guardRelay
        meanLook = max(1, Double(parameters.ticketEpochSeconds)) / Self.looksPerEpoch
        nextLook = time
        self.streams = streams
        self.client = client
    }

    /// Takes the looks that are due by `time`.
    mutating func look(until time: Double) {
        while nextLook <= time {
            look()
            lookCount += 1
            let unit = streams.unit(client: client, step: Self.firstStep + lookCount)
            nextLook += 0.001 - meanLook * log(1 - unit)
        }
    }

    private mutating func look() {
        let large = Denomination.large.index
        var wantsGuards = guardCount - 1 - otherGuards
        otherGuards = guardCount - 1
        let own = place(of: guardRelay)
        if entries[own].counts[large] == 0 { wantsGuards += 1 }
        if wantsGuards > 0 {
            let count = max(2, wantsGuards)
            note(count, .large)
            if entries[own].counts[large] == 0 {
                entries[own].counts[large] = count - wantsGuards + 1
            }
        }
        for denomination in [Denomination.trial, .small] {
            let wanting = entries.indices.filter {
                entries[$0].isCandidate && entries[$0].counts[denomination.index] == 0
            }
            if !wanting.isEmpty { order(denomination, for: wanting) }
        }
    }

    /// Orders a batch: one for each place in `wanting`, filled up as the wallet does.
    private mutating func order(_ denomination: Denomination, for wanting: [Int]) {
        var places = wanting
        if denomination == .trial {
            for place in entries.indices
            where places.count < batch && entries[place].isCandidate && !places.contains(place) {
                places.append(place)
            }
        }
        let base = places
        while places.count < batch { places.append(base[(places.count - base.count) % base.count]) }
        for place in places { entries[place].counts[denomination.index] += 1 }
        note(places.count, denomination)
    }

    private mutating func note(_ count: Int, _ denomination: Denomination) {
        orders += 1
        issued[denomination.index] += count
    }

    private mutating func place(of relay: UInt16) -> Int {
        if let place = entries.firstIndex(where: { $0.relay == relay }) { return place }
        entries.append(Entry(relay: relay, isCandidate: false))
        return entries.count - 1
    }

    /// The guard is another one from now on.
    mutating func setGuard(_ relay: UInt16) {
        guardRelay = relay
        // One of those a voucher was bought for.
        let place = place(of: relay)
        if otherGuards > 0, entries[place].counts[Denomination.large.index] == 0,
            entries[place].largeOpened == 0
        {
            entries[place].counts[Denomination.large.index] = 1
        }
    }

    /// Takes the voucher that comes next at a relay of which a circuit has opened so many.
    ///
    /// - Parameter isFast: whether the circuit uses them up fast.
    mutating func take(
        _ openedCount: Int,
        at relay: UInt16,
        isGuard: Bool,
        isFast: Bool
    ) -> Denomination {
        let place = place(of: relay)
        let isFast = isFast && entries[place].largeOpened > 0
        let order = VoucherChoice.order(after: openedCount, isGuard: isGuard, isFast: isFast)
        if !order.contains(where: { entries[place].counts[$0.index] > 0 }) {
            urgentOrders += 1
            self.order(.trial, for: [place])
            switch order[0] {
            case .trial: break
            case .small: self.order(.small, for: [place])
            case .large, .bulk: buyLarge(place)
            }
        }
        let taken = order.first { entries[place].counts[$0.index] > 0 } ?? .trial
        entries[place].counts[taken.index] -= 1
        opened[taken.index] += 1
        if taken == .large { entries[place].largeOpened += 1 }
        if openedCount > 0, isFast, entries[place].counts[Denomination.bulk.index] == 0 {
            urgentOrders += 1
            entries[place].counts[Denomination.bulk.index] += 1
            note(1, .bulk)
        }
        // Who carries this much is likely to carry more.
        if openedCount > 0, entries[place].counts[Denomination.large.index] == 0 {
            urgentOrders += 1
            buyLarge(place)
        }
        return taken
    }

    private mutating func buyLarge(_ place: Int) {
        let count = entries[place].largeOpened > 0 ? 8 : 2
        entries[place].counts[Denomination.large.index] += count
        note(count, .large)
    }
}
