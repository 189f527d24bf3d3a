/// How many ticks a voucher has, and its code in one nibble (§A.3).
public enum Denomination: UInt8, CaseIterable, Sendable {
    /// 64 ticks.
    case small = 0
    /// 1,024 ticks.
    case large = 1
    /// 16 ticks: the first one on a circuit.
    case trial = 2
    /// 8,192 ticks: for flows that use up a large one in seconds.
    case bulk = 3

    /// Ticks of a voucher.
    public var tickCount: UInt32 {
        switch self {
        case .trial: 16
        case .small: 64
        case .large: 1_024
        case .bulk: 8_192
        }
    }

    /// The denomination that follows on a circuit once a voucher of this one is used up, unless the
    /// flow is fast.
    public var next: Denomination {
        self == .trial ? .small : .large
    }

    /// Where this denomination stands in lists of one for each.
    public var index: Int {
        Int(rawValue)
    }

    /// What `ticks` come back as, the largest first and as few as there can be; none of them is bulk,
    /// and less than a trial is left out.
    ///
    /// Bound: 25 for what is left of any voucher, of which a tick was shown.
    public static func change(for ticks: UInt32) -> [Denomination] {
        var left = ticks
        var parts: [Denomination] = []
        for denomination in [Denomination.large, .small, .trial] {
            parts += Array(repeating: denomination, count: Int(left / denomination.tickCount))
            left %= denomination.tickCount
        }
        return parts
    }

    /// Reads the code of one byte whose high nibble is the version of the designated set.
    public static func split(_ code: UInt8) throws(WireError) -> (Denomination, version: UInt8) {
        guard let denomination = Denomination(rawValue: code & 15) else {
            throw .unknown(field: "denomination", value: UInt64(code & 15))
        }
        guard code >> 4 < TicketLimits.setVersionCount else {
            throw .tooLarge(field: "set version", value: UInt64(code >> 4), limit: 3)
        }
        return (denomination, code >> 4)
    }
}

/// Money: hundredths of a tick, never negative.
public struct Credits: Hashable, Comparable, Sendable {
    /// Hundredths of a tick.
    public var hundredths: UInt64

    /// So many hundredths of a tick.
    public init(hundredths: UInt64) {
        self.hundredths = hundredths
    }

    /// So many whole ticks; at most 2^57 of them.
    public init(ticks: UInt64) {
        hundredths = ticks.multipliedReportingOverflow(by: 100).overflow ? .max : ticks * 100
    }

    /// Nothing.
    public static let zero = Credits(hundredths: 0)

    /// Whether `lhs` is less.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.hundredths < rhs.hundredths
    }

    /// Both together; stays within range.
    public static func + (lhs: Self, rhs: Self) -> Self {
        let (sum, overflow) = lhs.hundredths.addingReportingOverflow(rhs.hundredths)
        return Self(hundredths: overflow ? .max : sum)
    }

    /// What `rhs` leaves of `lhs`; nothing where it is more.
    public static func - (lhs: Self, rhs: Self) -> Self {
        Self(hundredths: lhs.hundredths > rhs.hundredths ? lhs.hundredths - rhs.hundredths : 0)
    }
}

extension Credits: CustomStringConvertible {
    /// Ticks with two decimals.
    public var description: String {
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }
}

/// Bounds of what mints and wallets say to each other (§A.3).
public enum TicketLimits {
    /// Mints a network may have.
    public static let mintCount = 10
    /// Vouchers of one order.
    public static let orderCount = 32
    /// Versions of the designated set in an epoch.
    public static let setVersionCount: UInt8 = 4
    /// Certificates that may come with one order.
    public static let certificateCount = 8
    /// Rows of one deposit.
    public static let depositCount = 64
    /// Bytes of a request to a mint, or its answer.
    public static let exchangeByteCount = 96 * 1_024
    /// Bytes of a request that goes over a circuit, or its answer; sealed.
    public static let circuitByteCount = 16 * 1_024
    /// Requests of one circuit a hop has under way.
    public static let circuitRequestCount = 4
}
