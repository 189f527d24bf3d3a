import Foundation
import Testing

@Suite("The sources keep to their tiers")
struct TidyTests {
    private let tree: SourceTree

    init() throws {
        tree = try SourceTree()
        try #require(tree.files.count > 50, "the sources are not where they are looked for")
    }

    /// Tiers from the bottom up; a module imports from lower ones, or as `allowed` says.
    private static let tiers = [
        "Bindings", "Primitives", "Protocol", "Nodes", "Shells", "Simulation", "Programs",
    ]

    /// What modules of the lower tiers may import of ours: style's table, told apart by module.
    private static let allowed: [String: Set<String>] = [
        "Base": [],
        "CryptoPrimitives": ["Base", "CSodium", "CIPSecMB"],
        "Wire": ["Base", "CWordSum"],
        "Onion": ["Base", "CryptoPrimitives", "Wire"],
        "Links": ["Base", "CryptoPrimitives", "Wire", "Onion"],
        "Circuits": ["Base", "CryptoPrimitives", "Wire", "Onion"],
        "Mixing": ["Base", "CryptoPrimitives", "Wire"],
        "Flows": ["Base", "CryptoPrimitives", "Wire"],
        "Directory": ["Base", "CryptoPrimitives", "Wire"],
        "Paths": ["Base", "CryptoPrimitives", "Wire", "Directory"],
        "Tickets": ["Base", "CryptoPrimitives", "Wire"],
    ]

    /// Modules outside the package that lower tiers may use, and who.
    private static let libraries: [String: Set<String>] = [
        "CryptoPrimitives": ["Crypto", "CryptoExtras", "FoundationEssentials"],
        "Base": ["BasicContainers"],
        "Links": ["DequeModule"],
        "RelayCore": ["DequeModule"],
        "ClientCore": ["DequeModule"],
        "AuthorityCore": ["DequeModule"],
    ]

    /// Words that bring clocks, chance, threads or the outside world into a value.
    private static let forbidden = [
        "async", "await", "Task", "actor", "Date(", "ContinuousClock", "SuspendingClock",
        "SystemRandomNumberGenerator", ".random(in:", ".shuffled()", ".randomElement()",
        "DispatchQueue", "ProcessInfo", "FileManager", "getenv",
    ]

    private static let pureTiers: Set<String> = ["Primitives", "Protocol", "Nodes"]

    private var modules: [String: String] {
        Dictionary(tree.files.map { ($0.module, $0.tier) }, uniquingKeysWith: { first, _ in first })
    }

