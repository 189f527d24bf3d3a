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
        var listeners: [UInt64: AsyncStream<EventReport>.Continuation] = [:]

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
    ///   - text: what happened, in one line.
    public func note(level: String, text: String) {
        let time = WallClock.nanosecondsSince1970() / 1_000_000
        state.withLock { state in
            let event = EventReport(number: state.next, time: time, level: level, text: text)
            state.next += 1
            if state.events.count < capacity {
                state.events.append(event)
            } else {
                state.events[state.first] = event
                state.first = (state.first + 1) % capacity
            }
            for listener in state.listeners.values { listener.yield(event) }
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
        let key = state.withLock { state in
            for event in state.inOrder { continuation.yield(event) }
            let key = state.nextListener
            state.nextListener += 1
            state.listeners[key] = continuation
            return key
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLock { $0.listeners.removeValue(forKey: key) }
        }
        return stream
    }
}
