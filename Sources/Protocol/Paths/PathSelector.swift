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
    private var failures = FailureTable()
    private var weights: PositionWeights
    private var exits: [Int]

    /// Starts with the guards and middles the client had before, if any.
    public init(
        view: NetworkView,
        guards: GuardSample = GuardSample(),
        middles: MiddleSet = MiddleSet(),
        at date: WallTime,
        using generator: inout RandomGenerator
    ) {
        self.view = view
        self.guards = guards
        self.middles = middles
        weights = PositionWeights(view.relays)
        exits = []
        update(to: view, at: date, using: &generator)
    }

    /// Takes over a newer view, and lets go of guards and middles whose time is over.
    public mutating func update(
        to view: NetworkView,
        at date: WallTime,
        using generator: inout RandomGenerator
    ) {
        self.view = view
        weights = PositionWeights(view.relays)
        exits = view.relays.indices.filter { view.relays[$0].flags.contains(.exit) }
        guards.update(to: view, weights: weights, at: date, using: &generator)
        middles.update(to: view, weights: weights, at: date, using: &generator)
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
        var search = Search()
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
        var second = Search(mayWiden: true)
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

    private static let exitTries = 32
}

extension PathSelector {
    /// What one search found out, for its error.
    private struct Search {
        /// Whether the set of middles may grow.
        var mayWiden = false
        var exitRefusals = PathRefusals()
        var guardRefusals = PathRefusals()
        var pairRefusals = PathRefusals()
        var middleRefusals = PathRefusals()
        /// Pairs of guard and exit that keep the rules.
        var pairCount = 0
    }

    private func suitableExits(
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ search: inout Search
    ) -> [Int] {
        var suitable: [Int] = []
        for index in exits {
            if let rule = exitRule(view.relays[index], wanted, now, date) {
                search.exitRefusals.add(rule)
            } else {
                suitable.append(index)
            }
        }
        return suitable
    }

    private func exitRule(
        _ relay: RelayRecord,
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime
    ) -> PathRule? {
        if let exit = wanted.exit, exit != relay.id { return .otherExit }
        if let country = wanted.exitCountry, country != relay.country { return .otherCountry }
        if wanted.needsIPv6, !relay.flags.contains(.exitsIPv6) { return .noIPv6 }
        for port in wanted.ports
        where !relay.policy.mayAccept(port: port.number, transport: port.transport) {
            return .portRefused
        }
        return generalRule(relay, wanted, date)
            ?? (failures.isDown(relay.id, at: now) ? .failed : nil)
    }

    private func generalRule(
        _ relay: RelayRecord,
        _ wanted: PathConstraints,
        _ date: WallTime
    ) -> PathRule? {
        if wanted.excluded.contains(relay.id) { return .excluded }
        return relay.circuitKeyExpiryMinute <= date.minute ? .keyExpired : nil
    }

    /// Indexes of the guards that may be used, the best first.
    private func suitableGuards(
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ search: inout Search
    ) -> [Int] {
        let usable = guards.usable(
            primaryCount: Int(view.parameters.guardPrimaryCount),
            at: now
        )
        for member in guards.members where !usable.contains(member.id) {
            search.guardRefusals.add(member.unlistedSince == nil ? .failed : .notListed)
        }
        var suitable: [Int] = []
        for id in usable {
            guard let index = view.index(of: id) else { continue }
            let addresses = view.relays[index].addresses
            let isReachable =
                (wanted.reachesV4 && addresses.v4 != nil)
                || (wanted.reachesV6 && addresses.v6 != nil)
            if let rule = generalRule(view.relays[index], wanted, date) {
                search.guardRefusals.add(rule)
            } else if !isReachable {
                search.guardRefusals.add(.unreachable)
            } else {
                suitable.append(index)
            }
        }
        return suitable
    }

    private mutating func path(
        from first: Int,
        to exits: [Int],
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ search: inout Search,
        _ generator: inout RandomGenerator
    ) -> Path? {
        let rules = PathRules(parameters: view.parameters)
        let guardRelay = view.relays[first]
        var left: [Int] = []
        for index in exits {
            if let rule = rules.conflict(guardRelay: guardRelay, exit: view.relays[index]) {
                search.pairRefusals.add(rule)
            } else {
                left.append(index)
            }
        }
        search.pairCount += left.count
        for _ in 0..<min(left.count, Self.exitTries) {
            guard
                let chosen = weights.choose(
                    from: left,
                    of: view.relays,
                    for: .exit,
                    using: &generator
                )
            else { return nil }
            let exit = view.relays[left.remove(at: chosen)]
            let between = (guardRelay, exit)
            if search.mayWiden { widen(between, rules, wanted, date, &generator) }
            if let middle = middle(between, rules, wanted, now, date, &search, &generator) {
                return Path(guardRelay: guardRelay, middle: middle, exit: exit)
            }
        }
        return nil
    }

    /// One of the kept middles that may stand between the two.
    private func middle(
        _ ends: (RelayRecord, RelayRecord),
        _ rules: PathRules,
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ search: inout Search,
        _ generator: inout RandomGenerator
    ) -> RelayRecord? {
        var fitting: [RelayRecord] = []
        for member in middles.members {
            guard let relay = view.relay(member.id) else { continue }
            if let rule = rules.conflict(middle: relay, between: ends.0, and: ends.1)
                ?? generalRule(relay, wanted, date)
                ?? (failures.isDown(relay.id, at: now) ? .failed : nil)
            {
                search.middleRefusals.add(rule)
            } else {
                fitting.append(relay)
            }
        }
        guard !fitting.isEmpty else { return nil }
        return fitting[Int(generator.next(below: UInt64(fitting.count)))]
    }

    /// Adds a middle if the rules, and nothing that may pass or be brought about, refuse all.
    private mutating func widen(
        _ ends: (RelayRecord, RelayRecord),
        _ rules: PathRules,
        _ wanted: PathConstraints,
        _ date: WallTime,
        _ generator: inout RandomGenerator
    ) {
        let isServed = middles.members.contains { member in
            guard let relay = view.relay(member.id) else { return false }
            return rules.conflict(middle: relay, between: ends.0, and: ends.1) == nil
        }
        guard !isServed else { return }
        let candidates = view.relays.indices.filter { index in
            let relay = view.relays[index]
            return rules.conflict(middle: relay, between: ends.0, and: ends.1) == nil
                && generalRule(relay, wanted, date) == nil
        }
        guard
            let chosen = weights.choose(
                from: candidates,
                of: view.relays,
                for: .middle,
                using: &generator
            )
        else { return }
        _ = middles.widen(
            by: view.relays[candidates[chosen]].id,
            view.parameters,
            at: date,
            using: &generator
        )
    }
}
