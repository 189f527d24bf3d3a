import Base
import CryptoPrimitives
import Mixing
public import Wire

/// What the control plane tells a shard of the shape of a circuit's traffic.
public struct ShapeOrder: Hashable, Sendable {
    /// What it is to look like from here.
    public var shape: TrafficShape
    /// Step of the rate ladder that backward cells begin at, in `padded`.
    public var step: UInt8
    /// How long cells may be held, in `mix`.
    public var hold: HoldRange

    /// Puts an order together.
    public init(shape: TrafficShape, step: UInt8, hold: HoldRange) {
        self.shape = shape
        self.step = step
        self.hold = hold
    }
}

/// A circuit whose cells leave this relay by a schedule.
struct ShapedCircuit {
    /// What there is to do for it.
    enum Role {
        /// Guard of a `mix` circuit: both ways from slot to slot.
        case guardRelay(SlotLength)
        /// Middle of a `padded` circuit: backward cells by the ladder.
        case paddedMiddle(step: UInt8)
        /// Middle of a `mix` circuit: forward cells are held, backward ones leave in slots.
        case mixMiddle(SlotLength)
    }

    /// Cells that wait at a guard, each way.
    static let guardLimit = 2
    /// Cells that wait to go to the client, in `mix`.
    static let mixLimit = 64
    /// Cells that wait to go to the client, in `padded`: half a second at the highest rate.
    static let paddedLimit = 512
    /// Forward cells that are held.
    static let holdLimit = 128
    /// Cells of this relay's own that wait.
    static let ownLimit = 32

    /// Its slot among the shard's circuits.
    let circuit: Int
    let role: Role
    let hold: HoldRange
    /// Whether cells leave by the schedule; before its client begins to, they leave as they come.
    var isRunning = false
    /// When a cell last came that its client sent by the schedule.
    var lastScheduled: Instant = .zero
    var forward: ReleaseQueue
    var backward: ReleaseQueue
    /// Cells of this relay's own: they go first.
    var own: ReleaseQueue
    var ladder: RateLadder?
    /// Forward cells that opened, modulo 2^16.
    var heard: UInt16 = 0
    /// Slot and order of the newest forward cell.
    var newest: (slot: UInt64, order: UInt32)?

    /// `nil` where a relay at `hop` has nothing to do for this shape.
    init?(_ order: ShapeOrder, circuit: Int, hop: HopIndex) {
        switch (order.shape, hop) {
        case (.mix(let length), .first): role = .guardRelay(length)
        case (.mix(let length), .second): role = .mixMiddle(length)
        case (.padded, .second): role = .paddedMiddle(step: order.step)
        default: return nil
        }
        self.circuit = circuit
        hold = order.hold
        switch role {
        case .guardRelay:
            forward = ReleaseQueue(capacity: Self.guardLimit)
            backward = ReleaseQueue(capacity: Self.guardLimit)
        case .paddedMiddle:
            forward = ReleaseQueue(capacity: 1)
            backward = ReleaseQueue(capacity: Self.paddedLimit)
        case .mixMiddle:
            forward = ReleaseQueue(capacity: Self.holdLimit)
            backward = ReleaseQueue(capacity: Self.mixLimit)
        }
        own = ReleaseQueue(capacity: Self.ownLimit)
    }

    /// Whether every fifth cell of its layer is parity.
    var hasParity: Bool {
        if case .mixMiddle = role { true } else { false }
    }

    /// The length of its slots; `nil` in `padded`.
    var length: SlotLength? {
        switch role {
        case .guardRelay(let length), .mixMiddle(let length): length
        case .paddedMiddle: nil
        }
    }

    /// Backward cells that wait before they tell their senders so.
    var markDepth: Int {
        switch role {
        case .guardRelay: .max
        case .mixMiddle: Self.mixLimit / 4
        case .paddedMiddle: Self.paddedLimit / 2
        }
    }
}

/// The circuits a shard shapes, their cells that wait, and when the next one leaves.
struct RelayShaper: ~Copyable {
    /// Time without a scheduled cell of the client after which a schedule ends: it sleeps.
    static let silenceLimit: TimeSpan = .seconds(2)

    var clock = SlotClock(believesItself: true)
    var store = CellStore()
    var circuits: Slab<ShapedCircuit>
    var rounds = SlotLength.allCases.map { SlotRound(length: $0) }
    /// When cells of `padded` circuits leave, by circuit.
    var ladders = TimerTable()
    var random: RandomGenerator
    /// When something leaves next.
    private(set) var due: Instant = .distantFuture

    init(circuitLimit: Int, random: consuming RandomGenerator) {
        circuits = Slab(limit: circuitLimit)
        self.random = random
    }

    /// Bytes that wait here.
    var byteCount: Int {
        store.count * Datagram.bodyByteCount
    }

    /// Works out ``due`` anew.
    mutating func replan() {
        due = ladders.nextDeadline
        for round in rounds { due = min(due, round.due) }
    }

    /// Begins to serve a circuit by its schedule.
    mutating func start(_ index: Int, now: Instant) {
        circuits[index].isRunning = true
        switch circuits[index].role {
        case .guardRelay(let length), .mixMiddle(let length):
            for place in rounds.indices where rounds[place].length == length {
                rounds[place].add(index, now: now, clock: clock)
            }
        case .paddedMiddle(let step):
            let ladder = RateLadder(step: Int(step), now: now, random: &random)
            circuits[index].ladder = ladder
            ladders.set(index, to: ladder.due)
        }
        replan()
    }

    /// Serves a circuit no more; what waits for it is dropped.
    mutating func stop(_ index: Int) {
        guard circuits[index].isRunning else { return }
        circuits[index].isRunning = false
        for place in rounds.indices { rounds[place].remove(index) }
        ladders.cancel(index)
        while let held = circuits[index].forward.removeFirst() { store.drop(held.cell) }
        while let held = circuits[index].backward.removeFirst() { store.drop(held.cell) }
        while let held = circuits[index].own.removeFirst() { store.drop(held.cell) }
        circuits[index].newest = nil
        replan()
    }
}
