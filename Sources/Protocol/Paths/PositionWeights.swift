public import Wire

/// How much of its weight each kind of relay gives to each position (§E.7).
///
/// The balance equations of Tor's directory specification: guards, middles and exits should carry
/// the same, which is a third of the network each. A pure function of four sums, so that all clients
/// of one consensus get the same. The names below are the specification's: `Wgd` is the part of a
/// relay fit for guard and exit both (d) that goes to the guard position (g).
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

    /// Which of the equations' cases a network is.
    public enum Case: String, Hashable, Sendable {
        /// Guards and exits have a third each without the relays that are both.
        case abundant = "1"
        /// Both are scarce, and one stays so with all relays that are both.
        case bothScarceUneven = "2a"
        /// Both are scarce; guards stay what they are, and some exits help the middle.
        case bothScarceHelped = "2b1"
        /// Both are scarce; relays that are both fill all positions.
        case bothScarceFilled = "2b2"
        /// Both are scarce, and the middle alone has more than a third.
        case bothScarceMiddle = "2b3"
        /// Guards are scarce even with all relays that are both.
        case guardsShort = "3a guards"
        /// Exits are scarce even with all relays that are both.
        case exitsShort = "3a exits"
        /// Guards are scarce, and relays that are both fill them up.
        case guardsFilled = "3b guards"
        /// Exits are scarce, and relays that are both fill them up.
        case exitsFilled = "3b exits"
    }

    /// All of a relay's weight.
    public static let scale: UInt64 = 10_000

    /// The case that applied.
    public private(set) var balance = Case.abundant
    // Parts of `scale`; what is given neither to guard nor exit is the middle's.
    private var guardGuard: Int64 = 0
    private var guardBoth: Int64 = 0
    private var exitExit: Int64 = 0
    private var exitBoth: Int64 = 0

    /// Balances the positions of a network of `relays`.
    public init(_ relays: [RelayRecord]) {
        var totals = [UInt64](repeating: 0, count: Kind.allCases.count)
        for relay in relays { totals[Kind(relay.flags).rawValue] += UInt64(relay.weight) }
        self.init(plain: totals[0], guardOnly: totals[1], exitOnly: totals[2], both: totals[3])
    }

    /// Balances the positions for the sums of weight M, G, E and D, each below 2^62.
    public init(plain: UInt64, guardOnly: UInt64, exitOnly: UInt64, both: UInt64) {
        let largest = max(plain, guardOnly, exitOnly, both)
        // Products below stay within 63 bits, and only shares matter.
        let shift = UInt64(max(0, 64 - largest.leadingZeroBitCount - 44))
        let sums = [plain, guardOnly, exitOnly, both].map { Int64(clamping: $0 >> shift) }
        let (m, g, e, d) = (sums[0], sums[1], sums[2], sums[3])
        let total = m + g + e + d
        let (guardsScarce, exitsScarce) = (3 * g < total, 3 * e < total)
        switch (guardsScarce, exitsScarce) {
        case (false, false):
            balance = .abundant
            exitExit = Self.part(e + g + m, of: 3 * e)
            guardGuard = Self.whole - Self.part(2 * g - e - m, of: 3 * g)
            guardBoth = Self.whole / 3
            exitBoth = Self.whole / 3
        case (true, true): balanceScarce(m, g, e, d)
        case (true, false):
            guardGuard = Self.whole
            if 3 * (g + d) < total {
                balance = .guardsShort
                guardBoth = Self.whole
                exitExit = Self.whole - (e < m ? 0 : Self.part(e - m, of: 2 * e))
            } else {
                balance = .guardsFilled
                guardBoth = Self.part(d - 2 * g + e + m, of: 3 * d)
                exitExit = Self.part(e + m, of: 2 * e)
                exitBoth = (Self.whole - guardBoth) / 2
            }
        case (false, true):
            exitExit = Self.whole
            if 3 * (e + d) < total {
                balance = .exitsShort
                exitBoth = Self.whole
                guardGuard = Self.whole - (g < m ? 0 : Self.part(g - m, of: 2 * g))
            } else {
                balance = .exitsFilled
                exitBoth = Self.part(d - 2 * e + g + m, of: 3 * d)
                guardGuard = Self.part(g + m, of: 2 * g)
                guardBoth = (Self.whole - exitBoth) / 2
            }
        }
    }

    private mutating func balanceScarce(_ m: Int64, _ g: Int64, _ e: Int64, _ d: Int64) {
        guardGuard = Self.whole
        exitExit = Self.whole
        if min(e, g) + d < max(e, g) {
            balance = .bothScarceUneven
            if e < g { exitBoth = Self.whole } else { guardBoth = Self.whole }
            return
        }
        // Exits help the middle, and are made up for by relays that are both, where that is exact.
        let toExit = d - 2 * e + 4 * g - 2 * m
        if e > 0, d > 0, m <= g, g <= e + m, (0...3 * d).contains(toExit) {
            balance = .bothScarceHelped
            exitExit = Self.part(e - g + m, of: e)
            exitBoth = Self.part(toExit, of: 3 * d)
            guardBoth = (Self.whole - exitBoth) / 2
            return
        }
        guard d - 2 * m + g + e >= 0 else {
            // Nothing is left for the middle. Tor's equation would give exits more than there is of
            // both; here guards and exits come out even.
            balance = .bothScarceMiddle
            exitBoth = Self.part(d + g - e, of: 2 * d)
            guardBoth = Self.whole - exitBoth
            return
        }
        balance = .bothScarceFilled
        exitBoth = Self.part(d - 2 * e + g + m, of: 3 * d)
        let toMiddle = Self.part(d - 2 * m + g + e, of: 3 * d)
        guardBoth = max(0, Self.whole - exitBoth - toMiddle)
    }

    /// The part of its weight a relay of `kind` gives to `position`, 0 to 10,000.
    public func part(_ kind: Kind, at position: PathPosition) -> UInt64 {
        let (toGuard, toExit): (Int64, Int64) =
            switch kind {
            case .plain: (0, 0)
            case .guardOnly: (guardGuard, 0)
            case .exitOnly: (0, exitExit)
            case .both: (guardBoth, exitBoth)
            }
        return switch position {
        case .guardRelay: UInt64(clamping: toGuard)
        case .exit: UInt64(clamping: toExit)
        case .middle: UInt64(clamping: Self.whole - toGuard - toExit)
        }
    }

    private static let whole = Int64(scale)

    private static func part(_ amount: Int64, of all: Int64) -> Int64 {
        all <= 0 ? 0 : min(max(0, amount) * whole / all, whole)
    }
}
