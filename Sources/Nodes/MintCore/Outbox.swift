import Base
import Tickets
import Wire

/// What one mint has yet to tell the others, on its disk beside what it tells of.
///
/// Each item goes to disk with the change it tells of, and leaves it once every other mint has taken
/// it: a mint that dies tells what it had not told. What is told is signed by others and only ever
/// adds, so that an item may be told twice. Bound: ``limit`` items; beyond it the oldest is given up,
/// and comes to the others by those it concerns (relays deposit with every mint, wallets bring
/// certificates and grants). Spec: §A.9.
struct Outbox: Sendable {
    /// The table on disk.
    static let table: UInt8 = 7
    static let limit = 4_096
    /// Items taken by all whose records wait for another commit before they make one.
    private static let lazyLimit = 64

    /// One item.
    struct Item: Sendable {
        var request: MintRequest
        /// Mints that have not taken it.
        var mints: Set<UInt8>
    }

    private var items: [UInt64: Item] = [:]
    private var nextNumber: UInt64 = 1
    private var writes: [RecordWrite] = []
    private var removals: [RecordWrite] = []

    /// Nothing to tell.
    init() {}

    /// Reads what was not told.
    ///
    /// - Throws: ``WireError`` for a record that cannot be read.
    init(_ records: [StoredRecord]) throws(WireError) {
        for record in records where record.table == Self.table {
            var keyReader = ByteReader(record.key)
            let number = try keyReader.read(UInt64.self)
            try keyReader.finish()
            var reader = ByteReader(record.value)
            let count = Int(try reader.read(UInt8.self))
            let mints = try reader.read(byteCount: count)
            let request = try MintRequest(parsing: reader.readRemaining())
            items[number] = Item(request: request, mints: Set(mints))
            nextNumber = max(nextNumber, number &+ 1)
        }
    }

    /// What waits, the oldest first.
    var waiting: [(number: UInt64, item: Item)] {
        items.sorted { $0.key < $1.key }.map { (number: $0.key, item: $0.value) }
    }

    /// Keeps something to tell `mints`; its number, or `nil` where there is nobody to tell.
    mutating func add(_ request: MintRequest, to mints: Set<UInt8>) -> UInt64? {
        guard !mints.isEmpty else { return nil }
        if items.count >= Self.limit, let oldest = items.keys.min() { remove(oldest) }
        let number = nextNumber
        nextNumber += 1
        items[number] = Item(request: request, mints: mints)
        var writer = ByteWriter(capacity: 1_024)
        writer.write(UInt8(clamping: mints.count))
        writer.write(mints.sorted())
        writer.write(request.encoded)
        writes.append(
            RecordWrite(table: Self.table, key: Self.key(number), value: writer.bytes)
        )
        return number
    }

    /// Learns that a mint has taken an item.
    mutating func noteTold(_ number: UInt64, to mint: UInt8) {
        items[number]?.mints.remove(mint)
        if items[number]?.mints.isEmpty == true { remove(number) }
    }

    private mutating func remove(_ number: UInt64) {
        items[number] = nil
        removals.append(RecordWrite(table: Self.table, key: Self.key(number), value: nil))
    }

    /// Takes what is to be written now.
    ///
    /// - Parameter isCommitting: whether there is a commit anyway: what was told goes with it. Items
    ///   whose removal is lost are told once more.
    mutating func takeWrites(isCommitting: Bool) -> [RecordWrite] {
        var taken = writes
        writes = []
        if isCommitting || !taken.isEmpty || removals.count >= Self.lazyLimit {
            taken += removals
            removals = []
        }
        return taken
    }

    private static func key(_ number: UInt64) -> [UInt8] {
        var writer = ByteWriter(capacity: 8)
        writer.write(number)
        return writer.bytes
    }
}
