import Base
import CryptoPrimitives
import Directory
import Wire

/// What one search found out, for its error.
struct PathSearch {
    /// Whether the set of middles may grow.
    var mayWiden = false
    var exitRefusals = PathRefusals()
    var guardRefusals = PathRefusals()
    var pairRefusals = PathRefusals()
    var middleRefusals = PathRefusals()
    /// Pairs of guard and exit that keep the rules.
    var pairCount = 0
}

extension PathSelector {
    /// Indexes of the exits that suit the wish, whatever the guard.
    func suitableExits(
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ search: inout PathSearch
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

    func exitRule(
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

    func generalRule(
        _ relay: RelayRecord,
        _ wanted: PathConstraints,
        _ date: WallTime
    ) -> PathRule? {
        if wanted.excluded.contains(relay.id) { return .excluded }
        return relay.circuitKeyExpiryMinute <= date.minute ? .keyExpired : nil
    }

    /// Whether any kept middle may be used between some guard and exit.
    ///
    /// Spares a search that cannot find anything, and with it every guard and exit a draw.
    func hasUsableMiddle(
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ search: inout PathSearch
    ) -> Bool {
        var refusals = PathRefusals()
        for member in middles.members {
            guard let relay = view.relay(member.id) else { continue }
            guard
                let rule = generalRule(relay, wanted, date)
                    ?? (failures.isDown(relay.id, at: now) ? .failed : nil)
            else { return true }
            refusals.add(rule)
        }
        search.middleRefusals = refusals
        return false
    }

    /// Indexes of the guards that may be used, the best first.
    func suitableGuards(
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ search: inout PathSearch
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

    /// A path through the guard at index `first`; `nil` when there is none.
    mutating func path(
        from first: Int,
        to exits: [Int],
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ search: inout PathSearch,
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
    func middle(
        _ ends: (RelayRecord, RelayRecord),
        _ rules: PathRules,
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ search: inout PathSearch,
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

    private static let exitTries = 32
}
