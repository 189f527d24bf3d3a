public import Base
import CryptoPrimitives
public import Tickets
public import Wire

/// A mint's accounts and everything that ever changed them, as a plain value.
///
/// Credits are a join semilattice (rows that only grow), debits follow orders: late news of either
/// changes the sum by what it says, in whatever order it comes. Each change also notes what to
/// write, so that memory and disk tell the same story. Spec: §A.4.
public struct Ledger: Sendable {
    /// One account.
    struct Account: Hashable, Sendable {
        var credits: UInt64 = 0
        var debits: UInt64 = 0
        /// The number above all this mint voted for or has a certificate of.
        var next: UInt64 = 0
        /// Orders from 0 on whose certificates are all here.
        var certified: UInt64 = 0

        var balance: Credits {
            Credits(hundredths: credits) - Credits(hundredths: debits)
        }
    }

    /// What stands under one number of an account.
    struct OrderRow: Hashable, Sendable {
        var order: MintOrder
        /// This mint's answer, where it voted.
        var reply: [UInt8] = []
        /// The certificate, where it is here.
        var certificate: OrderCertificate?
    }

    struct OrderKey: Hashable, Sendable {
        var account: Bytes32
        var sequence: UInt64

        var bytes: [UInt8] {
            var writer = ByteWriter(capacity: 40)
            writer.write(account)
            writer.write(sequence)
            return writer.bytes
        }
    }

    /// A voucher that came back.
    struct DepositRow: Hashable, Sendable {
        var relay: NodeID
        var epoch: UInt32
        var denomination: Denomination
        /// Ticks deposited.
        var index: UInt32
        /// Digest of the claim that closed it, and the answer; both empty while it is open.
        var claim: [UInt8] = []
        var reply: [UInt8] = []
        /// Ticks the claim gave back.
        var reclaimed: UInt32 = 0

        var isClosed: Bool { !claim.isEmpty }
    }

    /// The tables on disk.
    enum Table {
        static let account: UInt8 = 1
        static let order: UInt8 = 2
        static let deposit: UInt8 = 3
        static let grant: UInt8 = 4
        static let totals: UInt8 = 5
    }

    private(set) var accounts: [Bytes32: Account] = [:]
    private(set) var orders: [OrderKey: OrderRow] = [:]
    private(set) var deposits: [Bytes32: DepositRow] = [:]
    private(set) var grants: [Bytes32: MintGrant] = [:]
    private(set) var totals: [UInt32: MintAnnouncement.EpochTotals] = [:]
    /// Hundredths of ticks burnt at deposits.
    public private(set) var burnt: UInt64 = 0
    private var writes: [RecordWrite] = []

    /// An empty ledger.
    public init() {}

    /// Takes what must be on disk before anything is said of it.
    public mutating func takeWrites() -> [RecordWrite] {
        defer { writes = [] }
        return writes
    }

    // MARK: Looking

    /// What an account may spend.
    public func balance(of account: Bytes32) -> Credits {
        accounts[account]?.balance ?? .zero
    }

    /// An account's next number, and how many of its orders have certificates here.
    public func standing(of account: Bytes32) -> (next: UInt64, certified: UInt64) {
        let known = accounts[account]
        return (known?.next ?? 0, known?.certified ?? 0)
    }

    /// Counts of each epoch's vouchers, ascending by epoch.
    public var epochTotals: [MintAnnouncement.EpochTotals] {
        totals.values.sorted { $0.epoch < $1.epoch }
    }

    /// Ticks on record for a voucher; `nil` where it never came back.
    public func deposited(_ voucher: Bytes32) -> UInt32? {
        deposits[voucher]?.index
    }

    /// What an operator may want to know of all accounts together, in hundredths of ticks.
    public struct Sums: Hashable, Sendable {
        /// Accounts there are.
        public var accounts = 0
        /// Given by the admins.
        public var granted: UInt64 = 0
        /// What accounts may spend.
        public var balances: UInt64 = 0
        /// Paid for vouchers.
        public var withdrawn: UInt64 = 0
    }

