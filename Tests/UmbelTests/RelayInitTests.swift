import Foundation
import Testing

@Suite("umbel relay init on a terminal", .timeLimit(.minutes(2)))
struct RelayInitTests {
    private static let script = "/usr/bin/script"

    /// Runs init on a terminal of its own of `columns`, with these answers; what it showed.
    private func initialise(_ answers: [String], columns: Int) async throws -> (
        shown: String, file: String?
    ) {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let network = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Topology/examples/network.toml").path
        let given = folder.appending(path: "answers")
        try Data((answers.joined(separator: "\n") + "\n").utf8).write(to: given)
        let command =
            "stty cols \(columns); \(Invocation.program) relay init --network \(network)"
            + " --config \(folder.path)/relay.toml --state \(folder.path)/state"
            + " --socket \(folder.path)/control.sock"
        let result = try await Invocation.run(
            "/bin/sh",
            ["-c", "\(Self.script) -qec '\(command)' /dev/null <\(given.path)"]
        )
        let file = try? String(contentsOf: folder.appending(path: "relay.toml"), encoding: .utf8)
        return (result.output.replacing("\r\n", with: "\n"), file)
    }

    @Test(
        "a wrong answer is told at once, and asked for again",
        .enabled(if: FileManager.default.isExecutableFile(atPath: script), "needs script"),
        arguments: [40, 80]
    )
    func questions(columns: Int) async throws {
        let result = try await initialise(
            [
                "two words", "dahlia", "", "nonsense", "127.0.0.1:44\(columns)", "10 Mbits",
                "10 Mbit/s", "", "perhaps", "yes", "some", "web",
            ],
            columns: columns
        )
        let shown = result.shown
        for complaint in [
            "\"two words\" is not a name", "\"nonsense\" is not", "\"10 Mbits\" is not a rate",
            "answer yes or no", "\"some\" is not",
        ] {
            #expect(shown.contains(complaint), "\(shown)")
        }
        let file = try #require(result.file, "\(shown)")
        for line in [
            "nickname = \"dahlia\"", "addresses = [\"127.0.0.1:44\(columns)\"]",
            "rate = \"10 Mbit/s\"", "preset = \"web\"", "enabled = true",
        ] {
            #expect(file.contains(line), "\(file)")
        }
        #expect(!file.contains("quota"))
        #expect(shown.contains("umbel-exit.service"))
    }
}
