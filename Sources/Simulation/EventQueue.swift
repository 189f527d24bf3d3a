import Base

/// What happens at some instant of a world.
enum Event {
    /// A datagram arrives.
    case datagram(Delivery)
    /// A node's own deadline.
    case wake(node: Int)
    /// A job of a node is done.
    case jobDone(node: Int, incarnation: Int)
    /// Events or commands cross between the halves of a node.
    case mailbox(node: Int, incarnation: Int, isForControl: Bool, count: Int)
    /// A packet out of an exit's TUN device reaches the hosts behind it.
    case leftExit(relay: Int, packet: [UInt8])
    /// A packet from the hosts behind an exit reaches its TUN device.
    case enteredExit(relay: Int, packet: TunInput)
    /// A host has something to do.
    case host(Int)
    /// Something the test planned.
    case action(() -> Void)
}

/// A datagram on its way.
struct Delivery {
    let node: Int
    let source: SocketAddress
    let destination: SocketAddress
    let bytes: [UInt8]
}

/// Events in the order of their time, and of their making where times are equal.
///
/// A heap of four children a node over keys alone; the events lie still beside it. So what moves is
/// small, has no references, and four of it share a line of the cache.
struct EventQueue {
    private struct Key {
        let time: UInt64
        // Sequence number in the upper 40 bits, place in `events` in the lower 24.
        let order: UInt64

        static func < (left: Self, right: Self) -> Bool {
            left.time != right.time ? left.time < right.time : left.order < right.order
        }
    }

    private static let placeBits: UInt64 = 24
    private var heap: [Key] = []
    private var events: [Event?] = []
    private var free: [Int32] = []
    private var nextSequence: UInt64 = 0

    var isEmpty: Bool { heap.isEmpty }
    var count: Int { heap.count }
    var nextTime: Instant? { heap.first.map { Instant(nanoseconds: $0.time) } }
    var nextEvent: Event? { heap.first.flatMap { events[Self.place($0)] } }

    private static func place(_ key: Key) -> Int {
        Int(key.order & (1 << placeBits - 1))
    }

    mutating func add(_ event: Event, at time: Instant) {
        let place: Int
        if let last = free.popLast() {
            place = Int(last)
            events[place] = event
        } else {
            place = events.count
            precondition(place < 1 << Self.placeBits, "more events than there are places")
            events.append(event)
        }
        // 2^40 events are days of work.
        precondition(nextSequence < 1 << (64 - Self.placeBits), "sequence numbers are used up")
        let key = Key(
            time: time.nanoseconds,
            order: nextSequence << Self.placeBits | UInt64(place)
        )
        nextSequence += 1
        heap.append(key)
        var position = heap.count - 1
        while position > 0 {
            let parent = (position - 1) / 4
            guard key < heap[parent] else { break }
            heap[position] = heap[parent]
            position = parent
        }
        heap[position] = key
    }

    mutating func removeFirst() -> (time: Instant, event: Event)? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        if !heap.isEmpty { sink(last) }
        let place = Self.place(first)
        guard let event = events[place] else { preconditionFailure("a key without an event") }
        events[place] = nil
        free.append(Int32(place))
        return (Instant(nanoseconds: first.time), event)
    }

    /// Puts `key` in the first place, or below it where it belongs.
    private mutating func sink(_ key: Key) {
        var position = 0
        while true {
            let first = 4 * position + 1
            guard first < heap.count else { break }
            var least = first
            for child in first + 1..<max(first + 1, min(first + 4, heap.count))
            where heap[child] < heap[least] {
                least = child
            }
            guard heap[least] < key else { break }
            heap[position] = heap[least]
            position = least
        }
        heap[position] = key
    }
}
