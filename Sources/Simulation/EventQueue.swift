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
struct EventQueue {
    private struct Entry {
        let time: Instant
        let sequence: UInt64
        let event: Event
    }

    private var heap: [Entry] = []
    private var nextSequence: UInt64 = 0

    var isEmpty: Bool { heap.isEmpty }
    var count: Int { heap.count }
    var nextTime: Instant? { heap.first?.time }
    var nextEvent: Event? { heap.first?.event }

    mutating func add(_ event: Event, at time: Instant) {
        heap.append(Entry(time: time, sequence: nextSequence, event: event))
        nextSequence += 1
        var place = heap.count - 1
        while place > 0, precedes(place, (place - 1) / 2) {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    mutating func removeFirst() -> (time: Instant, event: Event)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var place = 0
            while true {
                var least = place
                for child in [2 * place + 1, 2 * place + 2]
                where child < heap.count && precedes(child, least) {
                    least = child
                }
                guard least != place else { break }
                heap.swapAt(place, least)
                place = least
            }
        }
        return (first.time, first.event)
    }

    private func precedes(_ left: Int, _ right: Int) -> Bool {
        (heap[left].time, heap[left].sequence) < (heap[right].time, heap[right].sequence)
    }
}
