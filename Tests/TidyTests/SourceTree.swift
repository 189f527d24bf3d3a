import Foundation

/// The sources beside these tests.
struct SourceTree {
    /// One Swift file of the product.
    struct File {
        /// Path from the package's root.
        let path: String
        /// `Protocol` of `Sources/Protocol/Links/Cookie.swift`.
        let tier: String
        /// `Links` of `Sources/Protocol/Links/Cookie.swift`; the tier where it has no folders.
        let module: String
        let text: String

        /// The file's lines without comments and without what stands in string literals.
        ///
        /// Not a parser: literals of several lines are left as they are.
        var codeLines: [String] {
            text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
                var code = ""
                var isInLiteral = false
                var previous: Character?
                for character in line {
                    if character == "\"", previous != "\\" { isInLiteral.toggle() }
                    if character == "/", previous == "/", !isInLiteral {
                        code.removeLast()
                        break
                    }
                    if !isInLiteral || character == "\"" { code.append(character) }
                    previous = character
                }
                return code
            }
        }

        /// The modules the file imports.
        var imports: [String] {
            codeLines.compactMap { line in
                let words = line.split(separator: " ")
                guard let index = words.firstIndex(of: "import"), index <= 2,
                    words[..<index].allSatisfy({ $0 == "public" || $0.hasPrefix("@") })
                else { return nil }
                return words.last.map { String($0.prefix { $0 != "." }) }
            }
        }
    }

    let root: URL
    let files: [File]

    init() throws {
        var root = URL(filePath: #filePath)
        for _ in 0..<3 { root.deleteLastPathComponent() }
        self.root = root
        files = try Self.swiftFiles(under: "Sources", root: root)
    }

    /// The Swift files under `folder`, in the order of their paths.
    static func swiftFiles(under folder: String, root: URL) throws -> [File] {
        let start = root.appending(path: folder)
        guard let walk = FileManager.default.enumerator(atPath: start.path) else { return [] }
        return try walk.compactMap { $0 as? String }
            .filter { $0.hasSuffix(".swift") && !$0.contains(".build") }
            .sorted()
            .map { path in
                let parts = path.split(separator: "/").map(String.init)
                return File(
                    path: "\(folder)/\(path)",
                    tier: parts[0],
                    module: parts.count > 2 ? parts[1] : parts[0],
                    text: try String(
                        contentsOf: start.appending(path: path),
                        encoding: .utf8
                    )
                )
            }
    }
}
