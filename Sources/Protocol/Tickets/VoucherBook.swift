public import Base
public import Wire

/// What one relay was paid: every voucher it ever took, and how far each is spent and deposited.
///
/// Nothing here is asked of anybody: a voucher is bound to this relay, so its own book is all there
/// is to look at. Changes come out of ``takeWrites()`` and must be on disk before a cell is served
/// for them. Spec: §A.5.3, §A.5.8. Bound: ``limit`` vouchers.
public struct VoucherBook: Sendable {
    /// Vouchers kept, at most; beyond it none is taken.
    public static let limit = 200_000
    /// The table of vouchers on disk.
    public static let table: UInt8 = 10
    /// The table of closed counts on disk.
    public static let sumTable: UInt8 = 11

    struct Entry: Sendable {
        var open: PayOpen
        /// Ticks that mints have on record, by index.
        var acknowledged: [UInt8: UInt32] = [:]
        /// Ticks deposited with at least one mint.
        var deposited: UInt32 = 0
        /// Ticks that enough mints have on record.
        var credited: UInt32 = 0
        var served: UInt32 { open.place.index }
    }

    /// What was earned, in ticks; `served = credited + waiting + expired` at all times.
    public struct Earnings: Hashable, Sendable {
        /// Ticks clients paid.
        public var served: UInt64 = 0
        /// Of those, handed to a mint at least.
        public var deposited: UInt64 = 0
        /// Of those, on record with enough mints: money.
        public var credited: UInt64 = 0
        /// Not deposited in time, and lost.
        public var expired: UInt64 = 0
        /// Vouchers taken.
        public var vouchers: UInt64 = 0

        /// Nothing yet.
        public init() {}

        /// Ticks still to be credited.
        public var waiting: UInt64 {
            served - min(served, credited + expired)
        }
    }

    private var entries: [Bytes32: Entry] = [:]
    // Vouchers on their way through the check: a second copy meanwhile is refused.
    private var checking: Set<Bytes32> = []
    private var writes: [RecordWrite] = []
    private var dirty: Set<Bytes32> = []
    // Counts of vouchers that left the book.
    private var closed = Earnings()
    // Epochs below it are over: none of their vouchers is ever taken again, whatever is on disk.
    private var floor: UInt32 = 0

    /// Makes an empty book, or that of these records.
    ///
    /// - Throws: ``WireError`` for a record that cannot be read.
    public init(_ records: [StoredRecord] = []) throws(WireError) {
        for record in records {
            if record.table == Self.sumTable {
                (closed, floor) = try Self.sums(record.value)
            } else if record.table == Self.table, let name = Bytes32(record.key) {
                entries[name] = try Entry(parsing: record.value)
            }
        }
    }

    /// Vouchers in the book.
    public var count: Int {
        entries.count
    }

    /// Begins to take a voucher: all that costs no key work.
    ///
    /// - Returns: the key work; hand its outcome to ``finish(_:isValid:)``.
    /// - Throws: ``VoucherFault``.
    public mutating func begin(
        _ open: PayOpen,
        relay: NodeID,
        in tickets: TicketNetwork,
        at wall: WallTime
    ) throws(VoucherFault) -> VoucherCheck {
        guard open.voucher.epoch >= floor, tickets.isAccepted(open.voucher.epoch, at: wall) else {
            throw .epoch(open.voucher.epoch)
        }
        guard open.place.index >= 1 else { throw .chain }
        let check = try VoucherCheck(open, relay: relay, in: tickets)
        guard entries[check.name] == nil, !checking.contains(check.name) else { throw .seen }
        guard entries.count + checking.count < Self.limit else { throw .seen }
        checking.insert(check.name)
        return check
    }

    /// Takes the outcome of a check; the voucher is in the book from now on if it is valid.
    ///
    /// Nothing is served for it before what ``takeWrites()`` gives is on disk.
    public mutating func finish(_ check: VoucherCheck, isValid: Bool) {
        checking.remove(check.name)
        guard isValid, entries[check.name] == nil else { return }
        let entry = Entry(open: check.open)
        entries[check.name] = entry
        writes.append(
            RecordWrite(table: Self.table, key: check.name.bytes, value: entry.encoded)
        )
    }

    /// Takes further ticks: one hash each.
    ///
    /// - Returns: the ticks it is paid in all now.
    /// - Throws: ``VoucherFault/unknown``, ``VoucherFault/chain``.
    public mutating func pay(_ name: Bytes32, _ place: ChainPlace) throws(VoucherFault) -> UInt32 {
        guard let entry = entries[name] else { throw .unknown }
        guard place.index <= entry.open.voucher.denomination.tickCount,
            PaymentChain.leads(place, to: entry.open.place)
        else { throw .chain }
        entries[name]?.open.place = place
        dirty.insert(name)
        return place.index
    }

