import Base
import Testing

@testable import RelayCore

@Suite("A quota of bytes in a period")
struct TrafficAccountTests {
    /// Seconds since 1970 at that time UTC.
    private func wall(_ year: Int, _ month: Int, _ day: Int, hour: Int = 0) -> WallTime {
        var date = CivilDate(day: 0)
        (date.year, date.month, date.day) = (year, month, day)
        return WallTime(seconds: UInt64(date.dayNumber * 86_400 + hour * 3_600))
    }

    @Test("days and dates lead to each other over four centuries and all their leap days")
    func calendar() {
        var date = CivilDate(day: 0)
        #expect((date.year, date.month, date.day) == (1970, 1, 1))
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        for day in 0..<146_097 {
            #expect(CivilDate(day: day) == date)
            #expect(date.dayNumber == day)
            let isLeap =
                date.year.isMultiple(of: 4)
                && (!date.year.isMultiple(of: 100) || date.year.isMultiple(of: 400))
            let length = date.month == 2 && isLeap ? 29 : lengths[date.month - 1]
            date.day += 1
            if date.day > length { (date.month, date.day) = (date.month + 1, 1) }
            if date.month > 12 { (date.year, date.month) = (date.year + 1, 1) }
        }
    }

    @Test("periods begin and end where they should")
    func periods() {
        let time = wall(2026, 3, 14, hour: 15)
        #expect(TrafficQuota.Period.day.start(at: time) == wall(2026, 3, 14))
        // 2026-03-14 is a Saturday.
        #expect(TrafficQuota.Period.week.start(at: time) == wall(2026, 3, 9))
        #expect(TrafficQuota.Period.month(firstDay: 1).start(at: time) == wall(2026, 3, 1))
        #expect(TrafficQuota.Period.month(firstDay: 15).start(at: time) == wall(2026, 2, 15))
        let january = TrafficQuota.Period.month(firstDay: 28)
        #expect(january.start(at: wall(2026, 1, 3)) == wall(2025, 12, 28))
        #expect(january.end(from: wall(2025, 12, 28)) == wall(2026, 1, 28))
        #expect(TrafficQuota.Period.week.end(from: wall(2026, 3, 9)) == wall(2026, 3, 16))
    }

    @Test("over a month's end: used up on the last day, free from midnight on")
    func monthEnd() throws {
        let quota = TrafficQuota(byteLimit: 1_000_000, period: .month(firstDay: 1))
        var account = TrafficAccount()
        // Every hour of November, of December's first day, and a restart after each.
        var hours = (0..<30 * 24).map { wall(2026, 11, 1 + $0 / 24, hour: $0 % 24) }
        hours += (0..<24).map { wall(2026, 12, 1, hour: $0) }
        var usedUpAt: WallTime?
        for hour in hours {
            if !account.isUsedUp(quota) || quota.period.start(at: hour) > account.start {
                account.count(sent: 700, received: 700, for: quota, at: hour)
            }
            account = try #require(TrafficAccount(parsing: account.encoded))
            if account.isUsedUp(quota), usedUpAt == nil { usedUpAt = hour }
        }
        // 1,400 bytes an hour are a million after 715 hours, in the night to the 30th's end.
        #expect(usedUpAt == wall(2026, 11, 30, hour: 18))
        #expect(account.start == wall(2026, 12, 1))
        #expect(account.used(of: quota) == 24 * 1_400)
        #expect(!account.isUsedUp(quota))
    }

    @Test("a clock that is set back does not give a quota twice")
    func clockSetBack() {
        let quota = TrafficQuota(byteLimit: 1_000, period: .month(firstDay: 1))
        var account = TrafficAccount()
        account.count(sent: 900, received: 0, for: quota, at: wall(2026, 11, 30, hour: 23))
        account.count(sent: 600, received: 0, for: quota, at: wall(2026, 12, 1))
        #expect(account.used(of: quota) == 600)
        // An hour back, into the month before, and forward again.
        account.count(sent: 300, received: 0, for: quota, at: wall(2026, 11, 30, hour: 23))
        account.count(sent: 200, received: 0, for: quota, at: wall(2026, 12, 1, hour: 1))
        #expect(account.used(of: quota) == 1_100)
        #expect(account.isUsedUp(quota))
    }

    @Test("what counts is what the operator is billed for")
    func counted() {
        var quota = TrafficQuota(byteLimit: 1, period: .day)
        var account = TrafficAccount()
        account.count(sent: 3, received: 5, for: quota, at: wall(2026, 1, 1))
        for (counted, used) in [
            (TrafficQuota.Counted.sum, 8), (.larger, 5), (.sent, 3), (.received, 5),
        ] {
            quota.counted = counted
            #expect(account.used(of: quota) == UInt64(used))
        }
        account.count(sent: .max, received: .max, for: quota, at: wall(2026, 1, 1))
        #expect(account.used(of: TrafficQuota(byteLimit: 1, period: .day)) == .max)
    }

    @Test(
        "a file that holds no account is none",
        arguments: ["", "umbel-traffic-1 1 2", "umbel-traffic-2 1 2 3", "umbel-traffic-1 1 2 -3"]
    )
    func broken(text: String) {
        #expect(TrafficAccount(parsing: Array(text.utf8)) == nil)
    }

    @Test("opening hours, over midnight too")
    func hours() {
        #expect(OpenHours().contains(minute: 0))
        let night = OpenHours([.init(from: 22 * 60, to: 7 * 60), .init(from: 720, to: 780)])
        for (minute, isOpen) in [
            (0, true), (419, true), (420, false), (719, false), (720, true), (779, true),
            (780, false), (1_319, false), (1_320, true), (1_439, true),
        ] {
            #expect(night.contains(minute: minute) == isOpen, "\(minute)")
        }
    }
}