    @Test("lower tiers import what the table of tiers allows, and nothing of the outside world")
    func imports() {
        let ours = Set(modules.keys)
        for file in tree.files where Self.pureTiers.contains(file.tier) {
            for imported in file.imports where imported != "Swift" && imported != "Synchronization"
            {
                if file.tier == "Nodes", ours.contains(imported) {
                    let tier = modules[imported] ?? ""
                    #expect(
                        tier == "Primitives" || tier == "Protocol",
                        "\(file.path) imports \(imported)"
                    )
                } else {
                    let isAllowed =
                        Self.allowed[file.module]?.contains(imported) == true
                        || Self.libraries[file.module]?.contains(imported) == true
                    #expect(isAllowed, "\(file.path) imports \(imported)")
                }
            }
        }
    }

    @Test("no module imports one of a higher tier")
    func direction() throws {
        for file in tree.files {
            let own = try #require(
                Self.tiers.firstIndex(of: file.tier),
                "\(file.path) is in no tier"
            )
            for imported in file.imports {
                guard let tier = modules[imported], let place = Self.tiers.firstIndex(of: tier)
                else { continue }
                #expect(place <= own, "\(file.path) imports \(imported)")
            }
        }
    }

    @Test("lower tiers know no clock, no chance, no thread and no file")
    func words() {
        for file in tree.files where Self.pureTiers.contains(file.tier) {
            for (number, line) in file.codeLines.enumerated() {
                for word in Self.forbidden where contains(line, word) {
                    Issue.record("\(file.path):\(number + 1): \(word)")
                }
            }
        }
    }

    @Test("what the compiler cannot check to be shared safely says why it is sound")
    func unchecked() {
        for file in tree.files {
            let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
            for (number, line) in lines.enumerated() where line.contains("@unchecked Sendable") {
                let before = lines[..<number].reversed().prefix {
                    let text = $0.drop { $0 == " " }
                    return text.hasPrefix("//") || text.hasPrefix("@")
                }
                let isExplained = before.contains {
                    $0.contains("Sound:") || $0.lowercased().contains("sendable")
                }
                #expect(isExplained, "\(file.path):\(number + 1)")
            }
        }
    }

    @Test("row 16: code of the lower tiers forces nothing: no `!` behind a value, no `try!`")
    func forced() {
        for file in tree.files where Self.pureTiers.contains(file.tier) {
            for (number, line) in file.codeLines.enumerated() {
                let place = "\(file.path):\(number + 1): \(line)"
                #expect(!line.contains("try!") && !line.contains("as!"), "\(place)")
                #expect(!isForcing(line), "\(place)")
            }
        }
    }

    @Test("no file names a place of the machine it was written on")
    func machinePaths() throws {
        let all = try ["Sources", "Tests", "Tools", "Topology"].flatMap {
            try SourceTree.swiftFiles(under: $0, root: tree.root)
        }
        // In pieces, so that this file does not find itself.
        let places = ["/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/", "/Us" + "ers/"]
        for file in all {
            for place in places {
                #expect(!file.text.contains(place), "\(file.path) names \(place)")
            }
        }
    }

    @Test("each target opens with a file comment of its duty")
    func openings() throws {
        for (module, tier) in modules.sorted(by: { $0.key < $1.key })
        where tier != "Bindings" && tier != "Programs" {
            let folder = tier == module ? tier : "\(tier)/\(module)"
            let path = "Sources/\(folder)/\(module).swift"
            let file = tree.files.first { $0.path == path }
            let text = try #require(file, "\(path) is missing").text
            let lines = text.split(separator: "\n").prefix { $0.hasPrefix("//") }
            #expect(text.hasPrefix("// \(module)"), "\(path) does not begin with its name")
            #expect((4...14).contains(lines.count), "\(path) opens with \(lines.count) lines")
        }
    }

    @Test("the reader of sources sees what it should, and not what is no code")
    func reader() {
        func file(_ text: String) -> SourceTree.File {
            SourceTree.File(path: "x", tier: "Protocol", module: "Links", text: text)
        }
        let imports = file(
            "public import Base\n@testable import Wire\n// import Foundation\nimport A.B"
        )
        #expect(imports.imports == ["Base", "Wire", "A"])
        let code = file("let a = \"await // no\" // Task").codeLines
        #expect(code == ["let a = \"\" "])
        #expect(contains("let x = Date()", "Date("))
        #expect(contains("  await f()", "await"))
        #expect(!contains("let awaited = 1", "await"))
        #expect(!contains("let subTask = 1", "Task"))
        #expect(isForcing("let a = b!"))
        #expect(isForcing("f(x)!.y"))
        #expect(!isForcing("guard !a, b != c else"))
    }

    /// Whether `word` stands in `line` as a word of its own.
    private func contains(_ line: String, _ word: String) -> Bool {
        var rest = line[...]
        while let found = rest.range(of: word) {
            let before = line[..<found.lowerBound].last
            let after = line[found.upperBound...].first
            let endsInLetter = word.last?.isLetter == true
            let beginsWithLetter = word.first?.isLetter == true
            if !(beginsWithLetter && (before?.isLetter == true || before == "_")),
                !(endsInLetter && (after?.isLetter == true || after?.isNumber == true))
            {
                return true
            }
            rest = rest[found.upperBound...]
        }
        return false
    }

    /// Whether `line` unwraps something by force.
    private func isForcing(_ line: String) -> Bool {
        let characters = Array(line)
        for (index, character) in characters.enumerated() where character == "!" && index > 0 {
            let before = characters[index - 1]
            let after = index + 1 < characters.count ? characters[index + 1] : " "
            if before.isLetter || before.isNumber || before == ")" || before == "]", after != "=" {
                return true
            }
        }
        return false
    }
}
