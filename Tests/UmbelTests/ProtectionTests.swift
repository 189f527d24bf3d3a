import ControlAPI
import Foundation
import Testing

@testable import umbel

@Suite("Commands that keep traffic where it belongs", .timeLimit(.minutes(2)))
struct ProtectionCommandTests {
    @Test("each asks the daemon for what it says, and prints the state")
    func orders() async throws {
        let daemon = ScriptedDaemon([ScriptedDaemon.connected])
        try await daemon.serving { socket in
            for words in [["reconnect"], ["lockdown", "on"], ["lockdown", "off"]] {
                let result = try await Invocation.run(
                    Invocation.program,
                    words + ["--socket", socket]
                )
                #expect(result.status == 0)
                #expect(result.output == "connected through rose (DE)\n")
            }
            let login = try await Invocation.umbel("login", "--socket", socket)
            #expect(login.output.contains("OPEN FOR 5 MINUTES"))
            let narrow = try await Invocation.umbel(
                "login",
                "--socket",
                socket,
                environment: ["COLUMNS": "40"]
            )
            #expect(narrow.output.split(separator: "\n").allSatisfy { $0.count <= 40 })
            let end = try await Invocation.umbel("login", "--end", "--socket", socket)
            #expect(end.output.contains("closed"))
        }
        let user = geteuid()
        #expect(
            daemon.calls == [
                "reconnect", "lockdown true", "lockdown false", "login \(user) 300",
                "login \(user) 300", "login \(user) 0",
            ]
        )
    }

    @Test("behind sudo the window is for who called it, else for who runs it")
    func loginUser() throws {
        let user = geteuid()
        #expect(try LoginCommand.user([:]) == user)
        if user == 0 {
            #expect(try LoginCommand.user(["SUDO_UID": "1000"]) == 1_000)
            #expect(throws: (any Error).self) { try LoginCommand.user(["SUDO_UID": "root"]) }
        }
    }

    @Test("an event is a line: when, how bad, what")
    func logs() async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving { socket in
            let result = try await Invocation.umbel("logs", "--socket", socket)
            #expect(
                result.output == """
                    14:13:20.123 notice somebody had changed the firewall's rules of this machine: \
                    put back

                    """
            )
        }
    }

    @Test("what is measured of the network fits into 40 columns too")
    func netcheck() async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving { socket in
            let result = try await Invocation.umbel(
                "netcheck",
                "--socket",
                socket,
                environment: ["COLUMNS": "40"]
            )
            #expect(result.status == 0)
            let lines = result.output.split(separator: "\n")
            #expect(lines.count > 6)
            #expect(lines.allSatisfy { $0.count <= 40 }, "\(result.output)")
            #expect(result.output.contains("12.3"))
        }
    }

    @Test("the doctor's lines fit into 40 columns, and it needs neither a terminal nor a daemon")
    func doctor() async throws {
        let result = try await Invocation.umbel(
            "doctor",
            "--socket",
            "/nonexistent/socket",
            environment: ["COLUMNS": "40"]
        )
        #expect(result.status == 1)
        let lines = result.output.split(separator: "\n")
        #expect(lines.allSatisfy { $0.count <= 40 }, "\(result.output)")
        let json = try await Invocation.umbel(
            "doctor",
            "--json",
            "--socket",
            "/nonexistent/socket"
        )
        let report = try JSONDecoder().decode(DoctorReport.self, from: Data(json.output.utf8))
        #expect(report.schema == 1)
        #expect(report.checks.map(\.name) == Doctor.Step.allCases.map(\.rawValue))
        let daemon = try #require(report.checks.first { $0.name == "daemon" })
        #expect(daemon.result == .failed && daemon.fix?.contains("umbel daemon") == true)
        let failed = try #require(report.failed)
        #expect(report.checks.first { $0.result == .failed }?.name == failed)
        #expect(report.checks.last?.result == .skipped)
    }

    @Test("status leads with what is wrong, and what to do about it")
    func health() {
        var report = ScriptedDaemon.connected
        report.health = [
            .init(about: "lock", problem: "nft fails", fix: "apt-get install nftables")
        ]
        let text = StatusText.full(report, now: 5, terminal: Terminal(-1, environment: [:]))
        #expect(text.hasPrefix("! lock  nft fails - apt-get install nftables\nconnected\n"))
    }

    @Test("a question for a name is told from its answer, and an answer from another's")
    func nameQuery() {
        let question = NameQuery.question(0x1234)
        #expect(question == [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1])
        #expect(NameQuery.code(of: question, number: 0x1234) == nil)
        var answer = question
        answer[2] = 0x81
        answer[3] = 0x82
        #expect(NameQuery.code(of: answer, number: 0x1234) == 2)
        #expect(NameQuery.code(of: answer, number: 0x1235) == nil)
        #expect(NameQuery.code(of: Array(answer.prefix(11)), number: 0x1234) == nil)
    }
}
