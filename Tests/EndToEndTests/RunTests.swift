import Base
import ControlAPI
import Foundation
import HostNetwork
import Testing

@testable import umbel_lab

extension EndToEnd {
    /// Programs with a tunnel of their own: `umbel run`.
    @Suite("umbel run", .lab())
    struct Runs {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        private func start(
            onOneProcessor: Bool = false,
            _ command: String...
        ) throws -> BackgroundProgram {
            try BackgroundProgram(
                lab,
                host: "client",
                (onOneProcessor ? ["taskset", "--cpu-list", try processor()] : [])
                    + [Lab.umbel, "run", "--socket", lab.socket("client"), "--"] + command
            )
        }

        /// The number of a processor this process may run on.
        private func processor() throws -> String {
            let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
            let list = try #require(status.split(separator: "Cpus_allowed_list:\t").last)
            return String(list.prefix(while: \.isNumber))
        }

        /// The processes that have tunnels.
        private func owners() async throws -> [Int32] {
            try await lab.status().tunnels.compactMap(\.pid)
        }

        /// The process that sleeps in its own tunnel, once it does.
        private func sleeper() async throws -> Int32 {
            var pid: Int32 = 0
            try await eventually("a command runs") {
                pid = try await owners().first ?? 0
                let name = try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)
                return name == "sleep\n"
            }
            return pid
        }

        private func tunnelsEnd() async throws {
            try await eventually("no tunnel outlives its process") {
                try await owners().isEmpty
            }
        }

        @Test("a command reaches the web by a circuit of its own, and nothing else is there")
        func inside() async throws {
            try await lab.connect()
            let script = """
                ip -o link | grep -v 'state DOWN' | cut -d: -f2
                echo --
                cat /etc/resolv.conf
                echo --
                curl -sS --max-time 30 http://www.umbel.test/
                curl -sS --max-time 30 -6 http://www.umbel.test/
                exit 7
                """
            let run = try start("sh", "-c", script)
            #expect(try await run.status() == 7, "\(run.output)")
            let parts = run.output.components(separatedBy: "--\n")
            try #require(parts.count == 3, "\(run.output)")
            let interfaces = parts[0].split(whereSeparator: \.isWhitespace)
            #expect(interfaces.count == 2)
            #expect(interfaces.first == "lo")
            #expect(interfaces.last?.hasPrefix("umbel-run") == true)
            #expect(parts[1] == "nameserver 10.111.0.1\nnameserver fd75:6d62:656c::1\n")
            #expect(parts[2].components(separatedBy: "asked for www.umbel.test\n").count == 3)
            try await tunnelsEnd()
        }

        @Test("two commands at once leave by the exits each of them wants")
        func exits() async throws {
            let ask = ["--", "curl", "-sS", "--max-time", "30", "-4", "http://www.umbel.test/"]
            let runs = try [("DE", "198.19.7.10"), ("NL", "198.19.8.10")].map { country, source in
                let run = try BackgroundProgram(
                    lab,
                    host: "client",
                    [Lab.umbel, "run", "--socket", lab.socket("client"), "--exit", country] + ask
                )
                return (run, source)
            }
            for (run, source) in runs {
                #expect(try await run.status() == 0, "\(run.output)")
                #expect(run.output == "\(source) asked for www.umbel.test\n")
            }
            try await tunnelsEnd()
        }

        @Test("a command has no rights over its network, not even root's")
        func rights() async throws {
            let script = """
                ip link set lo down || echo kept lo
                nsenter -t 1 -n true || echo kept inside
                mount -t tmpfs none /mnt || echo kept mounts
                grep CapBnd /proc/self/status
                """
            let run = try start("sh", "-c", script)
            #expect(try await run.status() == 0, "\(run.output)")
            for line in ["kept lo", "kept inside", "kept mounts"] {
                #expect(run.output.contains(line + "\n"), "\(run.output)")
            }
            // Files, users, and sockets of its own network: no CAP_NET_ADMIN, no CAP_SYS_ADMIN.
            #expect(run.output.contains("CapBnd:\t00000000000024fb\n"), "\(run.output)")
            try await tunnelsEnd()
        }

        @Test("the command's exit status and signal are passed on")
        func endings() async throws {
            #expect(try await start("true").status() == 0)
            #expect(try await start("sh", "-c", "kill -KILL $$").status() == 128 + 9)
            #expect(try await start("/no/such/program").status() == 127)
            try await tunnelsEnd()
        }

