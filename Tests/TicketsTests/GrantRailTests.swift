import Base
import CryptoPrimitives
import TestSupport
import Testing
import Tickets
import Wire

@Suite("Credits come in and go out once for each key")
struct GrantRailTests {
    private static let network = NetworkID(SHA256.digest(Array("rail".utf8)))
    private let admins = (0..<3).map { index in
        GrantRail.Admin(index: UInt8(index), key: .init(seed: .numbered(400 + index)))
    }
    private let owner = Ed25519.SigningKey(seed: .numbered(500))
    private let key = SHA256.digest(Array("invoice 7".utf8))

    private func rail(_ records: [StoredRecord] = []) throws -> GrantRail {
        try GrantRail(
            network: Self.network,
            admins: Array(admins.prefix(2)),
            settlement: SHA256.digest(Array("settlement".utf8)),
            records: records
        )
    }

    private func stored(_ rail: GrantRail) -> [StoredRecord] {
        rail.records.map { StoredRecord(table: $0.table, key: $0.key, value: $0.value ?? []) }
    }

    private func fault(_ body: () throws -> Void) -> SettlementError? {
        do {
            try body()
            return nil
        } catch {
            return error as? SettlementError
        }
    }

    @Test("a deposit is a grant the mints take; asked again, the receipt is the same")
    func deposit() throws {
        var rail = try rail()
        let amount = Credits(ticks: 12)
        let receipt = try rail.deposit(amount, to: owner.publicKey, key: key)
        let grant = try MintGrant(parsing: receipt.bytes)
        #expect(grant.id == key)
        #expect(grant.amount == amount)
        let keys = admins.map(\.key.publicKey)
        #expect(grant.isValid(network: Self.network, admins: keys, threshold: 2))
        #expect(!grant.isValid(network: Self.network, admins: keys, threshold: 3))
        #expect(try rail.deposit(amount, to: owner.publicKey, key: key) == receipt)
        var again = try self.rail(stored(rail))
        #expect(try again.deposit(amount, to: owner.publicKey, key: key) == receipt)
        #expect(
            fault { _ = try again.deposit(Credits(ticks: 13), to: owner.publicKey, key: key) }
                == .keyTaken
        )
        #expect(
            fault { _ = try again.redeem(amount, from: owner.publicKey, key: key) } == .keyTaken
        )
    }

    @Test("a redemption is a signed order of transfer, made once for its key")
    func redemption() throws {
        var rail = try rail()
        let amount = Credits(hundredths: 250)
        #expect(fault { _ = try rail.redeem(amount, from: owner.publicKey, key: key) } == .notOwner)
        rail.own(owner, nextSequence: 4)
        let receipt = try rail.redeem(amount, from: owner.publicKey, key: key)
        #expect(try rail.redeem(amount, from: owner.publicKey, key: key) == receipt)
        let order = try MintOrder(parsing: receipt.bytes)
        #expect(order.sequence == 4)
        #expect(
            order.content
                == .transfer(to: SHA256.digest(Array("settlement".utf8)), amount: amount)
        )
        #expect(
            Ed25519.isValid(
                order.signature,
                of: order.body,
                by: owner.publicKey,
                label: .order,
                network: Self.network.rawValue
            )
        )
        let other = SHA256.digest(Array("invoice 8".utf8))
        let next = try rail.redeem(amount, from: owner.publicKey, key: other)
        #expect(try MintOrder(parsing: next.bytes).sequence == 5)
        #expect(fault { _ = try rail.deposit(amount, to: owner.publicKey, key: key) } == .keyTaken)
    }
}
