import Base
import CCrashVFS
import Foundation
import Store
import Testing

@Suite("Records when power and disk fail", .timeLimit(.minutes(5)))
struct PowerLossTests {
    private static let keys: [[UInt8]] = [[1], [2], [3]]

    /// A folder of its own, and the disk its files are on.
    private func with(_ body: (String, OpaquePointer) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let disk = try #require(crash_vfs_watch(folder))
        defer { crash_vfs_unwatch(disk) }
        try body(folder, disk)
    }

    /// Writes round after round, each of which sets every key to its number; gives the rounds begun
    /// and the rounds that were said to be on disk.
    private func write(_ path: String, rounds: Int) -> (begun: UInt8, stored: UInt8) {
        var (begun, stored) = (UInt8(0), UInt8(0))
        do throws(StoreError) {
            let store = try RecordStore(path: path)
            for round in 1...UInt8(rounds) {
                begun = round
                try store.apply(
                    Self.keys.map {
                        // Long enough to take several pages.
                        RecordWrite(
                            table: 1,
                            key: $0,
                            value: [UInt8](repeating: round, count: 3_000)
                        )
                    }
                )
                stored = round
            }
            try store.close()
        } catch {
            return (begun, stored)
        }
        return (begun, stored)
    }

    /// The round all keys show; `nil` where they show none.
    private func round(_ path: String) throws -> UInt8? {
        let store = try RecordStore(path: path)
        let values = try store.records().map(\.value)
        try store.close()
        guard let first = values.first else { return nil }
        #expect(values.count == Self.keys.count, "a round was written in part")
        #expect(values.allSatisfy { $0 == first && Set($0).count == 1 }, "rounds are mixed")
        return first.first
    }

    @Test(
        "row 60: whenever the power goes, the file opens again with all that was said to be there"
    )
    func powerCuts() throws {
        var total = 0
        try with { folder, disk in
            _ = write("\(folder)/a", rounds: 12)
            total = crash_vfs_calls(disk)
        }
        #expect(total > 40)
        var cuts = 0
        for call in 1...total {
            for seed in UInt64(0)..<3 {
                try with { folder, disk in
                    let path = "\(folder)/a"
                    crash_vfs_cut(disk, call, seed &* 1_000 &+ UInt64(call))
                    let (begun, stored) = write(path, rounds: 12)
                    guard crash_vfs_is_off(disk) == 1 else { return }
                    cuts += 1
                    crash_vfs_unwatch(disk)
                    let found = try round(path) ?? 0
                    #expect(
                        (stored...max(stored, begun)).contains(found),
                        "cut at call \(call), seed \(seed): \(found) of \(stored) to \(begun)"
                    )
                }
            }
        }
        #expect(cuts > 2 * total)
    }

    @Test(
        "row 62: a disk that is full or fails at any call is reported, and nothing is half there",
        // SQLITE_IOERR_WRITE, SQLITE_FULL, SQLITE_IOERR_FSYNC
        arguments: [(778, false), (13, true), (1_034, false), (778, true)]
    )
    func failures(code: Int32, lasts: Bool) throws {
        var total = 0
        try with { folder, disk in
            _ = write("\(folder)/a", rounds: 6)
            total = crash_vfs_calls(disk)
        }
        for call in 1...total {
            try with { folder, disk in
                let path = "\(folder)/a"
                crash_vfs_fail(disk, call, code, lasts ? 1 : 0)
                let (begun, stored) = write(path, rounds: 6)
                crash_vfs_unwatch(disk)
                let found = try round(path) ?? 0
                #expect(
                    (stored...max(stored, begun)).contains(found),
                    "call \(call): \(found) of \(stored) to \(begun)"
                )
            }
        }
    }

    @Test("row 62: the error says that the records cannot be written, and a later write succeeds")
    func message() throws {
        try with { folder, disk in
            let store = try RecordStore(path: "\(folder)/a")
            let write = RecordWrite(table: 1, key: [1], value: [1])
            try store.apply([write])
            crash_vfs_fail(disk, 1, 13, 1)
            let error = #expect(throws: StoreError.self) { try store.apply([write]) }
            #expect("\(try #require(error))".contains("\(folder)/a cannot be written: "))
            crash_vfs_fail(disk, 0, 0, 0)
            try store.apply([RecordWrite(table: 1, key: [1], value: [2])])
            #expect(try store.records().map(\.value) == [[2]])
            try store.close()
        }
    }
}
