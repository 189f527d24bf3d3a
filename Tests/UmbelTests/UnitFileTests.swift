import Foundation
import Testing

private let analyzer = "/usr/bin/systemd-analyze"

@Suite(
    "The units of all roles",
    .enabled(if: FileManager.default.isExecutableFile(atPath: analyzer), "no systemd-analyze"),
    .timeLimit(.minutes(2))
)
struct UnitFileTests {
    static let units = [
        "umbel-client.service", "umbel-lockdown.service", "umbel-relay.service",
        "umbel-exit.service", "umbel-authority.service", "umbel-mint.service",
    ]
    /// The exposure systemd finds at most, in tenths of its points: who changes the kernel's network
    /// needs more rights than who only passes datagrams on.
    static let exposures = [
        ("umbel-client.service", 40), ("umbel-lockdown.service", 40), ("umbel-exit.service", 40),
        ("umbel-relay.service", 20), ("umbel-authority.service", 20), ("umbel-mint.service", 20),
    ]

    /// The units as they are installed, but with the program under test.
    private func withUnits(_ body: (_ folder: String) async throws -> Void) async throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        for unit in Self.units {
            let text = try String(
                contentsOf: root.appending(path: "Tools/packaging/\(unit)"),
                encoding: .utf8
            )
            try text.replacing("/usr/bin/umbel", with: Invocation.program)
                .write(to: folder.appending(path: unit), atomically: true, encoding: .utf8)
        }
        try await body(folder.path)
    }

    @Test("systemd finds nothing wrong with them (row 35)")
    func verify() async throws {
        try await withUnits { folder in
            let files = Self.units.map { "\(folder)/\($0)" }
            let result = try await Invocation.run(analyzer, ["verify", "--man=no"] + files)
            let ours = (result.output + result.errors).split(separator: "\n")
                .filter { $0.contains("umbel") }
            #expect(ours == [])
        }
    }

    @Test(
        "their exposure is 4.0 of 10 at most, and 2.0 of those without rights",
        arguments: exposures
    )
    func exposure(unit: String, tenths: Int) async throws {
        try await withUnits { folder in
            let result = try await Invocation.run(
                analyzer,
                [
                    "security", "--offline=yes", "--threshold=\(tenths)", "--no-pager",
                    "\(folder)/\(unit)",
                ]
            )
            #expect(result.status == 0, "\(result.output)")
        }
    }

    @Test("a daemon of any role says when it is ready, and is started again where it hangs")
    func watched() async throws {
        try await withUnits { folder in
            for unit in Self.units where unit != "umbel-lockdown.service" {
                let text = try String(contentsOfFile: "\(folder)/\(unit)", encoding: .utf8)
                for line in [
                    "Type=notify", "WatchdogSec=60", "ExecReload=/bin/kill -HUP $MAINPID",
                ] {
                    #expect(text.contains("\n\(line)\n"), "\(unit): \(line)")
                }
                #expect(text.contains(/\nRestart=(always|on-failure)\n/))
                #expect(text.contains("\nExecStartPre=") && text.contains(" check-config "))
            }
        }
    }

    @Test("the lock of a machine that starts is there before its network and after nobody else")
    func order() async throws {
        try await withUnits { folder in
            let lock = try String(
                contentsOfFile: "\(folder)/umbel-lockdown.service",
                encoding: .utf8
            )
            #expect(lock.contains("\nDefaultDependencies=no\n"))
            #expect(lock.contains("\nBefore=network-pre.target"))
            #expect(lock.contains("lockdown apply"))
            // It blocks, and nothing of it ends that: only `umbel lockdown off` does.
            #expect(!lock.contains("ExecStop"))
            let client = try String(
                contentsOfFile: "\(folder)/umbel-client.service",
                encoding: .utf8
            )
            #expect(client.contains("\nType=notify\n") && client.contains("\nWatchdogSec="))
            #expect(!client.contains("ExecStop"))
        }
    }
}
