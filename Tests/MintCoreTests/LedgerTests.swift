import Base
import CryptoPrimitives
import TestSupport
import Testing
import Tickets
import Wire

@testable import MintCore

@Suite("Orders, deposits, grants and reclaims")
struct LedgerTests {
    private func funded(seed: UInt64 = 1, ticks: UInt64 = 5_000) throws -> MintWorld {
        let world = try MintWorld(seed: seed)
        world.grant(Credits(ticks: ticks))
        #expect(
            try world.run {
                world.mints.allSatisfy { $0.ledger.balance(of: world.account.publicKey) > .zero }
            }
        )
        try world.settle()
        return world
    }

    private func buy(_ denomination: Denomination, in world: MintWorld) throws -> [OwnedVoucher] {
        let before = world.wallet { $0.owned.count }
        world.wallet { $0.want(denomination, for: world.relay) }
        #expect(try world.run { world.wallet { $0.owned.count } > before })
        try world.settle()
        return world.wallet { $0.owned }
    }

    @Test("a grant needs its admins, counts once, and reaches every mint")
    func grants() throws {
        let world = try MintWorld(seed: 1)
        var grant = MintGrant(
            id: .zero,
            account: world.account.publicKey,
            amount: Credits(ticks: 7)
        )
        grant.sign(as: 0, with: world.admins[0], network: MintWorld.network)
        #expect(try world.ask(0, .grant(grant)) == .refused(.malformed))
        // One admin twice is one admin.
        grant.signatures.append(MintVote(mint: 1, signature: grant.signatures[0].signature))
        #expect(try world.ask(0, .grant(grant)) == .refused(.malformed))
        grant.sign(as: 1, with: world.admins[1], network: MintWorld.network)
        #expect(try world.ask(0, .grant(grant)) == .taken([]))
        #expect(try world.ask(0, .grant(grant)) == .taken([]))
        try world.settle()
        for mint in world.mints {
            #expect(mint.ledger.balance(of: world.account.publicKey) == Credits(ticks: 7))
        }
        grant.amount = Credits(ticks: 700)
        #expect(try world.ask(0, .grant(grant)) == .refused(.malformed))
    }

    @Test("what a mint could not tell before it died it tells when it is back, and forgets then")
    func gossipSurvives() throws {
        let world = try MintWorld(seed: 3)
        func grant(_ id: UInt8) -> MintRequest {
            var grant = MintGrant(
                id: Bytes32([UInt8](repeating: id, count: 32)) ?? .zero,
                account: world.account.publicKey,
                amount: Credits(ticks: 7)
            )
            for index in 0..<2 as Range<Int> {
                grant.sign(
                    as: UInt8(index),
                    with: world.admins[index],
                    network: MintWorld.network
                )
            }
            return .grant(grant)
        }
        func balances() -> [Credits] {
            world.mints.map { $0.ledger.balance(of: world.account.publicKey) }
        }
        world.unreachable = [1, 2, 3]
        #expect(try world.ask(0, grant(1)) == .taken([]))
        try world.settle()
        #expect(balances() == [Credits(ticks: 7), .zero, .zero, .zero])
        // Its memory is gone, and what waited in it.
        world.unreachable = [2, 3]
        try world.crash(0)
        try world.settle()
        #expect(balances() == [Credits(ticks: 7), Credits(ticks: 7), .zero, .zero])
        world.unreachable = []
        try world.crash(0)
        try world.settle()
        #expect(balances() == Array(repeating: Credits(ticks: 7), count: 4))
        // The next commit takes what all have heard off the disk.
        #expect(try world.ask(0, grant(2)) == .taken([]))
        try world.settle()
        #expect(world.disks[0].count { $0.key.table == Outbox.table && $0.value != [] } == 1)
        #expect(balances() == Array(repeating: Credits(ticks: 14), count: 4))
    }

    @Test(
        "row 65: each way in which a voucher can be wrong is refused by its relay and by the mints"
    )
    func wrongVouchers() throws {
        let world = try funded()
        let voucher = try #require(try buy(.trial, in: world).first)
        let good = PayOpen(voucher: voucher.proof, place: voucher.chain.place(3))
        var book = VoucherBook()
        func fault(_ open: PayOpen, relay: NodeID? = nil) -> VoucherFault? {
            do throws(VoucherFault) {
                let check = try book.begin(
                    open,
                    relay: relay ?? world.relay,
                    in: world.tickets,
                    at: world.wall
                )
                do throws(VoucherFault) {
                    try check.run()
                    book.finish(check, isValid: true)
                    return nil
                } catch {
                    book.finish(check, isValid: false)
                    throw error
                }
            } catch {
                return error
            }
        }
        var cases: [(String, PayOpen, NodeID?, VoucherFault)] = []
        var open = good
        open.voucher.signatures[1] = open.voucher.signatures[1].flipping(bit: 77)
        cases.append(("malleated", open, nil, .signature))
        open = good
        open.voucher.signatures[0] = [UInt8](repeating: 0, count: 256)
        cases.append(("the identity", open, nil, .signature))
        open = good
        open.voucher.signatures = open.voucher.signatures.map { _ in world.random.bytes(256) }
        cases.append(("forged", open, nil, .signature))
        open = good
        open.voucher.epoch += 1
        world.pass(epochs: 1)
        cases.append(("another epoch", open, nil, .signature))
        open = good
        open.voucher.epoch -= 2
        cases.append(("an epoch that is over", open, nil, .epoch(good.voucher.epoch - 2)))
        cases.append(
            ("another relay", good, NodeID(world.account.publicKey), .signature)
        )
        open = good
        open.voucher.denomination = .large
        cases.append(("another denomination", open, nil, .signature))
        open = good
        open.voucher.signatures.removeLast()
        cases.append(("partial", open, nil, .signatureCount(2)))
        open = good
        open.voucher.signatures[2] = open.voucher.signatures[1]
        cases.append(("one signer twice", open, nil, .signature))
        open = good
        open.voucher.setVersion = 3
        cases.append(("a set that is not named", open, nil, .keys))
        open = good
        open.place.index = 17
        cases.append(("beyond its end", open, nil, .chain))
        open = good
        open.place.value = .zero
        cases.append(("a place off the chain", open, nil, .chain))
        open = good
        open.place = ChainPlace(index: 0, value: voucher.content.root)
        cases.append(("nothing paid", open, nil, .chain))
        for (what, open, relay, expected) in cases {
            #expect(fault(open, relay: relay) == expected, "\(what)")
            guard open.place.index > 0 else { continue }
            let request = MintRequest.deposit(relay: relay ?? world.relay, rows: [open])
            #expect(try world.ask(0, request) == .taken([0]), "\(what)")
        }
        #expect(fault(good) == nil)
        #expect(fault(good) == .seen)
        // Rows 57, 58: not here again, not after a restart, and not at another relay.
        let writes = book.takeWrites()
        #expect(writes.count == 1)
        book = try VoucherBook(
            writes.compactMap { write in
                write.value.map { StoredRecord(table: write.table, key: write.key, value: $0) }
            }
        )
        #expect(fault(good) == .seen)
    }

    @Test("deposits grow to the deepest place, whatever comes in which order, and burn their part")
    func deposits() throws {
        let world = try funded()
        let voucher = try #require(try buy(.small, in: world).first)
        func row(_ index: UInt32) -> MintRequest {
            let open = PayOpen(voucher: voucher.proof, place: voucher.chain.place(index))
            return .deposit(relay: world.relay, rows: [open])
        }
        #expect(try world.ask(0, row(5)) == .taken([5]))
        #expect(try world.ask(1, row(40)) == .taken([40]))
        #expect(try world.ask(0, row(17)) == .taken([17]))
        #expect(try world.ask(0, row(3)) == .taken([17]))
        try world.settle()
        for mint in world.mints {
            #expect(mint.ledger.deposited(voucher.content.name) == 40)
            #expect(
                mint.ledger.balance(of: world.relay.rawValue) == Credits(hundredths: 40 * 98)
            )
            #expect(mint.ledger.burnt == 80)
            #expect(mint.ledger.isConsistent(in: world.tickets))
        }
        world.pass(epochs: 3)
        #expect(try world.ask(0, row(64)) == .taken([40]))
    }

    @Test(
        "what is left of a voucher is given back after its time, once, and no tick goes both ways"
    )
    func reclaims() throws {
        let world = try funded(ticks: 512)
        let vouchers = try buy(.small, in: world)
        #expect(vouchers.count == 8)
        let voucher = try #require(vouchers.first)
        let open = PayOpen(voucher: voucher.proof, place: voucher.chain.place(10))
        #expect(try world.ask(0, .deposit(relay: world.relay, rows: [open])) == .taken([10]))
        try world.settle()
        // The wallet knows of 4 ticks only: the mints know better.
        world.wallet { wallet in
            _ = wallet.take(.small, for: world.relay, at: world.wall)
            for voucher in vouchers { wallet.note(spent: 4, of: voucher.content.name) }
        }
        world.pass(epochs: 3)
        #expect(try world.ask(0, .deposit(relay: world.relay, rows: [open])) == .taken([10]))
        world.pass(seconds: 200)
        let isDone = try world.run(steps: 40_000) {
            world.wallet { $0.sums.givenBack } >= 60 * 7 + 54
        }
        #expect(isDone)
        try world.settle()
        let sums = world.wallet { $0.sums }
        #expect(sums.bought == 512)
        #expect(sums.reclaimed == 8 * 48)
        #expect(
            sums.bought + sums.reclaimed
                == world.wallet { $0.spent } + world.wallet { $0.outstanding } + sums.givenBack
                + sums.expired
        )
        for index in world.tickets.designated(
            epoch: world.tickets.epoch(at: world.wall),
            version: 0
        ) {
            let mint = world.mints[Int(index)]
            let totals = try #require(
                mint.ledger.epochTotals.first { $0.epoch == voucher.content.epoch }
            )
            #expect(totals.reclaimed[Denomination.small.index] == 60 * 7 + 54)
            #expect(totals.deposited[Denomination.small.index] == 10)
            // Only who was designated when they were bought has signed them.
            let signers = world.tickets.designated(epoch: voucher.content.epoch, version: 0)
            #expect(
                totals.issued[Denomination.small.index] == (signers.contains(index) ? 8 : 0)
            )
        }
    }

    @Test("what is left of a bulk voucher comes back as large, small and trial ones, all of it")
    func bulk() throws {
        let world = try funded(ticks: 20_000)
        #expect(world.wallet { $0.buy(.bulk, for: [world.relay], at: world.wall) })
        #expect(try world.run { !world.wallet { $0.owned.isEmpty } })
        try world.settle()
        let vouchers = world.wallet { $0.owned }
        #expect(vouchers.map(\.content.denomination) == [.bulk])
        let voucher = try #require(vouchers.first)
        for index in [1, 2_000] as [UInt32] {
            let open = PayOpen(voucher: voucher.proof, place: voucher.chain.place(index))
            #expect(
                try world.ask(0, .deposit(relay: world.relay, rows: [open])) == .taken([index])
            )
        }
        try world.settle()
        world.wallet { wallet in
            _ = wallet.take(.bulk, for: world.relay, at: world.wall)
            wallet.note(spent: 2_000, of: voucher.content.name)
        }
        world.pass(epochs: 3)
        world.pass(seconds: 200)
        #expect(try world.run(steps: 40_000) { world.wallet { $0.sums.givenBack } == 6_192 })
        try world.settle()
        let owned = world.wallet { $0.owned }
        let sums = world.wallet { $0.sums }
        #expect(sums.bought == 8_192 && sums.reclaimed == 6_192 && sums.spent == 2_000)
        #expect(world.wallet { $0.outstanding } == 6_192)
        #expect(owned.count { $0.content.denomination == .large } == 6)
        #expect(owned.count { $0.content.denomination == .trial } == 3)
        for voucher in owned {
            let open = PayOpen(voucher: voucher.proof, place: voucher.chain.place(1))
            try VoucherCheck(open, relay: voucher.content.relay, in: world.tickets).run()
        }
        for mint in world.mints {
            #expect(mint.ledger.isConsistent(in: world.tickets))
            // Burnt at the deposit, and nothing with the claim.
            #expect(mint.ledger.burnt == 2_000 * 2)
        }
        let epoch = try #require(owned.first).content.epoch
        for index in world.tickets.designated(epoch: epoch, version: 0) {
            let totals = world.mints[Int(index)].ledger.epochTotals.first { $0.epoch == epoch }
            #expect(totals?.issued == [0, 6, 3, 0])
        }
    }

    @Test(
        "double withdrawal: with one bad mint of four, at most one order of a number is ever whole"
    )
    func doubleWithdrawal() throws {
        let world = try funded(ticks: 100)
        func transfer(_ to: UInt8) -> MintOrder {
            var order = MintOrder(
                account: world.account.publicKey,
                sequence: 0,
                content: .transfer(
                    to: Bytes32([UInt8](repeating: to, count: 32)) ?? .zero,
                    amount: Credits(ticks: 100)
                )
            )
            order.signature = world.account.sign(
                order.body,
                label: .order,
                network: MintWorld.network.rawValue
            )
            return order
        }
        let orders = [transfer(50), transfer(51)]
        // Every way in which the client can show its two orders to three honest mints.
        for pattern in 0..<8 {
            let world = try funded(ticks: 100)
            var votes: [[MintVote]] = [[], []]
            for mint in 0..<3 {
                for turn in 0..<2 {
                    let which = (pattern >> mint & 1) ^ turn
                    let reply = try world.ask(
                        mint,
                        .order(orders[which], certificates: [], blinded: [])
                    )
                    switch reply {
                    case .vote(let signature, _):
                        votes[which].append(
                            MintVote(mint: UInt8(mint), signature: signature)
                        )
                    case .refused(let reason, _):
                        #expect(reason == .conflict)
                    default: Issue.record("\(String(describing: reply))")
                    }
                }
            }
            // The bad one votes for both.
            for which in 0..<2 {
                let digest = SHA256.digest(orders[which].encoded).bytes
                votes[which].append(
                    MintVote(
                        mint: 3,
                        signature: world.mintKeys[3].sign(
                            digest,
                            label: .vote,
                            network: MintWorld.network.rawValue
                        )
                    )
                )
            }
            let certificates = zip(orders, votes).map { OrderCertificate(order: $0, votes: $1) }
            let whole = certificates.filter { world.tickets.isValid($0) }
            #expect(whole.count <= 1)
            // The one that is whole stands at every mint, and replaces what they voted for.
            for certificate in whole {
                for mint in 0..<3 {
                    #expect(
                        try world.ask(mint, .certificates([certificate])) == .taken([])
                    )
                    #expect(
                        world.mints[mint].ledger.balance(of: world.account.publicKey) == .zero
                    )
                    guard case .transfer(let to, _) = certificate.order.content else { continue }
                    #expect(world.mints[mint].ledger.balance(of: to) == Credits(ticks: 100))
                    #expect(world.mints[mint].ledger.isConsistent(in: world.tickets))
                }
            }
        }
    }

    @Test("an order waits for the certificates of all before it")
    func gaps() throws {
        let world = try funded()
        var order = MintOrder(
            account: world.account.publicKey,
            sequence: 2,
            content: .transfer(to: .zero, amount: Credits(ticks: 1))
        )
        order.signature = world.account.sign(
            order.body,
            label: .order,
            network: MintWorld.network.rawValue
        )
        #expect(
            try world.ask(0, .order(order, certificates: [], blinded: []))
                == .refused(.needsCertificates, detail: 0)
        )
        order.signature = order.signature.flipping(bit: 3)
        #expect(
            try world.ask(0, .order(order, certificates: [], blinded: []))
                == .refused(.malformed)
        )
    }

    @Test(
        "row 66: a mint that signs with a key of its own choice is found out, and nothing is taken"
    )
    func taggedUser() throws {
        let world = try funded()
        // One mint signs with the keys of another. Those have the larger modulus, or they could not
        // sign each message that was blinded for the smaller one.
        let set = world.tickets.designated(epoch: world.tickets.epoch(at: world.wall), version: 0)
        let bySize = try set.map(Int.init).sorted {
            let ders = try [$0, $1].map { try MintWorld.signingKeys[$0][2].publicKey().der }
            return ders[0].lexicographicallyPrecedes(ders[1])
        }
        let (bad, other) = (bySize[0], bySize[1])
        for epoch in MintWorld.epochs(world.wall) {
            for code in MintWorld.signingKeys[other].indices {
                world.disks[bad][
                    MintWorld.Key(table: 6, key: MintWorld.keyName(epoch, code))
                ] = MintWorld.signingKeys[other][code].der
            }
        }
        try world.crash(bad)
        world.wallet { $0.want(.trial, for: world.relay) }
        let isFound = try world.run { world.notices.contains(.tagged(mint: UInt8(bad))) }
        #expect(isFound)
        #expect(world.wallet { $0.owned }.isEmpty)
        // A consensus that changes a published key is refused too.
        var keys = MintWorld.signingKeys
        keys[2] = MintWorld.signingKeys[0]
        let changed = try MintWorld.tickets(
            world.mintKeys,
            wall: world.wall,
            signingKeys: keys
        )
        world.wallet { $0.setTickets(changed) }
        #expect(world.notices.contains(.tagged(mint: 2)))
    }

    @Test("an order begun under one set of mints is finished under the next, and nothing is lost")
    func setChange() throws {
        let world = try funded()
        let epoch = world.tickets.epoch(at: world.wall)
        let (old, new) = (
            world.tickets.designated(epoch: epoch, version: 0),
            world.tickets.designated(epoch: epoch, version: 1)
        )
        #expect(old != new)
        let dead = Int(try #require(old.first { !new.contains($0) }))
        world.wallet { $0.want(.trial, for: world.relay) }
        // One designated mint never answers.
        let isStuck = try world.run(steps: 400) {
            world.events.removeAll {
                if case .ask(_, dead, _) = $0 { true } else { false }
            }
            return false
        }
        #expect(!isStuck && world.wallet { $0.owned }.isEmpty)
        world.tickets = try MintWorld.tickets(world.mintKeys, wall: world.wall, setVersion: 1)
        for index in world.mints.indices { world.mints[index].setTickets(world.tickets) }
        world.wallet { $0.setTickets(world.tickets) }
        #expect(try world.run { !world.wallet { $0.owned }.isEmpty })
        let voucher = try #require(world.wallet { $0.owned }.first)
        #expect(voucher.setVersion == 1)
        let open = PayOpen(voucher: voucher.proof, place: voucher.chain.place(1))
        try VoucherCheck(open, relay: world.relay, in: world.tickets).run()
    }
}
