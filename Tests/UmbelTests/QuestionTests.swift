import ControlAPI
import Foundation
import Testing

@Suite("Commands that ask a daemon", .timeLimit(.minutes(2)))
struct QuestionTests {
    @Test("status prints the state, and JSON on demand, and exits 0 when connected")
    func status() async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving { socket in
            let text = try await Invocation.umbel("status", "--socket", socket)
            #expect(text.status == 0)
            #expect(text.output.hasPrefix("connected\n  Exit      rose (DE) abababab\n"))
            #expect(text.output.contains("\n  Sent      2.0 KiB\n"))
            #expect(text.errors.isEmpty)
            let json = try await Invocation.umbel("status", "--json", "--socket", socket)
            let report = try JSONDecoder().decode(StatusReport.self, from: Data(json.output.utf8))
            #expect(report == ScriptedDaemon.connected)
        }
    }

    @Test("status exits 2 when a daemon answers but is not connected")
    func notConnected() async throws {
        let blocked = StatusReport(state: .blocked, reason: "the exit is gone", since: 0)
        try await ScriptedDaemon([blocked]).serving { socket in
            let result = try await Invocation.umbel("status", environment: ["UMBEL_SOCKET": socket])
            #expect(result.status == 2)
            #expect(result.output.hasPrefix("blocked\n  Reason    the exit is gone\n"))
        }
    }

    @Test(
        "Without a daemon every question ends with 69 and three lines on stderr (row 72)",
        arguments: ["status", "up", "down", "circuits", "ping"]
    )
    func noDaemon(command: String) async throws {
        let result = try await Invocation.umbel(command, "--socket", "/nonexistent/socket")
        #expect(result.status == 69)
        #expect(result.output.isEmpty)
        #expect(
            result.errors == """
                umbel: no node at /nonexistent/socket
                  nobody answers at its socket
                  hint: start it with `umbel daemon --config /etc/umbel/client.toml`

                """
        )
    }

    @Test("up --wait shows each stage on stderr and ends when connected")
    func upAndWait() async throws {
        let stage = StatusReport(
            state: .connecting,
            progress: .init(percent: 45, stage: "directory", detail: "fetching consensus"),
            since: 0
        )
        let daemon = ScriptedDaemon([stage, ScriptedDaemon.connected])
        try await daemon.serving { socket in
            let result = try await Invocation.umbel(
                "up",
                "--exit",
                "de",
                "--wait",
                "--socket",
                socket
            )
            #expect(result.status == 0)
            #expect(result.output == "connected through rose (DE)\n")
        }
        #expect(daemon.calls == ["up DE"])
    }

    @Test("up --wait fails with the daemon's reason when it gives up")
    func upInVain() async throws {
        let states = [
            StatusReport(state: .connecting, since: 0),
            StatusReport(state: .blocked, reason: "no exit in DE", since: 1),
        ]
        try await ScriptedDaemon(states).serving { socket in
            let result = try await Invocation.umbel("up", "--wait", "--socket", socket)
            #expect(result.status == 1)
            #expect(result.output.isEmpty)
            #expect(result.errors.contains("the daemon is blocked\n  no exit in DE\n"))
        }
    }

    @Test("ping prints a row for each hop, and exits 1 when one is silent")
    func ping() async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving { socket in
            let all = try await Invocation.umbel("ping", "--count", "2", "--socket", socket)
            #expect(all.status == 0)
            #expect(
                all.output == """
                    HOP  RELAY  SENT  LOSS %  MIN ms  AVG ms  P99 ms  MAX ms
                      1  iris      2     0.0    1.00    1.50    2.00    2.00
                      2  rose      2    50.0    3.00    3.00    3.00    3.00

                    """
            )
            let silent = try await Invocation.umbel("ping", "--hop", "2", "--socket", socket)
            #expect(silent.status == 1)
        }
    }

    @Test(
        "A wrong command line exits 64",
        arguments: ["upp", "ping --count 0", "up --exit Germany"]
    )
    func usage(line: String) async throws {
        let words = line.split(separator: " ").map(String.init)
        let result = try await Invocation.run(Invocation.program, words)
        #expect(result.status == 64)
        #expect(result.output.isEmpty)
    }

    @Test("check-config exits 78 with the line of the mistake, 0 for the examples (row 70)")
    func checkConfig() async throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().path
        for file in ["client", "relay", "network", "parameters"] {
            let result = try await Invocation.umbel(
                "check-config",
                "\(folder)/Topology/examples/\(file).toml"
            )
            #expect(result.status == 0)
        }
        let wrong = FileManager.default.temporaryDirectory.appending(
            path: "client-\(UUID().uuidString).toml"
        )
        try "[tunnel]\nmtuu = 1\n".write(to: wrong, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: wrong) }
        let result = try await Invocation.umbel("check-config", wrong.path, "--role", "client")
        #expect(result.status == 78)
        #expect(result.errors.contains("umbel: \(wrong.path):2: unknown key `mtuu` in [tunnel]\n"))
        #expect(result.errors.contains("hint: did you mean `mtu`?"))
    }

    @Test("--print-config tells what a daemon would work by, and starts none")
    func printConfig() async throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().path
        for role in ["daemon", "relay", "authority run", "mint run"] {
            let name = role == "daemon" ? "client" : role.prefix { $0 != " " }
            let words = role.split(separator: " ").map(String.init)
            let file = "\(folder)/Topology/examples/\(name).toml"
            let result = try await Invocation.run(
                Invocation.program,
                words + ["--config", file, "--print-config"],
                environment: ["UMBEL_CONTROL_SOCKET": "/run/elsewhere.sock"]
            )
            #expect(result.status == 0, "\(result.errors)")
            #expect(result.errors.isEmpty)
            let line = "socket = \"/run/elsewhere.sock\"  # UMBEL_CONTROL_SOCKET\n"
            #expect(result.output.contains(line), "\(result.output)")
        }
        let missing = try await Invocation.umbel("daemon", "--config", "/none", "--print-config")
        #expect(missing.status == 78 && missing.output.isEmpty)
    }

    @Test("Completions come for each shell", arguments: ["bash", "zsh", "fish"])
    func completions(shell: String) async throws {
        let result = try await Invocation.umbel("completions", shell)
        #expect(result.status == 0)
        #expect(result.output.contains("check-config"))
    }
}
