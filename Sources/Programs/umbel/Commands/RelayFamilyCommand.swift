import ArgumentParser
import Base
import ControlAPI
import CryptoPrimitives
import FoundationEssentials
import NodeConfiguration
import NodeRuntime

/// `umbel relay family`: says that relays are of one operator.
struct RelayFamilyCommand: AsyncParsableCommand {
    /// What was made, as JSON.
    struct Report: Encodable {
        let schema = reportSchema
        let family: String
        let configs: [String]
    }

    static let configuration = CommandConfiguration(
        commandName: "family",
        abstract: "Make relays of one operator name each other, so that no path takes two of them.",
        discussion: """
            Makes the family's key unless it is there, and names it in each configuration file. For \
            relays on several machines, copy the key's file to each and run this there.
            """
    )

    @Argument(
        help: ArgumentHelp("Configuration files of the relays.", valueName: "file"),
        completion: .file(extensions: ["toml"])
    )
    var configs: [String]
    @Option(help: ArgumentHelp("The family's key; made if it is missing.", valueName: "file"))
    var key = "/var/lib/umbel/family/family.key"
    @OptionGroup var format: FormatOptions

    func validate() throws {
        guard key.hasSuffix("/family.key") else {
            throw ValidationError("--key is a path that ends in /family.key")
        }
    }

    func run() async throws {
        // All of them are read before one is changed.
        var texts: [(file: String, text: String)] = []
        for file in configs {
            let configuration = try RelayConfiguration(file: file)
            let text = String(decoding: try OutputFile.read(file), as: UTF8.self)
            if let known = configuration.familyKey {
                guard known == key else {
                    throw Failure(
                        "\(configuration.nickname) is of a family already",
                        why: "\(file) names \(known)",
                        hint: "take `family_key` out of it, or name that key with --key",
                        exit: .failed
                    )
                }
                continue
            }
            texts.append((file, try Self.adding(key, to: text, of: file)))
        }
        let path = key
        let signing = try await Starting.attempt("the family") {
            if FileManager.default.fileExists(atPath: path) { return try FamilyKey.read(path) }
            return try FamilyKey.create(folder: String(path.dropLast("/family.key".count)))
        }
        for (file, text) in texts { try OutputFile.write(Array(text.utf8), to: file) }
        let report = Report(family: signing.publicKey.hex, configs: configs)
        if format.json { return try Output.printJSON(report) }
        Output.print("family \(report.family)")
        Output.note("restart the relays: they say so in their next descriptors")
    }

    /// The file's text with the key named in its table [node].
    private static func adding(_ key: String, to text: String, of file: String) throws -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard
            let node = lines.firstIndex(where: { line in
                line.drop { $0 == " " }.hasPrefix("[node]")
            })
        else {
            throw Failure(
                "\(file) cannot be changed",
                why: "it has no line `[node]`",
                hint: "add `family_key = \"\(key)\"` to its table node by hand",
                exit: .failed
            )
        }
        lines.insert("family_key = \"\(key)\"", at: node + 1)
        return lines.joined(separator: "\n")
    }
}
