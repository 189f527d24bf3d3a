import Base
import Circuits
import CryptoPrimitives
import TestSupport
import Testing
import Tickets
import Wire

@testable import RelayCore

@Suite("A relay takes vouchers, and only what is one")
struct PaymentDeskTests {
    private static let network = NetworkID(Bytes32([UInt8](repeating: 7, count: 32)) ?? .zero)
    private static let relay = NodeID(Bytes32([UInt8](repeating: 9, count: 32)) ?? .zero)
    private static let wall = WallTime(seconds: 600 * 3_000_000 + 60)
    private static let now = Instant(nanoseconds: 1_000_000_000)
    private static let signer: BlindRSA.PrivateKey = {
        guard let key = try? BlindRSA.PrivateKey() else { preconditionFailure("no randomness") }
        return key
    }()
    private static let authority = Ed25519.SigningKey(seed: .numbered(5))
    private static let circuit = CircuitID(rawValue: 1)

    /// A desk, and what it asked for, taken in at once: the disk and the key work succeed.
    private final class Bench {
        var desk: PaymentDesk
        var said: [ControlMessage] = []
        var allowances: [CellAllowance] = []
        var violations = 0
        var disk: [RecordWrite] = []
        var diskWorks = true

        var earnings: VoucherBook.Earnings { desk.earnings }
        var cannotStore: Bool { desk.cannotStore }

        init(_ records: [StoredRecord] = []) throws {
            desk = PaymentDesk(
                relay: PaymentDeskTests.relay,
                network: PaymentDeskTests.network,
                book: try VoucherBook(records),
                random: RandomGenerator(testSeed: 1)
            )
            desk.setNetwork(try PaymentDeskTests.consensus(), now: PaymentDeskTests.now)
            desk.setAuthorities([2: PaymentDeskTests.authority.publicKey])
        }

        func open(_ hop: HopIndex, isContact: Bool = false) -> CellAllowance? {
            desk.open(
                PaymentDeskTests.circuit,
                hop: hop,
                isContact: isContact,
                now: PaymentDeskTests.now,
                wall: PaymentDeskTests.wall
            )
        }

        func settle() {
            while let step = desk.nextStep() {
                switch step {
                case .say(_, let message): said.append(message)
                case .allow(_, let allowance): allowances.append(allowance)
                case .count: break
                case .violate: violations += 1
                case .verify(let id, let check):
                    desk.finish(id, check, isValid: (try? check.run()) != nil)
                case .errand(.store(let number, let writes)):
                    if diskWorks { disk += writes }
                    desk.stored(number, isDone: diskWorks, now: PaymentDeskTests.now)
                case .errand(.ask): break
                }
            }
        }

        func show(_ open: PayOpen) -> PayResult.Status? {
            desk.receive(open, over: PaymentDeskTests.circuit, wall: PaymentDeskTests.wall)
            settle()
            guard case .payResult(let result)? = said.last else { return nil }
            return result.status
        }
    }

    private static func consensus() throws -> Consensus {
        var parameters = NetworkParameters.lab
        parameters.mintCount = 1
        let der = try signer.publicKey().der
        let announcement = MintAnnouncement(
            network: network,
            index: 0,
            key: .zero,
            published: wall,
            sealingKey: .zero,
            addresses: [],
            epochs: [.init(epoch: 3_000_000, keys: Denomination.allCases.map { _ in der })],
            totals: [],
            burnt: 0
        )
        return Consensus(
            network: network,
            validAfter: wall,
            freshUntil: wall + 10,
            validUntil: wall + 30,
            parameters: parameters,
            previousDigest: .zero,
            logSize: 0,
            logRoot: .zero,
            relays: [],
            mints: MintSection([announcement])
        )
    }

    private static func voucher(
        _ number: UInt64,
        for payee: NodeID = relay,
        epoch: UInt32 = 3_000_000
    ) throws -> (proof: VoucherProof, chain: PaymentChain) {
        var random = RandomGenerator(testSeed: number)
        let chain = PaymentChain(tail: random.bytes32(), count: 16)
        let content = VoucherContent(
            network: network,
            epoch: epoch,
            denomination: .trial,
            relay: payee,
            root: chain.root,
            reclaimCommitment: random.bytes32()
        )
        let key = try signer.publicKey()
        let (blinded, opener) = try key.blind(content.encoded)
        let signature = try key.finalize(
            try signer.blindSign(blinded),
            of: content.encoded,
            with: opener
        )
        let proof = VoucherProof(
            epoch: epoch,
            denomination: .trial,
            setVersion: 0,
            root: content.root,
            reclaimCommitment: content.reclaimCommitment,
            signatures: [signature]
        )
        return (proof, chain)
    }

