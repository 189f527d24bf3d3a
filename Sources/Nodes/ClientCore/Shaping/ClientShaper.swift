import Base
public import Mixing
public import Wire

/// What the control plane tells the shard of the shape of a circuit's traffic.
public struct ShapePlan: Hashable, Sendable {
    /// What it is to look like.
    public var shape: TrafficShape
    /// How long the middle is asked to hold cells, in `mix`.
    public var hold: HoldRange
    /// How its guard is watched, in `mix`.
    public var watch: GridWatch.Settings

    /// Puts a plan together.
    public init(shape: TrafficShape, hold: HoldRange, watch: GridWatch.Settings) {
        self.shape = shape
        self.hold = hold
        self.watch = watch
    }
}

/// What became of a circuit's schedule, for status.
public struct ShapedTraffic: Hashable, Sendable {
    /// Cells a second that leave now; 0 before the schedule is kept.
    public var cellsPerSecond: Int
    /// Cells that wait for their time.
    public var waitingCells: Int
    /// Cover sent.
    public var coverCells: UInt64
    /// Cells sent in all since the schedule is kept.
    public var scheduledCells: UInt64
    /// Cells that parity brought back.
    public var rebuiltCells: UInt64
}

/// A circuit whose cells leave the client by a schedule.
struct ShapedTunnelCircuit {
    /// Cells that wait, in `mix`: 0.8 s of slots of 10 ms.
    static let mixLimit = 64
    /// Cells that wait, in `padded`: half a second at the highest rate.
    static let paddedLimit = 512
    /// Control cells that wait.
    static let ownLimit = 64

    /// Its slot among the shard's circuits.
    let circuit: Int
    let plan: ShapePlan
    /// Whether cells leave by the schedule.
    var isRunning = false
    var lastServed: Instant = .zero
    var waiting: ReleaseQueue
    /// Control cells, which go first.
    var own = ReleaseQueue(capacity: ownLimit)
    var ladder: RateLadder?
    var watch: GridWatch
    var coverCells: UInt64 = 0
    var scheduledCells: UInt64 = 0
    var rebuiltCells: UInt64 = 0

    init(_ plan: ShapePlan, circuit: Int, now: Instant) {
        self.plan = plan
        self.circuit = circuit
        waiting = ReleaseQueue(
            capacity: plan.shape == .padded ? Self.paddedLimit : Self.mixLimit
        )
        watch = GridWatch(plan.watch, now: now)
    }

    /// The length of its slots; `nil` in `padded`.
    var length: SlotLength? {
        if case .mix(let length) = plan.shape { length } else { nil }
    }

    /// Cells that wait before they tell their senders so.
    var markDepth: Int {
        plan.shape == .padded ? Self.paddedLimit / 2 : Self.mixLimit / 4
    }

    var traffic: ShapedTraffic {
        ShapedTraffic(
            cellsPerSecond: !isRunning
                ? 0 : length?.cellsPerSecond ?? ladder.map { Int($0.rate) } ?? 0,
            waitingCells: waiting.count + own.count,
            coverCells: coverCells,
            scheduledCells: scheduledCells,
            rebuiltCells: rebuiltCells
        )
    }
}

/// The circuits a client shapes, their cells that wait, and when the next one leaves.
struct ClientShaper: ~Copyable {
    var clock = SlotClock(believesItself: false)
    var store = CellStore()
    var circuits = Slab<ShapedTunnelCircuit>(limit: 1_024)
    var rounds = SlotLength.allCases.map { SlotRound(length: $0) }
    /// When cells of `padded` circuits leave, by circuit.
    var ladders = TimerTable()
    /// When something leaves next.
    private(set) var due: Instant = .distantFuture

    /// Works out ``due`` anew.
    mutating func replan() {
        due = ladders.nextDeadline
        for round in rounds { due = min(due, round.due) }
    }

    /// Forgets a circuit; what waits for it is dropped.
    mutating func remove(_ index: Int) {
        for place in rounds.indices { rounds[place].remove(index) }
        ladders.cancel(index)
        while let held = circuits[index].waiting.removeFirst() { store.drop(held.cell) }
        while let held = circuits[index].own.removeFirst() { store.drop(held.cell) }
        _ = circuits.remove(at: index)
        if circuits.count == 0 { store.shrink() }
        replan()
    }
}
