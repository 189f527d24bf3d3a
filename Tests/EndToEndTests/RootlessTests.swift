import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// A daemon of an ordinary user, which serves that user's programs where /dev/net/tun is open.
    @Suite("An ordinary user's daemon", .lab())
    struct Rootless {
        private let lab: Lab
        private static let page = "http://www.umbel.test/"

        init() throws {
            lab = try Lab.shared()
        }

        /// What runs a command as a user who owns `home`; unless `isOpen` says otherwise, where
        /// everybody may open /dev/net/tun.
        private func user(_ home: String, isOpen: Bool = true) -> [String] {
            Lab.asNobody(tunIsOpen: isOpen)
                + ["env", "-u", "XDG_CONFIG_HOME", "-u", "XDG_STATE_HOME", "HOME=\(home)"]
                + ["XDG_RUNTIME_DIR=\(home)/run"]
        }

        /// Runs a daemon of an ordinary user on the stranger's host, whose machine stays as it is.
        private func withDaemon(
            _ body: (_ home: String, _ daemon: BackgroundProgram) async throws -> Void
        ) async throws {
            let owner = "nobody:nogroup"
            let like = try await lab.configuration(like: "client", owner: owner)
            let home = "\(lab.scratch)/\(UInt32.random(in: 0...UInt32.max))"
            let files = FileManager.default
            for folder in [".config/umbel", "run"] {
                try files.createDirectory(
                    atPath: "\(home)/\(folder)",
                    withIntermediateDirectories: true
                )
            }
            // State and socket are where such a user's are by default.
            let text = try String(contentsOfFile: like.file, encoding: .utf8)
            let kept = text.split(separator: "\n").filter {
                !$0.hasPrefix("state") && !$0.hasPrefix("socket")
            }
            try Data(kept.joined(separator: "\n").utf8)
                .write(to: URL(fileURLWithPath: "\(home)/.config/umbel/client.toml"))
            try await CommandRunner().run(["chown", "-R", owner, home])
            try await CommandRunner().run(["chmod", "700", "\(home)/run"])
            let before = try await lab.picture("stranger")
            let daemon = try BackgroundProgram(
                lab,
                host: "stranger",
                user(home) + [Lab.umbel, "daemon"]
            )
            try await eventually("the daemon is ready: \(daemon.output)") {
                daemon.output.contains("ready on") || !daemon.isRunning
            }
            try #require(daemon.isRunning, "\(daemon.output)")
            #expect(daemon.output.contains("ready on \(home)/run/umbel/control.sock"))
            try await body(home, daemon)
            daemon.send(SIGTERM)
            #expect(try await daemon.status() == 0, "\(daemon.output)")
            #expect(try await lab.picture("stranger") == before)
        }

        private func umbel(
            _ home: String,
            isOpen: Bool = true,
            _ arguments: String...
        ) async throws -> CommandRunner.Outcome {
            try await lab.outcome(
                "stranger",
                user(home, isOpen: isOpen) + [Lab.umbel] + arguments,
                seconds: 60
            )
        }

        private func status(_ home: String) async throws -> StatusReport {
            let outcome = try await umbel(home, "status", "--json")
            return try JSONDecoder().decode(StatusReport.self, from: Data(outcome.output.utf8))
        }

        private func expectNoTunnels(_ home: String) async throws {
            try await eventually("no tunnel outlives its process") {
                try await status(home).tunnels.isEmpty
            }
        }

        @Test("that user's programs reach the web by circuits, and nothing else is there")
        func serves() async throws {
            try await withDaemon { home, _ in
                let script = """
                    id -un
                    ip -o link | grep -v 'state DOWN' | cut -d: -f2
                    echo --
                    curl -sS --max-time 30 -4 \(Self.page)
                    curl -sS --max-time 30 -6 \(Self.page)
                    exit 7
                    """
                let run = try await umbel(home, "run", "--exit", "DE", "--", "sh", "-c", script)
                #expect(run.status == 7, "\(run)")
                #expect(run.message == "")
                let lines = run.output.split(separator: "\n").map {
                    $0.trimmingCharacters(in: .whitespaces)
                }
                try #require(lines.count == 6, "\(run.output)")
                #expect(lines[0] == "nobody" && lines[1] == "lo" && lines[2].hasPrefix("umbel-run"))
                #expect(lines[4] == "198.19.7.10 asked for www.umbel.test", "\(lines)")
                #expect(lines[5].hasSuffix(" asked for www.umbel.test") && lines[5].contains(":"))
                try await expectNoTunnels(home)

                // Its files are where they belong, and for nobody else.
                for (path, mode) in [
                    (".local/state/umbel", 0o700), ("run/umbel/control.sock", 0o600),
                ] {
                    let found = try FileManager.default.attributesOfItem(atPath: "\(home)/\(path)")
                    #expect(found[.posixPermissions] as? Int == mode, "\(path)")
                    #expect(found[.ownerAccountName] as? String == "nobody", "\(path)")
                }
                let other = try await lab.outcome(
                    "stranger",
                    ["setpriv", "--reuid", "daemon", "--regid", "daemon", "--clear-groups"]
                        + [Lab.umbel, "status", "--socket", "\(home)/run/umbel/control.sock"]
                )
                expectRefusal(other, status: 77, "control.sock")
            }
        }

        @Test("no other program of that user may look into its memory (row 79)")
        func memory() async throws {
            try await withDaemon { home, daemon in
                let process = try BackgroundProgram(
                    lab,
                    host: "stranger",
                    user(home) + ["sleep", "60"]
                )
                // What may read one program's memory may read the other's, but for what they decide.
                for (pid, isOpen) in [(process.pid, true), (daemon.pid, false)] {
                    try await eventually("process \(pid) is \(isOpen ? "open" : "closed")") {
                        let look = try await lab.outcome(
                            "stranger",
                            user(home) + ["head", "-c", "1", "/proc/\(pid)/environ"]
                        )
                        return (look.status == 0) == isOpen
                    }
                }
                process.send(SIGKILL)
                _ = try await process.status()
            }
        }

        @Test("a proxy of that user goes through circuits too")
        func proxy() async throws {
            try await withDaemon { home, _ in
                let proxy = try BackgroundProgram(
                    lab,
                    host: "stranger",
                    user(home) + [Lab.umbel, "proxy", "--port", "1081", "--exit", "DE"]
                )
                try await eventually("the proxy is ready: \(proxy.output)") {
                    proxy.output.contains("proxy ready") || !proxy.isRunning
                }
                for credentials in ["", "alice:1@"] {
                    let page = try await lab.outcome(
                        "stranger",
                        ["curl", "-sS", "--max-time", "30", "-4", Self.page, "--socks5-hostname"]
                            + ["\(credentials)127.0.0.1:1081"],
                        seconds: 60
                    )
                    #expect(page.output.hasPrefix("198.19.7.10 "), "\(page) \(proxy.output)")
                }
                #expect(try await status(home).tunnels.count == 2)
                proxy.send(SIGTERM)
                #expect(try await proxy.status() == 0)
                try await expectNoTunnels(home)
            }
        }

        @Test("what would need rights over the machine is refused in three lines (row 71)")
        func refusals() async throws {
            try await withDaemon { home, _ in
                for command in [
                    ["up"], ["down"], ["lockdown", "on"], ["lockdown", "off"], ["login"],
                    ["run", "--outside", "--", "true"],
                ] {
                    let outcome = try await lab.outcome(
                        "stranger",
                        user(home) + [Lab.umbel] + command
                    )
                    expectRefusal(outcome, status: 77, "without rights over this machine's network")
                }
                // Where the node is not open to this user, the daemon's being there does not help.
                let closed = try await umbel(home, isOpen: false, "run", "--", "true")
                expectRefusal(closed, status: 77, "/dev/net/tun", "chmod 666")
                let doctor = try await umbel(home, isOpen: false, "doctor")
                #expect(doctor.status == 1)
                #expect(doctor.output.contains("it fails at: tunnel device"), "\(doctor.output)")
                let idle = try await umbel(home, "doctor")
                #expect(idle.status == 2, "\(idle.output)")
                try await expectNoTunnels(home)
            }
        }

        @Test("a process that brings no device, or something that is none, gets no tunnel")
        func devices() async throws {
            try await withDaemon { home, _ in
                let process = try BackgroundProgram(
                    lab,
                    host: "stranger",
                    user(home) + ["unshare", "-Un", "sleep", "60"]
                )
                try await eventually("it sleeps") {
                    let path = "/proc/\(process.pid)/comm"
                    return (try? String(contentsOfFile: path, encoding: .utf8)) == "sleep\n"
                }
                let cases = [("", "400"), (",\"device\":0", "503"), (",\"device\":99", "409")]
                for (device, code) in cases {
                    let outcome = try await lab.outcome(
                        "stranger",
                        user(home)
                            + ["curl", "-sS", "--unix-socket", "\(home)/run/umbel/control.sock"]
                            + ["-H", "content-type: application/json", "-w", " %{http_code}"]
                            + ["-d", "{\"pid\":\(process.pid)\(device)}"]
                            + ["http://localhost/v1/tunnels"]
                    )
                    #expect(outcome.output.hasSuffix(" \(code)"), "\(device) \(outcome)")
                }
                process.send(SIGKILL)
                _ = try await process.status()
                try await expectNoTunnels(home)
            }
        }

        @Test("a killed command keeps no tunnel; one that outlives the daemon has no network")
        func ends() async throws {
            try await withDaemon { home, daemon in
                let killed = try BackgroundProgram(
                    lab,
                    host: "stranger",
                    user(home) + [Lab.umbel, "run", "--", "sleep", "60"]
                )
                try await eventually("it has a tunnel: \(killed.output)") {
                    try await status(home).state == .connected
                }
                let victim = try #require(try await status(home).tunnels.first?.pid)
                kill(victim, SIGKILL)
                #expect(try await killed.status() == 128 + 9)
                try await expectNoTunnels(home)

                let survivor = try BackgroundProgram(
                    lab,
                    host: "stranger",
                    user(home) + [Lab.umbel, "run", "--", "sleep", "60"]
                )
                try await eventually("it has a tunnel: \(survivor.output)") {
                    try await status(home).state == .connected
                }
                let pid = try #require(try await status(home).tunnels.first?.pid)
                let links = ["nsenter", "-t", "\(pid)", "-n", "ip", "-brief", "link"]
                let has = {
                    try await lab.outcome("stranger", links).output.contains("umbel-run")
                }
                #expect(try await has())
                daemon.send(SIGTERM)
                try await eventually("the interface is gone") { try await !has() }
                try await eventually("it is said") {
                    survivor.output.contains("the command has no network any more")
                }
                survivor.send(SIGTERM)
                #expect(try await survivor.status() == 128 + 15)
            }
        }
    }
}