    @Test("32 cells are free; a voucher gives its ticks and two more, and ticks add to it")
    func taken() throws {
        let bench = try Bench()
        let free = bench.open(.second)
        #expect(free?.cellLimit == 32)
        #expect(free?.carriesPackets == false)
        let (proof, chain) = try Self.voucher(1)
        #expect(bench.show(PayOpen(voucher: proof, place: chain.place(1))) == .taken)
        #expect(bench.allowances.last?.cellLimit == 3 * 256)
        #expect(bench.allowances.last?.carriesPackets == true)
        bench.desk.receive(chain.place(5), over: Self.circuit, now: Self.now, wall: Self.wall)
        bench.settle()
        #expect(bench.allowances.last?.cellLimit == 7 * 256)
        // A further voucher adds up.
        let (second, next) = try Self.voucher(2)
        #expect(bench.show(PayOpen(voucher: second, place: next.place(1))) == .taken)
        #expect(bench.allowances.last?.cellLimit == 8 * 256)
        #expect(bench.earnings.served == 6)
        // A tick is of it or of the one before, of which some may be on the way yet.
        for (place, limit) in [
            (chain.place(8), 11), (next.place(4), 14), (next.place(9), 19), (chain.place(16), 27),
        ] as [(ChainPlace, UInt64)] {
            bench.desk.receive(place, over: Self.circuit, now: Self.now, wall: Self.wall)
            bench.settle()
            #expect(bench.allowances.last?.cellLimit == limit * 256)
        }
        // But not of one before that.
        let (third, last) = try Self.voucher(3)
        #expect(bench.show(PayOpen(voucher: third, place: last.place(1))) == .taken)
        bench.desk.receive(chain.place(16), over: Self.circuit, now: Self.now, wall: Self.wall)
        bench.settle()
        guard case .payResult(let result)? = bench.said.last else {
            Issue.record("nothing is said of a tick of the voucher before the last two")
            return
        }
        #expect(result.status == .invalid)
        #expect(bench.earnings.served == 26)
    }

    @Test("a cell at the exit costs twice")
    func exitPrice() throws {
        let bench = try Bench()
        _ = bench.open(.third)
        let (proof, chain) = try Self.voucher(1)
        _ = bench.show(PayOpen(voucher: proof, place: chain.place(1)))
        #expect(bench.allowances.last?.cellLimit == 3 * 128)
    }

    @Test("each way in which a voucher is wrong has its answer, and three end the circuit")
    func refused() throws {
        let bench = try Bench()
        _ = bench.open(.second)
        let (other, chain) = try Self.voucher(1, for: NodeID(.zero))
        #expect(bench.show(PayOpen(voucher: other, place: chain.place(1))) == .invalid)
        let (old, oldChain) = try Self.voucher(2, epoch: 2_999_998)
        #expect(bench.show(PayOpen(voucher: old, place: oldChain.place(1))) == .epoch)
        #expect(bench.violations == 0)
        let (good, goodChain) = try Self.voucher(3)
        let wrong = ChainPlace(index: 1, value: goodChain.place(2).value)
        _ = bench.show(PayOpen(voucher: good, place: wrong))
        #expect(bench.violations == 1)
        #expect(bench.earnings.vouchers == 0)
    }

    @Test("a voucher is taken once, by a relay that has started again too (row 57)")
    func seen() throws {
        let bench = try Bench()
        _ = bench.open(.second)
        let (proof, chain) = try Self.voucher(1)
        let open = PayOpen(voucher: proof, place: chain.place(1))
        #expect(bench.show(open) == .taken)
        #expect(bench.show(open) == .seen)
        let records = bench.disk.compactMap { write in
            write.value.map { StoredRecord(table: write.table, key: write.key, value: $0) }
        }
        let later = try Bench(records)
        _ = later.open(.second)
        #expect(later.show(open) == .seen)
        #expect(later.earnings.served == 1)
    }

    @Test("what was earned adds up by day and state, on disk too, until all of it is over")
    func days() throws {
        var book = VoucherBook()
        let tickets = try #require(TicketNetwork(try Self.consensus()))
        let day: UInt64 = 86_400
        var writes: [RecordWrite] = []
        for number in 0..<3 as Range<UInt64> {
            let (proof, chain) = try Self.voucher(number)
            let open = PayOpen(voucher: proof, place: chain.place(UInt32(number) + 1))
            let check = try book.begin(open, relay: Self.relay, in: tickets, at: Self.wall)
            book.finish(check, isValid: true)
            if number == 0 {
                book.note([1], of: [open], from: 0, relay: Self.relay, in: tickets)
            }
        }
        #expect(book.earningsByDay.map(\.day) == [UInt32(Self.wall.seconds / day)])
        #expect(book.earnings.served == 6)
        #expect(book.earnings.waiting == 5)
        writes += book.takeTickWrites() + book.takeWrites()
        book.expire(in: tickets, at: Self.wall + 3 * 600)
        #expect(book.count == 0)
        #expect(book.earnings.expired == 5)
        #expect(book.earnings.credited == 1)
        #expect(book.earnings.waiting == 0)
        writes += book.takeWrites()
        var disk: [[UInt8]: StoredRecord] = [:]
        for write in writes {
            disk[[write.table] + write.key] = write.value.map {
                StoredRecord(table: write.table, key: write.key, value: $0)
            }
        }
        let again = try VoucherBook(Array(disk.values))
        #expect(again.earnings == book.earnings)
        #expect(again.count == 0)
    }

