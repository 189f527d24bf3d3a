public import Base

/// Civil time in milliseconds since 1970-01-01 UTC: what rounds of voting are kept by.
public struct CivilTime: Hashable, Comparable, Sendable {
    /// Milliseconds since 1970-01-01 UTC.
    public var milliseconds: UInt64

    /// Makes the time `milliseconds` after 1970-01-01 UTC.
    public init(milliseconds: UInt64) {
        self.milliseconds = milliseconds
    }

    /// A time that never comes.
    public static let distantFuture = Self(milliseconds: .max)

    /// The whole second.
    public var wall: WallTime {
        WallTime(seconds: milliseconds / 1_000)
    }

    /// Whether `lhs` is earlier.
    public static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.milliseconds < rhs.milliseconds
    }

    /// The time `milliseconds` later; stays within range.
    public static func + (lhs: Self, milliseconds: UInt64) -> Self {
        let (sum, overflow) = lhs.milliseconds.addingReportingOverflow(milliseconds)
        return Self(milliseconds: overflow ? .max : sum)
    }
}

/// One voting: when each of its parts is.
///
/// Spec: §E.1.
public struct Voting: Hashable, Sendable {
    /// When the document begins to hold.
    public let validAfter: WallTime
    /// When votes are sent.
    public let start: CivilTime
    /// Milliseconds of one round of passing votes on.
    public let roundMilliseconds: UInt64
    /// Rounds: one more than authorities that may be bad.
    public let roundCount: Int
    /// When it is given up.
    public let end: CivilTime

    /// When votes are counted and the result is signed.
    public var signing: CivilTime {
        start + roundMilliseconds * UInt64(roundCount)
    }

    /// When the document may be shown.
    public var publication: CivilTime {
        max(signing, CivilTime(milliseconds: validAfter.seconds * 1_000))
    }

    /// The round that runs at `now`, from 1; `nil` outside of them.
    public func round(at now: CivilTime) -> Int? {
        guard now >= start, now < signing else { return nil }
        return Int((now.milliseconds - start.milliseconds) / roundMilliseconds) + 1
    }
}

/// When authorities vote.
public struct VotingSchedule: Sendable {
    private let intervalMilliseconds: UInt64
    private let roundCount: Int

    /// A document every `intervalSeconds`, of authorities of which `toleratedFaultCount` may be bad.
    public init(intervalSeconds: UInt32, toleratedFaultCount: Int) {
        intervalMilliseconds = UInt64(max(1, intervalSeconds)) * 1_000
        roundCount = toleratedFaultCount + 1
    }

    /// The first voting in the course of the network that has not begun at `now`.
    ///
    /// Begins a sixth of an interval before its document holds; rounds take half of that.
    public func regular(after now: CivilTime) -> Voting {
        let lead = intervalMilliseconds / 6
        let number = (now + lead).milliseconds / intervalMilliseconds + 1
        let validAfter = number * intervalMilliseconds
        return Voting(
            validAfter: WallTime(seconds: validAfter / 1_000),
            start: CivilTime(milliseconds: validAfter - lead),
            roundMilliseconds: max(1, lead / 2 / UInt64(roundCount)),
            roundCount: roundCount,
            end: CivilTime(milliseconds: validAfter) + intervalMilliseconds / 2
        )
    }

    /// The first voting without a document to begin from that has not begun at `now`.
    ///
    /// Its document holds from the start of the voting, so that it serves as soon as it is signed.
    public func founding(after now: CivilTime) -> Voting {
        let slot = foundingMilliseconds
        let start = (now.milliseconds / slot + 1) * slot
        return Voting(
            validAfter: WallTime(seconds: start / 1_000),
            start: CivilTime(milliseconds: start),
            roundMilliseconds: max(1, slot / 2 / UInt64(roundCount)),
            roundCount: roundCount,
            end: CivilTime(milliseconds: start + slot)
        )
    }

    /// Milliseconds from one founding voting to the next: 1 s in a network in a hurry, else 4 s.
    public var foundingMilliseconds: UInt64 {
        intervalMilliseconds <= 60_000 ? 1_000 : 4_000
    }
}
