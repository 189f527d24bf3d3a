import Base
import Mixing

/// Cells that wait for a line whose rate is limited: a queue for each circuit and direction.
///
/// Queues take turns, a cell each; one that was empty comes before those that were not, so that a
/// conversation does not wait for a download. Circuits that pay come first; of sixteen cells one is
/// for those that do not, so that they can begin to. Each queue is told when it stands
/// (``DelayControl``), and loses its oldest cells when they have waited too long.
/// Source: RFC 8290, for cells of one size. Bounds: ``laneLimit`` cells of a queue; its owner bounds
/// them all together by ``byteCount``.
struct FairQueue: ~Copyable {
    /// Cells of one circuit and direction.
    static let laneLimit = 1_024
    /// The longest a cell waits while its queue has more than ``keptCount`` of them.
    static let waitLimit: TimeSpan = .milliseconds(200)
    /// Cells of a queue that stay however long they wait: a slow line is no reason to lose all.
    static let keptCount = 4
    /// One cell of so many goes to circuits that do not pay, where any of them waits.
    static let unpaidTurn = 16

    /// What is to become of a cell.
    enum Kind: UInt8 {
        /// It came from the client's side.
        case forward
        /// It came from the next hop.
        case backward
        /// It was made here, for the client.
        case made
    }

    /// A cell whose turn it is.
    struct Departure {
        /// Its circuit's slot.
        var circuit: Int
        var kind: Kind
        /// Counter of its layer; 0 where it has none yet.
        var counter: UInt32
        /// Whether it is to tell of a queue.
        var isMarked: Bool
        /// Where its body is kept.
        var cell: Int32
    }

    private struct Waiting {
        var next: Int32 = -1
        var counter: UInt32 = 0
        var kind = Kind.forward
        var isMarked = false
        var arrived: Instant = .zero
    }

    // Not private: code elsewhere that destroys a queue refers to the metadata of its elements.
    struct Lane {
        let circuit: Int
        var first: Int32 = -1
        var last: Int32 = -1
        var count = 0
        var control = DelayControl()
        /// The lane behind it in its rotation.
        var next: Int32 = -1
        var isTurning = false
    }

    /// Lanes in the order of their turns.
    private struct Rotation {
        var first: Int32 = -1
        var last: Int32 = -1
    }

    /// The rotations by number: lanes of circuits that pay, then of others; those that were empty,
    /// then those that had their turn.
    private enum Place {
        static let paid = 0
        static let unpaid = 2
        static let count = 4

        static func fresh(isPaid: Bool) -> Int { isPaid ? paid : unpaid }
    }

    private var store = CellStore()
    private var waiting: [Waiting] = []
    private var lanes: Slab<Lane>
    private var rotations = [Rotation](repeating: Rotation(), count: Place.count)
    private var paidRun = 0
    /// Cells that were dropped, by the circuit's slot, since this was last emptied.
    private(set) var dropped: [Int] = []

    /// Makes an empty queue for `circuitLimit` circuits.
    init(circuitLimit: Int) {
        lanes = Slab(limit: circuitLimit * 2)
    }

    /// Cells that wait.
    var count: Int {
        store.count
    }

    /// Bytes of memory the waiting cells take.
    var byteCount: Int {
        store.count * Self.cellByteCount
    }

    /// Bytes of memory a waiting cell takes.
    static let cellByteCount = 1_356 + MemoryLayout<Waiting>.stride

    /// Appends the cell whose body lies at `body` to the lane of its circuit and direction.
    ///
    /// - Parameters:
    ///   - lane: where the circuit keeps the lane's number; -1 before its first cell.
    /// - Returns: false where the lane is full: the cell is not taken.
    mutating func append(
        _ departure: Departure,
        bytes: RawSpan,
        body: Int,
        lane: inout Int32,
        isPaid: Bool,
        now: Instant
    ) -> Bool {
        if lane < 0 { lane = Int32(lanes.insert(Lane(circuit: departure.circuit))) }
        let index = Int(lane)
        guard lanes[index].count < Self.laneLimit else { return false }
        let cell = store.keep(bytes, body: body)
        if waiting.count < store.capacity {
            let added = store.capacity - waiting.count
            waiting.append(contentsOf: repeatElement(Waiting(), count: added))
        }
        waiting[Int(cell)] = Waiting(
            counter: departure.counter,
            kind: departure.kind,
            isMarked: departure.isMarked,
            arrived: now
        )
        if lanes[index].last >= 0 {
            waiting[Int(lanes[index].last)].next = cell
        } else {
            lanes[index].first = cell
        }
        lanes[index].last = cell
        lanes[index].count += 1
        if !lanes[index].isTurning {
            lanes[index].isTurning = true
            push(lane, to: Place.fresh(isPaid: isPaid))
        }
        return true
    }

