import Foundation
import Testing

private let analyzer = "/usr/bin/systemd-analyze"

@Suite(
    "The unit of a user's own daemon",
    .enabled(if: FileManager.default.isExecutableFile(atPath: analyzer), "no systemd-analyze"),
    .timeLimit(.minutes(2))
)
struct UserUnitTests {
    @Test("a user's service manager finds nothing wrong with it")
    func verify() async throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        let text = try String(
            contentsOf: root.appending(path: "Tools/packaging/user/umbel.service"),
            encoding: .utf8
        )
        let file = folder.appending(path: "umbel.service")
        func problems(_ unit: String) async throws -> (status: Int32, errors: String) {
            try unit.write(to: file, atomically: true, encoding: .utf8)
            let result = try await Invocation.run(
                analyzer,
                ["--user", "verify", "--man=no", file.path],
                environment: ["XDG_RUNTIME_DIR": folder.path]
            )
            return (result.status, result.errors)
        }
        let program = "/usr/bin/umbel"
        let ours = try await problems(text.replacing(program, with: Invocation.program))
        #expect(ours.status == 0 && !ours.errors.contains("umbel"), "\(ours.errors)")
        // It does look: a program that is not there is one.
        let broken = try await problems(text.replacing(program, with: "/nonexistent/umbel"))
        #expect(broken.errors.contains("/nonexistent/umbel"), "\(broken.errors)")
    }
}
