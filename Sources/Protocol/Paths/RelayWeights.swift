import CryptoPrimitives
import Wire

/// What each relay of a view counts for at each position, and draws by it.
///
/// A relay counts for its weight times the part its kind gives to the position. Relays of one family
/// together count for at most 5 % of a position, whatever the rest of it is.
struct RelayWeights: Sendable {
    /// The parts of each kind.
    let parts: PositionWeights
    private let guards: Position
    private let middles: Position
    private let exits: Position
    // Weights without positions, for when nobody fits one.
    private let plain: [UInt32]

    /// Computes the weights of `relays`.
    init(_ relays: [RelayRecord]) {
        let parts = PositionWeights(relays)
        self.parts = parts
        let families = FamilyTable(relays)
        let position = { (position: PathPosition) in
            var weights = relays.map { relay in
                UInt64(relay.weight) * parts.part(PositionWeights.Kind(relay.flags), at: position)
            }
            families.cap(&weights)
            return Position(weights)
        }
        guards = position(.guardRelay)
        middles = position(.middle)
        exits = position(.exit)
        plain = relays.map(\.weight)
    }

    private func position(_ position: PathPosition) -> Position {
        switch position {
        case .guardRelay: guards
        case .middle: middles
        case .exit: exits
        }
    }

    /// What the relay at `index` counts for; other relays at the same position are the measure.
    func weight(_ index: Int, at position: PathPosition) -> UInt64 {
        self.position(position).weights[index]
    }

    /// A relay drawn by weight from all that satisfy `isCandidate`; `nil` where none does.
    ///
    /// Where no candidate has weight at the position, by weight alone; where none has any, evenly.
    /// Draws from all and throws away what is no candidate, a few times, before it looks at each: the
    /// shares are the same.
    func choose(
        for position: PathPosition,
        using generator: inout RandomGenerator,
        where isCandidate: (Int) -> Bool
    ) -> Int? {
        let place = self.position(position)
        for _ in 0..<Self.rejectionLimit {
            guard let index = place.draw.next(using: &generator) else { break }
            if isCandidate(index) { return index }
        }
        let candidates = plain.indices.filter(isCandidate)
        guard let chosen = choose(from: candidates, for: position, using: &generator) else {
            return nil
        }
        return candidates[chosen]
    }

    /// The same from `candidates`, indexes of relays.
    ///
    /// - Returns: a position in `candidates`; `nil` when there is none.
    func choose(
        from candidates: [Int],
        for position: PathPosition,
        using generator: inout RandomGenerator
    ) -> Int? {
        guard !candidates.isEmpty else { return nil }
        let place = self.position(position)
        let attempts: [(Int) -> UInt64] = [
            { place.weights[$0] },
            { UInt64(plain[$0]) },
            { _ in 1 },
        ]
        for weight in attempts {
            if let chosen = WeightedDraw(candidates.map(weight)).next(using: &generator) {
                return chosen
            }
        }
        return nil
    }

    private static let rejectionLimit = 64

    private struct Position: Sendable {
        let weights: [UInt64]
        let draw: WeightedDraw

        init(_ weights: [UInt64]) {
            self.weights = weights
            draw = WeightedDraw(weights)
        }
    }
}

/// Weights summed up, so that a draw among thousands looks at few.
struct WeightedDraw: Sendable {
    // The sums of weights up to and with each.
    private let sums: [UInt64]

    /// Sums up `weights`; together they are below 2^64.
    init(_ weights: [UInt64]) {
        var sum: UInt64 = 0
        sums = weights.map { weight in
            sum += weight
            return sum
        }
    }

    /// A position drawn by weight; `nil` where nobody has any.
    ///
    /// Logarithmic in the number of weights.
    func next(using generator: inout RandomGenerator) -> Int? {
        guard let total = sums.last, total > 0 else { return nil }
        let mark = generator.next(below: total)
        var low = 0
        var high = sums.count - 1
        while low < high {
            let middle = (low + high) / 2
            if sums[middle] > mark { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// Which relays are of one family.
private struct FamilyTable {
    // By relay: the number of its family, or -1.
    private var family: [Int] = []
    private var count = 0

    /// The most a family counts for: one part of so many of a position.
    private static let parts: UInt64 = 20

    init(_ relays: [RelayRecord]) {
        var numbers: [FamilyID: Int] = [:]
        family = relays.map { relay in
            guard let id = relay.family else { return -1 }
            if let number = numbers[id] { return number }
            let number = numbers.count
            numbers[id] = number
            return number
        }
        count = numbers.count
    }

    /// Lowers the weights of families that count for more than 5 % of all, all their relays alike.
    ///
    /// Where families are all there is and fewer than twenty, no share would hold, and none is
    /// lowered.
    func cap(_ weights: inout [UInt64]) {
        guard count > 0 else { return }
        var sums = [UInt64](repeating: 0, count: count)
        var rest: UInt64 = 0
        for (index, weight) in weights.enumerated() {
            rest += weight
            if family[index] >= 0 { sums[family[index]] += weight }
        }
        // The k largest are capped to what is a twentieth of them and the rest together.
        var limit: UInt64?
        for (cappedCount, sum) in sums.sorted(by: >).enumerated() {
            guard cappedCount < Self.parts else { break }
            let most = rest / (Self.parts - UInt64(cappedCount))
            guard sum > most else {
                limit = most
                break
            }
            rest -= sum
            limit = rest / max(1, Self.parts - UInt64(cappedCount) - 1)
        }
        guard let limit, limit > 0 else { return }
        for index in weights.indices where family[index] >= 0 {
            let sum = sums[family[index]]
            guard sum > limit else { continue }
            let product = weights[index].multipliedFullWidth(by: limit)
            weights[index] = max(
                weights[index] > 0 ? 1 : 0,
                sum.dividingFullWidth(product).quotient
            )
        }
    }
}
