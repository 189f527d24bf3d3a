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
    /// The table of counts of vouchers that left the book on disk: by day, and the epoch that is over.
    public static let sumTable: UInt8 = 11
    /// Days whose counts are told apart; older ones are counted as day 0.
    public static let dayLimit = 400

    struct Entry: Sendable {
        var open: PayOpen
        /// The day it was taken: days since 1970.
        var day: UInt32
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

        static func += (lhs: inout Self, rhs: Self) {
            lhs.served += rhs.served
            lhs.deposited += rhs.deposited
            lhs.credited += rhs.credited
            lhs.expired += rhs.expired
            lhs.vouchers += rhs.vouchers
        }
    }

    private var entries: [Bytes32: Entry] = [:]
    // Vouchers on their way through the check, and the day: a second copy meanwhile is refused.
    private var checking: [Bytes32: UInt32] = [:]
    private var writes: [RecordWrite] = []
    private var dirty: Set<Bytes32> = []
    // Counts of vouchers that left the book, by the day they were taken.
    private var closed: [UInt32: Earnings] = [:]
    // Epochs below it are over: none of their vouchers is ever taken again, whatever is on disk.
    private var floor: UInt32 = 0

    /// Makes an empty book.
    public init() {}

    /// Makes the book of these records.
    ///
    /// - Throws: ``WireError`` for a record that cannot be read.
    public init(_ records: [StoredRecord]) throws(WireError) {
        for record in records {
            if record.table == Self.sumTable {
                var reader = ByteReader(record.value)
                if record.key.isEmpty {
                    floor = try reader.read()
                } else {
                    var key = ByteReader(record.key)
                    closed[try key.read()] = try Earnings(from: &reader)
                    try key.finish()
                }
                try reader.finish()
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
        guard entries[check.name] == nil, checking[check.name] == nil else { throw .seen }
        guard entries.count + checking.count < Self.limit else { throw .seen }
        checking[check.name] = UInt32(clamping: wall.seconds / 86_400)
        return check
    }

    /// Takes the outcome of a check; the voucher is in the book from now on if it is valid.
    ///
    /// Nothing is served for it before what ``takeWrites()`` gives is on disk.
    public mutating func finish(_ check: VoucherCheck, isValid: Bool) {
        guard let day = checking.removeValue(forKey: check.name), isValid,
            entries[check.name] == nil
        else { return }
        let entry = Entry(open: check.open, day: day)
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

    /// The epoch of a voucher; `nil` where it is not in the book.
    public func epoch(of name: Bytes32) -> UInt32? {
        entries[name]?.open.voucher.epoch
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
        var days: Set<UInt32> = []
        for name in over.keys.sorted() {
            guard let entry = entries.removeValue(forKey: name) else { continue }
            var earned = entry.earnings
            earned.expired = earned.served - earned.credited
            closed[entry.day, default: Earnings()] += earned
            days.insert(entry.day)
            floor = max(floor, entry.open.voucher.epoch &+ 1)
            dirty.remove(name)
            writes.append(RecordWrite(table: Self.table, key: name.bytes, value: nil))
        }
        let today = UInt32(clamping: wall.seconds / 86_400)
        for old in closed.keys.sorted() where old > 0 && Int(today) - Int(old) > Self.dayLimit {
            closed[0, default: Earnings()] += closed.removeValue(forKey: old) ?? Earnings()
            days.formUnion([0, old])
        }
        for day in days.sorted() {
            var key = ByteWriter(capacity: 4)
            key.write(day)
            writes.append(
                RecordWrite(table: Self.sumTable, key: key.bytes, value: closed[day]?.encoded)
            )
        }
        var writer = ByteWriter(capacity: 4)
        writer.write(floor)
        writes.append(RecordWrite(table: Self.sumTable, key: [], value: writer.bytes))
    }

    /// What was earned so far.
    public var earnings: Earnings {
        var sum = Earnings()
        for day in closed.values { sum += day }
        for entry in entries.values { sum += entry.earnings }
        return sum
    }

    /// What was earned by the vouchers of each day since 1970, ascending; days without any are left
    /// out.
    public var earningsByDay: [(day: UInt32, earnings: Earnings)] {
        var days = closed
        for entry in entries.values { days[entry.day, default: Earnings()] += entry.earnings }
        return days.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
}

extension VoucherBook.Earnings {
    fileprivate init(from reader: inout ByteReader) throws(WireError) {
        served = try reader.read()
        deposited = try reader.read()
        credited = try reader.read()
        expired = try reader.read()
        vouchers = try reader.read()
        // Sums of what is read must not overflow.
        for value in [served, deposited, credited, expired, vouchers] where value >= 1 << 50 {
            throw .invalid(field: "earnings")
        }
    }

    fileprivate var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 40)
        for value in [served, deposited, credited, expired, vouchers] { writer.write(value) }
        return writer.bytes
    }
}

extension VoucherBook.Entry {
    fileprivate var earnings: VoucherBook.Earnings {
        var sum = VoucherBook.Earnings()
        sum.vouchers = 1
        sum.served = UInt64(served)
        sum.deposited = UInt64(deposited)
        sum.credited = UInt64(credited)
        return sum
    }

    init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        day = try reader.read()
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
        writer.write(day)
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
