/// Rows under headings, which become records of one line per field where the width is short.
struct Table {
    /// A column's heading, and whether its values line up at their right end.
    struct Column {
        let heading: String
        let isNumber: Bool

        static func text(_ heading: String) -> Self { Self(heading: heading, isNumber: false) }
        static func number(_ heading: String) -> Self { Self(heading: heading, isNumber: true) }
    }

    private let columns: [Column]
    private var rows: [[String]] = []

    init(_ columns: [Column]) {
        self.columns = columns
    }

    /// Adds a row of as many values as there are columns.
    mutating func add(_ values: [String]) {
        precondition(values.count == columns.count, "a value for each column")
        rows.append(values)
    }

    /// The table in lines of at most `width` columns; `nil` for any width.
    func render(width: Int?) -> String {
        let widths = columns.indices.map { index in
            rows.reduce(columns[index].heading.count) { max($0, $1[index].count) }
        }
        let total = widths.reduce(0, +) + 2 * (columns.count - 1)
        if let width, total > width { return records(width: width) }
        let lines = [columns.map(\.heading)] + rows
        return lines.map { line(of: $0, widths: widths) }.joined(separator: "\n")
    }

    private func line(of values: [String], widths: [Int]) -> String {
        let cells = values.indices.map { index in
            let space = String(repeating: " ", count: widths[index] - values[index].count)
            return columns[index].isNumber ? space + values[index] : values[index] + space
        }
        let line = cells.joined(separator: "  ")
        return String(line.reversed().drop { $0 == " " }.reversed())
    }

    private func records(width: Int) -> String {
        let label = columns.reduce(0) { max($0, $1.heading.count) }
        return rows.map { row in
            row.indices.map { index in
                let heading = columns[index].heading
                let space = String(repeating: " ", count: label - heading.count + 2)
                return Text.wrapped(row[index], after: heading + space, width: width)
            }.joined(separator: "\n")
        }.joined(separator: "\n\n")
    }
}

/// Words and numbers laid out for people.
enum Text {
    /// `text` behind `label`, broken at `width` and continued under its own beginning.
    static func wrapped(_ text: String, after label: String, width: Int?) -> String {
        guard let width else { return label + text }
        let room = max(8, width - label.count)
        var lines: [String] = []
        var rest = Substring(text)
        while rest.count > room {
            let head = rest.prefix(room + 1)
            if let space = head.lastIndex(of: " "), space > rest.startIndex {
                lines.append(String(rest[..<space]))
                rest = rest[rest.index(after: space)...]
            } else {
                lines.append(String(rest.prefix(room)))
                rest = rest.dropFirst(room)
            }
        }
        lines.append(String(rest))
        let indent = "\n" + String(repeating: " ", count: label.count)
        return label + lines.joined(separator: indent)
    }

    /// A number of bytes in the unit that leaves one to three digits before the point.
    static func bytes(_ count: UInt64) -> String {
        var value = Double(count)
        var unit = 0
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0 ? "\(count) B" : "\(fixed(value, digits: 1)) \(units[unit])"
    }

    /// A number of bytes as quotas are given, in powers of a thousand.
    static func decimalBytes(_ count: UInt64) -> String {
        var value = Double(count)
        var unit = 0
        let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
        while value >= 1_000, unit < units.count - 1 {
            value /= 1_000
            unit += 1
        }
        return unit == 0 ? "\(count) B" : "\(fixed(value, digits: 1)) \(units[unit])"
    }

    /// A length of time in its two largest units.
    static func seconds(_ count: UInt64) -> String {
        let parts: [(UInt64, String)] = [
            (count / 86_400, "d"), (count / 3600 % 24, "h"), (count / 60 % 60, "m"),
            (count % 60, "s"),
        ]
        let used = parts.drop { $0.0 == 0 }.prefix(2)
        return used.isEmpty ? "0s" : used.map { "\($0.0)\($0.1)" }.joined(separator: " ")
    }

    /// Milliseconds to a tenth, or a dash.
    static func milliseconds(_ value: Double?) -> String {
        value.map { fixed($0, digits: 1) } ?? "-"
    }

    /// Milliseconds to a hundredth, or a dash: on one machine a round trip is less than one.
    static func fine(_ value: Double?) -> String {
        value.map { fixed($0, digits: 2) } ?? "-"
    }

    /// A part from 0 to 1 in hundredths, or a dash.
    static func percent(_ part: Double?) -> String {
        part.map { fixed($0 * 100, digits: 1) + "%" } ?? "-"
    }

    /// `value` with this many digits, one or more, behind the point.
    static func fixed(_ value: Double, digits: Int) -> String {
        let scale = (0..<digits).reduce(1.0) { scale, _ in scale * 10 }
        let scaled = (value.magnitude * scale).rounded()
        guard scaled.isFinite, scaled < 1e15 else { return "\(value)" }
        let whole = String(UInt64(scaled))
        let padded = String(repeating: "0", count: max(0, digits + 1 - whole.count)) + whole
        return
            "\(value < 0 && scaled > 0 ? "-" : "")\(padded.dropLast(digits)).\(padded.suffix(digits))"
    }

    /// The first eight digits of an identifier: enough to tell relays apart on a screen.
    static func short(_ identifier: String) -> String {
        String(identifier.prefix(8))
    }
}
