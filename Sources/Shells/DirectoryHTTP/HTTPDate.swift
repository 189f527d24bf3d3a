import Base

/// The time as HTTP says it: `Fri, 27 Nov 2026 03:00:00 GMT`.
///
/// Source: RFC 9110, section 5.6.7. Of its three formats only the one that is still sent is read.
enum HTTPDate {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// The time in a header; `nil` for anything else.
    static func parse(_ text: String) -> WallTime? {
        let words = text.split(separator: " ")
        guard words.count == 6, words[5] == "GMT", let day = Int(words[1]),
            let month = months.firstIndex(of: String(words[2])), let year = Int(words[3]),
            (1...31).contains(day), (1_970...9_999).contains(year)
        else { return nil }
        let parts = words[4].split(separator: ":", omittingEmptySubsequences: false)
            .compactMap { Int($0) }
        guard parts.count == 3, (0...23).contains(parts[0]), (0...59).contains(parts[1]),
            (0...60).contains(parts[2])
        else { return nil }
        let days = CivilDate(year: year, month: month + 1, day: day).dayNumber
        let seconds = parts[0] * 3_600 + parts[1] * 60 + parts[2]
        return WallTime(seconds: UInt64(days * 86_400 + seconds))
    }
}