    /// Takes the cell whose turn it is; `nil` where none waits.
    ///
    /// What waited too long before it goes, and is noted in ``dropped``.
    mutating func next(target: TimeSpan, now: Instant) -> Departure? {
        let isUnpaidTurn = paidRun >= Self.unpaidTurn - 1
        if isUnpaidTurn, let departure = next(of: Place.unpaid, target: target, now: now) {
            paidRun = 0
            return departure
        }
        if let departure = next(of: Place.paid, target: target, now: now) {
            paidRun += 1
            return departure
        }
        return next(of: Place.unpaid, target: target, now: now)
    }

    /// Puts the body of a cell taken by ``next(target:now:)`` to `offset` of `bytes`.
    mutating func release(_ cell: Int32, into bytes: inout MutableRawSpan, at offset: Int) {
        store.release(cell, into: &bytes, at: offset)
    }

    /// Forgets what was dropped.
    mutating func clearDropped() {
        dropped.removeAll(keepingCapacity: true)
    }

    /// Drops a lane and all its cells; does nothing for -1.
    mutating func remove(_ lane: Int32) {
        guard lane >= 0 else { return }
        unlink(lane)
        while dropFirst(of: Int(lane)) != nil {}
        _ = lanes.remove(at: Int(lane))
    }

    /// When the oldest cell of a lane came; `nil` where it has none.
    func oldest(of lane: Int32) -> Instant? {
        guard lane >= 0, lanes[Int(lane)].first >= 0 else { return nil }
        return waiting[Int(lanes[Int(lane)].first)].arrived
    }

    /// Gives memory back where nothing waits.
    mutating func shrink() {
        guard count == 0 else { return }
        store.shrink()
        if waiting.count > store.capacity { waiting.removeLast(waiting.count - store.capacity) }
    }

    // MARK: Turns

    private mutating func next(of fresh: Int, target: TimeSpan, now: Instant) -> Departure? {
        let turning = fresh + 1
        while rotations[fresh].first >= 0 || rotations[turning].first >= 0 {
            let isFresh = rotations[fresh].first >= 0
            let lane = pop(isFresh ? fresh : turning)
            let departure = takeFirst(of: lane, target: target, now: now)
            // Also one that is empty now takes another turn: no pause makes it fresh again.
            if lanes[Int(lane)].count > 0 || isFresh {
                push(lane, to: turning)
            } else {
                lanes[Int(lane)].isTurning = false
            }
            if let departure { return departure }
        }
        return nil
    }

    /// Takes the first cell of a lane that has not waited too long; `nil` where it has none.
    private mutating func takeFirst(of lane: Int32, target: TimeSpan, now: Instant) -> Departure? {
        let index = Int(lane)
        while lanes[index].count > Self.keptCount, let arrived = oldest(of: lane),
            now - arrived > Self.waitLimit
        {
            _ = dropFirst(of: index)
            dropped.append(lanes[index].circuit)
        }
        guard let cell = unlinkFirst(of: index) else { return nil }
        let entry = waiting[Int(cell)]
        let isLast = lanes[index].count == 0
        let signals = lanes[index].control.judge(
            wait: now - entry.arrived,
            isLast: isLast,
            target: target,
            now: now
        )
        return Departure(
            circuit: lanes[index].circuit,
            kind: entry.kind,
            counter: entry.counter,
            isMarked: entry.isMarked || signals,
            cell: cell
        )
    }

    private mutating func unlinkFirst(of index: Int) -> Int32? {
        let cell = lanes[index].first
        guard cell >= 0 else { return nil }
        lanes[index].first = waiting[Int(cell)].next
        if lanes[index].first < 0 { lanes[index].last = -1 }
        lanes[index].count -= 1
        return cell
    }

    private mutating func dropFirst(of index: Int) -> Int32? {
        guard let cell = unlinkFirst(of: index) else { return nil }
        store.drop(cell)
        return cell
    }

    // MARK: Rotations

    private mutating func push(_ lane: Int32, to rotation: Int) {
        lanes[Int(lane)].next = -1
        let last = rotations[rotation].last
        if last >= 0 {
            lanes[Int(last)].next = lane
        } else {
            rotations[rotation].first = lane
        }
        rotations[rotation].last = lane
    }

    private mutating func pop(_ rotation: Int) -> Int32 {
        let lane = rotations[rotation].first
        rotations[rotation].first = lanes[Int(lane)].next
        if rotations[rotation].first < 0 { rotations[rotation].last = -1 }
        lanes[Int(lane)].next = -1
        return lane
    }

    /// Takes a lane out of the rotation it is in: a walk, for circuits that end.
    private mutating func unlink(_ lane: Int32) {
        guard lanes[Int(lane)].isTurning else { return }
        for rotation in rotations.indices {
            var before: Int32 = -1
            var place = rotations[rotation].first
            while place >= 0, place != lane {
                before = place
                place = lanes[Int(place)].next
            }
            guard place == lane else { continue }
            let next = lanes[Int(lane)].next
            if before >= 0 {
                lanes[Int(before)].next = next
            } else {
                rotations[rotation].first = next
            }
            if rotations[rotation].last == lane { rotations[rotation].last = before }
            return
        }
    }
}