        @Test("two commands and the machine have circuits of their own; a stop ends its command")
        func together() async throws {
            try await lab.connect()
            let runs = [try start("sleep", "60"), try start("sleep", "60")]
            try await eventually("three have circuits") {
                let active = try await lab.circuits().filter { $0.state == .active }
                return Set(active.map(\.isolation)).count == 3
            }
            let tunnels = try await lab.status().tunnels
            #expect(Set(tunnels.map(\.interface)).count == 3)
            for run in runs { run.send(SIGTERM) }
            for run in runs { #expect(try await run.status() == 128 + 15) }
            try await tunnelsEnd()
            let isolations = try await lab.circuits().map(\.isolation)
            #expect(Set(isolations) == ["machine"])
        }

        @Test("a command that is killed, or whose launcher is, keeps no tunnel")
        func killed() async throws {
            let run = try start("sleep", "60")
            kill(try await sleeper(), SIGKILL)
            #expect(try await run.status() == 128 + 9)
            try await tunnelsEnd()

            // The command goes on without its launcher, and so does its tunnel.
            let orphan = try start("sleep", "60")
            let pid = try await sleeper()
            defer { kill(pid, SIGKILL) }
            orphan.send(SIGKILL)
            #expect(try await orphan.status() == 128 + 9)
            #expect(try await holds(for: .seconds(2)) { try await owners() == [pid] })
            kill(pid, SIGKILL)
            try await tunnelsEnd()
        }

        @Test("when the daemon ends, a command has no network: that is said on one processor too")
        func daemonEnds() async throws {
            try await lab.disconnect()
            let run = try start(onOneProcessor: true, "sleep", "60")
            let pid = try await sleeper()
            let links = ["nsenter", "-t", "\(pid)", "-n", "ip", "-brief", "link"]
            #expect(try await lab.outcome("client", links).output.contains("umbel-run"))
            try await lab.kill("client")
            try await eventually("the interface is gone") {
                try await !lab.outcome("client", links).output.contains("umbel-run")
            }
            try await eventually("it is said") {
                run.output.contains("the command has no network any more")
            }
            run.send(SIGTERM)
            #expect(try await run.status() == 128 + 15)
            try await lab.start("client")
            try await tunnelsEnd()
        }

        @Test("a launcher killed while it waits for a circuit leaves nothing behind")
        func killedWaiting() async throws {
            try await lab.disconnect()
            try await lab.cutOff {
                let run = try start("sleep", "60")
                try await eventually("it waits") {
                    try await !owners().isEmpty
                }
                let pid = try #require(try await owners().first)
                run.send(SIGKILL)
                #expect(try await run.status() == 128 + 9)
                try await tunnelsEnd()
                // Its parent has gone: nobody may have waited for it.
                let process = ProcessIdentity(pid: pid)
                #expect(process == nil || process?.state == .gone)
            }
        }

        @Test("a user without rights has a tunnel too, and stays that user")
        func unprivileged() async throws {
            let folder = "\(lab.scratch)/daemon"
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true
            )
            let toml = try String(
                contentsOfFile: "\(lab.folder("client"))/client.toml",
                encoding: .utf8
            )
            .replacing(lab.folder("client"), with: folder)
            try Data("\(toml)group = \"nogroup\"\n".utf8)
                .write(to: URL(fileURLWithPath: "\(folder)/client.toml"))
            let daemon = try BackgroundProgram(
                lab,
                host: "stranger",
                [Lab.umbel, "daemon", "--config", "\(folder)/client.toml"]
            )
            try await eventually("the daemon is ready: \(daemon.output)") {
                daemon.output.contains("ready on")
            }
            let run = try await lab.outcome(
                "stranger",
                Lab.asNobody + [Lab.umbel, "run", "--socket", "\(folder)/control.sock", "--"]
                    + ["sh", "-c", "id -un; curl -sS --max-time 30 http://www.umbel.test/"]
            )
            #expect(run.status == 0)
            #expect(run.message == "")
            #expect(run.output.hasPrefix("nobody\n"))
            #expect(run.output.hasSuffix("asked for www.umbel.test\n"))
            daemon.send(SIGTERM)
            #expect(try await daemon.status() == 0)
        }
    }
}
