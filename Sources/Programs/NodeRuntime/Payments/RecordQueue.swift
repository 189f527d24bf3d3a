import Base
import EventLoop
import Store

/// Writes records one list after the other on a thread of its own; what fails is written again.
///
/// Order is kept: what came later never overtakes what has failed. Bound: the lists that wait, of
/// which the machines that make them have few, for they wait for the outcome.
struct RecordQueue: Sendable {
    private static let retry: TimeSpan = .seconds(1)

    private struct Item: Sendable {
        var number: UInt64
        var writes: [RecordWrite]
    }

    private let writer: WorkerPool<[RecordWrite]>
    private var items: [Item] = []
    private var isWriting = false
    private var retryAt: Instant?
    /// Why nothing can be written; `nil` where it can.
    private(set) var problem: String?

    /// Writes to `store`; `done` is told the outcome of each list, on the writer's thread.
    ///
    /// - Throws: ``IOError`` where there is no room for a thread.
    init(
        _ store: RecordStore,
        done: @escaping @Sendable (StoreError?) -> Void
    ) throws(IOError) {
        writer = try WorkerPool(name: "umbel-records", count: 1) { writes in
            do throws(StoreError) {
                try store.apply(writes)
                done(nil)
            } catch {
                done(error)
            }
        }
    }

    /// Queues a list.
    mutating func add(_ number: UInt64, _ writes: [RecordWrite]) {
        items.append(Item(number: number, writes: writes))
        start()
    }

    /// Takes the outcome of the list at the head; gives its number once it is on disk.
    mutating func finish(_ error: StoreError?, now: Instant) -> UInt64? {
        isWriting = false
        guard let error else {
            problem = nil
            let number = items.isEmpty ? nil : items.removeFirst().number
            start()
            return number
        }
        problem = "\(error)"
        retryAt = now + Self.retry
        return nil
    }

    /// When ``advance(to:)`` has something to do.
    var nextDeadline: Instant { retryAt ?? .distantFuture }

    /// Tries again what has failed.
    mutating func advance(to now: Instant) {
        guard let at = retryAt, at <= now else { return }
        retryAt = nil
        start()
    }

    /// Lets the thread end after what it has.
    func stop() {
        writer.stop()
    }

    private mutating func start() {
        guard !isWriting, retryAt == nil, let head = items.first else { return }
        isWriting = true
        writer.delegate(head.writes)
    }
}
