import FlowModel
import Foundation

/// What a simulation came to, for people and programs: facts, tables, and a plot before each table.
struct SimulationPage {
    /// A table, and how it is drawn.
    struct Section {
        var title: String
        var columns: [String]
        var rows: [[Double]]
        /// What a row is, where that is a word.
        var labels: [String] = []
        /// How it is drawn; `nil` for not at all.
        ///
        /// Lines have the first column along the horizontal axis.
        var plot: Plot?

        enum Plot {
            case lines, bars
        }
    }

    var title: String
    var facts: [(name: String, value: String)] = []
    var sections: [Section] = []

    /// The tables as text.
    var text: String {
        let width = facts.map(\.name.count).max() ?? 0
        var lines = [title, ""]
        for (name, value) in facts {
            lines.append(
                name.padding(toLength: width + 2, withPad: " ", startingAt: 0) + value
            )
        }
        for section in sections where section.plot != .lines {
            lines += ["", section.title]
            let names = section.columns.map { $0.count > 12 ? $0 : Self.right($0) }
            let first = section.labels.map(\.count).max() ?? 0
            lines.append(
                String(repeating: " ", count: first) + "  " + names.joined(separator: "  ")
            )
            for (index, row) in section.rows.enumerated() {
                let label =
                    (index < section.labels.count ? section.labels[index] : "")
                    .padding(toLength: first, withPad: " ", startingAt: 0)
                let cells = zip(row, names).map { value, name in
                    let text = Self.short(value)
                    let count = max(0, name.count - text.count)
                    return String(repeating: " ", count: count) + text
                }
                lines.append(label + "  " + cells.joined(separator: "  "))
            }
        }
        return lines.joined(separator: "\n")
    }

    private static func right(_ text: String) -> String {
        String(repeating: " ", count: max(0, 12 - text.count)) + text
    }

    /// A number with about four digits that say something.
    static func short(_ value: Double) -> String {
        if value == value.rounded(), abs(value) < 1e9 { return String(Int(value)) }
        return String(format: "%.4g", value)
    }

    /// The same as JSON.
    func json() throws -> String {
        struct Table: Encodable {
            var title: String
            var columns: [String]
            var labels: [String]
            var rows: [[Double]]
        }
        struct Report: Encodable {
            var schema = 1
            var title: String
            var facts: [String: String]
            var tables: [Table]
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let report = Report(
            title: title,
            facts: Dictionary(facts.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }),
            tables: sections.map {
                Table(title: $0.title, columns: $0.columns, labels: $0.labels, rows: $0.rows)
            }
        )
        return String(decoding: try encoder.encode(report), as: UTF8.self)
    }
}

extension SimulationPage {
    /// The page: one file, dark or light as the reader's machine is, fine on a telephone.
    var html: String {
        var body = "<h1>\(Self.escaped(title))</h1><table>"
        for (name, value) in facts {
            body += "<tr><th>\(Self.escaped(name))</th><td>\(Self.escaped(value))</td></tr>"
        }
        body += "</table>"
        for section in sections {
            body += "<h2>\(Self.escaped(section.title))</h2>"
            if let plot = section.plot { body += Self.picture(section, plot) }
            body += "<details><summary>Table</summary><div class=wide><table><tr><th></th>"
            body += section.columns.map { "<th>\(Self.escaped($0))</th>" }.joined() + "</tr>"
            for (index, row) in section.rows.enumerated() {
                let label = index < section.labels.count ? section.labels[index] : ""
                body += "<tr><th>\(Self.escaped(label))</th>"
                body += row.map { "<td>\(Self.short($0))</td>" }.joined() + "</tr>"
            }
            body += "</table></div></details>"
        }
        return """
            <!doctype html><html lang=en><meta charset=utf-8>
            <meta name=viewport content="width=device-width,initial-scale=1">
            <title>\(Self.escaped(title))</title><style>
            :root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;\
            margin:auto;padding:1rem}table{border-collapse:collapse;font-size:.9rem}\
            th,td{text-align:right;padding:.15rem .6rem;border-bottom:1px solid #8884}\
            th:first-child{text-align:left}.wide{overflow-x:auto}svg{width:100%;height:auto}\
            h1{font-size:1.4rem}h2{font-size:1.1rem}.k{font-size:.85rem}
            </style>\(body)</html>
            """
    }

    private static let colours = ["#1f77b4", "#d95f02", "#1b9e77", "#7570b3"]

    private static func picture(_ section: Section, _ plot: Section.Plot) -> String {
        let series = max(0, section.columns.count - (plot == .lines ? 1 : 0))
        let offset = plot == .lines ? 1 : 0
        let all = section.rows.flatMap { $0.dropFirst(offset) }
        let top = max(all.max() ?? 0, 1e-12)
        let (width, height, left) = (640.0, 240.0, 60.0)
        var shapes = ""
        if plot == .lines {
            let xs = section.rows.compactMap(\.first)
            let (low, high) = (xs.min() ?? 0, max(xs.max() ?? 1, (xs.min() ?? 0) + 1e-12))
            for line in 0..<series {
                let points = section.rows.compactMap { row -> String? in
                    guard row.indices.contains(line + 1) else { return nil }
                    let x = left + (row[0] - low) / (high - low) * (width - left - 10)
                    let y = 10 + (1 - row[line + 1] / top) * (height - 40)
                    return String(format: "%.1f,%.1f", x, y)
                }.joined(separator: " ")
                shapes += """
                    <polyline fill=none stroke="\(colours[line % 4])" stroke-width=2 \
                    points="\(points)"/>
                    """
            }
            shapes += text(left, height - 8, short(low)) + text(width - 60, height - 8, short(high))
        } else {
            let count = Double(max(1, section.rows.count * series))
            let step = (width - left - 10) / count
            for (index, row) in section.rows.enumerated() {
                for (line, value) in row.enumerated() {
                    let x = left + Double(index * series + line) * step
                    let size = max(0, value / top) * (height - 40)
                    shapes += "<rect x=\(point(x)) y=\(point(height - 30 - size)) "
                    shapes += "width=\(point(max(1, step * 0.8))) height=\(point(size)) "
                    shapes += "fill=\"\(colours[line % 4])\"/>"
                }
                if index < section.labels.count, section.rows.count <= 12 {
                    shapes += text(
                        left + Double(index * series) * step,
                        height - 8,
                        String(section.labels[index].prefix(10))
                    )
                }
            }
        }
        shapes += text(2, 20, short(top)) + text(2, height - 30, "0")
        let names = section.columns.dropFirst(offset).enumerated().map { index, name in
            "<span style=\"color:\(colours[index % 4])\">■</span> \(escaped(name))"
        }.joined(separator: " ")
        return """
            <svg viewBox="0 0 640 240" role=img aria-label="\(escaped(section.title))">\(shapes)</svg>\
            <p class=k>\(names)</p>
            """
    }

    private static func text(_ x: Double, _ y: Double, _ text: String) -> String {
        "<text x=\(point(x)) y=\(point(y)) font-size=13 fill=currentColor>\(escaped(text))</text>"
    }

    private static func point(_ value: Double) -> String {
        String(format: "%.1f", value)
    }

    private static func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;")
            .replacingOccurrences(of: "<", with: "&lt;")
            .replacingOccurrences(of: "\"", with: "&quot;")
    }
}
