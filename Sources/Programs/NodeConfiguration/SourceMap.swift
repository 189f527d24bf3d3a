/// The lines on which the keys and tables of a TOML text stand.
///
/// The parser keeps no positions of values, so the text is scanned once more for what looks like
/// a header or a key. A key inside an inline table has the line of the table.
struct SourceMap {
    private var lines: [[String]: Int] = [:]

    /// Scans `text`, which the parser has accepted.
    init(_ text: String) {
        var table: [String] = []
        var arrayCounts: [[String]: Int] = [:]
        var openQuote: String?
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            if let quote = openQuote {
                if line.contains(quote) { openQuote = nil }
                continue
            }
            let number = index + 1
            var rest = line.drop(while: \.isWhitespace)
            if rest.hasPrefix("[[") {
                rest = rest.dropFirst(2)
                guard let path = Self.takeKey(&rest), rest.hasPrefix("]") else { continue }
                let count = arrayCounts[path, default: 0]
                arrayCounts[path] = count + 1
                table = path + [String(count)]
                lines[table] = number
            } else if rest.hasPrefix("[") {
                rest = rest.dropFirst()
                guard let path = Self.takeKey(&rest), rest.hasPrefix("]") else { continue }
                table = path
                lines[table] = lines[table] ?? number
            } else if let key = Self.takeKey(&rest), rest.hasPrefix("=") {
                let path = table + key
                lines[path] = lines[path] ?? number
                openQuote = ["\"\"\"", "'''"].first {
                    rest.split(separator: $0, omittingEmptySubsequences: false).count == 2
                }
            }
        }
    }

    /// The line of `path`, or of the nearest table around it; `nil` where none is written.
    func line(of path: [String]) -> Int? {
        var path = path
        while !path.isEmpty {
            if let line = lines[path] { return line }
            path.removeLast()
        }
        return nil
    }

    /// Takes a key, bare, quoted or dotted, and the white space behind it from the front of `text`.
    private static func takeKey(_ text: inout Substring) -> [String]? {
        var parts: [String] = []
        while true {
            text = text.drop(while: \.isWhitespace)
            if let quote = text.first, quote == "\"" || quote == "'" {
                let body = text.dropFirst()
                guard let end = body.firstIndex(of: quote) else { return nil }
                parts.append(String(body[..<end]))
                text = body[body.index(after: end)...]
            } else {
                let bare = text.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "-" }
                guard !bare.isEmpty else { return nil }
                parts.append(String(bare))
                text = text.dropFirst(bare.count)
            }
            text = text.drop(while: \.isWhitespace)
            guard text.first == "." else { return parts }
            text = text.dropFirst()
        }
    }
}
