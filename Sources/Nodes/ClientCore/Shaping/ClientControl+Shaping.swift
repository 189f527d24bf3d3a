public import Base
import Circuits
import CryptoPrimitives
import Directory
public import Mixing
import Paths
public import Wire

/// How a client runs circuits of `padded` and `mix`.
public struct ShapingSettings: Sendable {
    /// How the guards of `mix` circuits are watched.
    public var watch = GridWatch.Settings()
    /// Mean time from one loop of a `mix` circuit to the next.
    public var loopMean: TimeSpan = .seconds(10)
    /// Within which time of its first slot a `mix` tunnel begins to carry packets, and within which
    /// time of its end its cover ends: each is drawn anew, evenly.
    public var sessionWindow: TimeSpan = .zero

    /// The usual settings.
    public init() {}
}

/// What loops of a `mix` circuit found, and its watch.
public struct LoopReport: Hashable, Sendable {
    /// Loops that were sent.
    public var sent = 0
    /// Loops that came back.
    public var answered = 0
    /// How long the last one that came back took.
    public var lastTrip: TimeSpan?
    /// What the last span that was judged came to; `nil` before the first.
    public var outcome: GridWatch.Outcome?

    /// No loop yet.
    public init() {}
}

/// The loops of one circuit.
struct LoopState {
    var report = LoopReport()
    var due: Instant
    /// The loop on its way.
    var nonce: UInt64?
    var sent: Instant = .zero
}

extension ClientControl {
    /// Time after which a loop counts as lost.
    private static let loopLimit: TimeSpan = .seconds(5)

    /// The slot length of this network for who asks for none.
    public var defaultSlot: SlotLength {
        selector.view.parameters.defaultSlot
    }

    /// Has a circuit's shard side take its shape, where it has one.
    mutating func shapeCircuit(_ id: CircuitID) {
        guard let shape = circuits[id]?.shape, shape != .fast else { return }
        let plan = ShapePlan(
            shape: shape,
            hold: selector.view.parameters.mixHold,
            watch: settings.shaping.watch
        )
        commands.append(.shape(id, plan))
    }

    /// Begins the schedule of a circuit that is about to carry packets; false while packets must
    /// still wait, so that its cover does not tell when its user came.
    mutating func beginSchedule(_ id: CircuitID, now: Instant) -> Bool {
        guard let circuit = circuits[id], circuit.shape != .fast else { return true }
        if circuit.loop == nil {
            commands.append(.keepSchedule(id))
            let due = now + drawLoopPause()
            circuits[id]?.loop = LoopState(due: due)
        }
        guard case .mix = circuit.shape else { return true }
        if tunnels[circuit.tunnel]?.carriesFrom == nil {
            let from = now + drawOffset()
            tunnels[circuit.tunnel]?.carriesFrom = from
            if from > now { noteWaiting(circuit.tunnel, until: from, now: now) }
        }
        return tunnels[circuit.tunnel]?.carriesFrom.map { $0 <= now } ?? true
    }

    /// Says that a tunnel waits of its own accord, and for how long.
    private mutating func noteWaiting(_ id: TunnelID, until from: Instant, now: Instant) {
        let seconds = (from - now).nanoseconds / 1_000_000_000 + 1
        let reason = "cover has begun; packets wait for \(seconds) s, so that it does not tell when"
        let state = TunnelState.connecting(reason: reason + " you came (session_offset)")
        tunnels[id]?.state = state
        notices.append(.tunnel(id, state))
    }

    /// Lets circuits carry packets whose cover has gone on for long enough.
    mutating func finishWaiting(now: Instant) {
        for id in circuits.keys.sorted() {
            guard let circuit = circuits[id], let answer = circuit.opened, circuit.loop != nil,
                let due = tunnels[circuit.tunnel]?.carriesFrom, due <= now, cashier.mayCarry(id)
            else { continue }
            circuits[id]?.opened = nil
            finishOpened(answer, over: id, now: now)
        }
    }

    private mutating func drawOffset() -> TimeSpan {
        let window = settings.shaping.sessionWindow.nanoseconds
        return window > 0 ? TimeSpan(nanoseconds: random.next(below: window)) : .zero
    }

    private mutating func drawLoopPause() -> TimeSpan {
        random.exponential(mean: settings.shaping.loopMean)
    }

    /// Keeps the circuits of a tunnel that closes for a while, so that their cover does not tell
    /// when its user left; false where there is nothing to keep.
    mutating func linger(_ id: CircuitID, now: Instant) -> Bool {
        guard let circuit = circuits[id], case .mix = circuit.shape, circuit.stage == .active
        else { return false }
        let offset = drawOffset()
        guard offset > .zero else { return false }
        circuits[id]?.lingersUntil = now + offset
        return true
    }

    /// When loops and lingering circuits have something to do.
    var nextShapingDeadline: Instant {
        var deadline = Instant.distantFuture
        for circuit in circuits.values {
            if let loop = circuit.loop {
                let due = loop.nonce == nil ? loop.due : min(loop.due, loop.sent + Self.loopLimit)
                deadline = min(deadline, due)
            }
            if let end = circuit.lingersUntil { deadline = min(deadline, end) }
            if circuit.opened != nil, circuit.loop != nil,
                let due = tunnels[circuit.tunnel]?.carriesFrom, due > clock
            {
                deadline = min(deadline, due)
            }
        }
        return deadline
    }

    /// Sends loops that are due, and ends what has lingered for long enough.
    mutating func advanceShaping(to now: Instant) {
        for id in circuits.keys.sorted() {
            if let end = circuits[id]?.lingersUntil, end <= now {
                drop(id, isOrderly: true, now: now)
                continue
            }
            guard let loop = circuits[id]?.loop else { continue }
            let isLost = loop.nonce != nil && now >= loop.sent + Self.loopLimit
            if isLost { circuits[id]?.loop?.nonce = nil }
            guard loop.due <= now else { continue }
            let next = now + drawLoopPause()
            circuits[id]?.loop?.due = next
            guard circuits[id]?.stage == .active, circuits[id]?.loop?.nonce == nil else { continue }
            let nonce = random.next()
            circuits[id]?.loop?.nonce = nonce
            circuits[id]?.loop?.sent = now
            circuits[id]?.loop?.report.sent += 1
            say(.echo(isAnswer: false, nonce: nonce), to: .third, over: id, now: now)
        }
        finishWaiting(now: now)
    }

    /// Takes a loop that came back; false for any other echo.
    mutating func receiveLoop(_ nonce: UInt64, of id: CircuitID, now: Instant) -> Bool {
        guard let loop = circuits[id]?.loop, loop.nonce == nonce else { return false }
        circuits[id]?.loop?.nonce = nil
        circuits[id]?.loop?.report.answered += 1
        circuits[id]?.loop?.report.lastTrip = now - loop.sent
        circuits[id]?.roundTrips[HopIndex.third.offset] = now - loop.sent
        return true
    }

    /// Takes what the shard makes of how cells come: a guard that breaks the schedule is left.
    mutating func receive(_ outcome: GridWatch.Outcome, of id: CircuitID, now: Instant) {
        circuits[id]?.loop?.report.outcome = outcome
        guard let fault = outcome.fault else { return }
        let relay = circuits[id]?.path.guardRelay.nickname ?? ""
        fail(
            id,
            culprit: .guardRelay,
            reason: "the guard \(relay) does not keep the schedule: \(fault.rawValue)",
            now: now
        )
    }
}
