import Base
import ControlAPI
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

    /// A number whose meaning is the name of a case.
    init<Word: RawRepresentable>(_ name: String, _ word: Word)
    where Word.RawValue: FixedWidthInteger {
        self.init(name, word.rawValue, means: Self.words(of: word))
    }

    /// The name of a case, such as `staleKey`, in words.
    static func words(of word: some RawRepresentable) -> String {
        "\(word)".reduce(into: "") { text, letter in
            text += letter.isUppercase ? " \(letter.lowercased())" : "\(letter)"
        }
    }

    init(_ name: String, bytes: some Collection<UInt8>) {
        self.init(name, Array(bytes).hex)
    }

    /// The fields of a name at any depth, in order.
    func all(_ wanted: String) -> [Field] {
        (name == wanted ? [self] : []) + parts.flatMap { $0.all(wanted) }
    }

    /// The field and its parts as indented lines.
    ///
    /// - Parameters:
    ///   - limit: digits of bytes that are shown, fewer where a line has no room; `nil` for all.
    ///   - width: columns of a line; `nil` for any number.
    func lines(limit: Int?, width: Int? = nil, indent: Int = 0) -> [String] {
        let space = String(repeating: "  ", count: indent)
        let label = value.isEmpty ? "\(space)\(name)" : "\(space)\(name) "
        var head = [label + value]
        if let limit {
            let note = "... \(value.count / 2) bytes"
            let room = width.map { max(8, min(limit, $0 - label.count - note.count)) } ?? limit
            let isCut = isBytes && value.count > room + note.count
            let shown = isCut ? "\(value.prefix(room & ~1))\(note)" : value
            head = Text.wrapped(shown, after: label, width: width).split(separator: "\n")
                .map(String.init)
        }
        return head + parts.flatMap { $0.lines(limit: limit, width: width, indent: indent + 1) }
    }

    /// Whether the value is a row of bytes, and no number or word.
    private var isBytes: Bool {
        value.count >= 16 && value.count.isMultiple(of: 2) && value.allSatisfy(\.isHexDigit)
    }

    private enum CodingKeys: String, CodingKey {
        case schema, name, value, parts
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        // Of what is printed as a line of its own; fields within it have no layout of their own.
        if encoder.codingPath.isEmpty { try container.encode(reportSchema, forKey: .schema) }
        try container.encode(name, forKey: .name)
        if !value.isEmpty { try container.encode(value, forKey: .value) }
        if !parts.isEmpty { try container.encode(parts, forKey: .parts) }
    }
}
