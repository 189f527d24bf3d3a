import ControlAPI
import Foundation
import HostNetwork
import Testing

/// Trials of an exit that runs a resolver of its own, whichever program that is.
struct ResolverTrial {
    let lab: Lab

    init() throws {
        lab = try Lab.shared()
    }

    /// Connects the client by the exit that runs a resolver of its own.
    func connect() async throws {
        let outcome = try await lab.umbel("up", "--wait", "--exit", "NL")
        try #require(outcome.status == 0, "\(outcome.message)")
        try #require(try await lab.status().exit?.nickname == "e2")
    }

    /// The number of the resolver's process on `host`.
    func resolver(on host: String) async throws -> Int32 {
        let pids = try await NetworkNamespace(lab.namespace(host)).processes()
        let found = pids.first { pid in
            let name = try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)
            return ["dnsmasq\n", "unbound\n"].contains(name)
        }
        return try #require(found, "no resolver runs on \(host)")
    }

    func report() async throws -> ExitResolverReport {
        try #require(try await lab.relay("e2").resolver)
    }

    /// What `dig` says of `name`, asked once: the answer, its status included, or nothing.
    func ask(_ name: String, _ type: String = "A", seconds: Int = 5) async throws -> String {
        let outcome = try await lab.outcome(
            "client",
            ["dig", "+tries=1", "+time=\(seconds)", "@10.111.0.1", name, type]
        )
        return outcome.output
    }

    func expectNames() async throws {
        try await eventually("names are answered") {
            try await ask("www.umbel.test").contains("203.0.113.10")
        }
    }

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
        // What the upstream knows nothing of is said so, and is no failure of the exit's.
        let nothing = try await ask("nowhere.umbel.test")
        #expect(
            ["NXDOMAIN", "REFUSED", "SERVFAIL"].contains { nothing.contains("status: \($0)") },
            "\(nothing)"
        )
        #expect(try await report().answers)
    }

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

    // MARK: Names that lead elsewhere

    /// Somebody's name server in place of the internet host's, with these records.
    private func nameServer(_ records: [String]) throws -> BackgroundProgram {
        try BackgroundProgram(
            lab,
            host: "inet",
            [
                "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
                "--no-hosts", "--user=root", "--pid-file=", "--cache-size=0", "--local-ttl=1",
                "--host-record=www.umbel.test,203.0.113.10,2001:db8:f::10",
            ] + records
        )
    }

    private func fetch(_ name: String) async throws -> Int32 {
        let command = ["curl", "-sS", "-o", "/dev/null", "--max-time", "5", "http://\(name)/"]
        return try await lab.outcome("client", command).status
    }

    func rebinding() async throws {
        try await connect()
        let own = try await resolver(on: "inet")
        kill(own, SIGKILL)
        // Its port is free when it is gone, and not before.
        try await eventually("the internet's own name server is gone") {
            try await !NetworkNamespace(lab.namespace("inet")).processes().contains(own)
        }
        let first = try nameServer([
            "--host-record=turn.umbel.test,203.0.113.10",
            "--host-record=long.umbel.test,203.0.113.10,604800",
        ])
        var answer = ""
        try await eventually("a name that leads to the internet is followed: \(answer)") {
            try #require(first.isRunning, "\(first.output)")
            answer = try await ask("turn.umbel.test")
            return try await fetch("turn.umbel.test") == 0
        }
        // What an answer claims to be good for is cut: the cache tells what others asked.
        var long = ""
        try await eventually("a name for a week is answered: \(long)") {
            long = try await ask("long.umbel.test")
            return long.contains("203.0.113.10")
        }
        let line = long.split(separator: "\n").first { $0.hasPrefix("long.umbel.test.") }
        let seconds = line?.split(whereSeparator: \.isWhitespace).dropFirst().first
        #expect(seconds.flatMap { Int($0) }.map { $0 <= 3_600 } == true, "\(long)")
        first.send(SIGTERM)
        _ = try await first.status()

        let second = try nameServer([
            "--host-record=turn.umbel.test,10.0.0.1",
            "--host-record=inner.umbel.test,169.254.169.254",
            "--cname=outer.umbel.test,inner.umbel.test",
            "--cname=chain.umbel.test,outer.umbel.test",
            "--host-record=six.umbel.test,fd00::1", "--host-record=own.umbel.test,198.19.8.10",
        ])
        try await eventually("the second look leads elsewhere") {
            try #require(second.isRunning, "\(second.output)")
            return try await ask("turn.umbel.test").contains("10.0.0.1")
        }
        let wiretap = try Wiretap(lab, host: "e2")
        for name in ["turn", "inner", "chain", "six", "own"] {
            #expect(try await fetch("\(name).umbel.test") != 0, "\(name)")
        }
        // What is allowed passes, so what passes is seen.
        #expect(try await fetch("203.0.113.10") == 0)
        let heard = wiretap.packets().filter { $0.transport == 6 && $0.destinationPort == 80 }
        #expect(Set(heard.map { "\($0.destination)" }) == ["203.0.113.10"])
        second.send(SIGTERM)
        _ = try await second.status()
        try await lab.start("inet")
        try await expectNames()
    }
}

extension EndToEnd {
    /// The resolver an exit runs for its clients, and what becomes of names without it.
    ///
    /// Test matrix rows 48 and 50.
    @Suite("An exit's resolver", .lab())
    struct ExitResolvers {
        private let trial: ResolverTrial

        init() throws {
            trial = try ResolverTrial()
        }

        @Test("row 50: names are answered by the exit's own resolver, which has no rights")
        func answers() async throws {
            try await trial.answers()
        }

        @Test("row 50: one that dies is started again, one that hangs is too, and both are told")
        func failures() async throws {
            try await trial.failures()
        }

        @Test("row 50: a slow upstream stalls the names that need it, and no others")
        func slowUpstream() async throws {
            try await trial.slowUpstream()
        }

        @Test("row 48: names that lead to reserved addresses, at the second look too, lead nowhere")
        func rebinding() async throws {
            try await trial.rebinding()
        }

        @Test(
            "row 50: without a program an exit does not start, says what to install, leaves nothing"
        )
        func missing() async throws {
            let lab = trial.lab
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
                    .replacing("resolver = \"dnsmasq\"", with: "resolver = \"own\"")
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
            #expect(try await trial.report().answers)
        }
    }

    /// The same with unbound, where it is installed.
    @Suite(
        "An exit's resolver that is unbound",
        .enabled(if: hasUnbound, "unbound is not here; Debian has it in the package unbound"),
        .lab(Lab.topology.replacing("resolver: dnsmasq", with: "resolver: unbound"))
    )
    struct UnboundResolvers {
        private let trial: ResolverTrial

        init() throws {
            trial = try ResolverTrial()
        }

        @Test("row 50: names are answered, over IPv6 and TCP too, without rights")
        func answers() async throws {
            try await trial.answers()
            #expect(try await trial.report().program == "unbound")
        }

        @Test("row 50: one that dies is started again, one that hangs is too, and both are told")
        func failures() async throws {
            try await trial.failures()
        }

        @Test("row 50: a slow upstream stalls the names that need it, and no others")
        func slowUpstream() async throws {
            try await trial.slowUpstream()
        }

        @Test("row 48: names that lead to reserved addresses, at the second look too, lead nowhere")
        func rebinding() async throws {
            try await trial.rebinding()
        }
    }

    static let hasUnbound = (try? CommandRunner.locate("unbound")) != nil
}
