/// Deadlines by small integer key: one per key, the earliest first.
///
/// A binary heap with the place of each key beside it, so that moving a deadline is O(log n). Equal
/// deadlines fire in the order of their keys, so that simulations repeat.
public struct TimerTable: Sendable {
    private struct Entry {
        var deadline: Instant
        var key: Int
    }

    private var heap: [Entry] = []
    // Place in the heap for each key, or -1.
    private var places: [Int32] = []

    /// Makes an empty table.
    public init() {}

    /// The earliest deadline; ``Instant/distantFuture`` if there is none.
    public var nextDeadline: Instant {
        heap.first?.deadline ?? .distantFuture
    }

    /// The deadline of `key`; `nil` if it has none.
    public func deadline(of key: Int) -> Instant? {
        guard key < places.count, places[key] >= 0 else { return nil }
        return heap[Int(places[key])].deadline
    }

    /// Sets or moves the deadline of `key`; ``Instant/distantFuture`` removes it.
    ///
    /// - Precondition: keys are small and dense: the table holds a place for each up to the highest.
    public mutating func set(_ key: Int, to deadline: Instant) {
        guard deadline != .distantFuture else { return cancel(key) }
        if key >= places.count {
            places.append(contentsOf: repeatElement(-1, count: key + 1 - places.count))
        }
        if places[key] < 0 {
            places[key] = Int32(heap.count)
            heap.append(Entry(deadline: deadline, key: key))
            siftUp(heap.count - 1)
        } else {
            let place = Int(places[key])
            heap[place].deadline = deadline
            siftUp(place)
            siftDown(Int(places[key]))
        }
    }

    /// Sets the deadline of `key` unless it has an earlier one.
    public mutating func set(_ key: Int, noLaterThan deadline: Instant) {
        if let current = self.deadline(of: key), current <= deadline { return }
        set(key, to: deadline)
    }

    /// Removes the deadline of `key`.
    public mutating func cancel(_ key: Int) {
        guard key < places.count, places[key] >= 0 else { return }
        let place = Int(places[key])
        places[key] = -1
        let last = heap.removeLast()
        guard place < heap.count else { return }
        heap[place] = last
        places[last.key] = Int32(place)
        siftUp(place)
        siftDown(Int(places[last.key]))
    }

    /// Takes the first key whose deadline is not after `now`; `nil` if there is none.
    public mutating func popDue(now: Instant) -> Int? {
        guard let first = heap.first, first.deadline <= now else { return nil }
        cancel(first.key)
        return first.key
    }

    private func precedes(_ left: Entry, _ right: Entry) -> Bool {
        (left.deadline, left.key) < (right.deadline, right.key)
    }

    private mutating func siftUp(_ start: Int) {
        var place = start
        while place > 0, precedes(heap[place], heap[(place - 1) / 2]) {
            exchange(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    private mutating func siftDown(_ start: Int) {
        var place = start
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2] where child < heap.count {
                if precedes(heap[child], heap[least]) { least = child }
            }
            guard least != place else { return }
            exchange(place, least)
            place = least
        }
    }

    private mutating func exchange(_ left: Int, _ right: Int) {
        heap.swapAt(left, right)
        places[heap[left].key] = Int32(left)
        places[heap[right].key] = Int32(right)
    }
}