    /// Sums over all accounts; looks at everything.
    ///
    /// `granted + deposited - burnt at deposits = balances + withdrawn`, where every order this mint
    /// voted for has its certificate.
    public var sums: Sums {
        var sums = Sums()
        sums.accounts = accounts.count
        sums.granted = grants.values.reduce(0) { $0 + $1.amount.hundredths }
        sums.balances = accounts.values.reduce(0) { $0 + $1.balance.hundredths }
        for row in orders.values {
            guard case .withdraw = row.order.content else { continue }
            sums.withdrawn += row.order.cost.hundredths
        }
        return sums
    }

    // MARK: Orders

    /// Debits an order this mint votes for, and keeps its answer.
    ///
    /// - Precondition: nothing but the same order stands under its number.
    mutating func vote(for order: MintOrder, reply: [UInt8]) {
        let key = OrderKey(account: order.account, sequence: order.sequence)
        precondition(orders[key].map { $0.order == order } ?? true, "one order for each number")
        var row = orders[key] ?? OrderRow(order: order)
        if orders[key] == nil { debit(order) }
        row.reply = reply
        if case .withdraw(let epoch, let denomination, let count, _) = order.content {
            totals[epoch, default: .init(epoch: epoch)].issued[denomination.index] += UInt32(
                clamping: count
            )
            note(epoch)
        }
        orders[key] = row
        note(key)
    }

    /// Takes a certificate that was verified; it replaces whatever this mint had for its number.
    ///
    /// - Returns: whether it was new.
    @discardableResult
    mutating func take(_ certificate: OrderCertificate) -> Bool {
        let order = certificate.order
        let key = OrderKey(account: order.account, sequence: order.sequence)
        guard orders[key]?.certificate == nil else { return false }
        if let row = orders[key], row.order == order {
            orders[key]?.certificate = certificate
        } else {
            // The account signed two orders under one number; this one stands.
            if let row = orders[key] {
                accounts[order.account]?.debits -= row.order.cost.hundredths
            }
            debit(order)
            orders[key] = OrderRow(order: order, certificate: certificate)
        }
        if case .transfer(let to, let amount) = order.content {
            credit(to, amount)
            note(account: to)
        }
        var account = accounts[order.account, default: Account()]
        while orders[OrderKey(account: order.account, sequence: account.certified)]?.certificate
            != nil
        {
            account.certified += 1
        }
        accounts[order.account] = account
        note(account: order.account)
        note(key)
        return true
    }

    private mutating func debit(_ order: MintOrder) {
        var account = accounts[order.account, default: Account()]
        account.debits = (Credits(hundredths: account.debits) + order.cost).hundredths
        account.next = max(account.next, order.sequence &+ 1)
        accounts[order.account] = account
        note(account: order.account)
    }

    private mutating func credit(_ name: Bytes32, _ amount: Credits) {
        var account = accounts[name, default: Account()]
        account.credits = (Credits(hundredths: account.credits) + amount).hundredths
        accounts[name] = account
    }

    // MARK: Credits

    /// Takes a grant that was verified; returns whether it was new.
    @discardableResult
    mutating func take(_ grant: MintGrant) -> Bool {
        guard grants[grant.id] == nil else { return false }
        grants[grant.id] = grant
        credit(grant.account, grant.amount)
        note(account: grant.account)
        writes.append(
            RecordWrite(table: Table.grant, key: grant.id.bytes, value: grant.encoded)
        )
        return true
    }

