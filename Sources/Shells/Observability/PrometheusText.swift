/// Metrics in Prometheus' text format, version 0.0.4.
///
/// Each name is written once, with its help and type before its samples. Names and labels are ours, so
/// wrong ones are faults of ours; values of labels may be any text.
/// Source: https://prometheus.io/docs/instrumenting/exposition_formats/
public struct PrometheusText: Sendable {
    /// What a metric's value means.
    public enum Kind: String, Sendable {
        /// Only ever rises, from 0 at the start of the process.
        case counter
        /// Goes up and down.
        case gauge
    }

    /// One value, with what tells it from others of its name.
    public struct Sample: Sendable {
        let labels: [(name: String, value: String)]
        let value: Double

        /// A value with labels.
        public init(_ labels: KeyValuePairs<String, String>, _ value: Double) {
            self.labels = labels.map { ($0.key, $0.value) }
            self.value = value
        }

        /// A value with labels.
        public init(_ labels: KeyValuePairs<String, String>, _ value: some BinaryInteger) {
            self.init(labels, Double(value))
        }

        /// The only value of its name.
        public init(_ value: Double) {
            self.init([:], value)
        }

        /// The only value of its name.
        public init(_ value: some BinaryInteger) {
            self.init([:], Double(value))
        }
    }

    /// The text so far.
    public private(set) var text = ""
    private var names: Set<String> = []

    /// Begins without metrics.
    public init() {}

    /// Adds a metric with its samples.
    ///
    /// - Precondition: the name is new and well formed, a counter's ends in `_total`.
    public mutating func add(_ kind: Kind, _ name: String, _ help: String, _ samples: [Sample]) {
        precondition(Self.isName(name, mayHaveColon: true), "\(name) names no metric")
        precondition(
            (kind == .counter) == name.hasSuffix("_total"),
            "\(name) is a \(kind.rawValue)"
        )
        precondition(names.insert(name).inserted, "\(name) is there already")
        guard !samples.isEmpty else { return }
        text += "# HELP \(name) \(Self.escaped(help, quotes: false))\n"
        text += "# TYPE \(name) \(kind.rawValue)\n"
        for sample in samples { add(name, sample.labels, sample.value) }
    }

    /// Adds a histogram: how many of `count` values that sum up to `sum` were at most each bound.
    ///
    /// - Precondition: the bounds rise, and so do their counts, to at most `count`.
    public mutating func addHistogram(
        _ name: String,
        _ help: String,
        buckets: [(bound: Double, count: UInt64)],
        sum: Double,
        count: UInt64
    ) {
        precondition(Self.isName(name, mayHaveColon: true), "\(name) names no metric")
        precondition(names.insert(name).inserted, "\(name) is there already")
        for (one, next) in zip(buckets, buckets.dropFirst()) {
            precondition(one.bound < next.bound && one.count <= next.count, "buckets out of order")
        }
        precondition((buckets.last?.count ?? 0) <= count, "a bucket of more than there are")
        text += "# HELP \(name) \(Self.escaped(help, quotes: false))\n# TYPE \(name) histogram\n"
        for bucket in buckets {
            add("\(name)_bucket", [("le", Self.number(bucket.bound))], Double(bucket.count))
        }
        add("\(name)_bucket", [("le", "+Inf")], Double(count))
        add("\(name)_sum", [], sum)
        add("\(name)_count", [], Double(count))
    }

    private mutating func add(
        _ name: String,
        _ labels: [(name: String, value: String)],
        _ value: Double
    ) {
        text += name
        if !labels.isEmpty {
            let parts = labels.map { label in
                precondition(
                    Self.isName(label.name, mayHaveColon: false),
                    "\(label.name) names no label"
                )
                return "\(label.name)=\"\(Self.escaped(label.value, quotes: true))\""
            }
            text += "{\(parts.joined(separator: ","))}"
        }
        text += " \(Self.number(value))\n"
    }

    /// A number as the format has it: whole ones without a point, up to 2^53 exactly.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if value == value.rounded(), abs(value) < 9_007_199_254_740_992 { return "\(Int64(value))" }
        return "\(value)"
    }

    /// The text with what would end it early behind a backslash.
    static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }

    static func isName(_ text: String, mayHaveColon: Bool) -> Bool {
        guard let first = text.utf8.first, !(0x30...0x39).contains(first) else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x5f: true
            case 0x3a: mayHaveColon
            default: false
            }
        }
    }
}
