import FoundationEssentials
import TOMLKit

/// A configuration file while it is read: its tables, its lines, and what was found wrong so far.
final class Document {
    /// The file as the operator named it.
    let file: String
    private let root: TOMLTable
    private let source: SourceMap
    private let environment: [String: String]
    private(set) var sections: [Section] = []
    private var found: [(line: Int, problem: ConfigurationProblem)] = []

    /// Variables of the program itself, which override no key.
    private static let reservedVariables: Set<String> = ["UMBEL_SOCKET"]

    /// Reads and parses `file`; `environment` may override single keys as `UMBEL_SECTION_KEY`.
    init(file: String, environment: [String: String]) throws(ConfigurationError) {
        let text: String
        do {
            text = try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            throw ConfigurationError([Self.unreadable(file, error)])
        }
        do {
            root = try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            let problem = ConfigurationProblem(
                what: "\(file):\(error.source.begin.line): not valid TOML",
                why: error.description,
                hint: "mend line \(error.source.begin.line), then `umbel check-config \(file)`"
            )
            throw ConfigurationError([problem])
        } catch {
            let problem = ConfigurationProblem(
                what: "\(file): not valid TOML",
                why: "\(error)",
                hint: "mend the file, then `umbel check-config \(file)`"
            )
            throw ConfigurationError([problem])
        }
        self.file = file
        self.environment = environment
        source = SourceMap(text)
    }

    /// The table `[name]`, empty where the file has none.
    func section(_ name: String) -> Section {
        let value = root[name]
        if let value, value.table == nil {
            note(
                line: line(of: [name]),
                what: "`\(name)` is not a table",
                why: "its keys are read from a table of that name",
                hint: "write `[\(name)]` on a line of its own"
            )
        }
        let section = Section(name: name, path: [name], table: value?.table, document: self)
        sections.append(section)
        return section
    }

    /// The keys above the first table.
    func topSection() -> Section {
        let section = Section(name: nil, path: [], table: root, document: self)
        sections.append(section)
        return section
    }

    /// The tables `[[name]]`, in their order; at most `limit`.
    func sections(_ name: String, limit: Int) -> [Section] {
        guard let value = root[name] else { return [] }
        let tables = value.array.map { $0.map(\.table) } ?? []
        guard !tables.isEmpty, tables.count <= limit, !tables.contains(where: { $0 == nil }) else {
            note(
                line: line(of: [name]) ?? line(of: [name, "0"]),
                what: "`\(name)` is not a list of 1 to \(limit) tables",
                why: "each \(name) has its own keys",
                hint: "write `[[\(name)]]` on a line of its own before each"
            )
            return []
        }
        let list = tables.enumerated().map { index, table in
            Section(name: name, path: [name, String(index)], table: table, document: self)
        }
        sections += list
        return list
    }

    /// The value the environment gives to `key` of the section `section`; nil without one.
    func override(section: String?, key: String) -> String? {
        environment[Self.variable(section, key)]
    }

    /// The name of the variable that overrides `key` of `section`.
    static func variable(_ section: String?, _ key: String) -> String {
        (["UMBEL"] + [section, key].compactMap(\.self)).joined(separator: "_").uppercased()
    }

    /// The line on which `path` stands, or the table around it.
    func line(of path: [String]) -> Int? {
        source.line(of: path)
    }

    /// Keeps a problem for ``finish()``.
    func note(line: Int?, what: String, why: String, hint: String) {
        let place = line.map { "\(file):\($0)" } ?? file
        let problem = ConfigurationProblem(what: "\(place): \(what)", why: why, hint: hint)
        found.append((line ?? .max, problem))
    }

    /// Keeps a problem that lies outside the file for ``finish()``.
    func noteOutside(what: String, why: String, hint: String) {
        found.append((.max, ConfigurationProblem(what: what, why: why, hint: hint)))
    }

    /// Throws whatever was found wrong, unknown keys and variables included.
    ///
    /// To be called once, after every section has been read.
    func finish() throws(ConfigurationError) {
        noteUnknownTables()
        for section in sections { section.noteUnknownKeys() }
        noteUnknownVariables()
        guard found.isEmpty else { throw failure }
    }

    /// The error of what has been found wrong.
    ///
    /// - Precondition: something has.
    var failure: ConfigurationError {
        ConfigurationError(found.sorted { $0.line < $1.line }.map(\.problem))
    }

    private func noteUnknownTables() {
        let names = Set(sections.compactMap(\.name))
        let topKeys = sections.filter { $0.name == nil }.flatMap(\.knownKeys)
        for key in root.keys where !names.contains(key) && !topKeys.contains(key) {
            let isTable = root[key]?.table != nil
            let known = names.sorted() + topKeys.sorted()
            note(
                line: line(of: [key]),
                what: isTable ? "unknown table [\(key)]" : "unknown key `\(key)`",
                why: "this file has \(known.joined(separator: ", "))",
                hint: hint(for: key, among: known)
            )
        }
    }

    private func noteUnknownVariables() {
        let known = sections.filter { $0.path.count < 2 }.flatMap { section in
            section.knownKeys.map { Self.variable(section.name, $0) }
        }
        for name in environment.keys.sorted()
        where name.hasPrefix("UMBEL_") && !Self.reservedVariables.contains(name)
            && !known.contains(name)
        {
            noteOutside(
                what: "environment: unknown variable \(name)",
                why: "UMBEL_ variables override a key as UMBEL_SECTION_KEY",
                hint: hint(for: name, among: known)
            )
        }
    }

    /// Advice to who wrote `word` where only `known` words count.
    func hint(for word: String, among known: [String]) -> String {
        if let nearest = Spelling.nearest(to: word, among: known) {
            return "did you mean `\(nearest)`?"
        }
        return "remove it, or see the example file of this role"
    }

    private static func unreadable(_ file: String, _ error: any Error) -> ConfigurationProblem {
        let code = (error as? CocoaError)?.code
        let why =
            switch code {
            case .fileReadNoSuchFile, .fileNoSuchFile: "there is no such file"
            case .fileReadNoPermission: "this user may not read it"
            case .fileReadInapplicableStringEncoding, .fileReadCorruptFile: "it is not UTF-8 text"
            default: "\(error)"
            }
        let hint =
            code == .fileReadNoPermission
            ? "run as its owner, or `chmod` the file" : "name the file with --config"
        return ConfigurationProblem(what: "\(file): cannot be read", why: why, hint: hint)
    }
}
