import Directory
import Foundation
import Testing
import Wire

@Suite("umbel relay family", .timeLimit(.minutes(2)))
struct RelayFamilyTests {
    private static let network = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Topology/examples/network.toml").path

    /// Makes two relays in a folder of their own, and runs `body` there.
    private func withRelays(_ body: (_ folder: String, _ files: [String]) async throws -> Void)
        async throws
    {
        let folder = FileManager.default.temporaryDirectory.path + "/\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: folder,
            withIntermediateDirectories: true
        )
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var files: [String] = []
        for (index, name) in ["dahlia", "iris"].enumerated() {
            let file = "\(folder)/\(name).toml"
            let made = try await Invocation.run(
                Invocation.program,
                [
                    "relay", "init", "--name", name, "--address", "127.0.0.1:447\(index)",
                    "--network", Self.network, "--config", file, "--state", "\(folder)/\(name)",
                    "--socket", "\(folder)/\(name).sock", "--yes",
                ]
            )
            try #require(made.status == 0, "\(made.errors)")
            // One that this machine need not have, for a descriptor names no loopback.
            let text = try String(contentsOfFile: file, encoding: .utf8)
            try text.replacing("127.0.0.1:447", with: "198.18.1.1:443")
                .write(to: URL(fileURLWithPath: file), atomically: true, encoding: .utf8)
            files.append(file)
        }
        try await body(folder, files)
    }

    /// The family a relay is of, as its descriptor says it.
    private func family(_ file: String) async throws -> FamilyID? {
        let output = "\(file).descriptor"
        let made = try await Invocation.umbel(
            "relay",
            "descriptor",
            "--config",
            file,
            "--output",
            output
        )
        try #require(made.status == 0, "\(made.errors)")
        let bytes = try Data(contentsOf: URL(fileURLWithPath: output))
        return try SignedDescriptor(parsing: Array(bytes)).descriptor.family?.id
    }

    @Test("one command makes two relays name each other, and again it changes nothing")
    func both() async throws {
        try await withRelays { folder, files in
            for file in files { #expect(try await family(file) == nil) }
            let command =
                ["relay", "family"] + files + ["--key", "\(folder)/family/family.key"]
            let made = try await Invocation.run(Invocation.program, command)
            #expect(made.status == 0, "\(made.errors)")
            #expect(made.output.hasPrefix("family "))
            let first = try #require(try await family(files[0]))
            #expect(try await family(files[1]) == first)
            let texts = try files.map { try String(contentsOfFile: $0, encoding: .utf8) }
            let again = try await Invocation.run(Invocation.program, command)
            #expect(again.status == 0 && again.output == made.output)
            #expect(try files.map { try String(contentsOfFile: $0, encoding: .utf8) } == texts)
        }
    }

    @Test("a relay of another family is refused, and neither file is changed")
    func other() async throws {
        try await withRelays { folder, files in
            let first = try await Invocation.run(
                Invocation.program,
                ["relay", "family", files[1], "--key", "\(folder)/one/family.key"]
            )
            #expect(first.status == 0, "\(first.errors)")
            let texts = try files.map { try String(contentsOfFile: $0, encoding: .utf8) }
            let refused = try await Invocation.run(
                Invocation.program,
                ["relay", "family"] + files + ["--key", "\(folder)/two/family.key"]
            )
            #expect(refused.status == 1)
            #expect(refused.errors.contains("iris is of a family already"))
            #expect(refused.errors.split(separator: "\n").count == 3, "\(refused.errors)")
            #expect(try files.map { try String(contentsOfFile: $0, encoding: .utf8) } == texts)
            #expect(!FileManager.default.fileExists(atPath: "\(folder)/two/family.key"))
        }
    }
}
