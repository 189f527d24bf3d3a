import Testing
import Tickets
import Wire

@testable import FlowModel

@Suite("What circuits pay, in the flow model")
struct VoucherSpendingTests {
    /// Vouchers as a full wallet gives them.
    private func next(_ opened: Int) -> Denomination {
        opened == 0 ? .trial : opened == 1 ? .small : .large
    }

    @Test("ticks paid are what the product's payer comes to", arguments: 0..<4)
    func paid(headStart: Int) {
        var payer = HopPayer(tickCells: 1, headStart: UInt64(headStart))
        for used in 0..<20_000 {
            payer.note(own: UInt64(used))
            payer.notePaid(payer.owed)
            let most = VoucherSpending.paid(used: used, headStart: headStart, turn: 0)
            let least = VoucherSpending.paid(used: used, headStart: headStart, turn: 0.999_999)
            let paid = Int(payer.paidTicks)
            // The product's slack follows from what was paid before the last payment.
            guard !(least - 4...most + 1).contains(paid) else { continue }
            Issue.record("\(used): \(paid), \(least) to \(most)")
            return
        }
    }

    @Test(
        "vouchers are opened ahead and filled to their class",
        arguments: [
            (1, [1], [16]), (7, [7], [16]), (8, [8, 1], [16, 16]), (16, [15, 1], [16, 16]),
            (17, [16, 1], [16, 16]), (47, [16, 31], [16, 32]), (48, [16, 32, 1], [16, 32, 64]),
            (81, [16, 64, 1], [16, 64, 64]), (200, [16, 64, 120], [16, 64, 128]),
        ]
    )
    func opened(ticks: Int, spent: [Int], filled: [Int]) {
        var hop = VoucherSpending(paying: ticks, take: next)
        #expect(hop.vouchers.map(\.spent) == spent)
        hop.fill()
        #expect(hop.vouchers.map(\.spent) == filled)
    }

    @Test("a guard's voucher goes on with its next circuit")
    func goesOn() {
        var purse = VoucherSpending(paying: 10) { _ in .large }
        purse.pay(700) { _ in .large }
        #expect(purse.vouchers.map(\.spent) == [710])
        purse.pay(60) { _ in .large }
        #expect(purse.vouchers.map(\.spent) == [769, 1])
        #expect(purse.spent == 770 && purse.left == 2 * 1_024 - 770)
        var fast = VoucherSpending(paying: 7_167) { _ in .bulk }
        #expect(fast.vouchers.map(\.spent) == [7_167])
        fast.pay(2) { _ in .bulk }
        #expect(fast.vouchers.map(\.spent) == [7_168, 1])
    }
}
