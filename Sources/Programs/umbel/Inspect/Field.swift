import Base
import Wire

/// A field of the wire format by the name the protocol text gives it, with what is in it.
struct Field: Encodable, Equatable {
    /// Its name, such as `sid` or `key_id`.
    var name: String
    /// What it says: a number, hexadecimal digits, or a word.
    var value: String
    /// Fields within it.
    var parts: [Field] = []

    init(_ name: String, _ value: String = "", _ parts: [Field] = []) {
        self.name = name
        self.value = value
        self.parts = parts
    }

    init(_ name: String, _ value: some FixedWidthInteger, means word: String? = nil) {
        self.init(name, word.map { "\(value) \($0)" } ?? "\(value)")
    }

    init(_ name: String, bytes: some Collection<UInt8>) {
        self.init(name, Array(bytes).hex)
    }

    /// The fields of a name at any depth, in order.
    func all(_ wanted: String) -> [Field] {
        (name == wanted ? [self] : []) + parts.flatMap { $0.all(wanted) }
    }

    /// The field and its parts as indented lines; values longer than `limit` characters are cut.
    func lines(limit: Int?, indent: Int = 0) -> [String] {
        var shown = value
        if let limit, value.count > limit {
            shown = "\(value.prefix(limit))… \(value.count / 2) bytes"
        }
        let space = String(repeating: "  ", count: indent)
        let head = shown.isEmpty ? "\(space)\(name)" : "\(space)\(name) \(shown)"
        return [head] + parts.flatMap { $0.lines(limit: limit, indent: indent + 1) }
    }

    private enum CodingKeys: String, CodingKey {
        case name, value, parts
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        if !value.isEmpty { try container.encode(value, forKey: .value) }
        if !parts.isEmpty { try container.encode(parts, forKey: .parts) }
    }
}
