/// Rates of flows that share relays: max-min fair, each flow through three relays and no faster
/// than it wants to be.
///
/// Progressive filling, exact: all rates rise together until a relay is full or a flow has what it
/// wants; those flows stop, the others rise on. Relays fill in the order of a heap. Working memory is
/// kept from one step to the next.
struct FairShares {
    /// Cells a second each relay carries.
    let capacity: [Double]
    /// The rate of each flow, after ``fill(_:_:_:wants:)``.
    private(set) var rates: [Float] = []
    /// Relays that were full, in the last step.
    private(set) var fullCount = 0

    // By relay: where its flows begin in `members`; what is left of its line, and for how many.
    private var starts: [Int32]
    private var members: [Int32] = []
    private var left: [Double]
    private var openCount: [Int32]
    /// Cells a second each relay was asked for, in the last step.
    private(set) var wanted: [Double]
    private var heap: [(level: Double, relay: Int32)] = []
    private var isOpen: [Bool] = []

    init(capacity: [Double]) {
        self.capacity = capacity
        starts = [Int32](repeating: 0, count: capacity.count + 1)
        left = capacity
        openCount = [Int32](repeating: 0, count: capacity.count)
        wanted = [Double](repeating: 0, count: capacity.count)
    }

    /// Shares the lines among flows; `hops` is three relays of each, one flow after the other.
    ///
    /// Only flows through relays that are asked for too much take part in filling: all others get
    /// what they want, and what they leave of other relays' lines is known beforehand.
    mutating func fill(hops: [UInt16], wants: [Float]) {
        let flowCount = wants.count
        rates = wants
        fullCount = 0
        for relay in wanted.indices { wanted[relay] = 0 }
        for flow in 0..<flowCount {
            let want = Double(wants[flow])
            for hop in 0..<3 { wanted[Int(hops[3 * flow + hop])] += want }
        }
        guard wanted.indices.contains(where: { wanted[$0] > capacity[$0] }) else { return }
        open(hops: hops, wants: wants)
        while let top = pop() {
            let relay = Int(top.relay)
            guard openCount[relay] > 0 else { continue }
            let level = left[relay] / Double(openCount[relay])
            // Others stopped since: it fills later than was thought.
            if level > top.level * (1 + 1e-12) + 1e-12 {
                push((level, top.relay))
                continue
            }
            // Of those through it, first whoever wants less than its share.
            var hasSmaller = false
            for place in Int(starts[relay])..<Int(starts[relay + 1]) {
                let flow = Int(members[place])
                guard isOpen[flow], Double(wants[flow]) <= level else { continue }
                close(flow, at: Double(wants[flow]), hops)
                hasSmaller = true
            }
            if hasSmaller {
                if openCount[relay] > 0 {
                    push((left[relay] / Double(openCount[relay]), top.relay))
                }
                continue
            }
            fullCount += 1
            for place in Int(starts[relay])..<Int(starts[relay + 1]) {
                let flow = Int(members[place])
                if isOpen[flow] { close(flow, at: max(0, level), hops) }
            }
        }
    }

    private mutating func close(_ flow: Int, at rate: Double, _ hops: [UInt16]) {
        isOpen[flow] = false
        rates[flow] = Float(rate)
        for hop in 0..<3 {
            let relay = Int(hops[3 * flow + hop])
            left[relay] -= rate
            openCount[relay] -= 1
        }
    }

    /// Lists the flows of relays that are asked for too much, and takes all others' rates off.
    private mutating func open(hops: [UInt16], wants: [Float]) {
        left = capacity
        isOpen = [Bool](repeating: false, count: wants.count)
        for relay in openCount.indices { openCount[relay] = 0 }
        for flow in 0..<wants.count {
            let range = 3 * flow..<3 * flow + 3
            if range.contains(where: { wanted[Int(hops[$0])] > capacity[Int(hops[$0])] }) {
                isOpen[flow] = true
                for place in range { openCount[Int(hops[place])] += 1 }
            } else {
                for place in range { left[Int(hops[place])] -= Double(wants[flow]) }
            }
        }
        var sum: Int32 = 0
        for relay in openCount.indices {
            starts[relay] = sum
            sum += openCount[relay]
        }
        starts[openCount.count] = sum
        members = [Int32](repeating: 0, count: Int(sum))
        var next = starts
        for flow in 0..<wants.count where isOpen[flow] {
            for place in 3 * flow..<3 * flow + 3 {
                let relay = Int(hops[place])
                members[Int(next[relay])] = Int32(flow)
                next[relay] += 1
            }
        }
        heap.removeAll(keepingCapacity: true)
        for relay in openCount.indices where openCount[relay] > 0 {
            push((left[relay] / Double(openCount[relay]), Int32(relay)))
        }
    }

    private mutating func push(_ item: (level: Double, relay: Int32)) {
        heap.append(item)
        var place = heap.count - 1
        while place > 0 {
            let parent = (place - 1) / 2
            guard heap[place].level < heap[parent].level else { return }
            heap.swapAt(place, parent)
            place = parent
        }
    }

    private mutating func pop() -> (level: Double, relay: Int32)? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return first }
        heap[0] = last
        var place = 0
        while true {
            let child = 2 * place + 1
            guard child < heap.count else { return first }
            var least = child
            if child + 1 < heap.count, heap[child + 1].level < heap[child].level {
                least = child + 1
            }
            guard heap[least].level < heap[place].level else { return first }
            heap.swapAt(place, least)
            place = least
        }
    }
}
