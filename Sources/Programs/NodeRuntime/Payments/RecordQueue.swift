import Base
import EventLoop
import Store

/// Writes records one list after the other on a thread of its own.
///
/// Order is kept: what came later never overtakes what has failed. Bound: the lists that wait, of
/// which the machines that make them have few, for they wait for the outcome.
struct RecordQueue: Sendable {
    private static let retry: TimeSpan = .seconds(1)

    /// What becomes of a list that could not be written.
    enum Failure: Sendable {
        /// It is written again until it is on the disk.
        case retries
        /// It is forgotten: its machine brings what is in it again.
        case forgets
    }

    /// What came of a list.
    struct Outcome: Equatable, Sendable {
        var number: UInt64
        var isDone: Bool
    }

    private struct Item: Sendable {
        var number: UInt64
        var writes: [RecordWrite]
        var hasFailed = false
    }

    private let writer: WorkerPool<[RecordWrite]>
    private let failure: Failure
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
        failure: Failure,
        done: @escaping @Sendable (StoreError?) -> Void
    ) throws(IOError) {
        self.failure = failure
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

    /// Takes the outcome of the list at the head; gives what its machine is to be told.
    ///
    /// A list that is written again is told of twice: that it failed, and that it is there.
    mutating func finish(_ error: StoreError?, now: Instant) -> Outcome? {
        isWriting = false
        guard let head = items.first else { return nil }
        guard let error else {
            problem = nil
            items.removeFirst()
            start()
            return Outcome(number: head.number, isDone: true)
        }
        problem = "\(error)"
        switch failure {
        case .forgets:
            items.removeFirst()
            start()
        case .retries:
            items[0].hasFailed = true
            retryAt = now + Self.retry
        }
        return head.hasFailed ? nil : Outcome(number: head.number, isDone: false)
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
