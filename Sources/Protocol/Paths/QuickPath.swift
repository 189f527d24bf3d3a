import Base
import CryptoPrimitives
import Directory
import Wire

/// The exits that suit a wish, with their weights summed up.
struct ExitDraw: Sendable {
    let wanted: PathConstraints
    private let indexes: [Int]
    private let draw: WeightedDraw

    /// Sums up the weights of `indexes`.
    init(_ wanted: PathConstraints, _ indexes: [Int], weights: RelayWeights) {
        self.wanted = wanted
        self.indexes = indexes
        draw = WeightedDraw(indexes.map { weights.weight($0, at: .exit) })
    }

    /// An index drawn by weight; `nil` where nobody has any.
    func next(using generator: inout RandomGenerator) -> Int? {
        draw.next(using: &generator).map { indexes[$0] }
    }
}

extension PathSelector {
    private static let drawLimit = 32

    /// A path found by drawing exits until one goes with the first usable guard and a middle.
    ///
    /// Gives each exit the share of those that may be used, as the long search does; `nil` where a
    /// few draws find none, which that one then explains. Allocates nothing but the path.
    mutating func quickPath(
        _ wanted: PathConstraints,
        now: Instant,
        date: WallTime,
        using generator: inout RandomGenerator
    ) -> Path? {
        guard wanted.exit == nil, let first = firstGuard(wanted, now, date) else { return nil }
        prepareDraw(wanted)
        for _ in 0..<Self.drawLimit {
            guard let last = draw?.next(using: &generator) else { return nil }
            guard generalRule(last, wanted, date) == nil,
                rules.conflict(guardRelay: first, exit: last) == nil,
                !failures.isDown(view.relays[last].id, at: now)
            else { continue }
            guard let middle = quickMiddle((first, last), wanted, now, date, &generator) else {
                continue
            }
            return path(first, middle, last)
        }
        return nil
    }

    /// The index of the guard tried first; `nil` where none may be used.
    private func firstGuard(
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime
    ) -> Int? {
        var found: Int?
        _ = guards.firstUsable(primaryCount: Int(view.parameters.guardPrimaryCount), at: now) {
            guard let index = view.index(of: $0),
                rules.isReachable(index, overV4: wanted.reachesV4, overV6: wanted.reachesV6),
                generalRule(index, wanted, date) == nil
            else { return false }
            found = index
            return true
        }
        return found
    }

    /// One of the kept middles that may stand between the two, each as likely as the others.
    private func quickMiddle(
        _ ends: (Int, Int),
        _ wanted: PathConstraints,
        _ now: Instant,
        _ date: WallTime,
        _ generator: inout RandomGenerator
    ) -> Int? {
        var chosen: Int?
        var count: UInt64 = 0
        for middle in middleIndexes
        where rules.conflict(middle: middle, between: ends.0, and: ends.1) == nil
            && generalRule(middle, wanted, date) == nil
            && !failures.isDown(view.relays[middle].id, at: now)
        {
            count += 1
            if count == 1 || generator.next(below: count) == 0 { chosen = middle }
        }
        return chosen
    }

    private mutating func prepareDraw(_ wanted: PathConstraints) {
        if let draw, draw.wanted == wanted { return }
        // What passes with time, failures and keys, is looked at in each draw.
        let suitable = exits.filter { index in
            exitRule(index, wanted, .distantFuture, WallTime(seconds: 0)) == nil
        }
        draw = ExitDraw(wanted, suitable, weights: weights)
    }
}
