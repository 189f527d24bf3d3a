public import Base
public import CryptoPrimitives
public import Directory
public import Wire

/// Chooses paths for one client: keeps its guards and middles, and what failed lately.
///
/// The same seed and the same calls give the same paths. `now` never goes back.
public struct PathSelector: Sendable {
    /// The network paths are chosen from.
    public private(set) var view: NetworkView
    /// The guards, to store when they change.
    public private(set) var guards: GuardSample
    /// The middles, to store when they change.
    public private(set) var middles: MiddleSet
    /// Relays in no path.
    public let exclusions: RelayExclusions
    var failures = FailureTable()
    private(set) var weights: RelayWeights
    private(set) var rules: PathRules
    // Indexes of all exits, and of the middles that are listed.
    private(set) var exits: [Int]
    private(set) var middleIndexes: [Int]
    var draw: ExitDraw?

    /// Starts with the guards and middles the client had before, if any.
    public init(
        view: NetworkView,
        guards: GuardSample = GuardSample(),
        middles: MiddleSet = MiddleSet(),
        excluding exclusions: RelayExclusions = RelayExclusions(),
        at date: WallTime,
        using generator: inout RandomGenerator
    ) {
        self.view = view
        self.guards = guards
        self.middles = middles
        self.exclusions = exclusions
        weights = RelayWeights([])
        rules = PathRules(view, excluding: exclusions)
        exits = []
        middleIndexes = []
        update(to: view, at: date, using: &generator)
    }

    /// Takes over a newer view, and lets go of guards and middles whose time is over.
    public mutating func update(
        to view: NetworkView,
        at date: WallTime,
        using generator: inout RandomGenerator
    ) {
        self.view = view
        draw = nil
        weights = RelayWeights(view.relays)
        rules = PathRules(view, excluding: exclusions)
        exits = view.relays.indices.filter { view.relays[$0].flags.contains(.exit) }
        let mayUse = { [rules] (index: Int) in !rules.isExcluded(index) }
        guards.update(to: view, weights: weights, rules: rules, at: date, using: &generator)
        middles.update(to: view, weights: weights, at: date, using: &generator, where: mayUse)
        middleIndexes = middles.members.compactMap { view.index(of: $0.id) }
    }

    /// Takes over the view of `other`, and what follows from it alone, and lets go of guards and
    /// middles whose time is over.
    ///
    /// For many clients of one network: weights and rules are worked out once. Both must exclude the
    /// same relays.
    public mutating func update(
        toViewOf other: Self,
        at date: WallTime,
        using generator: inout RandomGenerator
    ) {
        view = other.view
        draw = other.draw
        weights = other.weights
        rules = other.rules
        exits = other.exits
        let mayUse = { [rules] (index: Int) in !rules.isExcluded(index) }
        guards.update(to: view, weights: weights, rules: rules, at: date, using: &generator)
        middles.update(to: view, weights: weights, at: date, using: &generator, where: mayUse)
        middleIndexes = middles.members.compactMap { view.index(of: $0.id) }
    }

    /// The selector of another client of the same network, with guards and middles of its own: the
    /// same as one made with `init` for this view, without working weights and rules out again.
    public func another(
        guards: GuardSample = GuardSample(),
        middles: MiddleSet = MiddleSet(),
        at date: WallTime,
        using generator: inout RandomGenerator
    ) -> Self {
        var other = self
        other.guards = guards
        other.middles = middles
        other.failures = FailureTable()
        other.update(toViewOf: self, at: date, using: &generator)
        return other
    }

    /// What the relay at `index` counts for at `position`; the others of the view are the measure.
    public func weight(_ index: Int, at position: PathPosition) -> UInt64 {
        weights.weight(index, at: position)
    }

    /// Adds the relay at `index` to the middles, if there is room.
    mutating func widenMiddles(
        by index: Int,
        at date: WallTime,
        using generator: inout RandomGenerator
    ) {
        let id = view.relays[index].id
        guard middles.widen(by: id, view.parameters, at: date, using: &generator) else { return }
        middleIndexes.append(index)
    }

    /// The path of the relays at these indexes.
    func path(_ guardRelay: Int, _ middle: Int, _ exit: Int) -> Path {
        let relays = view.relays
        return Path(guardRelay: relays[guardRelay], middle: relays[middle], exit: relays[exit])
    }

    /// Chooses three relays that suit `wanted` and keep every rule.
    ///
    /// The first usable guard with which there is a path is taken, an exit by weight, and one of the
    /// kept middles evenly. At most 32 exits are tried with each guard. The set of middles grows
    /// where the rules, not failures, let none of it stand between any guard and exit.
    /// - Throws: ``PathError`` with the rules that left no path.
    public mutating func path(
        _ wanted: PathConstraints = PathConstraints(),
        now: Instant,
        date: WallTime,
        using generator: inout RandomGenerator
    ) throws(PathError) -> Path {
        if let path = quickPath(wanted, now: now, date: date, using: &generator) { return path }
        var search = PathSearch()
        let exits = suitableExits(wanted, now, date, &search)
        guard !exits.isEmpty else {
            throw .noExit(wanted, exitCount: self.exits.count, search.exitRefusals)
        }
        let guards = suitableGuards(wanted, now, date, &search)
        guard !guards.isEmpty else {
            throw .noGuard(
                sampleCount: self.guards.members.count,
                search.guardRefusals,
                retry: self.guards.nextRetry(after: now)
            )
        }
        guard hasUsableMiddle(wanted, now, date, &search) else {
            throw .noMiddle(setCount: middles.members.count, search.middleRefusals)
        }
        for first in guards {
            if let path = path(from: first, to: exits, wanted, now, date, &search, &generator) {
                return path
            }
        }
        guard search.pairCount > 0 else {
            throw .noExitForGuard(
                wanted,
                exitCount: exits.count,
                guardCount: guards.count,
                search.pairRefusals
            )
        }
        var second = PathSearch(mayWiden: true)
        for first in guards {
            if let path = path(from: first, to: exits, wanted, now, date, &second, &generator) {
                return path
            }
        }
        throw .noMiddle(setCount: middles.members.count, search.middleRefusals)
    }

    /// Notes that every hop of `path` answered; the first time confirms the guard.
    public mutating func noteSuccess(of path: Path, on date: WallTime) {
        guards.noteSuccess(of: path.guardRelay.id, on: date)
        failures.noteSuccess(of: path.middle.id)
        failures.noteSuccess(of: path.exit.id)
    }

    /// Notes that the relay `id` failed at `position`; it is left alone for a while.
    public mutating func noteFailure(of id: NodeID, at position: PathPosition, now: Instant) {
        let limit = view.parameters.guardRetrySeconds
        switch position {
        case .guardRelay: guards.noteFailure(of: id, at: now, limitSeconds: limit)
        case .middle, .exit: failures.noteFailure(of: id, at: now, limitSeconds: limit)
        }
    }

    /// Notes whether the guard `id` answered an EXTEND; see ``GuardSample``.
    public mutating func noteExtend(by id: NodeID, isAnswered: Bool) {
        guards.noteExtend(by: id, isAnswered: isAnswered)
    }

    /// Makes every relay worth a try at once, for when this machine's own network is back.
    public mutating func retryAll() {
        guards.retryAll()
        failures.forget()
    }
}