    @Test("nothing is served for a voucher the disk does not take (row 62)")
    func fullDisk() throws {
        let bench = try Bench()
        _ = bench.open(.second)
        bench.diskWorks = false
        let (proof, chain) = try Self.voucher(1)
        #expect(bench.show(PayOpen(voucher: proof, place: chain.place(1))) == .full)
        #expect(bench.allowances.isEmpty)
        #expect(bench.cannotStore)
        let (second, next) = try Self.voucher(2)
        #expect(bench.show(PayOpen(voucher: second, place: next.place(1))) == .full)
        // It is written when the disk takes it again, and known as seen all the while.
        bench.diskWorks = true
        bench.desk.advance(to: Self.now + .seconds(6), wall: Self.wall)
        bench.settle()
        #expect(!bench.cannotStore)
        #expect(bench.disk.count == 1)
        #expect(bench.show(PayOpen(voucher: proof, place: chain.place(1))) == .seen)
    }

    @Test("a voucher is attached at the guard, and nowhere else")
    func attached() throws {
        for hop in HopIndex.all {
            let bench = try Bench()
            _ = bench.open(hop)
            let (proof, chain) = try Self.voucher(1)
            _ = bench.show(PayOpen(voucher: proof, place: chain.place(1)))
            let name = proof.content(network: Self.network, relay: Self.relay).name
            bench.desk.receive(
                PayAttach(voucher: name, place: chain.place(3)),
                over: Self.circuit,
                now: Self.now,
                wall: Self.wall
            )
            bench.settle()
            #expect(bench.violations == (hop == .first ? 0 : 1))
            #expect(bench.earnings.served == (hop == .first ? 3 : 1))
        }
    }

    @Test("an authority's pass carries a measurement, once, and nobody else's does")
    func passes() throws {
        let bench = try Bench()
        _ = bench.open(.first)
        func pass(_ nonce: UInt8, minute: UInt32, by key: Ed25519.SigningKey) -> PayPass {
            var pass = PayPass(
                authority: 2,
                minute: minute,
                nonce: [UInt8](repeating: nonce, count: 16)
            )
            pass.signature = key.sign(
                pass.body(for: Self.relay),
                label: .pass,
                network: Self.network.rawValue
            )
            return pass
        }
        let minute = Self.wall.minute
        let good = pass(1, minute: minute, by: Self.authority)
        bench.desk.receive(good, over: Self.circuit, now: Self.now, wall: Self.wall)
        bench.settle()
        #expect(bench.allowances.last?.cellLimit == 32 + 2 * 1_024 + 4_096)
        #expect(bench.allowances.last?.carriesPackets == true)
        let count = bench.allowances.count
        for bad in [
            good, pass(2, minute: minute + 6, by: Self.authority),
            pass(3, minute: minute, by: Ed25519.SigningKey(seed: .numbered(6))),
        ] {
            bench.desk.receive(bad, over: Self.circuit, now: Self.now, wall: Self.wall)
        }
        bench.settle()
        #expect(bench.allowances.count == count)
        #expect(bench.violations == 1)
    }

    @Test("a circuit of first contact grows to a mebibyte, and carries no packets")
    func firstContact() throws {
        let bench = try Bench()
        let first = bench.open(.first, isContact: true)
        #expect(first?.cellLimit == 256)
        #expect(first?.carriesPackets == false)
        for seconds in [1, 10, 100] as [UInt64] {
            bench.desk.counted(
                Self.circuit,
                CellCounts(),
                now: Self.now + .seconds(seconds)
            )
        }
        bench.settle()
        #expect(bench.allowances.map(\.cellLimit) == [304, 736, 773])
        #expect(bench.allowances.allSatisfy { !$0.carriesPackets })
    }

    @Test("first contact: eight an hour for a network, four at once for a relay, 64 in all")
    func contactLimits() {
        var limiter = FirstContactLimiter()
        func admitted(_ source: FirstContactLimiter.Source, _ now: Instant) -> Int {
            (0..<20).count { _ in limiter.admit(source, now: now) }
        }
        let host = IPAddress(high: 0x2001_0db8_0000_0001, low: 5)
        let neighbour = IPAddress(high: 0x2001_0db8_0000_0001, low: 6)
        #expect(admitted(.client(at: host), Self.now) == 8)
        #expect(admitted(.client(at: neighbour), Self.now) == 0)
        #expect(admitted(.client(at: IPAddress(v4: 1)), Self.now) == 8)
        #expect(admitted(.client(at: host), Self.now + .seconds(900)) == 2)
        #expect(admitted(.relay(Self.relay), Self.now) == 4)
        for _ in 0..<FirstContactLimiter.limit { limiter.begin() }
        #expect(admitted(.client(at: IPAddress(v4: 2)), Self.now) == 0)
        limiter.end()
        #expect(admitted(.client(at: IPAddress(v4: 2)), Self.now) == 8)
    }
}
