import Base
import RelayCore

/// A relay with a quota of a month, over the month's end in virtual time: it carries as much as its line
/// does, both ways, and looks at its quota each second, as a relay does.
struct QuotaBench {
    private static let secondsOfDay: UInt64 = 86_400
    /// 2027-01-01 UTC.
    private static let january = WallTime(seconds: 1_798_761_600)

    let quota: TrafficQuota
    /// Bytes a second, each way.
    let bytesPerSecond: UInt64
    private var account = TrafficAccount()
    private var wall = january

    /// What was seen.
    struct Result {
        /// What was carried in January, of the quota.
        var carried = 0.0
        /// Seconds of January in which nothing was.
        var closed = 0.0
        /// Seconds after midnight of the first of February until circuits were taken again.
        var reopened = 0.0
        /// What was counted then, of the quota.
        var leftOver = 0.0
    }

    /// Begins on 2027-01-01, with a quota of `share` of what the line carries in January.
    init(megabits: Double, share: Double) {
        bytesPerSecond = UInt64(megabits * 1e6 / 8)
        let whole = Double(bytesPerSecond) * 2 * 31 * Double(Self.secondsOfDay)
        quota = TrafficQuota(byteLimit: UInt64(whole * share), period: .month(firstDay: 1))
    }

    /// Runs through January and the first minutes of February.
    mutating func run() -> Result {
        let february = Self.january + 31 * Self.secondsOfDay
        var result = Result()
        var carried: UInt64 = 0
        while true {
            let isOpen = !account.isUsedUp(quota)
            if wall >= february, isOpen {
                result.reopened = Double(wall.seconds - february.seconds)
                result.leftOver = Double(account.used(of: quota)) / Double(quota.byteLimit)
                break
            }
            if isOpen { carried += bytesPerSecond * 2 } else { result.closed += 1 }
            wall = wall + 1
            let count = isOpen ? bytesPerSecond : 0
            account.count(sent: count, received: count, for: quota, at: wall)
        }
        result.carried = Double(carried) / Double(quota.byteLimit)
        return result
    }
}
