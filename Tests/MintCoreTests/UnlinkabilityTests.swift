import Base
import CryptoPrimitives
import Testing
import Tickets
import Wire

@testable import MintCore

@Suite("What the mints see when they sign, and what comes back to them")
struct UnlinkabilityTests {
    /// Every run of eight bytes in `texts`.
    private func runs(of texts: [[UInt8]]) -> Set<[UInt8]> {
        var runs: Set<[UInt8]> = []
        for text in texts where text.count >= 8 {
            for start in 0...(text.count - 8) { runs.insert(Array(text[start..<start + 8])) }
        }
        return runs
    }

    @Test("no eight bytes of a deposit were ever seen by the mints that signed for it")
    func noCommonBytes() throws {
        let world = try MintWorld(seed: 11)
        world.grant(Credits(ticks: 1_000))
        #expect(
            try world.run {
                world.mints.allSatisfy { $0.ledger.balance(of: world.account.publicKey) > .zero }
            }
        )
        world.wallet { $0.want(.trial, for: world.relay) }
        #expect(try world.run { !world.wallet { $0.owned }.isEmpty })
        try world.settle()
        let vouchers = world.wallet { $0.owned }
        #expect(vouchers.count == 16)
        // The whole conversation is there: what each mint was asked to sign, and what it gave.
        let seen = runs(of: world.log)
        let votes = world.log.count { (try? MintReply(parsing: $0)).map(Self.isVote) ?? false }
        #expect(votes >= 3)
        for voucher in vouchers {
            let place = voucher.chain.place(7)
            let shown =
                [
                    voucher.content.root.bytes, voucher.content.reclaimCommitment.bytes,
                    place.value.bytes, voucher.content.name.bytes,
                ] + voucher.signatures
            #expect(runs(of: shown).isDisjoint(with: seen))
        }
        // The look would find something that is common to both: the account's name is in the orders.
        #expect(!runs(of: [world.account.publicKey.bytes]).isDisjoint(with: seen))
    }

    private static func isVote(_ reply: MintReply) -> Bool {
        if case .vote(_, let blind) = reply { !blind.isEmpty } else { false }
    }

    @Test("vouchers of two purchases are of one form: nothing in them tells which")
    func oneForm() throws {
        let world = try MintWorld(seed: 12)
        world.grant(Credits(ticks: 1_000))
        #expect(
            try world.run {
                world.mints.allSatisfy { $0.ledger.balance(of: world.account.publicKey) > .zero }
            }
        )
        for round in 1...2 {
            #expect(
                try world.run {
                    world.wallet { $0.buy(.trial, for: [world.relay], at: world.wall) }
                }
            )
            #expect(try world.run { world.wallet { $0.sequence } == UInt64(round) })
        }
        let vouchers = world.wallet { $0.owned }
        #expect(vouchers.count == 32)
        #expect(Set(vouchers.map(\.content.epoch)).count == 1)
        #expect(Set(vouchers.map(\.setVersion)).count == 1)
        #expect(Set(vouchers.map(\.signatures.count)) == [3])
        #expect(Set(vouchers.map(\.content.root)).count == 32)
    }
}
