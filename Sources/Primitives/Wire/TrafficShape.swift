public import Base

/// How long a slot of a `mix` circuit is: one cell each way in each.
///
/// Raw values are tens of microseconds, as handshakes carry them. Spec: §D.1.
public enum SlotLength: UInt16, CaseIterable, Hashable, Sendable {
    /// 400 cells a second.
    case twoAndAHalfMilliseconds = 250
    /// 200 cells a second.
    case fiveMilliseconds = 500
    /// 100 cells a second.
    case tenMilliseconds = 1_000
    /// 50 cells a second.
    case twentyMilliseconds = 2_000

    /// Its length.
    public var span: TimeSpan {
        .microseconds(UInt64(rawValue) * 10)
    }

    /// Cells a second, each way.
    public var cellsPerSecond: Int {
        100_000 / Int(rawValue)
    }
}

/// What a circuit's traffic looks like to who watches it: its mode, and the mode's setting.
///
/// Spec: §D.1.
public enum TrafficShape: Hashable, Sendable {
    /// Cells leave as they come.
    case fast
    /// Cells leave at one of four rates, cover among them.
    case padded
    /// A cell leaves in each slot, whatever there is to carry.
    case mix(SlotLength)

    /// The mode as handshakes carry it.
    public var mode: UInt8 {
        switch self {
        case .fast: 0
        case .padded: 1
        case .mix: 2
        }
    }

    /// The slot length as handshakes carry it; 0 where there are no slots.
    public var slot: UInt16 {
        switch self {
        case .fast, .padded: 0
        case .mix(let length): length.rawValue
        }
    }

    /// What the relay at `hop` needs to know of it: a hop that shapes nothing is told `fast`.
    public func told(to hop: HopIndex) -> Self {
        switch (self, hop) {
        case (.mix, .first), (.mix, .second), (.padded, .second): self
        default: .fast
        }
    }

    /// Reads the two fields of a handshake.
    ///
    /// - Throws: ``WireError`` for a mode or slot length there is not.
    public init(mode: UInt8, slot: UInt16) throws(WireError) {
        switch mode {
        case 0, 1:
            guard slot == 0 else { throw .invalid(field: "CM slot") }
            self = mode == 0 ? .fast : .padded
        case 2:
            guard let length = SlotLength(rawValue: slot) else {
                throw .invalid(field: "CM slot")
            }
            self = .mix(length)
        default:
            throw .unknown(field: "CM mode", value: UInt64(mode))
        }
    }
}

/// How long the middle of a `mix` circuit may be asked to hold a cell, in slots.
///
/// Spec: §D.4.
public struct HoldRange: Hashable, Sendable {
    /// The shortest hold: as long as a group of parity takes.
    public let lowerBound: UInt16
    /// One more than the longest hold.
    public let upperBound: UInt16

    /// The shortest and longest there may be.
    public static let limits: ClosedRange<UInt16> = 5...64

    /// From 5 to 24 slots.
    public static let standard = Self(unchecked: 5, 25)

    private init(unchecked lower: UInt16, _ upper: UInt16) {
        lowerBound = lower
        upperBound = upper
    }

    /// Takes bounds over; `nil` where they are out of range.
    public init?(_ lower: UInt32, _ upper: UInt32) {
        guard let lower = UInt16(exactly: lower), let upper = UInt16(exactly: upper),
            Self.limits.contains(lower), Self.limits.contains(upper), lower < upper
        else { return nil }
        self.init(unchecked: lower, upper)
    }

    /// Whether a cell may be held for `slots`.
    public func contains(_ slots: UInt16) -> Bool {
        slots >= lowerBound && slots < upperBound
    }
}

extension NetworkParameters {
    /// The holds of this network.
    public var mixHold: HoldRange {
        HoldRange(mixHoldMinimumSlots, mixHoldLimitSlots) ?? .standard
    }

    /// The slot length of this network for who asks for none.
    public var defaultSlot: SlotLength {
        UInt16(exactly: mixSlot).flatMap { SlotLength(rawValue: $0) } ?? .tenMilliseconds
    }
}
