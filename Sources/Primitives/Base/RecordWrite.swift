/// One change to a keyed table on disk: what machines hand to a store, which knows bytes only.
///
/// Changes that come in one list take effect together or not at all.
public struct RecordWrite: Hashable, Sendable {
    /// The table's number, by the machine that owns it.
    public let table: UInt8
    /// The key within the table, at most 64 bytes.
    public let key: [UInt8]
    /// The value that replaces what is there; `nil` removes it.
    public let value: [UInt8]?

    /// Takes the three over.
    public init(table: UInt8, key: [UInt8], value: [UInt8]?) {
        self.table = table
        self.key = key
        self.value = value
    }
}

/// One row of a keyed table as it was read from disk.
public struct StoredRecord: Hashable, Sendable {
    /// The table's number.
    public let table: UInt8
    /// The key within the table.
    public let key: [UInt8]
    /// The value.
    public let value: [UInt8]

    /// Takes the three over.
    public init(table: UInt8, key: [UInt8], value: [UInt8]) {
        self.table = table
        self.key = key
        self.value = value
    }
}
