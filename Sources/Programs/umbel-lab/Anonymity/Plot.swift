import Foundation

/// A drawing of 360 units' width, in SVG that takes its colours from the page around it.
struct Plot {
    /// Units of width; a narrow telephone shows them one to one.
    static let width = 360.0

    /// A line or row of points in a plot.
    struct Series {
        var name: String
        var points: [(x: Double, y: Double)]
    }

    /// A row of a plot of dots: a name, and figures with their ranges.
    struct Row {
        var name: String
        var isOurs: Bool
        /// The figure of each kind of dot; `nil` where it was not measured.
        var dots: [(value: Double, low: Double, high: Double)?]
    }

    /// An axis: what it shows, its range, and whether it is of logarithms.
    struct Axis {
        var title: String
        var range: ClosedRange<Double>
        var ticks: [Double]
        var isLogarithmic = false
        var format: (Double) -> String = { String(format: "%g", $0) }

        /// Where a value lies, 0...1.
        func place(_ value: Double) -> Double {
            let bounded = min(max(value, range.lowerBound), range.upperBound)
            guard isLogarithmic else {
                return (bounded - range.lowerBound) / (range.upperBound - range.lowerBound)
            }
            return (log(bounded) - log(range.lowerBound))
                / (log(range.upperBound) - log(range.lowerBound))
        }
    }

