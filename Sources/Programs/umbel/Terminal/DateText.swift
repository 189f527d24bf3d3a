import Glibc

/// Times of day as people read them, in UTC.
enum DateText {
    /// The minute in which `seconds` since 1970-01-01 UTC are over, as in "2026-11-26 23:44 UTC".
    static func minute(seconds: UInt64) -> String {
        let parts = parts(seconds)
        return "\(day(parts)) \(two(parts.tm_hour)):\(two(parts.tm_min)) UTC"
    }

    /// The day with this number since 1970-01-01, as in "2026-11-26".
    static func day(number: UInt64) -> String {
        let (seconds, isTooMuch) = number.multipliedReportingOverflow(by: 86_400)
        return isTooMuch ? "\(number)" : day(parts(seconds))
    }

    private static func parts(_ seconds: UInt64) -> tm {
        var time = time_t(clamping: seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        return parts
    }

    private static func day(_ parts: tm) -> String {
        "\(Int(parts.tm_year) + 1_900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    }

    private static func two(_ number: Int32) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }
}
