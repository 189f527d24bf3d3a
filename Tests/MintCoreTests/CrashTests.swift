import Base
import CryptoPrimitives
import TestSupport
import Testing
import Tickets
import Wire

@testable import MintCore

@Suite("Mints and wallets that die at any point")
struct CrashTests {
    private static let seeds = SweepSeeds.range(default: 12)
    private let price = Credits(ticks: 16 * 16)

    /// A wallet that was given money and wants a voucher.
    private func world(seed: UInt64) throws -> MintWorld {
        let world = try MintWorld(seed: seed)
        world.grant(Credits(ticks: 1_000))
        #expect(
            try world.run {
                world.mints.allSatisfy { $0.ledger.balance(of: world.account.publicKey) > .zero }
            }
        )
        try world.settle()
        return world
    }

    private func check(_ world: MintWorld, spentOnce: Credits) throws {
        try world.settle()
        let set = world.tickets.designated(
            epoch: world.tickets.epoch(at: world.wall),
            version: 0
        )
        for index in set {
            let mint = try world.makeMint(Int(index))
            #expect(
                mint.ledger.balance(of: world.account.publicKey)
                    == Credits(ticks: 1_000) - spentOnce
            )
            #expect(mint.ledger.isConsistent(in: world.tickets))
            #expect(mint.ledger.epochTotals.first?.issued == [0, 0, 16, 0])
        }
        // Every voucher is good, and all of them are of one order.
        let owned = world.wallet { $0.owned }
        #expect(owned.count == 16)
        for voucher in owned {
            let open = PayOpen(voucher: voucher.proof, place: voucher.chain.place(1))
            let check = try VoucherCheck(open, relay: voucher.content.relay, in: world.tickets)
            try check.run()
        }
        #expect(world.wallet { $0.sums.bought } == 256)
    }

    @Test(
        "row 59: a mint that dies at a failpoint gives the same signatures when asked again, and debits once",
        arguments: MintWorld.Failpoint.allCases,
        seeds
    )
    func failpoints(_ point: MintWorld.Failpoint, _ seed: UInt64) throws {
        let world = try world(seed: seed)
        world.failpoint = point
        world.wallet { $0.want(.trial, for: world.relay) }
        #expect(try world.run { !world.wallet { $0.owned }.isEmpty })
        #expect(world.crashes == 1)
        try check(world, spentOnce: price)
    }

    @Test(
        "rows 59, 64: mints and wallet die at random and answers are lost; nothing is paid twice",
        arguments: seeds
    )
    func chaos(_ seed: UInt64) throws {
        let world = try world(seed: seed)
        world.crashPermille = 60
        world.lossPermille = 100
        world.wallet { $0.want(.trial, for: world.relay) }
        let hasBought = try world.run {
            // What was wanted is not on disk before the order is: a person asks again.
            if !world.wallet({ $0.isBuying }), world.wallet({ $0.owned }).isEmpty {
                world.wallet { $0.want(.trial, for: world.relay) }
            }
            return !world.wallet { $0.owned }.isEmpty
        }
        #expect(hasBought)
        world.crashPermille = 0
        world.lossPermille = 0
        try check(world, spentOnce: price)
    }

    @Test("the same order gives the same bytes for ever, over a restart too")
    func sameAnswer() throws {
        let world = try world(seed: 1)
        world.wallet { $0.want(.trial, for: world.relay) }
        var requests: [(Int, MintRequest)] = []
        var first: [Int: MintReply] = [:]
        _ = try world.run {
            for case .ask(_, let mint, let request) in world.events {
                if case .order = request, !requests.contains(where: { $0.0 == mint }) {
                    requests.append((mint, request))
                }
            }
            return requests.count == 3
        }
        for (mint, request) in requests { first[mint] = try world.ask(mint, request) }
        for (mint, request) in requests {
            try world.crash(mint)
            #expect(try world.ask(mint, request) == first[mint])
            guard case .vote = first[mint] else {
                Issue.record("mint \(mint) did not vote: \(String(describing: first[mint]))")
                continue
            }
        }
    }

    @Test("a commit that fails answers nobody, and what was asked is done once when asked again")
    func failedCommit() throws {
        let world = try world(seed: 2)
        let other = NodeID(Bytes32([UInt8](repeating: 5, count: 32)) ?? .zero)
        var order = MintOrder(
            account: world.account.publicKey,
            sequence: 0,
            content: .transfer(to: other.rawValue, amount: Credits(ticks: 10))
        )
        order.signature = world.account.sign(
            order.body,
            label: .order,
            network: MintWorld.network.rawValue
        )
        let request = MintRequest.order(order, certificates: [], blinded: [])
        world.mints[0].receive(request, token: 4, at: world.wall)
        guard case .commit = world.mints[0].nextAction() else {
            Issue.record("nothing is to be committed")
            return
        }
        world.mints[0].committed(false)
        guard case .reply(4, .refused(.unavailable, _)) = world.mints[0].nextAction() else {
            Issue.record("it did not say that it cannot")
            return
        }
        #expect(world.mints[0].hasFailed)
        #expect(try world.ask(0, request) == .refused(.unavailable))
        try world.mints[0].reload(MintWorld.records(world.disks[0]))
        world.mints[0].setTickets(world.tickets)
        guard case .vote = try world.ask(0, request) else {
            Issue.record("it does not vote after it was mended")
            return
        }
        #expect(
            world.mints[0].ledger.balance(of: world.account.publicKey) == Credits(ticks: 990)
        )
    }
}
