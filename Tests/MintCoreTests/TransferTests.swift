import Base
import CryptoPrimitives
import TestSupport
import Testing
import Tickets
import Wire

@testable import MintCore

@Suite("Money for other accounts")
struct TransferTests {
    private let other = Bytes32([UInt8](repeating: 5, count: 32)) ?? .zero

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

    private func hasMoved(_ world: MintWorld, _ amount: Credits) -> Bool {
        world.mints.allSatisfy {
            $0.ledger.balance(of: other) == amount
                && $0.ledger.balance(of: world.account.publicKey) == Credits(ticks: 1_000) - amount
        }
    }

    @Test("a transfer reaches every mint once, and vouchers are bought after it")
    func transfer() throws {
        let world = try world(seed: 3)
        let amount = Credits(hundredths: 1_234)
        #expect(world.wallet { $0.transfer(amount, to: other) })
        #expect(world.wallet { $0.isBuying })
        #expect(!world.wallet { $0.transfer(amount, to: other) }, "one order at a time")
        #expect(try world.run { !world.wallet { $0.isBuying } })
        try world.settle()
        #expect(world.notices.contains(.transferred(amount, to: other)))
        #expect(hasMoved(world, amount))
        #expect(world.wallet { $0.sequence } == 1)
        world.wallet { $0.want(.trial, for: world.relay) }
        #expect(try world.run { !world.wallet { $0.owned }.isEmpty })
        try world.settle()
        for mint in world.mints { #expect(mint.ledger.isConsistent(in: world.tickets)) }
    }

    @Test(
        "rows 59, 64: mints and wallet that die at random move money once",
        arguments: SweepSeeds.range(default: 8)
    )
    func crashes(_ seed: UInt64) throws {
        let world = try world(seed: seed)
        let amount = Credits(ticks: 40)
        #expect(world.wallet { $0.transfer(amount, to: other) })
        try world.settle(upTo: 1)
        world.crashPermille = 60
        world.lossPermille = 100
        let hasEnded = try world.run {
            // What is not on the wallet's disk was never begun.
            if world.wallet({ $0.sequence }) == 0, !world.wallet({ $0.isBuying }) {
                _ = world.wallet { $0.transfer(amount, to: other) }
            }
            return world.wallet { $0.sequence } == 1
        }
        #expect(hasEnded)
        world.crashPermille = 0
        world.lossPermille = 0
        try world.settle()
        // At least those that voted debit it; all of them once they hear of the certificate.
        let moved = world.mints.count {
            $0.ledger.balance(of: world.account.publicKey) == Credits(ticks: 960)
        }
        #expect(moved >= world.tickets.threshold)
        #expect(
            world.mints.allSatisfy {
                $0.ledger.balance(of: world.account.publicKey) >= Credits(ticks: 960)
            }
        )
    }

    @Test("an account that has too little keeps what it has, and its number")
    func poor() throws {
        let world = try world(seed: 5)
        #expect(world.wallet { $0.transfer(Credits(ticks: 1_001), to: other) })
        #expect(try world.run { !world.wallet { $0.isBuying } })
        #expect(world.notices.contains(.poor(Credits(ticks: 1_000))))
        #expect(world.wallet { $0.sequence } == 0)
        #expect(hasMoved(world, .zero))
    }

    @Test("a wallet put back from an older copy goes on behind the orders it does not know")
    func olderCopy() throws {
        let world = try world(seed: 6)
        let old = world.walletDisk
        #expect(world.wallet { $0.transfer(Credits(ticks: 1), to: other) })
        #expect(try world.run { world.wallet { $0.sequence } == 1 })
        try world.settle()
        world.walletDisk = old
        try world.crashWallet()
        #expect(world.wallet { $0.sequence } == 0)
        world.wallet { $0.inquire(at: world.wall) }
        #expect(try world.run { world.wallet { $0.sequence } == 1 })
        #expect(world.wallet { $0.transfer(Credits(ticks: 2), to: other) })
        #expect(try world.run { world.wallet { $0.sequence } == 2 })
        try world.settle()
        #expect(hasMoved(world, Credits(ticks: 3)))
    }

    @Test("a person may buy for a relay there are vouchers for already")
    func buyAgain() throws {
        let world = try world(seed: 7)
        for round in 1...2 {
            #expect(world.wallet { $0.buy(.trial, for: [world.relay], at: world.wall) })
            #expect(!world.wallet { $0.buy(.trial, for: [world.relay], at: world.wall) })
            #expect(try world.run { world.wallet { $0.sequence } == UInt64(round) })
            #expect(world.wallet { $0.owned.count } == 16 * round)
        }
    }
}
