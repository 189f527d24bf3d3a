import Base
import FoundationEssentials
import Testing

@testable import Store

@Suite("Records on disk")
struct RecordStoreTests {
    private let folder: String

    init() throws {
        folder = FileManager.default.temporaryDirectory
            .appending(path: "umbel-store-\(UUID().uuidString)").path()
        try FileManager.default.createDirectory(
            atPath: folder,
            withIntermediateDirectories: true
        )
    }

    private var path: String { "\(folder)/records.sqlite" }

    private func write(_ table: UInt8, _ key: UInt8, _ value: [UInt8]?) -> RecordWrite {
        RecordWrite(table: table, key: [key], value: value)
    }

    @Test("what was written is there after the file was closed, and what was removed is not")
    func writesAndReads() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let store = try RecordStore(path: path)
        try store.apply([write(1, 1, [7]), write(1, 2, [8]), write(2, 1, [9])])
        try store.apply([write(1, 1, [70]), write(1, 2, nil)])
        try store.close()
        let again = try RecordStore(path: path)
        #expect(
            try again.records() == [
                StoredRecord(table: 1, key: [1], value: [70]),
                StoredRecord(table: 2, key: [1], value: [9]),
            ]
        )
        try again.close()
    }

    @Test("row 61: a second connection is refused while the first one stands")
    func secondConnection() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let store = try RecordStore(path: path)
        try store.apply([write(1, 1, [1])])
        #expect(throws: StoreError.inUse(path)) { _ = try RecordStore(path: path) }
        try store.close()
        _ = try RecordStore(path: path)
    }

    @Test("row 63: a damaged file, a foreign one and an old copy are refused, each by name")
    func refusals() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var store = try RecordStore(path: path)
        try store.apply((0..<200).map { write(1, $0, [UInt8](repeating: $0, count: 500)) })
        try store.close()
        let copy = try Data(contentsOf: URL(filePath: path))
        store = try RecordStore(path: path)
        try store.close()
        try copy.write(to: URL(filePath: path))
        #expect(throws: StoreError.older(file: 1, seen: 2)) { _ = try RecordStore(path: path) }
        var broken = copy
        for index in 8_192..<12_288 { broken[index] = 0xa5 }
        try broken.write(to: URL(filePath: path))
        let damage = #expect(throws: StoreError.self) { _ = try RecordStore(path: path) }
        if case .damaged = damage {} else { Issue.record("\(String(describing: damage))") }
        try Data("no database at all".utf8).write(to: URL(filePath: path))
        let foreign = #expect(throws: StoreError.self) { _ = try RecordStore(path: path) }
        if case .damaged = foreign {} else { Issue.record("\(String(describing: foreign))") }
    }
}
