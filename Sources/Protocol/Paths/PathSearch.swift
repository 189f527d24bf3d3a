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
            if let rule = exitRule(index, wanted, now, date) {
                search.exitRefusals.add(rule)
            } else {
                suitable.append(index)
            }
        }
        return suitable
    }

    func exitRule(
        _ index: Int,
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime
    ) -> PathRule? {
        let relay = view.relays[index]
        if let exit = wanted.exit, exit != relay.id { return .otherExit }
        if !wanted.exitCountries.isEmpty {
            guard let country = relay.country, wanted.exitCountries.contains(country) else {
                return .otherCountry
            }
        }
        if wanted.needsIPv6, !relay.flags.contains(.exitsIPv6) { return .noIPv6 }
        for port in wanted.ports
        where !relay.policy.mayAccept(port: port.number, transport: port.transport) {
            return .portRefused
        }
        return usageRule(index, wanted, now, date)
    }

    /// What keeps a relay out for now, wherever it would stand.
    private func usageRule(
        _ index: Int,
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime
    ) -> PathRule? {
        generalRule(index, wanted, date)
            ?? (failures.isDown(view.relays[index].id, at: now) ? .failed : nil)
    }

    func generalRule(
        _ index: Int,
        _ wanted: PathConstraints,
        _ date: WallTime
    ) -> PathRule? {
        if rules.isExcluded(index) { return .excluded }
        if !wanted.excluded.isEmpty, wanted.excluded.contains(view.relays[index].id) {
            return .excluded
        }
        return rules.isKeyExpired(index, at: date) ? .keyExpired : nil
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
        for index in middleIndexes {
            guard let rule = usageRule(index, wanted, now, date) else { return true }
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
            if let rule = generalRule(index, wanted, date) {
                search.guardRefusals.add(rule)
            } else if !rules.isReachable(
                index,
                overV4: wanted.reachesV4,
                overV6: wanted.reachesV6
            ) {
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
        var left: [Int] = []
        for index in exits {
            if let rule = rules.conflict(guardRelay: first, exit: index) {
                search.pairRefusals.add(rule)
            } else {
                left.append(index)
            }
        }
        search.pairCount += left.count
        for _ in 0..<min(left.count, Self.exitTries) {
            guard let chosen = weights.choose(from: left, for: .exit, using: &generator) else {
                return nil
            }
            let last = left.remove(at: chosen)
            if search.mayWiden { widen((first, last), wanted, date, &generator) }
            if let middle = middle((first, last), wanted, now, date, &search, &generator) {
                return path(first, middle, last)
            }
        }
        return nil
    }

    /// One of the kept middles that may stand between the two.
    private func middle(
        _ ends: (Int, Int),
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ search: inout PathSearch,
        _ generator: inout RandomGenerator
    ) -> Int? {
        var fitting: [Int] = []
        for index in middleIndexes {
            if let rule = rules.conflict(middle: index, between: ends.0, and: ends.1)
                ?? usageRule(index, wanted, now, date)
            {
                search.middleRefusals.add(rule)
            } else {
                fitting.append(index)
            }
        }
        guard !fitting.isEmpty else { return nil }
        return fitting[Int(generator.next(below: UInt64(fitting.count)))]
    }

    /// Adds a middle if the rules, and nothing that may pass or be brought about, refuse all.
    private mutating func widen(
        _ ends: (Int, Int),
        _ wanted: PathConstraints,
        _ date: WallTime,
        _ generator: inout RandomGenerator
    ) {
        let isServed = middleIndexes.contains { index in
            rules.conflict(middle: index, between: ends.0, and: ends.1) == nil
        }
        guard !isServed else { return }
        let chosen = weights.choose(for: .middle, using: &generator) { index in
            rules.conflict(middle: index, between: ends.0, and: ends.1) == nil
                && generalRule(index, wanted, date) == nil
        }
        guard let chosen else { return }
        widenMiddles(by: chosen, at: date, using: &generator)
    }

    private static let exitTries = 32
}
