import Base
import CryptoPrimitives
import TestSupport
import Testing
import Wire

@testable import Tickets

@Suite("Bulk vouchers pay for what is fast")
struct BulkVoucherTests {
    private static let relay = NodeID(Bytes32([UInt8](repeating: 9, count: 32)) ?? .zero)
    private static let network = NetworkID(.zero)
    private static let wall = WallTime(seconds: 1_800_000_000)

    private func tickets() throws -> TicketNetwork {
        let announcement = MintAnnouncement(
            network: Self.network,
            index: 0,
            key: .zero,
            published: Self.wall,
            sealingKey: .zero,
            addresses: [],
            epochs: [],
            totals: [],
            burnt: 0
        )
        return try #require(
            TicketNetwork(
                network: Self.network,
                parameters: .lab,
                announcements: [announcement]
            )
        )
    }

    private func owned(_ denomination: Denomination, epoch: UInt32 = 1) -> OwnedVoucher {
        var random = RandomGenerator(testSeed: UInt64(denomination.rawValue))
        return OwnedVoucher(
            network: Self.network,
            epoch: epoch,
            denomination: denomination,
            relay: Self.relay,
            random: &random
        )
    }

    /// A wallet with these vouchers for the relay.
    private func wallet(_ denominations: [Denomination]) throws -> Wallet {
        let tickets = try tickets()
        let epoch = tickets.epoch(at: Self.wall)
        let records = denominations.map { denomination in
            let voucher = owned(denomination, epoch: epoch)
            var writer = ByteWriter()
            voucher.write(to: &writer)
            return StoredRecord(
                table: Wallet.Table.voucher,
                key: voucher.content.name.bytes,
                value: writer.bytes
            )
        }
        var wallet = try Wallet(
            network: Self.network,
            key: Ed25519.SigningKey(seed: Secret(copying: [UInt8](repeating: 1, count: 32))),
            records: records,
            random: RandomGenerator(testSeed: 1)
        )
        wallet.setTickets(tickets)
        return wallet
    }

    @Test("it is shown third at the earliest, and only after one that was used up fast")
    func order() {
        for isGuard in [false, true] {
            for openedCount in 0..<5 {
                let slow = VoucherChoice.order(
                    after: openedCount,
                    isGuard: isGuard,
                    isFast: false
                )
                let fast = VoucherChoice.order(
                    after: openedCount,
                    isGuard: isGuard,
                    isFast: true
                )
                #expect(!slow.contains(.bulk))
                #expect(fast == (openedCount < 2 ? slow : [.bulk] + slow))
                let usual: Denomination =
                    isGuard || openedCount > 1 ? .large : openedCount == 0 ? .trial : .small
                #expect(slow.first == usual)
            }
        }
    }

    @Test("a large one is taken where the flow is slow or there is no bulk one")
    func choice() throws {
        let (fast, slow) = (
            VoucherChoice.order(after: 3, isGuard: false, isFast: true),
            VoucherChoice.order(after: 3, isGuard: false, isFast: false)
        )
        let cases: [([Denomination], [Denomination], Denomination?)] = [
            ([.large, .bulk], fast, .bulk), ([.large, .bulk], slow, .large),
            ([.large], fast, .large), ([.trial], fast, .trial), ([.bulk], slow, nil),
        ]
        for (held, order, expected) in cases {
            var wallet = try wallet(held)
            let taken = wallet.takeFirst(of: order, for: Self.relay, at: Self.wall)
            #expect(taken?.voucher.content.denomination == expected, "\(held)")
        }
        // What is lacking is never waited for as a bulk one, and no circuit begins with one.
        var empty = try wallet([])
        let taken = empty.takeFirst(of: fast, for: Self.relay, at: Self.wall)
        let wanted = Set(empty.wants.map(\.denomination))
        #expect(taken == nil && wanted == [.large, .trial])
        let bulky = try wallet([.bulk])
        let payable = bulky.payable(at: Self.wall)
        #expect(payable.isEmpty)
    }

    @Test("one is bought ahead for a fast relay, where the account is known to pay for two")
    func purchase() throws {
        let price = Credits(ticks: 8_192)
        let cases: [(Credits?, Bool, Bool)] = [
            (price + price, true, true), (price + price, false, false),
            (price + price - Credits(hundredths: 1), true, false), (nil, true, false),
        ]
        for (balance, isFast, isWanted) in cases {
            var wallet = try wallet([])
            if let balance { wallet.balances = [0: balance] }
            wallet.stockAhead(Self.relay, after: .large, isFast: isFast, at: Self.wall)
            var questions = 0
            while let step = wallet.nextStep() {
                if case .ask(_, _, .inquiry) = step { questions += 1 }
            }
            let wanted = Set(wallet.wants.map(\.denomination))
            #expect(wanted == (isWanted ? [.large, .bulk] : [.large]), "\(isFast) \(questions)")
            // The mints are asked how an account stands of which that is not known.
            #expect(questions == (balance == nil ? 1 : 0))
        }
        var held = try wallet([.bulk, .large])
        held.balances = [0: price + price]
        held.stockAhead(Self.relay, after: .bulk, isFast: true, at: Self.wall)
        let wanted = held.wants.count
        #expect(wanted == 0)
    }

    @Test("a tick in a little less than 10 ms is fast, for large ones and bulk ones")
    func pace() {
        let start = Instant(nanoseconds: 5_000_000_000)
        let cases: [(Denomination, UInt64, TimeSpan, Bool)] = [
            (.large, 1_024, .seconds(10), true), (.large, 1_024, .milliseconds(10_001), false),
            (.large, 768, .milliseconds(7_500), true), (.large, 768, .seconds(8), false),
            (.bulk, 8_192, .seconds(80), true), (.bulk, 8_192, .milliseconds(80_001), false),
            (.small, 64, .milliseconds(1), false), (.trial, 16, .milliseconds(1), false),
        ]
        for (denomination, ticks, time, isFast) in cases {
            var open = OpenVoucher(taken: owned(denomination))
            open.noteReserved(denomination.tickCount)
            #expect(!open.isFast(at: start))
            open.begin(at: start)
            _ = open.advance(by: ticks)
            #expect(open.isFast(at: start + time) == isFast, "\(denomination) \(ticks) \(time)")
        }
        // What was shown before it began to pay does not count.
        var resumed = owned(.large)
        resumed.spent = 1_000
        var open = OpenVoucher(resuming: resumed)
        open.noteReserved(1_024)
        open.begin(at: start)
        _ = open.advance(by: 24)
        #expect(!open.isFast(at: start + .seconds(1)))
    }

    @Test("further ticks are reserved by strides of each kind")
    func strides() throws {
        let cases: [(Denomination, UInt32, UInt32)] = [
            (.small, 16, 32), (.large, 256, 512), (.bulk, 2_048, 4_096),
        ]
        for (denomination, first, second) in cases {
            var open = OpenVoucher(taken: owned(denomination))
            #expect(open.reserved == first)
            #expect(open.wantedReserve(for: UInt64(first / 2)) == nil)
            #expect(open.advance(by: 10_000)?.ticks == UInt64(first))
            let mark = try #require(open.wantedReserve(for: 1))
            #expect(mark == second)
            open.noteReserved(mark)
            #expect(open.advance(by: 10_000)?.place.index == second)
        }
    }

    @Test(
        "a chain of which few values are kept is the plain chain",
        arguments: [16, 64, 100, 1_024, 8_192]
    )
    func checkpoints(count: Int) {
        let tail = Bytes32([UInt8](repeating: 7, count: 32)) ?? .zero
        var plain = [Bytes32](repeating: tail, count: count + 1)
        for index in stride(from: count, to: 0, by: -1) {
            plain[index - 1] = PaymentChain.step(plain[index], index: UInt32(index))
        }
        var chain = PaymentChain(tail: tail, count: UInt32(count))
        #expect(chain.count == UInt32(count) && chain.root == plain[0])
        for index in 0...count {
            let place = ChainPlace(index: UInt32(index), value: plain[index])
            guard chain.place(place.index) == place, chain.walk(to: place.index) == place else {
                Issue.record("another value at \(index)")
                return
            }
        }
        // Walked over by steps, and back again.
        let steps = Array(stride(from: 0, through: count, by: 37))
        for index in steps + steps.reversed() {
            let place = ChainPlace(index: UInt32(index), value: plain[index])
            #expect(chain.walk(to: place.index) == place && chain.place(place.index) == place)
        }
        let (first, last) = (chain.place(0), chain.place(UInt32(count)))
        #expect(PaymentChain.leads(last, to: first))
        #expect(!PaymentChain.leads(ChainPlace(index: last.index, value: .zero), to: first))
    }
}