    /// Takes a row that was verified: the deepest place counts.
    ///
    /// - Returns: whether it was deeper than what is on record, and taken.
    mutating func deposit(
        _ name: Bytes32,
        _ open: PayOpen,
        relay: NodeID,
        in tickets: TicketNetwork
    ) -> Bool {
        let voucher = open.voucher
        var row =
            deposits[name]
            ?? DepositRow(
                relay: relay,
                epoch: voucher.epoch,
                denomination: voucher.denomination,
                index: 0
            )
        guard !row.isClosed, open.place.index > row.index else { return false }
        let gain = tickets.credit(for: open.place.index) - tickets.credit(for: row.index)
        let ticks = open.place.index - row.index
        burnt += (Credits(ticks: UInt64(ticks)) - gain).hundredths
        row.index = open.place.index
        deposits[name] = row
        credit(relay.rawValue, gain)
        totals[row.epoch, default: .init(epoch: row.epoch)].deposited[row.denomination.index] +=
            UInt64(ticks)
        note(account: relay.rawValue)
        note(epoch: row.epoch, deposit: name)
        return true
    }

    /// Closes a voucher for its holder: what is left of it is given back as new ones.
    ///
    /// - Precondition: it is open, no deeper than the claim says, and has as much as that.
    mutating func close(_ name: Bytes32, by claim: MintReclaim, digest: Bytes32, reply: [UInt8]) {
        let voucher = claim.voucher
        var row =
            deposits[name]
            ?? DepositRow(
                relay: claim.relay,
                epoch: voucher.epoch,
                denomination: voucher.denomination,
                index: 0
            )
        precondition(!row.isClosed && row.index <= claim.spent, "a claim was looked at before")
        row.claim = digest.bytes
        row.reply = reply
        row.reclaimed = voucher.denomination.tickCount - claim.spent
        deposits[name] = row
        totals[row.epoch, default: .init(epoch: row.epoch)].reclaimed[row.denomination.index] +=
            UInt64(row.reclaimed)
        var lost = row.reclaimed
        for denomination in Denomination.change(for: row.reclaimed) {
            totals[claim.epoch, default: .init(epoch: claim.epoch)]
                .issued[denomination.index] += 1
            lost -= denomination.tickCount
        }
        // What is less than a trial voucher is given up.
        burnt += UInt64(lost) * 100
        note(epoch: row.epoch, deposit: name)
        note(claim.epoch)
    }

    // MARK: Checking

    /// Whether the accounts are what orders, deposits, grants and certificates make of them.
    ///
    /// Looks at everything; for tests and `umbel mint check`.
    public func isConsistent(in tickets: TicketNetwork) -> Bool {
        var sums: [Bytes32: Account] = [:]
        for grant in grants.values {
            sums[grant.account, default: Account()].credits += grant.amount.hundredths
        }
        for row in deposits.values {
            sums[row.relay.rawValue, default: Account()].credits +=
                tickets.credit(for: row.index).hundredths
        }
        for (key, row) in orders {
            sums[key.account, default: Account()].debits += row.order.cost.hundredths
            if row.certificate != nil, case .transfer(let to, let amount) = row.order.content {
                sums[to, default: Account()].credits += amount.hundredths
            }
        }
        let names = Set(sums.keys).union(accounts.keys)
        return names.allSatisfy { name in
            let (sum, known) = (sums[name] ?? Account(), accounts[name] ?? Account())
            return sum.credits == known.credits && sum.debits == known.debits
        }
    }

    // MARK: Records

    private mutating func note(account name: Bytes32) {
        guard let account = accounts[name] else { return }
        var writer = ByteWriter(capacity: 32)
        writer.write(account.credits)
        writer.write(account.debits)
        writer.write(account.next)
        writer.write(account.certified)
        writes.append(
            RecordWrite(table: Table.account, key: name.bytes, value: writer.bytes)
        )
    }

    private mutating func note(_ key: OrderKey) {
        guard let row = orders[key] else { return }
        writes.append(RecordWrite(table: Table.order, key: key.bytes, value: row.encoded))
    }

    private mutating func note(epoch: UInt32, deposit name: Bytes32) {
        guard let row = deposits[name] else { return }
        writes.append(
            RecordWrite(table: Table.deposit, key: name.bytes, value: row.encoded)
        )
        note(epoch)
    }

