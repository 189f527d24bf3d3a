import TOMLKit

/// One table of a configuration file while it is read.
///
/// Every key that is asked for becomes a known key; ``noteUnknownKeys()`` complains of the others.
final class Section {
    /// The table's name; `nil` for the keys above the first table.
    let name: String?
    /// Where the table stands in the file.
    let path: [String]
    /// The keys asked for so far.
    private(set) var knownKeys: [String] = []
    /// What the keys asked for so far come to, in their order.
    private(set) var settings: [Setting] = []
    private let table: TOMLTable?
    private unowned let document: Document

    /// Makes the section of `table`, which is `nil` where the file has none.
    init(name: String?, path: [String], table: TOMLTable?, document: Document) {
        self.name = name
        self.path = path
        self.table = table
        self.document = document
    }

    /// The value of `key`, or `nil` where it is absent or, noted as a problem, not of `kind`.
    func optional<Value>(_ key: String, _ kind: ValueKind<Value>) -> Value? {
        knownKeys.append(key)
        if path.count < 2, let text = document.override(section: name, key: key) {
            let value = override(key, text, kind)
            keep(key, value.map(kind.write), from: .environment)
            return value
        }
        guard let value = table?[key] else {
            keep(key, nil, from: .fallback)
            return nil
        }
        if let result = kind.read(value) {
            keep(key, kind.write(result), from: .file)
            return result
        }
        document.note(
            line: document.line(of: path + [key]),
            what: "`\(key)` is not \(kind.expectation)",
            why: "found \(Self.describe(value))",
            hint: "set `\(key)` \(place) to \(kind.expectation)"
        )
        return nil
    }

    /// The value of `key`, or `fallback` where it is absent.
    func value<Value>(_ key: String, _ kind: ValueKind<Value>, default fallback: Value) -> Value {
        if let value = optional(key, kind) { return value }
        keep(key, kind.write(fallback), from: .fallback)
        return fallback
    }

    /// The value of `key`; `nil` after noting that it is absent or not of `kind`.
    func required<Value>(_ key: String, _ kind: ValueKind<Value>) -> Value? {
        let value = optional(key, kind)
        if value == nil, table?[key] == nil, document.override(section: name, key: key) == nil {
            document.note(
                line: document.line(of: path),
                what: "`\(key)` is missing \(place)",
                why: "it has no default",
                hint: "set `\(key)` to \(kind.expectation)"
            )
        }
        return value
    }

    /// The path in `key`, made absolute against the folder of the file; `nil` where absent.
    func optionalPath(_ key: String) -> String? {
        let path = optional(key, .text(limit: 4096)).flatMap { resolve($0, key: key) }
        if let path { keep(key, Text.quoted(path)) }
        return path
    }

    /// The path in `key`, made absolute, or `fallback` where it is absent.
    func path(_ key: String, default fallback: String) -> String {
        if let path = optionalPath(key) { return path }
        keep(key, Text.quoted(fallback), from: .fallback)
        return fallback
    }

    /// The path in `key`, made absolute; `nil` after noting that it is absent or empty.
    func requiredPath(_ key: String) -> String? {
        let path = required(key, .text(limit: 4096)).flatMap { resolve($0, key: key) }
        if let path { keep(key, Text.quoted(path)) }
        return path
    }

    /// Notes a problem with the value of `key` that its kind could not see.
    func note(_ key: String, what: String, why: String, hint: String) {
        document.note(line: document.line(of: path + [key]), what: what, why: why, hint: hint)
    }

    /// Notes every key of the table that was never asked for.
    func noteUnknownKeys() {
        guard name != nil, let table else { return }
        for key in table.keys where !knownKeys.contains(key) {
            document.note(
                line: document.line(of: path + [key]),
                what: "unknown key `\(key)` \(place)",
                why: "the table has \(knownKeys.sorted().joined(separator: ", "))",
                hint: document.hint(for: key, among: knownKeys)
            )
        }
    }

    private func keep(_ key: String, _ text: String?, from origin: Setting.Origin? = nil) {
        guard let index = settings.firstIndex(where: { $0.key == key }) else {
            return settings.append(Setting(key: key, text: text, origin: origin ?? .fallback))
        }
        settings[index].text = text
        settings[index].origin = origin ?? settings[index].origin
    }

    private var place: String {
        name.map { path.count > 1 ? "in [[\($0)]]" : "in [\($0)]" } ?? "above the first table"
    }

    private func resolve(_ text: String, key: String) -> String? {
        guard !text.isEmpty else {
            note(
                key,
                what: "`\(key)` is empty",
                why: "it names a file or folder",
                hint: "set `\(key)` \(place) to a path"
            )
            return nil
        }
        guard !text.hasPrefix("/"), let slash = document.file.lastIndex(of: "/") else {
            return text
        }
        return document.file[...slash] + text
    }

    private func override<Value>(_ key: String, _ text: String, _ kind: ValueKind<Value>) -> Value?
    {
        let parsed = try? TOMLTable(string: "value = \(text)")
        if let value = parsed?["value"], let result = kind.read(value) { return result }
        if let result = kind.read(text) { return result }
        document.noteOutside(
            what: "environment: \(Document.variable(name, key)) is not \(kind.expectation)",
            why: "found `\(text)`",
            hint: "it overrides `\(key)` \(place); unset it to use the file's value"
        )
        return nil
    }

    private static func describe(_ value: any TOMLValueConvertible) -> String {
        switch value.type {
        case .string: "the text \"\(value.string ?? "")\""
        case .int: "the number \(value.int ?? 0)"
        case .double: "the fraction \(value.double ?? 0)"
        case .bool: "\(value.bool ?? false)"
        case .array: "a list"
        case .table: "a table"
        default: "a date or time"
        }
    }
}
