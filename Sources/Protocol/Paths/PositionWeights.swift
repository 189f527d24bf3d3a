import CryptoPrimitives
public import Wire

/// How much of its weight each kind of relay gives to each position (§E.7).
///
/// Every position should carry a third of the network. Relays fit for guard and exit both fill what
/// guards or exits alone lack first; what either has to spare helps the middle, as far as the
/// middle needs it.
public struct PositionWeights: Hashable, Sendable {
    /// What a relay is fit for beside the middle.
    public enum Kind: Int, Hashable, Sendable, CaseIterable {
        /// Neither guard nor exit.
        case plain
        /// A guard that is no exit.
        case guardOnly
        /// An exit that is no guard.
        case exitOnly
        /// Guard and exit.
        case both

        /// Reads what the consensus says.
        public init(_ flags: RelayFlags) {
            switch (flags.contains(.guardCapable), flags.contains(.exit)) {
            case (false, false): self = .plain
            case (true, false): self = .guardOnly
            case (false, true): self = .exitOnly
            case (true, true): self = .both
            }
        }
    }

    /// All of a relay's weight.
    public static let scale: UInt64 = 10_000

    // Parts of `scale`, by kind.
    private var guardParts: [UInt64]
    private var exitParts: [UInt64]

    /// Balances the positions of a network of `relays`.
    public init(_ relays: [RelayRecord]) {
        var totals = [UInt64](repeating: 0, count: Kind.allCases.count)
        for relay in relays { totals[Kind(relay.flags).rawValue] += UInt64(relay.weight) }
        self.init(plain: totals[0], guardOnly: totals[1], exitOnly: totals[2], both: totals[3])
    }

    /// Balances the positions for the given sums of weight, each below 2^50.
    public init(plain: UInt64, guardOnly: UInt64, exitOnly: UInt64, both: UInt64) {
        let third = (plain + guardOnly + exitOnly + both) / 3
        let lack = { (supply: UInt64) in supply < third ? third - supply : 0 }
        let spare = { (supply: UInt64) in supply > third ? supply - third : 0 }
        var toGuard = lack(guardOnly)
        var toExit = lack(exitOnly)
        var middleSupply = plain
        if toGuard + toExit <= both {
            let rest = both - toGuard - toExit
            let toMiddle = min(rest, lack(plain))
            middleSupply += toMiddle
            toExit += (rest - toMiddle) / 2
            toGuard += (rest - toMiddle) - (rest - toMiddle) / 2
        } else {
            // Not enough for both: bring guards and exits as near to each other as it goes.
            let even = both + guardOnly
            toExit = min(both, even > exitOnly ? (even - exitOnly) / 2 : 0)
            toGuard = both - toExit
        }
        let spares = spare(guardOnly) + spare(exitOnly)
        let moved = min(spares, lack(middleSupply))
        let kept = { (supply: UInt64) -> UInt64 in
            guard supply > 0, spares > 0 else { return Self.scale }
            let given = Self.part(moved, of: spares) * Self.part(spare(supply), of: supply)
            return Self.scale - given / Self.scale
        }
        guardParts = [0, kept(guardOnly), 0, Self.part(toGuard, of: both)]
        exitParts = [0, 0, kept(exitOnly), Self.part(toExit, of: both)]
    }

    /// The part of its weight a relay of `kind` gives to `position`, 0 to 10,000.
    public func part(_ kind: Kind, at position: PathPosition) -> UInt64 {
        switch position {
        case .guardRelay: guardParts[kind.rawValue]
        case .exit: exitParts[kind.rawValue]
        case .middle: Self.scale - guardParts[kind.rawValue] - exitParts[kind.rawValue]
        }
    }

    /// Chooses one of `candidates`, indexes into `relays`, by their weight at `position`.
    ///
    /// Where no candidate has weight there, by weight alone; where none has any, evenly.
    /// - Returns: a position in `candidates`; `nil` when there is none.
    func choose(
        from candidates: [Int],
        of relays: [RelayRecord],
        for position: PathPosition,
        using generator: inout RandomGenerator
    ) -> Int? {
        guard !candidates.isEmpty else { return nil }
        let attempts: [(RelayRecord) -> UInt64] = [
            { UInt64($0.weight) * part(Kind($0.flags), at: position) },
            { UInt64($0.weight) },
            { _ in 1 },
        ]
        for weight in attempts {
            let weights = candidates.map { weight(relays[$0]) }
            let total = weights.reduce(0, +)
            guard total > 0 else { continue }
            var left = generator.next(below: total)
            for (index, weight) in weights.enumerated() {
                if left < weight { return index }
                left -= weight
            }
        }
        return nil
    }

    private static func part(_ amount: UInt64, of whole: UInt64) -> UInt64 {
        whole == 0 ? 0 : amount * scale / whole
    }
}
