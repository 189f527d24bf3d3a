import ControlAPI
import Foundation
import Testing

@Suite(
    "umbel run",
    .timeLimit(.minutes(2)),
    .enabled(if: geteuid() == 0, "needs root")
)
struct RunTests {
    @Test("The command sees the tunnel alone, its output and status are its own")
    func command() async throws {
        let daemon = ScriptedDaemon([ScriptedDaemon.connected])
        try await daemon.serving { socket in
            let script = "ip route; head -1 /etc/resolv.conf; echo \"$1\"; exit 42"
            let result = try await Invocation.umbel(
                "run",
                "--exit",
                "de",
                "--socket",
                socket,
                "--",
                "sh",
                "-c",
                script,
                "sh",
                "--json"
            )
            #expect(result.status == 42)
            #expect(
                result.output.split(whereSeparator: \.isNewline).map {
                    $0.trimmingCharacters(in: .whitespaces)
                } == ["default dev umbel0 scope link linkdown", "nameserver 10.111.0.1", "--json"]
            )
        }
        #expect(daemon.calls == ["open DE", "close 9"])
    }

    @Test("The signal that ends the command ends the program")
    func signal() async throws {
        let daemon = ScriptedDaemon([ScriptedDaemon.connected])
        try await daemon.serving { socket in
            let result = try await Invocation.umbel(
                "run",
                "--socket",
                socket,
                "--",
                "sh",
                "-c",
                "kill -TERM $$; sleep 60"
            )
            #expect(result.signal == SIGTERM)
        }
        #expect(daemon.calls == ["open -", "close 9"])
    }

    @Test("SIGTERM is passed on to the command, whose end closes the tunnel")
    func forwarded() async throws {
        let daemon = ScriptedDaemon([ScriptedDaemon.connected])
        try await daemon.serving { socket in
            let script = "trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.05; done"
            let result = try await Invocation.umbel(
                "run",
                "--socket",
                socket,
                "--",
                "sh",
                "-c",
                script
            )
            #expect(result.status == 7)
        }
        #expect(daemon.calls.last == "close 9")
    }

    @Test("A command that cannot be found exits 127, one that cannot be run 126")
    func noCommand() async throws {
        let daemon = ScriptedDaemon([ScriptedDaemon.connected])
        try await daemon.serving { socket in
            let missing = try await Invocation.umbel(
                "run",
                "--socket",
                socket,
                "--",
                "no-such-thing"
            )
            #expect(missing.status == 127)
            let folder = try await Invocation.umbel("run", "--socket", socket, "--", "/tmp")
            #expect(folder.status == 126)
        }
        #expect(daemon.calls == ["open -", "close 9", "open -", "close 9"])
    }

    @Test("Without a daemon the command is not run")
    func noDaemon() async throws {
        let result = try await Invocation.umbel(
            "run",
            "--socket",
            "/nonexistent/socket",
            "--",
            "echo",
            "ran"
        )
        #expect(result.status == 69)
        #expect(result.output.isEmpty)
    }

    @Test("A user without rights runs commands too, in a user namespace, and stays that user")
    func unprivileged() async throws {
        let daemon = ScriptedDaemon([ScriptedDaemon.connected])
        try await daemon.serving(group: "nogroup") { socket in
            let script = "id -u; ip route; head -1 /etc/resolv.conf; ip link set lo down; exit 42"
            let result = try await Invocation.run(
                "/usr/bin/setpriv",
                [
                    "--reuid=65534", "--regid=65534", "--clear-groups", Invocation.program, "run",
                    "--socket", socket, "--", "sh", "-c", script,
                ]
            )
            #expect(result.status == 42, "\(result.errors)")
            #expect(result.output.hasPrefix("65534\ndefault dev umbel0 "))
            #expect(result.output.hasSuffix("\nnameserver 10.111.0.1\n"))
            #expect(result.errors.contains("Operation not permitted"))
        }
        #expect(daemon.calls == ["open -", "close 9"])
    }

    @Test("Another user may not ask, not even through a socket whose mode was loosened")
    func otherUser() async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving { socket in
            let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"]
            let arguments = nobody + [Invocation.program, "status", "--socket", socket]
            let refused = try await Invocation.run("/usr/bin/setpriv", arguments)
            #expect(refused.status == 77)
            #expect(refused.errors.contains("this user may not use the socket \(socket)"))

            try FileManager.default.setAttributes([.posixPermissions: 0o666], ofItemAtPath: socket)
            let loosened = try await Invocation.run("/usr/bin/setpriv", arguments)
            #expect(loosened.status == 77)
            #expect(loosened.errors.contains("this user may not give orders to the node"))
        }
    }
}
