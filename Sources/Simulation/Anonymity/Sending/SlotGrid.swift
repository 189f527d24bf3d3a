import CryptoPrimitives
import Workloads

/// One cell in every slot, at times all clients of a network share; parity, and a hold at the middle.
///
/// Going forward, the middle holds each real cell for a uniform number of slots, never lets it
/// overtake the one before, and sends one a slot. Going back, the middle fills the slots.
public struct SlotGrid: Hashable, Sendable {
    /// Seconds of a slot.
    public var slotSeconds: Double
    /// Share of cells lost between client and middle, each way; the adversary sees which.
    public var lossShare: Double
    /// Slots the middle holds a cell, the upper bound not included.
    public var hold: Range<Int>
    /// Cells of data before each of parity; `nil` for no parity.
    public var groupCount: Int?

    /// A grid.
    ///
    /// - Precondition: slots have a length, the hold is not empty, and groups hold something.
    public init(slotSeconds: Double, lossShare: Double, hold: Range<Int>, groupCount: Int?) {
        precondition(slotSeconds > 0 && !hold.isEmpty && groupCount ?? 1 > 0, "a grid has slots")
        self.slotSeconds = slotSeconds
        self.lossShare = lossShare
        self.hold = hold
        self.groupCount = groupCount
    }

    /// Cells of data before each of parity in `mix` (protocol text, D).
    public static let mixGroupCount = 4
    /// The grid of `mix` (protocol text, D): slots of 10 ms, parity of 4, a hold of 5 to 25 slots; 1 % loss.
    public static let mix = SlotGrid(
        slotSeconds: 0.01,
        lossShare: 0.01,
        hold: 5..<25,
        groupCount: mixGroupCount
    )

    /// From half a slot before the shortest hold to half a slot after the longest.
    var law: DelayLaw {
        .between(
            least: (Double(hold.lowerBound) - 0.5) * slotSeconds,
            most: (Double(hold.upperBound) - 0.5) * slotSeconds
        )
    }

    /// The slots of a run, and what became of the cells in them.
    private struct Slots {
        var isLost: [Bool]
        /// Lost, and not made again from the others of its group.
        var isMissing: [Bool]
    }

    private func isParity(_ slot: Int) -> Bool {
        groupCount.map { slot % ($0 + 1) == $0 } ?? false
    }

    private func slots(_ count: Int, isLost: [Bool]) -> Slots {
        var missing = isLost
        if let groupCount {
            var start = 0
            while start + groupCount < count {
                let group = start...start + groupCount
                // One lost cell of a group is the sum of the others.
                if group.filter({ isLost[$0] }).count == 1 {
                    for slot in group { missing[slot] = false }
                }
                start += groupCount + 1
            }
        }
        return Slots(isLost: isLost, isMissing: missing)
    }

    /// Which real cell each slot carries.
    private func loads(_ arrivals: [Double], slotCount: Int) -> [Int?] {
        var next = 0
        return (0..<slotCount).map { slot in
            guard !isParity(slot), next < arrivals.count,
                arrivals[next] <= Double(slot) * slotSeconds
            else { return nil }
            defer { next += 1 }
            return next
        }
    }

    func download(
        _ arrivals: [Double],
        seconds: Double,
        into passage: inout Passage,
        random: inout RandomGenerator
    ) {
        let count = Int(seconds / slotSeconds)
        var isLost: [Bool] = []
        for _ in 0..<count { isLost.append(random.unit() < lossShare) }
        let slots = slots(count, isLost: isLost)
        let loads = loads(arrivals, slotCount: count)
        var times: [Double] = []
        for slot in 0..<count {
            let time = Double(slot) * slotSeconds
            if !slots.isLost[slot] { times.append(time) }
            guard let real = loads[slot], !slots.isMissing[slot] else { continue }
            // A cell made again is there when its group is.
            let repaired = slots.isLost[slot] ? lastOfGroup(slot) : slot
            passage.delays.append(Double(repaired) * slotSeconds - arrivals[real])
        }
        passage.link = FlowTrace(times: times)
    }

    private func lastOfGroup(_ slot: Int) -> Int {
        guard let groupCount else { return slot }
        return slot - slot % (groupCount + 1) + groupCount
    }

    /// Times of the slots that carry data.
    func dataTimes(_ seconds: Double) -> [Double] {
        (0..<Int(seconds / slotSeconds)).filter { !isParity($0) }.map {
            Double($0) * slotSeconds
        }
    }

    func upload(
        _ wanted: [Double],
        seconds: Double,
        random: inout RandomGenerator,
        passes: (Double, inout RandomGenerator) -> Double?
    ) -> Passage {
        var passage = Passage(realCount: wanted.count)
        let count = Int(seconds / slotSeconds)
        var isLost: [Bool] = []
        var onward: [Double] = []
        for slot in 0..<count {
            let time = Double(slot) * slotSeconds
            let passed = passes(time, &random)
            isLost.append(passed == nil || random.unit() < lossShare)
            onward.append(passed ?? time)
        }
        let slots = slots(count, isLost: isLost)
        let loads = loads(wanted, slotCount: count)
        passage.link = FlowTrace(times: (0..<count).map { Double($0) * slotSeconds })
        var leaving: [Double] = []
        var lastSlot = -1
        for slot in 0..<count where !slots.isMissing[slot] {
            if !isParity(slot) { passage.causes.append(Double(slot) * slotSeconds) }
            guard let real = loads[slot] else { continue }
            let drawn = hold.lowerBound + Int(random.next(below: UInt64(hold.count)))
            // A delayed cell is held from the slot after it came.
            let came = Int((onward[slot] / slotSeconds).rounded(.up))
            lastSlot = max(lastSlot + 1, came + drawn)
            let time = Double(lastSlot) * slotSeconds
            guard time < seconds else { continue }
            leaving.append(time)
            passage.delays.append(time - wanted[real])
        }
        passage.exit = FlowTrace(times: leaving)
        return passage
    }
}
