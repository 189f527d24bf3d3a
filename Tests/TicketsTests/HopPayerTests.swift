import Base
import CryptoPrimitives
import TestSupport
import Testing
import Wire

@testable import Tickets

@Suite("A client pays a hop just ahead of what it carries")
struct HopPayerTests {
    private func report(_ used: UInt32, paid: UInt32 = 0) -> HopReport {
        HopReport(paidTicks: paid, forwardIn: used, forwardOut: 0, backwardIn: 0, backwardOut: 0)
    }

    @Test("ahead of use are never more than max(4, paid / 16) ticks", arguments: 0..<4)
    func ahead(headStart: UInt64) {
        var payer = HopPayer(tickCells: 256, headStart: headStart)
        for cells in stride(from: UInt64(0), to: 1_000_000, by: 50) {
            payer.note(own: cells)
            payer.notePaid(payer.owed)
            let used = cells / 256
            let bound = max(4, payer.paidTicks / 16)
            #expect(payer.paidTicks <= used + bound, "\(cells)")
            // Never so far behind that a hop would stop: it gives two ticks on credit.
            #expect(payer.paidTicks + HopPayer.credit > used, "\(cells)")
        }
    }

    @Test("a hop that had to wait is paid three or four ahead")
    func hurried() {
        for headStart in 0..<4 as Range<UInt64> {
            var payer = HopPayer(tickCells: 256, headStart: headStart)
            #expect(payer.owed == 1 + headStart)
            payer.noteUnpaid()
            #expect((3...4).contains(payer.owed))
        }
    }

    @Test("pay follows the hop's count where less came than the client sent")
    func loss() throws {
        var payer = HopPayer(tickCells: 100, headStart: 0)
        payer.note(own: 10_000)
        try payer.note(report(6_000))
        #expect(payer.usedCells == 6_000)
        payer.note(own: 10_500)
        #expect(payer.usedCells == 6_500)
        // What is on the way is no loss.
        try payer.note(report(10_000))
        #expect(payer.usedCells == 10_500)
    }

    @Test("a hop may count 5 % and 512 cells more than the client, and no cell beyond")
    func overcount() throws {
        var payer = HopPayer(tickCells: 100, headStart: 0)
        payer.note(own: 10_000)
        try payer.note(report(11_012))
        #expect(throws: HopPayer.Complaint.overcount) { try payer.note(report(11_013)) }
    }

    @Test("counts run modulo 2^32, and are read as those near the client's")
    func wrapping() throws {
        var payer = HopPayer(tickCells: 100, headStart: 0)
        payer.note(own: 1 << 32 + 10)
        try payer.note(report(UInt32.max))
        #expect(payer.usedCells == 1 << 32 + 10)
        try payer.note(report(20))
        #expect(payer.usedCells == 1 << 32 + 20)
        payer.note(own: 1 << 32 - 10)
        #expect(payer.usedCells == 1 << 32 + 20)
    }

    @Test("nothing is paid while it is suspended")
    func suspended() {
        var payer = HopPayer(tickCells: 100, headStart: 3)
        payer.isSuspended = true
        payer.note(own: 10_000)
        #expect(payer.owed == 0)
    }

    private func owned(_ denomination: Denomination, spent: UInt32) -> OwnedVoucher {
        var random = RandomGenerator(testSeed: 1)
        var voucher = OwnedVoucher(
            network: NetworkID(.zero),
            epoch: 1,
            denomination: denomination,
            relay: NodeID(.zero),
            random: &random
        )
        voucher.spent = spent
        return voucher
    }

    @Test("a voucher is shown as far as the disk knows, and no further")
    func reserved() throws {
        var open = OpenVoucher(taken: owned(.small, spent: 1))
        // The first stride is on disk with the voucher.
        #expect(open.advance(by: 100)?.ticks == 16)
        #expect(open.advance(by: 1) == nil)
        let mark = try #require(open.wantedReserve(for: 3))
        #expect(mark == 32)
        open.noteReserved(mark)
        #expect(open.advance(by: 100)?.ticks == 16)
        #expect(open.index == 32)
        #expect(open.left == 32)
        // After a crash it goes on where the disk says, never before.
        let later = OpenVoucher(resuming: owned(.small, spent: mark))
        #expect(later.index == 32)
    }

    @Test("the next voucher is made ready while a part of this one is left")
    func nearEnd() {
        let cases: [(Denomination, UInt64)] = [
            (.trial, 8), (.small, 32), (.large, 768), (.bulk, 7_168),
        ]
        for (denomination, shown) in cases {
            var open = OpenVoucher(taken: owned(denomination, spent: 1))
            open.noteReserved(denomination.tickCount)
            _ = open.advance(by: shown - 1)
            #expect(!open.isNearEnd, "\(denomination)")
            _ = open.advance(by: 1)
            #expect(open.isNearEnd, "\(denomination)")
        }
    }

    @Test("on an orderly close a voucher is filled to its class, and to no more than it has")
    func classes() {
        let cases: [(Denomination, UInt64, UInt32)] = [
            (.trial, 3, 16), (.trial, 16, 16), (.small, 17, 32), (.small, 63, 64),
            (.large, 65, 128), (.large, 1_001, 1_024), (.bulk, 65, 128), (.bulk, 8_130, 8_192),
        ]
        for (denomination, shown, filled) in cases {
            var open = OpenVoucher(taken: owned(denomination, spent: 1))
            open.noteReserved(denomination.tickCount)
            _ = open.advance(by: shown)
            _ = open.topUp()
            #expect(open.index == filled, "\(denomination) \(shown)")
        }
        var unopened = OpenVoucher(taken: owned(.small, spent: 1))
        #expect(unopened.topUp() == nil)
    }
}
