import Base
import CCrashVFS
import Dispatch
import EventLoop
import Foundation
import Store
import Synchronization
import Testing

@testable import NodeRuntime

@Suite("Records written beside a machine", .timeLimit(.minutes(1)))
struct RecordQueueTests {
    /// What the writer's thread reports, one after the other.
    private final class Reports: Sendable {
        private let waiting = Mutex<[StoreError?]>([])
        private let count = DispatchSemaphore(value: 0)

        func add(_ report: StoreError?) {
            waiting.withLock { $0.append(report) }
            count.signal()
        }

        /// The next report; waits for it.
        func next() -> StoreError? {
            count.wait()
            return waiting.withLock { $0.removeFirst() }
        }
    }

    private static let start = Instant(nanoseconds: 1_000_000_000)

    private func write(_ value: UInt8) -> [RecordWrite] {
        [RecordWrite(table: 1, key: [1], value: [value])]
    }

    /// A queue on a disk of its own, and what its thread reports.
    private func with(
        _ failure: RecordQueue.Failure,
        _ body: (inout RecordQueue, RecordStore, OpaquePointer, Reports) throws -> Void
    ) throws {
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let disk = try #require(crash_vfs_watch(folder))
        defer { crash_vfs_unwatch(disk) }
        let store = try RecordStore(path: "\(folder)/records.sqlite")
        let reports = Reports()
        var queue = try RecordQueue(store, failure: failure) { reports.add($0) }
        defer { queue.stop() }
        try body(&queue, store, disk, reports)
    }

    @Test("a wallet's list that fails is told of, written again, and told of once it is there")
    func retries() throws {
        try with(.retries) { queue, store, disk, reports in
            crash_vfs_fail(disk, 1, 13, 1)
            queue.add(1, write(1))
            queue.add(2, write(2))
            let first = queue.finish(reports.next(), now: Self.start)
            #expect(first == RecordQueue.Outcome(number: 1, isDone: false))
            #expect(queue.problem?.contains("cannot be written") == true)
            #expect(queue.nextDeadline == Self.start + .seconds(1))
            queue.advance(to: Self.start + .seconds(1))
            let again = queue.finish(reports.next(), now: Self.start + .seconds(1))
            #expect(again == nil, "it was told already")
            crash_vfs_fail(disk, 0, 0, 0)
            queue.advance(to: Self.start + .seconds(2))
            for number in UInt64(1)...2 {
                let outcome = queue.finish(reports.next(), now: Self.start)
                #expect(outcome == RecordQueue.Outcome(number: number, isDone: true))
            }
            #expect(queue.problem == nil)
            let values = try store.records().map(\.value)
            #expect(values == [[2]])
        }
    }

    @Test("row 62: a relay's list that fails is told of and forgotten; the next one is written")
    func forgets() throws {
        try with(.forgets) { queue, store, disk, reports in
            crash_vfs_fail(disk, 1, 13, 0)
            queue.add(1, write(1))
            let first = queue.finish(reports.next(), now: Self.start)
            #expect(first == RecordQueue.Outcome(number: 1, isDone: false))
            queue.add(2, write(2))
            let second = queue.finish(reports.next(), now: Self.start)
            #expect(second == RecordQueue.Outcome(number: 2, isDone: true))
            let values = try store.records().map(\.value)
            #expect(values == [[2]])
        }
    }
}
