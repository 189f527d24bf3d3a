import Tickets
import Wire

/// The vouchers one hop of one circuit takes, and how far each is spent (§A.5).
///
/// What `HopPayer`, `OpenVoucher` and `Cashier` of the product come to, without their steps: a hop is
/// paid for whole ticks of what it carried and a few ahead; the voucher after the one in use is shown,
/// with its first tick, while some of that is left; and an orderly end fills each to its class.
struct VoucherSpending {
    /// Vouchers in the order they were opened: ticks they have, and ticks shown of them.
    private(set) var vouchers: [(denomination: Denomination, spent: Int)] = []

    /// Ticks shown.
    var spent: Int { vouchers.reduce(0) { $0 + $1.spent } }
    /// Ticks of opened vouchers that nobody was shown.
    var left: Int { vouchers.reduce(0) { $0 + Int($1.denomination.tickCount) - $1.spent } }

    /// Ticks that are paid for `used` ones.
    ///
    /// - Parameters:
    ///   - headStart: 0 to 3, drawn once for a circuit and hop.
    ///   - turn: 0 up to 1: how far the next large payment is away, where payments are large.
    static func paid(used: Int, headStart: Int, turn: Double) -> Int {
        let first = 1 + headStart
        // ahead = max(first, min(paid / 16, 256)) and paid = used + ahead, in whole ticks.
        var ahead = first
        while ahead < 256, max(first, min((used + ahead) / 16, 256)) > ahead { ahead += 1 }
        let slack = used + ahead >= 64 ? Int(turn * Double(ahead / 2 + 1)) : 0
        return used + ahead - slack
    }

    /// Opens a first voucher and pays `ticks` in all.
    ///
    /// - Parameter take: gives the voucher that comes next, by how many were opened before.
    init(paying ticks: Int, take: (_ openedCount: Int) -> Denomination) {
        vouchers = [(take(0), 1)]
        pay(ticks - 1, take: take)
    }

    /// Pays `ticks` more, and opens what is opened ahead.
    mutating func pay(_ ticks: Int, take: (_ openedCount: Int) -> Denomination) {
        var left = ticks
        var current = vouchers.firstIndex { $0.spent < $0.denomination.tickCount } ?? 0
        while true {
            let size = Int(vouchers[current].denomination.tickCount)
            let hasNext = current + 1 < vouchers.count
            let mark = size - size / Int(vouchers[current].denomination.lastPart)
            let goal = hasNext ? size : mark
            let step = max(0, min(left, goal - vouchers[current].spent))
            vouchers[current].spent += step
            left -= step
            if !hasNext, vouchers[current].spent >= mark {
                vouchers.append((take(vouchers.count), 1))
                left -= 1
            } else if hasNext, vouchers[current].spent == size {
                current += 1
            } else {
                return
            }
            if left <= 0, vouchers[current].spent < mark || current + 1 < vouchers.count { return }
        }
    }

    /// Fills each voucher to its class, as the orderly end of a circuit does.
    mutating func fill() {
        for place in vouchers.indices {
            let size = Int(vouchers[place].denomination.tickCount)
            let width = Int(vouchers[place].denomination.fillWidth)
            vouchers[place].spent = min(size, (vouchers[place].spent + width - 1) / width * width)
        }
    }
}
