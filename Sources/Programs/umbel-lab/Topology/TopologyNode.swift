import Base
import Yams

/// Where in a topology file something is wrong, and what would be right.
struct TopologyError: Error, Hashable, CustomStringConvertible {
    /// The file.
    var file: String
    /// The line, counted from 1.
    var line: Int
    /// Which part of the network, such as `host r7`.
    var place: String
    /// What is wrong and what would be right.
    var complaint: String

    var description: String {
        "\(file):\(line): \(place.isEmpty ? "" : "\(place): ")\(complaint)"
    }
}

/// One node of the YAML tree with the words an error about it needs.
struct TopologyNode {
    var node: Node
    var file: String
    var place: String

    /// The error `complaint` at this node.
    func error(_ complaint: String) -> TopologyError {
        TopologyError(file: file, line: node.mark?.line ?? 1, place: place, complaint: complaint)
    }

    /// The values of a mapping that may have only the keys `allowed`, each once.
    func mapping(_ allowed: [String]) throws(TopologyError) -> TopologyMapping {
        guard let mapping = node.mapping else {
            throw error("expected a mapping with \(allowed.joined(separator: ", "))")
        }
        var values: [String: TopologyNode] = [:]
        for (keyNode, value) in mapping {
            guard let key = keyNode.scalar?.string else {
                throw error("a key is not a word")
            }
            guard allowed.contains(key) else {
                let near = allowed.min { Self.distance($0, key) < Self.distance($1, key) }
                let hint = near.map { Self.distance($0, key) <= 2 ? "did you mean `\($0)`?" : nil }
                throw TopologyError(
                    file: file,
                    line: keyNode.mark?.line ?? 1,
                    place: place,
                    complaint: "unknown key `\(key)`; "
                        + ((hint ?? nil) ?? "there are \(allowed.joined(separator: ", "))")
                )
            }
            let inner = place.isEmpty ? key : "\(place), \(key)"
            values[key] = TopologyNode(node: value, file: file, place: inner)
        }
        return TopologyMapping(owner: self, values: values)
    }

    /// The keys and values of a mapping that may have any keys, in order.
    func pairs() throws(TopologyError) -> [(key: String, value: TopologyNode)] {
        guard let mapping = node.mapping else { throw error("expected a mapping") }
        var result: [(String, TopologyNode)] = []
        for (keyNode, value) in mapping {
            guard let key = keyNode.scalar?.string else { throw error("a key is not a word") }
            let inner = place.isEmpty ? key : "\(place), \(key)"
            result.append((key, TopologyNode(node: value, file: file, place: inner)))
        }
        return result
    }

    /// The items of a list of at most `limit`.
    func list(limit: Int) throws(TopologyError) -> [TopologyNode] {
        guard let sequence = node.sequence else { throw error("expected a list") }
        guard sequence.count <= limit else { throw error("more than \(limit) items") }
        return sequence.map { TopologyNode(node: $0, file: file, place: place) }
    }

    /// The text of a scalar.
    func text() throws(TopologyError) -> String {
        guard let scalar = node.scalar else { throw error("expected a single value") }
        return scalar.string
    }

    /// The value `parse` makes of the text; `expected` says what it must be.
    func value<T>(_ expected: String, _ parse: (String) -> T?) throws(TopologyError) -> T {
        let text = try text()
        guard let value = parse(text) else { throw error("`\(text)` is not \(expected)") }
        return value
    }

    /// A whole number in `range`.
    func integer(_ range: ClosedRange<Int>) throws(TopologyError) -> Int {
        try value("a number in \(range.lowerBound)...\(range.upperBound)") { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// One of the cases of `type`.
    func choice<T: RawRepresentable<String> & CaseIterable>(
        _ type: T.Type
    ) throws(TopologyError) -> T {
        let names = T.allCases.map(\.rawValue).joined(separator: ", ")
        return try value("one of \(names)") { T(rawValue: $0) }
    }

    /// The scalar as TOML writes it: numbers and truth values plain, everything else quoted.
    func toml() throws(TopologyError) -> String {
        let text = try text()
        if node.bool != nil, text == "true" || text == "false" { return text }
        if node.scalar?.style == .plain, Int(text) != nil { return text }
        return TOMLText.quoted(text)
    }

    /// Letters to change, add or leave out between two words.
    private static func distance(_ left: String, _ right: String) -> Int {
        let (a, b) = (Array(left.utf8), Array(right.utf8))
        var row = Array(0...b.count)
        for i in a.indices {
            var diagonal = row[0]
            row[0] = i + 1
            for j in b.indices {
                let change = diagonal + (a[i] == b[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(change, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[b.count]
    }
}

/// The values of a mapping whose keys were checked.
struct TopologyMapping {
    var owner: TopologyNode
    var values: [String: TopologyNode]

    /// The value of `key`, if it is there.
    subscript(key: String) -> TopologyNode? {
        values[key]
    }

    /// The value of `key`, which must be there.
    func required(_ key: String) throws(TopologyError) -> TopologyNode {
        guard let value = values[key] else { throw owner.error("`\(key)` is missing") }
        return value
    }
}
