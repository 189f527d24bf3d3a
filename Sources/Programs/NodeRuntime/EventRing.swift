public import ControlAPI
import EventLoop
import Synchronization

/// The last things that happened in a node, for whoever asks later, and for those who listen.
///
/// Bounded: the oldest event makes room, and a listener who is slow misses the oldest.
public final class EventRing: Sendable {
    private struct State {
        var events: [EventReport] = []
        var first = 0
        var next: UInt64 = 1
        var nextListener: UInt64 = 1
        var listeners: [UInt64: @Sendable (EventReport) -> Void] = [:]

        var inOrder: [EventReport] {
            Array(events[first...]) + Array(events[..<first])
        }
    }

    private let capacity: Int
    private let state = Mutex(State())

    /// Makes a ring that holds `capacity` events.
    ///
    /// - Precondition: `capacity` is above 0.
    public init(capacity: Int = 1_000) {
        precondition(capacity > 0, "a ring holds something")
        self.capacity = capacity
    }

    /// Notes that something happened now.
    ///
    /// - Parameters:
    ///   - level: how bad it is: debug, info, notice, warning, error or critical.
    ///   - kind: what it is about, where it is one of these.
    ///   - circuit: the circuit it is about.
    ///   - hops: names of that circuit's relays, the guard first.
    ///   - text: what happened, in one line.
    public func note(
        level: String,
        kind: EventReport.Kind? = nil,
        circuit: UInt64? = nil,
        hops: [String]? = nil,
        text: String
    ) {
        let time = WallClock.nanosecondsSince1970() / 1_000_000
        state.withLock { state in
            let event = EventReport(
                number: state.next,
                time: time,
                level: level,
                kind: kind,
                circuit: circuit,
                hops: hops,
                text: text
            )
            state.next += 1
            if state.events.count < capacity {
                state.events.append(event)
            } else {
                state.events[state.first] = event
                state.first = (state.first + 1) % capacity
            }
            // Told under the lock, so that every listener hears them in order.
            for tell in state.listeners.values { tell(event) }
        }
    }

    /// The events it holds, oldest first.
    public var events: [EventReport] {
        state.withLock { $0.inOrder }
    }

    /// The events it holds, and after them those to come.
    public func updates() -> AsyncStream<EventReport> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: EventReport.self,
            bufferingPolicy: .bufferingNewest(capacity + 256)
        )
        let key = listen(replaying: true) { continuation.yield($0) }
        continuation.onTermination = { [weak self] _ in self?.forget(key) }
        return stream
    }

    /// Hands every event to come to `tell`, which must be quick and must not note events.
    ///
    /// - Parameter replaying: whether those it holds are handed over first.
    /// - Returns: the key to ``forget(_:)`` it by.
    func listen(
        replaying: Bool = false,
        _ tell: @escaping @Sendable (EventReport) -> Void
    ) -> UInt64 {
        state.withLock { state in
            if replaying {
                for event in state.inOrder { tell(event) }
            }
            let key = state.nextListener
            state.nextListener += 1
            state.listeners[key] = tell
            return key
        }
    }

    /// Tells a listener no more.
    func forget(_ key: UInt64) {
        state.withLock { _ = $0.listeners.removeValue(forKey: key) }
    }
}
