import Base
import CryptoPrimitives
import Directory
import Wire

/// Exits that suit a wish with their weights summed up: a draw among thousands looks at few.
struct ExitDraw: Sendable {
    let wanted: PathConstraints
    private let indexes: [Int]
    // The sums of weights up to and with each of `indexes`.
    private let sums: [UInt64]

    /// Sums up the weights of `indexes`.
    init(
        _ wanted: PathConstraints,
        _ indexes: [Int],
        of relays: [RelayRecord],
        weights: PositionWeights
    ) {
        self.wanted = wanted
        self.indexes = indexes
        var sum: UInt64 = 0
        sums = indexes.map { index in
            let kind = PositionWeights.Kind(relays[index].flags)
            sum += UInt64(relays[index].weight) * weights.part(kind, at: .exit)
            return sum
        }
    }

    /// An index drawn by weight; `nil` where nobody has any.
    ///
    /// Logarithmic in the number of exits.
    func next(using generator: inout RandomGenerator) -> Int? {
        guard let total = sums.last, total > 0 else { return nil }
        let mark = generator.next(below: total)
        var low = 0
        var high = sums.count - 1
        while low < high {
            let middle = (low + high) / 2
            if sums[middle] > mark { high = middle } else { low = middle + 1 }
        }
        return indexes[low]
    }
}

extension PathSelector {
    private static let drawLimit = 32

    /// A path found by drawing exits until one goes with the first usable guard and a middle.
    ///
    /// Gives each exit the share of those that may be used, as the long search does; `nil` where a
    /// few draws find none, which that one then explains.
    mutating func quickPath(
        _ wanted: PathConstraints,
        now: Instant,
        date: WallTime,
        using generator: inout RandomGenerator
    ) -> Path? {
        guard wanted.exit == nil else { return nil }
        var search = PathSearch()
        guard let first = suitableGuards(wanted, now, date, &search).first else { return nil }
        let draw = exitDraw(wanted)
        let rules = PathRules(parameters: view.parameters)
        let guardRelay = view.relays[first]
        for _ in 0..<Self.drawLimit {
            guard let index = draw.next(using: &generator) else { return nil }
            let exit = view.relays[index]
            guard generalRule(exit, wanted, date) == nil, !failures.isDown(exit.id, at: now),
                rules.conflict(guardRelay: guardRelay, exit: exit) == nil
            else { continue }
            let ends = (guardRelay, exit)
            if let middle = middle(ends, rules, wanted, now, date, &search, &generator) {
                return Path(guardRelay: guardRelay, middle: middle, exit: exit)
            }
        }
        return nil
    }

    private mutating func exitDraw(_ wanted: PathConstraints) -> ExitDraw {
        if let draw, draw.wanted == wanted { return draw }
        // What passes with time, failures and keys, is looked at in each draw.
        let suitable = exits.filter { index in
            let rule = exitRule(view.relays[index], wanted, .distantFuture, WallTime(seconds: 0))
            return rule == nil
        }
        let made = ExitDraw(wanted, suitable, of: view.relays, weights: weights)
        draw = made
        return made
    }
}