    private mutating func note(_ epoch: UInt32) {
        guard let sums = totals[epoch] else { return }
        var key = ByteWriter(capacity: 4)
        key.write(epoch)
        var writer = ByteWriter(capacity: 20 * sums.issued.count)
        for index in sums.issued.indices {
            writer.write(sums.issued[index])
            writer.write(sums.deposited[index])
            writer.write(sums.reclaimed[index])
        }
        writes.append(RecordWrite(table: Table.totals, key: key.bytes, value: writer.bytes))
        var burntWriter = ByteWriter(capacity: 8)
        burntWriter.write(burnt)
        writes.append(
            RecordWrite(table: Table.totals, key: [0xff], value: burntWriter.bytes)
        )
    }

    /// Reads a ledger from its records, in any order.
    ///
    /// - Throws: ``WireError`` for a record that is none of a ledger's.
    public init(_ records: [StoredRecord]) throws(WireError) {
        for record in records {
            var reader = ByteReader(record.value)
            switch record.table {
            case Table.account:
                guard let name = Bytes32(record.key) else { throw .invalid(field: "account") }
                var account = Account()
                account.credits = try reader.read()
                account.debits = try reader.read()
                account.next = try reader.read()
                account.certified = try reader.read()
                try reader.finish()
                accounts[name] = account
            case Table.order:
                let row = try OrderRow(parsing: record.value)
                let key = OrderKey(account: row.order.account, sequence: row.order.sequence)
                guard key.bytes == record.key else { throw .invalid(field: "order") }
                orders[key] = row
            case Table.deposit:
                guard let name = Bytes32(record.key) else { throw .invalid(field: "deposit") }
                deposits[name] = try DepositRow(parsing: record.value)
            case Table.grant:
                let grant = try MintGrant(parsing: record.value)
                grants[grant.id] = grant
            case Table.totals where record.key == [0xff]:
                burnt = try reader.read()
                try reader.finish()
            case Table.totals:
                var keyReader = ByteReader(record.key)
                var sums = MintAnnouncement.EpochTotals(epoch: try keyReader.read())
                for index in sums.issued.indices {
                    sums.issued[index] = try reader.read()
                    sums.deposited[index] = try reader.read()
                    sums.reclaimed[index] = try reader.read()
                }
                try reader.finish()
                totals[sums.epoch] = sums
            default: continue
            }
        }
    }
}

extension Ledger.OrderRow {
    init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let orderLength = Int(try reader.read(UInt16.self))
        order = try MintOrder(parsing: try reader.read(byteCount: orderLength))
        let replyLength = Int(try reader.read(UInt32.self))
        reply = try reader.read(byteCount: replyLength)
        let rest = reader.readRemaining()
        certificate = rest.isEmpty ? nil : try OrderCertificate(parsing: rest)
    }

    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 1_024 + reply.count)
        let bytes = order.encoded
        writer.write(UInt16(clamping: bytes.count))
        writer.write(bytes)
        writer.write(UInt32(clamping: reply.count))
        writer.write(reply)
        if let certificate { writer.write(certificate.encoded) }
        return writer.bytes
    }
}

extension Ledger.DepositRow {
    init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        relay = NodeID(try reader.readBytes32())
        epoch = try reader.read()
        denomination = try Denomination.split(try reader.read(UInt8.self)).0
        index = try reader.read()
        reclaimed = try reader.read()
        let claimLength = Int(try reader.read(UInt8.self))
        claim = try reader.read(byteCount: claimLength)
        reply = reader.readRemaining()
    }

    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 96 + reply.count)
        writer.write(relay.rawValue)
        writer.write(epoch)
        writer.write(denomination.rawValue)
        writer.write(index)
        writer.write(reclaimed)
        writer.write(UInt8(clamping: claim.count))
        writer.write(claim)
        writer.write(reply)
        return writer.bytes
    }
}
