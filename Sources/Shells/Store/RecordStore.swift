public import Base
import FoundationEssentials
import GRDB

/// Keyed records in one SQLite file: WAL, every commit synced, one connection.
///
/// Calls wait for the disk: make them from a thread that may. Thread-safe.
public final class RecordStore: Sendable {
    private let queue: DatabaseQueue
    private let path: String

    // "UMBL".
    private static let applicationID = 0x554d_424c
    private static let schema = 1

    /// Opens the file at `path`, which is made if it is missing.
    ///
    /// - Throws: ``StoreError``, saying what is wrong and what to do.
    public init(path: String) throws(StoreError) {
        self.path = path
        var configuration = Configuration()
        configuration.journalMode = .wal
        configuration.label = "records"
        configuration.busyMode = .immediateError
        configuration.prepareDatabase { database in
            // One process: a second one finds the file locked. Before WAL, so that it holds from
            // the first byte read.
            try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
        }
        do {
            queue = try DatabaseQueue(path: path, configuration: configuration)
            try Self.prepare(queue)
        } catch let error as StoreError {
            throw error
        } catch {
            throw Self.opening(path, error)
        }
        try checkAge()
    }

    private static func prepare(_ queue: DatabaseQueue) throws {
        try queue.writeWithoutTransaction { database in
            // GRDB's set-up for WAL lowers this after `prepareDatabase`.
            try database.execute(sql: "PRAGMA synchronous = FULL")
            let mode = try Int.fetchOne(database, sql: "PRAGMA synchronous")
            guard mode == 2 else { throw StoreError.notSynced(mode ?? -1) }
            let journal = try String.fetchOne(database, sql: "PRAGMA journal_mode")
            guard journal == "wal" else { throw StoreError.notSynced(-1) }
            let check = try String.fetchOne(database, sql: "PRAGMA quick_check(1)")
            guard check == "ok" else { throw StoreError.damaged(check ?? "no answer") }
            let id = try Int.fetchOne(database, sql: "PRAGMA application_id") ?? 0
            let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
            if id == 0, version == 0 {
                guard try database.tableExists("record") == false else {
                    throw StoreError.foreign(id: id, schema: version)
                }
                try database.inTransaction {
                    try database.execute(
                        sql: """
                            CREATE TABLE record (
                                kind INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
                                PRIMARY KEY (kind, key)
                            ) WITHOUT ROWID
                            """
                    )
                    try database.execute(
                        sql: "CREATE TABLE opening (id INTEGER PRIMARY KEY, count INTEGER NOT NULL)"
                    )
                    try database.execute(sql: "INSERT INTO opening VALUES (1, 0)")
                    try database.execute(sql: "PRAGMA application_id = \(applicationID)")
                    try database.execute(sql: "PRAGMA user_version = \(schema)")
                    return .commit
                }
            } else if id != applicationID || version != schema {
                throw StoreError.foreign(id: id, schema: version)
            }
        }
    }

    /// Compares how often the file was opened with what is noted beside it: an old copy shows.
    private func checkAge() throws(StoreError) {
        let marker = path + ".mark"
        let known = FileManager.default.contents(atPath: marker)
            .flatMap { Int(String(decoding: $0, as: UTF8.self)) }
        do {
            let count = try queue.write { database in
                let count = try Int.fetchOne(database, sql: "SELECT count FROM opening") ?? 0
                if let known, known > count { throw StoreError.older(file: count, seen: known) }
                try database.execute(sql: "UPDATE opening SET count = count + 1")
                return count + 1
            }
            try Data("\(count)".utf8).write(to: URL(filePath: marker), options: .atomic)
        } catch let error as StoreError {
            throw error
        } catch {
            throw Self.writing(path, error)
        }
    }

    /// Writes all of `writes`, or nothing; they are on the disk when this returns.
    ///
    /// - Throws: ``StoreError/unwritable(_:_:)``: nothing of it will be there later either.
    public func apply(_ writes: [RecordWrite]) throws(StoreError) {
        guard !writes.isEmpty else { return }
        do {
            try queue.write { database in
                let put = try database.cachedStatement(
                    sql: "INSERT OR REPLACE INTO record (kind, key, value) VALUES (?, ?, ?)"
                )
                let remove = try database.cachedStatement(
                    sql: "DELETE FROM record WHERE kind = ? AND key = ?"
                )
                for write in writes {
                    let key = Data(write.key)
                    if let value = write.value {
                        try put.execute(arguments: [Int(write.table), key, Data(value)])
                    } else {
                        try remove.execute(arguments: [Int(write.table), key])
                    }
                }
            }
        } catch {
            throw Self.writing(path, error)
        }
    }

    /// All records, by table and key.
    ///
    /// - Throws: ``StoreError/damaged(_:)``.
    public func records() throws(StoreError) -> [StoredRecord] {
        do {
            return try queue.read { database in
                var records: [StoredRecord] = []
                let rows = try Row.fetchCursor(
                    database,
                    sql: "SELECT kind, key, value FROM record ORDER BY kind, key"
                )
                while let row = try rows.next() {
                    let (kind, key, value): (Int, Data, Data) = (row[0], row[1], row[2])
                    records.append(
                        StoredRecord(
                            table: UInt8(clamping: kind),
                            key: Array(key),
                            value: Array(value)
                        )
                    )
                }
                return records
            }
        } catch {
            throw .damaged("\(error)")
        }
    }

    /// Closes the file.
    ///
    /// - Throws: ``StoreError/unwritable(_:_:)``.
    public func close() throws(StoreError) {
        do { try queue.close() } catch { throw Self.writing(path, error) }
    }

    private static func opening(_ path: String, _ error: any Error) -> StoreError {
        guard let error = error as? DatabaseError else { return .unopenable(path, "\(error)") }
        switch error.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED: return .inUse(path)
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: return .damaged(error.message ?? "not a database")
        default: return .unopenable(path, error.message ?? "\(error.resultCode)")
        }
    }

    private static func writing(_ path: String, _ error: any Error) -> StoreError {
        let why = (error as? DatabaseError).map { $0.message ?? "\($0.resultCode)" }
        return .unwritable(path, why ?? "\(error)")
    }
}
