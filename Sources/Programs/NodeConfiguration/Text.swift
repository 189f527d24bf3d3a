import Base

/// Reads the small notations of configuration files.
enum Text {
    private static let units: [(suffix: String, span: TimeSpan)] = [
        ("ms", .milliseconds(1)), ("s", .seconds(1)), ("m", .seconds(60)),
        ("h", .seconds(3600)), ("d", .seconds(86_400)),
    ]

    /// The span of a whole number and a unit, such as `10s`; `nil` for anything else.
    static func timeSpan(_ text: String) -> TimeSpan? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let suffix = text.dropFirst(digits.count)
        guard let unit = units.first(where: { $0.suffix == suffix }), let count = UInt64(digits)
        else { return nil }
        let (product, overflow) = unit.span.nanoseconds.multipliedReportingOverflow(by: count)
        return overflow ? nil : TimeSpan(nanoseconds: product)
    }

    /// The span in the largest unit that divides it.
    static func duration(_ span: TimeSpan) -> String {
        let unit =
            units.last { span.nanoseconds.isMultiple(of: $0.span.nanoseconds) }
            ?? (suffix: "ms", span: .milliseconds(1))
        return "\(span.nanoseconds / unit.span.nanoseconds)\(unit.suffix)"
    }

    /// The ports of `443`, `1000-2000` or `*`; `nil` for anything else.
    static func ports(_ text: String) -> ClosedRange<UInt16>? {
        if text == "*" { return 1...UInt16.max }
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = parts.first.flatMap({ UInt16($0) }), first > 0,
            let last = parts.last.flatMap({ UInt16($0) }), first <= last
        else { return nil }
        return first...last
    }

    /// The ports in the words ``ports(_:)-(String)`` reads.
    static func ports(_ range: ClosedRange<UInt16>) -> String {
        if range == 1...UInt16.max { return "*" }
        return range.count == 1
            ? "\(range.lowerBound)" : "\(range.lowerBound)-\(range.upperBound)"
    }

    /// The text as TOML has it between quotes.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\u{0}"..."\u{1f}", "\u{7f}":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// The country's two letters in capitals; `nil` unless there are two.
    static func country(_ text: String) -> String? {
        let upper = text.uppercased()
        let letters = upper.utf8.allSatisfy { (0x41...0x5a).contains($0) }
        return upper.utf8.count == 2 && letters ? upper : nil
    }

    /// Whether `text` may name a relay.
    static func isNickname(_ text: String) -> Bool {
        (1...19).contains(text.utf8.count)
            && text.utf8.allSatisfy { isWordByte($0) && $0 != 0x5f && $0 != 0x2e }
    }

    /// Whether `byte` is an ASCII letter or digit, `-`, `_` or `.`.
    static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f: true
        default: false
        }
    }
}
