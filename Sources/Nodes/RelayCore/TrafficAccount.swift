public import Base

/// How many bytes a relay may carry in a period that comes again.
public struct TrafficQuota: Hashable, Sendable {
    /// A length of time after which counting begins anew; all of them begin at midnight UTC.
    public enum Period: Hashable, Sendable {
        /// A day.
        case day
        /// From Monday to Monday.
        case week
        /// From that day of a month to the same of the next: 1 to 28, which every month has.
        case month(firstDay: Int)

        /// When the period began that `wall` lies in.
        public func start(at wall: WallTime) -> WallTime {
            let day = Int(wall.seconds / Self.secondsOfDay)
            switch self {
            case .day: return Self.midnight(day)
            // 1970 began on a Thursday.
            case .week: return Self.midnight(day - (day + 3) % 7)
            case .month(let firstDay):
                var date = CivilDate(day: day)
                if date.day < firstDay { date.addMonths(-1) }
                date.day = firstDay
                return Self.midnight(date.dayNumber)
            }
        }

        /// When the next period begins, of one that began at `start`.
        public func end(from start: WallTime) -> WallTime {
            let day = Int(start.seconds / Self.secondsOfDay)
            switch self {
            case .day: return Self.midnight(day + 1)
            case .week: return Self.midnight(day + 7)
            case .month:
                var date = CivilDate(day: day)
                date.addMonths(1)
                return Self.midnight(date.dayNumber)
            }
        }

        private static let secondsOfDay: UInt64 = 86_400

        private static func midnight(_ day: Int) -> WallTime {
            WallTime(seconds: UInt64(max(0, day)) * secondsOfDay)
        }
    }

    /// Which bytes count: as providers bill them.
    public enum Counted: String, Hashable, Sendable, CaseIterable {
        /// What is sent and what is received, together.
        case sum
        /// The larger of the two.
        case larger
        /// What is sent.
        case sent
        /// What is received.
        case received
    }

    /// Bytes in a period.
    public var byteLimit: UInt64
    /// The period.
    public var period: Period
    /// Which bytes count.
    public var counted: Counted

    /// Puts a quota together.
    public init(byteLimit: UInt64, period: Period, counted: Counted = .sum) {
        self.byteLimit = byteLimit
        self.period = period
        self.counted = counted
    }
}

/// What a relay carried in the period that runs.
///
/// A clock that is set back never begins a period again, so a relay cannot carry a quota twice.
public struct TrafficAccount: Hashable, Sendable {
    /// When the period began.
    public private(set) var start = WallTime(seconds: 0)
    /// Bytes sent in it.
    public private(set) var sent: UInt64 = 0
    /// Bytes received in it.
    public private(set) var received: UInt64 = 0

    /// Nothing carried yet, in no period.
    public init() {}

    /// Counts bytes carried just now.
    public mutating func count(
        sent sentCount: UInt64,
        received receivedCount: UInt64,
        for quota: TrafficQuota,
        at wall: WallTime
    ) {
        let begun = quota.period.start(at: wall)
        if begun > start { (start, sent, received) = (begun, 0, 0) }
        sent = Self.sum(sent, sentCount)
        received = Self.sum(received, receivedCount)
    }

    /// Bytes that count against `quota`.
    public func used(of quota: TrafficQuota) -> UInt64 {
        switch quota.counted {
        case .sum: Self.sum(sent, received)
        case .larger: max(sent, received)
        case .sent: sent
        case .received: received
        }
    }

    /// Whether nothing more may be carried in this period.
    public func isUsedUp(_ quota: TrafficQuota) -> Bool {
        used(of: quota) >= quota.byteLimit
    }

    private static func sum(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (sum, overflow) = a.addingReportingOverflow(b)
        return overflow ? .max : sum
    }
}

extension TrafficAccount {
    private static let title = "umbel-traffic-1"

    /// The account as a line of text, to be kept over a restart.
    public var encoded: [UInt8] {
        Array("\(Self.title) \(start.seconds) \(sent) \(received)\n".utf8)
    }

    /// Reads what ``encoded`` wrote; `nil` for anything else.
    public init?(parsing bytes: [UInt8]) {
        let words = String(decoding: bytes, as: UTF8.self)
            .split(whereSeparator: \.isWhitespace)
        guard words.count == 4, words[0] == Self.title, let start = UInt64(words[1]),
            let sent = UInt64(words[2]), let received = UInt64(words[3])
        else { return nil }
        self.start = WallTime(seconds: start)
        self.sent = sent
        self.received = received
    }
}

/// Parts of the day in which a relay serves, in minutes of the operator's clock.
public struct OpenHours: Hashable, Sendable {
    /// The parts of the day; empty for all of it.
    public var spans: [Span]

    /// One part of the day; where it ends before it begins, it goes over midnight.
    public struct Span: Hashable, Sendable {
        /// The first minute, 0 to 1,439.
        public var from: Int
        /// The first minute that does not belong to it, 0 to 1,440.
        public var to: Int

        /// Puts a part together.
        public init(from: Int, to: Int) {
            self.from = from
            self.to = to
        }
    }

    /// Makes opening hours.
    public init(_ spans: [Span] = []) {
        self.spans = spans
    }

    /// Whether a relay serves in this minute of the day.
    public func contains(minute: Int) -> Bool {
        spans.isEmpty
            || spans.contains { span in
                span.from < span.to
                    ? (span.from..<span.to).contains(minute)
                    : minute >= span.from || minute < span.to
            }
    }
}
