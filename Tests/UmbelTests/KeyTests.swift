import Base
import ControlAPI
import Directory
import EventLoop
import Foundation
import NodeRuntime
import Testing
import Wire

@testable import umbel

@Suite("Keys of a relay", .timeLimit(.minutes(2)))
struct KeyTests {
    /// A path of its own that nothing is at, emptied at the end.
    private static func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    /// Gives whole answers at first, then what a system gives that has no more.
    private static func entropy(wholeAnswers: Int, then last: Int) -> SystemEntropy {
        let answers = Answers(wholeAnswers)
        return SystemEntropy { bytes in answers.takeOne() ? bytes.byteCount : last }
    }

    private final class Answers: @unchecked Sendable {
        // One test's own, which asks from one thread.
        private var left: Int

        init(_ left: Int) { self.left = left }

        func takeOne() -> Bool {
            left -= 1
            return left >= 0
        }
    }

    /// Writes the configuration of a relay whose state is in `folder`, and the trust root it names.
    private static func writeConfiguration(_ folder: String, familyKey: String? = nil) throws {
        let network = """
            network_id = "\(String(repeating: "ab", count: 32))"
            threshold = 1
            [[authority]]
            index = 0
            name = "amber"
            key = "\(String(repeating: "cd", count: 32))"
            """
        let relay = """
            [node]
            nickname = "iris"
            state = "\(folder)"
            \(familyKey.map { "family_key = \"\($0)\"" } ?? "")
            [listen]
            addresses = ["192.0.2.1:44330"]
            [directory]
            network = "network.toml"
            consensus = "consensus"
            [control]
            socket = "control.sock"
            """
        for (file, text) in [("network", network), ("relay", relay)] {
            try text.write(toFile: "\(folder)/\(file).toml", atomically: true, encoding: .utf8)
        }
    }

    /// The family in the descriptor of a new relay in `folder`, as the consensus would name it.
    private static func family(_ folder: String, familyKey: String?) async throws -> FamilyID? {
        #expect(try await Invocation.umbel("keygen", "--state", folder).status == 0)
        try writeConfiguration(folder, familyKey: familyKey)
        let output = "\(folder)/descriptor"
        let config = "\(folder)/relay.toml"
        let arguments = ["relay", "descriptor", "--config", config, "--output", output]
        let made = try await Invocation.run(Invocation.program, arguments)
        #expect(made.status == 0, "\(made.errors)")
        let data = try #require(FileManager.default.contents(atPath: output))
        let descriptor = try SignedDescriptor(parsing: Array(data))
        try descriptor.verify(
            network: NetworkID(Bytes32(hex: String(repeating: "ab", count: 32)) ?? .zero)
        )
        return descriptor.descriptor.family?.id
    }

    @Test("relays with one family key are of one family, others of another or of none (row 19)")
    func families() async throws {
        try await Self.withFolder { folder in
            for family in ["a", "b"] {
                let made = try await Invocation.umbel(
                    "keygen",
                    "--role",
                    "family",
                    "--state",
                    "\(folder)/\(family)"
                )
                #expect(made.status == 0)
                #expect(made.output.hasPrefix("family "))
            }
            let keys = ["a", "b"].map { "\(folder)/\($0)/family.key" }
            let one = try await Self.family("\(folder)/1", familyKey: keys[0])
            let two = try await Self.family("\(folder)/2", familyKey: "../a/family.key")
            let other = try await Self.family("\(folder)/3", familyKey: keys[1])
            let none = try await Self.family("\(folder)/4", familyKey: nil)
            #expect(one != nil)
            #expect(one == two)
            #expect(other != nil && other != one)
            #expect(none == nil)
        }
    }

    @Test(
        "without random bytes, or with too few, no key is made and the program exits 70 (row 18)",
        arguments: [0, 1],
        [-Int(EIO), -Int(ENOSYS), 0, 31]
    )
    func noEntropy(wholeAnswers: Int, last: Int) async throws {
        try await Self.withFolder { folder in
            let failure = await #expect(throws: Failure.self) {
                try await Starting.attempt("key generation") {
                    let entropy = Self.entropy(wholeAnswers: wholeAnswers, then: last)
                    try RelayKeys.create(folder: folder, entropy: entropy)
                }
            }
            #expect(failure?.exitCode == 70)
            #expect(failure?.what == "key generation cannot start")
            #expect(failure?.why.hasPrefix("read 32 random bytes") == true)
            #expect(failure?.hint.contains("check getrandom and seccomp") == true)
            // Half a pair would keep the next attempt from making a whole one.
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
            try RelayKeys.create(folder: folder)
        }
    }

    @Test("keygen makes keys that are its user's alone, and never makes them anew (row 70)")
    func keygen() async throws {
        try await Self.withFolder { folder in
            let made = try await Invocation.umbel("keygen", "--state", folder)
            #expect(made.status == 0)
            for (path, mode) in [("", 0o700), ("/identity.key", 0o600), ("/circuit.key", 0o600)] {
                let found = try FileManager.default.attributesOfItem(atPath: folder + path)
                #expect(found[.posixPermissions] as? Int == mode, "\(path)")
            }
            let again = try await Invocation.umbel("keygen", "--state", folder)
            #expect(again.status == 78)
            #expect(again.errors.contains("a key is never overwritten"))
        }
    }

    @Test(
        "a relay whose key others may read or write does not start, and exits 78 (row 70)",
        arguments: ["identity.key", "circuit.key"],
        [0o640, 0o604, 0o660]
    )
    func openKey(name: String, mode: Int) async throws {
        try await Self.withFolder { folder in
            let key = "\(folder)/\(name)"
            #expect(try await Invocation.umbel("keygen", "--state", folder).status == 0)
            try Self.writeConfiguration(folder)
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: key)
            let output = "\(folder)/descriptor"
            let config = "\(folder)/relay.toml"
            let runs = [
                ["relay", "--config", config],
                ["relay", "descriptor", "--config", config, "--output", output],
                ["check-config", config],
            ]
            for arguments in runs {
                let result = try await Invocation.run(Invocation.program, arguments)
                #expect(result.status == 78, "\(arguments) \(result.errors)")
                #expect(
                    result.errors.contains(
                        "\(key): mode 0\(String(mode, radix: 8)) lets others at the key"
                    ),
                    "\(arguments) \(result.errors)"
                )
                #expect(result.errors.contains("hint: chmod 0600 \(key)"))
            }
            #expect(!FileManager.default.fileExists(atPath: output))
        }
    }
}
