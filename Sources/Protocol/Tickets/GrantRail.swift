public import Base
public import CryptoPrimitives
public import Wire

/// The built-in rail: grants that enough admins signed bring credits in, orders of transfer to the
/// admins' account take them out.
///
/// The key of a deposit is the grant's name, which every mint counts once; that of a redemption is
/// remembered here, with its receipt. Put ``records`` on disk before a receipt leaves. Spec: §A.10.
public struct GrantRail: SettlementRail, Sendable {
    /// The table of receipts on disk.
    public static let table: UInt8 = 31

    /// One who signs grants.
    public struct Admin: Sendable {
        /// Its number among the admins.
        public let index: UInt8
        /// Its key.
        public let key: Ed25519.SigningKey

        /// Takes both over.
        public init(index: UInt8, key: Ed25519.SigningKey) {
            self.index = index
            self.key = key
        }
    }

    private struct Entry: Sendable {
        /// What was asked for: `account 32 | amount u64`.
        var asked: [UInt8]
        var receipt: SettlementReceipt
    }

    private let network: NetworkID
    private let admins: [Admin]
    private let settlement: Bytes32
    private var owners: [Bytes32: (key: Ed25519.SigningKey, sequence: UInt64)] = [:]
    private var entries: [Bytes32: Entry] = [:]

    /// Makes the rail of these admins; what is redeemed goes to the account `settlement`.
    ///
    /// - Throws: ``WireError`` for records that are none of a rail's.
    public init(
        network: NetworkID,
        admins: [Admin],
        settlement: Bytes32,
        records: [StoredRecord] = []
    ) throws(WireError) {
        self.network = network
        self.admins = admins
        self.settlement = settlement
        for record in records where record.table == Self.table {
            guard let key = Bytes32(record.key) else { throw .invalid(field: "rail key") }
            var reader = ByteReader(record.value)
            let asked = try reader.read(byteCount: 40)
            entries[key] = Entry(
                asked: asked,
                receipt: SettlementReceipt(key: key, bytes: reader.readRemaining())
            )
        }
    }

    /// Lets redemptions be made from the account of `key`, whose next order has this number.
    public mutating func own(_ key: Ed25519.SigningKey, nextSequence: UInt64) {
        owners[key.publicKey] = (key, nextSequence)
    }

    /// What was done so far, to be put on disk.
    public var records: [RecordWrite] {
        entries.sorted { $0.key < $1.key }.map {
            RecordWrite(
                table: Self.table,
                key: $0.key.bytes,
                value: $0.value.asked + $0.value.receipt.bytes
            )
        }
    }

    private static func asked(_ account: Bytes32, _ amount: Credits) -> [UInt8] {
        var writer = ByteWriter(capacity: 40)
        writer.write(account)
        writer.write(amount.hundredths)
        return writer.bytes
    }

    /// A grant of `amount`, signed by all admins of this rail; the same for the same key.
    public mutating func deposit(
        _ amount: Credits,
        to account: Bytes32,
        key: Bytes32
    ) throws(SettlementError) -> SettlementReceipt {
        let asked = Self.asked(account, amount)
        if let known = entries[key] {
            guard known.asked == asked, (try? MintGrant(parsing: known.receipt.bytes)) != nil else {
                throw .keyTaken
            }
            return known.receipt
        }
        var grant = MintGrant(id: key, account: account, amount: amount)
        for admin in admins { grant.sign(as: admin.index, with: admin.key, network: network) }
        return keep(SettlementReceipt(key: key, bytes: grant.encoded), asked)
    }

    /// A signed order of transfer to the admins' account; the same for the same key.
    ///
    /// - Throws: ``SettlementError/notOwner`` unless ``own(_:nextSequence:)`` named the account.
    public mutating func redeem(
        _ amount: Credits,
        from account: Bytes32,
        key: Bytes32
    ) throws(SettlementError) -> SettlementReceipt {
        let asked = Self.asked(account, amount)
        if let known = entries[key] {
            guard known.asked == asked, (try? MintOrder(parsing: known.receipt.bytes)) != nil else {
                throw .keyTaken
            }
            return known.receipt
        }
        guard let owner = owners[account] else { throw .notOwner }
        var order = MintOrder(
            account: account,
            sequence: owner.sequence,
            content: .transfer(to: settlement, amount: amount)
        )
        order.signature = owner.key.sign(order.body, label: .order, network: network.rawValue)
        owners[account]?.sequence += 1
        return keep(SettlementReceipt(key: key, bytes: order.encoded), asked)
    }

    private mutating func keep(
        _ receipt: SettlementReceipt,
        _ asked: [UInt8]
    ) -> SettlementReceipt {
        entries[receipt.key] = Entry(asked: asked, receipt: receipt)
        return receipt
    }
}
