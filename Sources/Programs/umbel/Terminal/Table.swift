/// Rows under headings, which give way step by step where the width is short.
///
/// First the gaps shrink, then values that may be cut, then columns that may be left out go, which a
/// line below says; at last the rows become records of one line per field.
struct Table {
    /// A column's heading, and whether its values line up at their right end.
    struct Column {
        let heading: String
        let isNumber: Bool
        /// Its place among the columns that may be left out, the first to go being 1; `nil` for one
        /// that stays.
        let leaves: Int?
        /// Whether values may be cut.
        let isCut: Bool

        static func text(_ heading: String, leaves: Int? = nil, isCut: Bool = false) -> Self {
            Self(heading: heading, isNumber: false, leaves: leaves, isCut: isCut)
        }

        static func number(_ heading: String, leaves: Int? = nil) -> Self {
            Self(heading: heading, isNumber: true, leaves: leaves, isCut: false)
        }
    }

    /// Characters a cut value keeps at least, the mark of the cut among them.
    private static let cutLimit = 10

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
        guard let width else { return lines(gap: 2) }
        if total(gap: 2) <= width { return lines(gap: 2) }
        if let cut = cut(to: width) { return cut.lines(gap: 1) }
        var left = self
        var gone: [String] = []
        while let next = left.columns.compactMap(\.leaves).min() {
            gone += left.columns.filter { $0.leaves == next }.map(\.heading)
            left = left.without(next)
            guard let fitting = left.cut(to: width) else { continue }
            let note = "no room for \(gone.joined(separator: ", "))"
            return fitting.lines(gap: 1) + "\n" + Text.wrapped(note, after: "", width: width)
        }
        return records(width: width)
    }

    private var widths: [Int] {
        columns.indices.map { index in
            rows.reduce(columns[index].heading.count) { max($0, $1[index].count) }
        }
    }

    private func total(gap: Int) -> Int {
        widths.reduce(0, +) + gap * (columns.count - 1)
    }

    /// The table with narrow gaps, and values cut as far as it takes; `nil` where that is not enough.
    private func cut(to width: Int) -> Self? {
        var cut = self
        for index in columns.indices where columns[index].isCut {
            let over = cut.total(gap: 1) - width
            guard over > 0 else { break }
            let room = max(Self.cutLimit, widths[index] - over)
            cut.rows = cut.rows.map { row in
                var row = row
                if row[index].count > room { row[index] = row[index].prefix(room - 2) + ".." }
                return row
            }
        }
        return cut.total(gap: 1) <= width ? cut : nil
    }

    private func without(_ place: Int) -> Self {
        let kept = columns.indices.filter { columns[$0].leaves != place }
        var table = Self(kept.map { columns[$0] })
        table.rows = rows.map { row in kept.map { row[$0] } }
        return table
    }

    private func lines(gap: Int) -> String {
        let widths = widths
        return ([columns.map(\.heading)] + rows).map { line(of: $0, widths: widths, gap: gap) }
            .joined(separator: "\n")
    }

    private func line(of values: [String], widths: [Int], gap: Int) -> String {
        let cells = values.indices.map { index in
            let space = String(repeating: " ", count: widths[index] - values[index].count)
            return columns[index].isNumber ? space + values[index] : values[index] + space
        }
        let line = cells.joined(separator: String(repeating: " ", count: gap))
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
        bytes(count, base: 1_024, units: ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
    }

    /// A number of bytes as quotas are given, in powers of a thousand.
    static func decimalBytes(_ count: UInt64) -> String {
        bytes(count, base: 1_000, units: ["B", "kB", "MB", "GB", "TB", "PB", "EB"])
    }

    private static func bytes(_ count: UInt64, base: Double, units: [String]) -> String {
        var value = Double(count)
        var unit = 0
        while value >= base, unit < units.count - 1 {
            value /= base
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

    /// A part from 0 to 1 in hundredths to a tenth, or a dash.
    static func percent(_ part: Double?) -> String {
        part.map { fixed($0 * 100, digits: 1) } ?? "-"
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
