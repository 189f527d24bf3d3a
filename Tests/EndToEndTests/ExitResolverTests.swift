import ControlAPI
import Foundation
import HostNetwork
import Testing

extension EndToEnd {
    /// The resolver an exit runs for its clients, and what becomes of names without it.
    ///
    /// Test matrix row 50.
    @Suite("An exit's resolver", .lab())
    struct ExitResolvers {
        private let lab: Lab

        init() throws {
            lab = try Lab.shared()
        }

        /// Connects the client by the exit that runs a resolver of its own.
        private func connect() async throws {
            let outcome = try await lab.umbel("up", "--wait", "--exit", "NL")
            try #require(outcome.status == 0, "\(outcome.message)")
            try #require(try await lab.status().exit?.nickname == "e2")
        }

        /// The number of the resolver's process on `host`.
        private func resolver(on host: String) async throws -> Int32 {
            let pids = try await NetworkNamespace(lab.namespace(host)).processes()
            let found = pids.first { pid in
                let name = try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)
                return ["dnsmasq\n", "unbound\n"].contains(name)
            }
            return try #require(found, "no resolver runs on \(host)")
        }

        private func report() async throws -> ExitResolverReport {
            try #require(try await lab.relay("e2").resolver)
        }

        /// What `dig` says of `name`, asked once: the status of the answer, or nothing.
        private func ask(_ name: String, seconds: Int = 5) async throws -> String {
            let outcome = try await lab.outcome(
                "client",
                ["dig", "+tries=1", "+time=\(seconds)", "@10.111.0.1", name]
            )
            return outcome.output
        }

        private func expectNames() async throws {
            try await eventually("names are answered") {
                try await ask("www.umbel.test").contains("203.0.113.10")
            }
        }

        @Test("row 50: names are answered by the exit's own resolver, which has no rights")
        func answers() async throws {
            try await connect()
            try await expectNames()
            #expect(try await report().answers)
            #expect(try await report().restarts == 0)
            let pid = try await resolver(on: "e2")
            let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
            #expect(status.contains("CapEff:\t0000000000000000"))
            #expect(status.contains("NoNewPrivs:\t1"))
            // Over IPv6 too, and over TCP.
            for options in [["+tcp", "@10.111.0.1"], ["@fd75:6d62:656c::1"]] {
                let outcome = try await lab.outcome(
                    "client",
                    ["dig", "+tries=2", "+time=5"] + options + ["www.umbel.test"]
                )
                #expect(outcome.output.contains("203.0.113.10"), "\(outcome.output)")
            }
            // What does not exist is said so, and is no failure of the exit's.
            let nothing = try await ask("nowhere.umbel.test")
            #expect(nothing.contains("NXDOMAIN") || nothing.contains("REFUSED"), "\(nothing)")
        }

        @Test("row 50: one that dies is started again, one that hangs is too, and both are told")
        func failures() async throws {
            try await connect()
            try await expectNames()
            let before = try await report().restarts
            kill(try await resolver(on: "e2"), SIGKILL)
            try await eventually("it is started again") {
                let report = try await report()
                return report.restarts == before + 1 && report.answers
            }
            #expect(lab.log("e2").contains("is started again"))
            try await expectNames()
            kill(try await resolver(on: "e2"), SIGSTOP)
            try await eventually("the silent one is replaced") {
                let report = try await report()
                return report.restarts == before + 2 && report.answers
            }
            try await expectNames()
            // Other traffic went on all the while.
            try await lab.expectAnswer(from: "203.0.113.10")
        }

        @Test("row 50: a slow upstream stalls the names that need it, and no others")
        func slowUpstream() async throws {
            try await connect()
            try await expectNames()
            let upstream = try await resolver(on: "inet")
            kill(upstream, SIGSTOP)
            defer { kill(upstream, SIGCONT) }
            #expect(try await !ask("other.umbel.test", seconds: 1).contains("status: NOERROR"))
            #expect(try await ask("www.umbel.test").contains("203.0.113.10"))
            #expect(try await report().answers)
            try await lab.expectAnswer(from: "203.0.113.10")
        }

        @Test(
            "row 50: without a program an exit does not start, says what to install, leaves nothing"
        )
        func missing() async throws {
            let folder = "\(lab.scratch)/missing"
            let files = FileManager.default
            try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let text = try String(
                contentsOfFile: "\(lab.folder("e2"))/relay.toml",
                encoding: .utf8
            )
            let file = "\(folder)/relay.toml"
            try Data(
                text.replacing(":4433", with: ":4434").replacing("\"e2\"", with: "\"x2\"")
                    .replacing("enabled = true", with: "enabled = true\ninterface = \"other\"")
                    .replacing("\(lab.folder("e2"))/control", with: "\(folder)/control").utf8
            ).write(to: URL(fileURLWithPath: file))
            // Programs in a PATH without them, and nothing where administration programs live.
            let hidden = ExitResolver.Program.allCases.map { program in
                "for f in /usr/sbin/\(program) /sbin/\(program) /usr/bin/\(program); do"
                    + " [ ! -e $f ] || mount --bind /dev/null $f; done"
            }
            let script = hidden.joined(separator: "; ") + "; exec \"$@\""
            let outcome = try await lab.outcome(
                "e2",
                [
                    "unshare", "-m", "sh", "-c", script, "-", Lab.umbel, "relay", "--config", file,
                ]
            )
            #expect(outcome.status == ExitStatus.unavailable.rawValue, "\(outcome.message)")
            #expect(outcome.message.contains("apt-get install unbound"))
            #expect(try await !lab.run("e2", "nft list tables").contains("umbel_exit_x2"))
            #expect(try await !lab.run("e2", "ip -brief link").contains("other"))
            #expect(try await report().answers)
        }
    }
}