    /// Ticks paid on a voucher; `nil` where it is not in the book.
    public func paid(_ name: Bytes32) -> UInt32? {
        entries[name]?.served
    }

    /// What must be on disk before what was taken is served.
    public mutating func takeWrites() -> [RecordWrite] {
        defer { writes = [] }
        return writes
    }

    /// Ticks since the last call: losing them in a crash loses so much money, and nothing else.
    public mutating func takeTickWrites() -> [RecordWrite] {
        defer { dirty = [] }
        return dirty.sorted().compactMap { name in
            entries[name].map {
                RecordWrite(table: Self.table, key: name.bytes, value: $0.encoded)
            }
        }
    }

    // MARK: Deposits

    /// The rows `mint` does not have yet, ascending by root, at most `limit`.
    public func rows(for mint: UInt8, limit: Int = TicketLimits.depositCount) -> [PayOpen] {
        let open = entries.values.filter { $0.acknowledged[mint, default: 0] < $0.served }
        return Array(
            open.map(\.open).sorted { $0.voucher.root < $1.voucher.root }.prefix(limit)
        )
    }

    /// Takes a mint's answer to a deposit of `rows`: the ticks it has on record for each.
    public mutating func note(
        _ indexes: [UInt32],
        of rows: [PayOpen],
        from mint: UInt8,
        relay: NodeID,
        in tickets: TicketNetwork
    ) {
        guard indexes.count == rows.count else { return }
        for (row, index) in zip(rows, indexes) {
            let name = row.voucher.content(network: tickets.network, relay: relay).name
            guard var entry = entries[name] else { continue }
            entry.acknowledged[mint] = min(index, row.voucher.denomination.tickCount)
            let known = entry.acknowledged.values.sorted(by: >)
            entry.deposited = min(entry.served, known.first ?? 0)
            if known.count >= tickets.threshold {
                entry.credited = min(entry.served, known[tickets.threshold - 1])
            }
            entries[name] = entry
            dirty.insert(name)
        }
    }

    /// Drops vouchers whose deposits have ended, and keeps their counts.
    public mutating func expire(in tickets: TicketNetwork, at wall: WallTime) {
        let over = entries.filter { !tickets.isDeposited($0.value.open.voucher.epoch, at: wall) }
        guard !over.isEmpty else { return }
        for name in over.keys.sorted() {
            guard let entry = entries.removeValue(forKey: name) else { continue }
            closed.vouchers += 1
            closed.served += UInt64(entry.served)
            closed.deposited += UInt64(entry.deposited)
            closed.credited += UInt64(entry.credited)
            closed.expired += UInt64(entry.served - entry.credited)
            floor = max(floor, entry.open.voucher.epoch &+ 1)
            dirty.remove(name)
            writes.append(RecordWrite(table: Self.table, key: name.bytes, value: nil))
        }
        writes.append(RecordWrite(table: Self.sumTable, key: [0], value: sums))
    }

    /// What was earned so far.
    public var earnings: Earnings {
        var sum = closed
        for entry in entries.values {
            sum.vouchers += 1
            sum.served += UInt64(entry.served)
            sum.deposited += UInt64(entry.deposited)
            sum.credited += UInt64(entry.credited)
        }
        return sum
    }

    private var sums: [UInt8] {
        var writer = ByteWriter(capacity: 44)
        for value in [
            closed.served, closed.deposited, closed.credited, closed.expired, closed.vouchers,
        ] {
            writer.write(value)
        }
        writer.write(floor)
        return writer.bytes
    }

    private static func sums(_ bytes: [UInt8]) throws(WireError) -> (Earnings, UInt32) {
        var reader = ByteReader(bytes)
        var sum = Earnings()
        sum.served = try reader.read()
        sum.deposited = try reader.read()
        sum.credited = try reader.read()
        sum.expired = try reader.read()
        sum.vouchers = try reader.read()
        let floor = try reader.read(UInt32.self)
        try reader.finish()
        return (sum, floor)
    }
}

extension VoucherBook.Entry {
    init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        deposited = try reader.read()
        credited = try reader.read()
        let count = Int(try reader.read(UInt8.self))
        acknowledged = [:]
        for _ in 0..<count {
            let mint = try reader.read(UInt8.self)
            acknowledged[mint] = try reader.read(UInt32.self)
        }
        open = try PayOpen(parsing: reader.readRemaining())
        guard deposited <= served, credited <= served else { throw .invalid(field: "voucher") }
    }

    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 900)
        writer.write(deposited)
        writer.write(credited)
        writer.write(UInt8(clamping: acknowledged.count))
        for (mint, index) in acknowledged.sorted(by: { $0.key < $1.key }) {
            writer.write(mint)
            writer.write(index)
        }
        writer.write(open.encoded)
        return writer.bytes
    }
}