    /// Text that is safe between and inside tags.
    static func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;")
            .replacingOccurrences(of: "<", with: "&lt;")
            .replacingOccurrences(of: ">", with: "&gt;")
            .replacingOccurrences(of: "\"", with: "&quot;")
    }

    private static func n(_ value: Double) -> String {
        String(format: "%.1f", value)
    }

    private static func frame(_ height: Double, _ label: String, _ body: [String]) -> String {
        "<svg viewBox=\"0 0 \(n(width)) \(n(height))\" role=\"img\" aria-label=\"\(escaped(label))\">"
            + body.joined() + "</svg>"
    }

    private static func text(
        _ x: Double,
        _ y: Double,
        _ text: String,
        anchor: String = "start",
        kind: String = "t"
    ) -> String {
        "<text class=\"\(kind)\" x=\"\(n(x))\" y=\"\(n(y))\" text-anchor=\"\(anchor)\">\(escaped(text))</text>"
    }

    private static func line(
        _ x1: Double,
        _ y1: Double,
        _ x2: Double,
        _ y2: Double,
        _ kind: String
    ) -> String {
        "<line class=\"\(kind)\" x1=\"\(n(x1))\" y1=\"\(n(y1))\" x2=\"\(n(x2))\" y2=\"\(n(y2))\"/>"
    }

    /// Rows of dots with ranges over one axis.
    ///
    /// - Parameter mark: a value with a line of its own, such as that of guessing.
    static func dots(_ rows: [Row], _ axis: Axis, label: String, mark: Double? = nil) -> String {
        let (left, right, top, step) = (104.0, 348.0, 10.0, 26.0)
        let bottom = top + step * Double(rows.count)
        func x(_ value: Double) -> Double { left + (right - left) * axis.place(value) }
        var body: [String] = []
        for tick in axis.ticks {
            body.append(line(x(tick), top, x(tick), bottom, "grid"))
            body.append(text(x(tick), bottom + 15, axis.format(tick), anchor: "middle"))
        }
        if let mark { body.append(line(x(mark), top, x(mark), bottom, "mark")) }
        for (index, row) in rows.enumerated() {
            let y = top + step * (Double(index) + 0.5)
            body.append(
                text(left - 8, y + 4, row.name, anchor: "end", kind: row.isOurs ? "t ours" : "t")
            )
            for (kind, dot) in row.dots.enumerated() {
                guard let dot else { continue }
                let middle = y + (Double(kind) - Double(row.dots.count - 1) / 2) * 8
                body.append(line(x(dot.low), middle, x(dot.high), middle, "range s\(kind)"))
                body.append(
                    "<circle class=\"dot s\(kind)\" cx=\"\(n(x(dot.value)))\" cy=\"\(n(middle))\" r=\"4\"/>"
                )
            }
        }
        body.append(text((left + right) / 2, bottom + 33, axis.title, anchor: "middle"))
        return frame(bottom + 40, label, body)
    }

    /// Lines over two axes.
    static func lines(_ series: [Series], _ xAxis: Axis, _ yAxis: Axis, label: String) -> String {
        let (left, right, top, bottom) = (40.0, 348.0, 12.0, 212.0)
        func x(_ value: Double) -> Double { left + (right - left) * xAxis.place(value) }
        func y(_ value: Double) -> Double { bottom - (bottom - top) * yAxis.place(value) }
        var body: [String] = []
        for tick in xAxis.ticks {
            body.append(line(x(tick), top, x(tick), bottom, "grid"))
            body.append(text(x(tick), bottom + 15, xAxis.format(tick), anchor: "middle"))
        }
        for tick in yAxis.ticks {
            body.append(line(left, y(tick), right, y(tick), "grid"))
            body.append(text(left - 6, y(tick) + 4, yAxis.format(tick), anchor: "end"))
        }
        for (index, series) in series.enumerated() {
            let path = series.points.map { "\(n(x($0.x))),\(n(y($0.y)))" }.joined(separator: " ")
            body.append(
                "<polyline class=\"curve c\(index % 10)\" points=\"\(path)\"><title>"
                    + "\(escaped(series.name))</title></polyline>"
            )
        }
        body.append(text((left + right) / 2, bottom + 33, xAxis.title, anchor: "middle"))
        return frame(bottom + 40, label, body)
    }

    /// Named points over two axes.
    static func points(
        _ points: [(name: String, isOurs: Bool, x: Double, y: Double)],
        _ xAxis: Axis,
        _ yAxis: Axis,
        label: String
    ) -> String {
        let (left, right, top, bottom) = (40.0, 348.0, 14.0, 232.0)
        func x(_ value: Double) -> Double { left + (right - left) * xAxis.place(value) }
        func y(_ value: Double) -> Double { bottom - (bottom - top) * yAxis.place(value) }
        var body: [String] = []
        for tick in xAxis.ticks {
            body.append(line(x(tick), top, x(tick), bottom, "grid"))
            body.append(text(x(tick), bottom + 15, xAxis.format(tick), anchor: "middle"))
        }
        for tick in yAxis.ticks {
            body.append(line(left, y(tick), right, y(tick), "grid"))
            body.append(text(left - 6, y(tick) + 4, yAxis.format(tick), anchor: "end"))
        }
        // Names of points at one place go below each other.
        var taken: [(x: Double, y: Double)] = []
        for point in points.sorted(by: { ($0.y, $0.x) > ($1.y, $1.x) }) {
            let (px, py) = (x(point.x), y(point.y))
            var ty = py + 4
            while taken.contains(where: { abs($0.x - px) < 76 && abs($0.y - ty) < 12 }) { ty += 12 }
            taken.append((px, ty))
            let isRight = px < 250
            body.append(
                "<circle class=\"dot \(point.isOurs ? "s0" : "other")\" cx=\"\(n(px))\" cy=\"\(n(py))\" r=\"5\"/>"
            )
            if abs(ty - py - 4) > 1 {
                body.append(line(px, py, px + (isRight ? 7 : -7), ty - 4, "lead"))
            }
            body.append(
                text(
                    px + (isRight ? 9 : -9),
                    ty,
                    point.name,
                    anchor: isRight ? "start" : "end",
                    kind: point.isOurs ? "t ours" : "t"
                )
            )
        }
        body.append(text((left + right) / 2, bottom + 33, xAxis.title, anchor: "middle"))
        return frame(bottom + 40, label, body)
    }
}
