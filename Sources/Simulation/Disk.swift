import Base

/// What a node of a world has on its disk; it outlives the node.
struct Disk {
    private struct Key: Hashable {
        var table: UInt8
        var key: [UInt8]
    }

    private var values: [Key: [UInt8]] = [:]
    /// Whether nothing more can be written.
    var isFull = false

    /// Everything on it, by table and key.
    var records: [StoredRecord] {
        values.sorted { first, second in
            first.key.table != second.key.table
                ? first.key.table < second.key.table
                : first.key.key.lexicographicallyPrecedes(second.key.key)
        }.map { StoredRecord(table: $0.key.table, key: $0.key.key, value: $0.value) }
    }

    /// Writes all of it, or nothing; whether it did.
    mutating func apply(_ writes: [RecordWrite]) -> Bool {
        guard !isFull else { return false }
        for write in writes { values[Key(table: write.table, key: write.key)] = write.value }
        return true
    }
}
