import ControlAPI
import Foundation
import Testing

@testable import umbel

@Suite("What the other end can show", .timeLimit(.minutes(2)))
struct TerminalTests {
    @Test("The exit suggested is the nearest of those measured that carries its part")
    func suggestion() {
        let exit = { (name: String, weight: UInt32, trip: Double?) in
            RelayListReport.Relay(
                nickname: name,
                id: name,
                country: "SE",
                flags: ["running", "exit"],
                addresses: [],
                weight: weight,
                family: "",
                roundTripMilliseconds: trip
            )
        }
        let far = exit("far", 900, 80)
        let near = exit("near", 500, 20)
        let weak = exit("weak", 10, 1)
        let unknown = exit("unknown", 9_000, nil)
        #expect(ExitsCommand.suggestion(of: [far, near, weak, unknown]) == near)
        #expect(ExitsCommand.suggestion(of: [far, unknown]) == nil, "far carries too little")
        #expect(ExitsCommand.suggestion(of: [far]) == far)
        #expect(ExitsCommand.suggestion(of: [unknown]) == nil, "nothing is guessed")
        #expect(ExitsCommand.suggestion(of: []) == nil)
        #expect(
            ExitsCommand.text(near)
                == "nearest of the exits measured: near (SE), 20.0 ms: umbel up --exit SE"
        )
    }

    @Test("A directory names the authorities that signed it, and those that did not")
    func signers() {
        func text(_ authorities: [String]?) -> String {
            let report = DirectoryReport(
                validAfter: 1_790_000_000,
                validUntil: 1_790_003_600,
                relays: 9,
                signers: ["ash", "elm", "fir"],
                authorities: authorities,
                threshold: 3,
                source: "a relay",
                isPaid: false
            )
            return DirectoryText.fields(report)[0].1
        }
        let all = text(["ash", "elm", "fir"])
        #expect(all.hasSuffix("signed by ash, elm, fir, from a relay"))
        #expect(text(nil) == all, "a node that does not say which there are")
        let missing = text(["ash", "elm", "fir", "oak"])
        #expect(missing.hasSuffix("signed by ash, elm, fir, not by oak, from a relay"))
    }

    @Test("A table gives way step by step: gaps, cut values, left out columns, records")
    func tables() {
        var table = Table([
            .number("ID"), .text("PATH", isCut: true), .text("FOR", leaves: 2),
            .number("AGE", leaves: 1),
        ])
        table.add(["1", "alpha > beta > gamma", "machine", "5s"])
        table.add(["2", "a > b > c", "mints", "1m 5s"])
        func shown(_ width: Int?) -> [String] {
            table.render(width: width).split(separator: "\n").map(String.init)
        }
        let whole = [
            "ID  PATH                  FOR        AGE",
            " 1  alpha > beta > gamma  machine     5s",
            " 2  a > b > c             mints    1m 5s",
        ]
        #expect(shown(nil) == whole)
        #expect(shown(40) == whole)
        #expect(shown(39)[1] == " 1 alpha > beta > gamma machine    5s")
        #expect(shown(34)[1] == " 1 alpha > beta > .. machine    5s")
        #expect(
            shown(25) == [
                "ID PATH           FOR", " 1 alpha > beta.. machine", " 2 a > b > c      mints",
                "no room for AGE",
            ]
        )
        #expect(
            shown(15) == [
                "ID PATH", " 1 alpha > be..", " 2 a > b > c", "no room for", "AGE, FOR",
            ]
        )
        #expect(shown(12).first == "ID    1", "nothing is left to leave out")
        for width in 13...60 {
            #expect(shown(width).allSatisfy { $0.count <= width }, "\(width): \(shown(width))")
        }
    }

    @Test("A live screen keeps to the window, and says how many lines it has no room for")
    func height() {
        let text = (1...10).map { "\($0)" }.joined(separator: "\n")
        #expect(LiveScreen.lines(of: text, height: nil).count == 10)
        #expect(LiveScreen.lines(of: text, height: 11).count == 10)
        let short = LiveScreen.lines(of: text, height: 6)
        #expect(short == ["1", "2", "3", "4", "... 6 lines more"])
    }

    @Test("A reader that stops reading ends the program without a crash")
    func closedOutput() async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving { socket in
            let pipe = Pipe()
            try pipe.fileHandleForReading.close()
            let result = try await Invocation.run(
                Invocation.program,
                ["circuits", "--socket", socket],
                output: pipe.fileHandleForWriting
            )
            #expect(result.status == 141 || result.signal == SIGPIPE)
            #expect(result.errors.isEmpty)
        }
    }

    @Test("A stdout that was closed, or is full, is said, and nothing else is written into")
    func missingOutput() async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving { socket in
            for (redirection, why) in [
                (">&-", "Bad file descriptor"), (">/dev/full", "No space left on device"),
            ] {
                let result = try await Invocation.run(
                    "/bin/sh",
                    ["-c", "exec \"$0\" status --socket \"$1\" \(redirection)"]
                        + [Invocation.program, socket]
                )
                #expect(result.status == 1)
                #expect(
                    result.errors.hasPrefix("umbel: cannot write to stdout\n  \(why)\n  hint: ")
                )
            }
            // Progress and errors are for people: what they led to decides.
            let result = try await Invocation.run(
                "/bin/sh",
                ["-c", "exec \"$0\" status --socket \"$1\" <&- 2>&-", Invocation.program, socket]
            )
            #expect(result.status == 0 && result.output.hasPrefix("connected"))
        }
    }

    @Test("Every line fits into 40 columns", arguments: ["circuits", "ping", "status"])
    func narrow(command: String) async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving { socket in
            let result = try await Invocation.umbel(
                command,
                "--socket",
                socket,
                environment: ["COLUMNS": "40"]
            )
            #expect(result.status == 0)
            let lines = result.output.split(separator: "\n")
            #expect(lines.count > 3)
            #expect(lines.allSatisfy { $0.count <= 40 })
        }
    }

    @Test(
        "Escape codes are for terminals alone, and not for those who decline them",
        arguments: [
            ([:], true), (["NO_COLOR": "1"], false), (["TERM": "dumb"], false),
        ]
    )
    func color(environment: [String: String], isColored: Bool) async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving { socket in
            let command = "\(Invocation.program) status --socket \(socket)"
            let onTerminal = try await Invocation.run(
                "/usr/bin/script",
                ["-qec", command, "/dev/null"],
                environment: environment
            )
            #expect(onTerminal.status == 0)
            #expect(onTerminal.output.contains("connected"))
            #expect(onTerminal.output.contains("\u{1B}") == isColored)
            let elsewhere = try await Invocation.umbel(
                "status",
                "--socket",
                socket,
                environment: environment
            )
            #expect(!elsewhere.output.contains("\u{1B}"))
        }
    }

    @Test("In the C locale everything is ASCII", arguments: ["circuits", "ping", "status"])
    func plainLocale(command: String) async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving { socket in
            let result = try await Invocation.umbel(
                command,
                "--socket",
                socket,
                environment: ["LC_ALL": "C"]
            )
            #expect((result.output + result.errors).utf8.allSatisfy { $0 < 128 })
        }
    }

    @Test("status warns of a deceived hop and of a wrong clock, and of nothing else (row 52)")
    func warnings() {
        func text(conflicting: UInt64, offset: Int) -> String {
            let report = StatusReport(
                state: .connected,
                since: 0,
                relays: .init(
                    sameDirectory: 9,
                    olderDirectory: 2,
                    newerDirectory: 3,
                    conflictingDirectory: conflicting,
                    noDirectory: 1,
                    clockOffsetMinutes: offset
                )
            )
            let terminal = Terminal(-1, environment: [:])
            return StatusText.full(report, now: 5, terminal: terminal)
        }
        for offset in [-2, 0, 2] {
            let quiet = text(conflicting: 0, offset: offset)
            #expect(!quiet.contains("Directory") && !quiet.contains("Clock"))
        }
        #expect(text(conflicting: 4, offset: 0).contains("4 hops so far have another one"))
        #expect(text(conflicting: 0, offset: 3).contains("3 minutes behind the relays'"))
        #expect(text(conflicting: 0, offset: -60).contains("60 minutes ahead of the relays'"))
    }

    @Test(
        "A relay's line is told whatever its figures are",
        arguments: [
            (250_000_000, 1_000_000_000, "250.0 MB of 1.0 GB, 25.0 %"),
            (0, 0, "0 B of 0 B, 0.0 %"), (7, 0, "7 B of 0 B, 700.0 %"),
            (30, 99, "30 B of 99 B, 30.3 %"), (.max, .max, "18.4 EB of 18.4 EB, 100.0 %"),
            (.max, 1, "18.4 EB of 1 B, 1.8446744073709552e+21 %"),
        ] as [(UInt64, UInt64, String)]
    )
    func relayLine(used: UInt64, limit: UInt64, text: String) {
        let fields = RelayText.fields(
            RelayLineReport(
                state: .serving,
                bytesSent: .max,
                bytesReceived: .max,
                bitRateSent: .max,
                bitRateReceived: 0,
                limitSent: 0,
                limitReceived: nil,
                bytesWaiting: -1,
                quota: .init(usedBytes: used, limitBytes: limit, ends: .max),
                memoryBytes: .max
            )
        )
        let quota = fields.first { $0.0 == "Quota" }?.1
        #expect(quota?.hasPrefix("\(text), until ") == true, "\(quota ?? "")")
    }

    @Test("Progress that stands still says for how long and why")
    func stuck() {
        func text(unchanged: UInt64, after wait: Duration = .zero, showsTime: Bool) -> String {
            let report = StatusReport(
                state: .connecting,
                reason: "no authority answers",
                progress: .init(
                    percent: 20,
                    stage: "directory",
                    detail: "fetching the list of relays",
                    elapsed: unchanged + 1_000,
                    unchanged: unchanged
                ),
                since: 0
            )
            return ProgressLine.text(report, after: wait, showsTime: showsTime)
        }
        let line = "connecting 20% - fetching the list of relays"
        #expect(text(unchanged: 4_900, showsTime: false) == line)
        #expect(text(unchanged: 3_100, showsTime: true) == line + " (4 s)")
        // What a log reads does not change with time alone.
        for seconds in [0, 1, 100] {
            #expect(
                text(unchanged: 5_000, after: .seconds(seconds), showsTime: false)
                    == line + " (stuck: no authority answers)"
            )
        }
        #expect(
            text(unchanged: 4_000, after: .seconds(3), showsTime: true)
                == line + " (stuck for 7 s: no authority answers)"
        )
    }

    @Test(
        "Bytes have one to three digits before the point",
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"),
            (UInt64.max, "16.0 EiB"),
        ]
    )
    func bytes(count: UInt64, text: String) {
        #expect(Text.bytes(count) == text)
    }

    @Test(
        "Times have their two largest units",
        arguments: [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3661, "1h 1m"), (90_000, "1d 1h")]
    )
    func seconds(count: UInt64, text: String) {
        #expect(Text.seconds(count) == text)
    }

    @Test("Long values are broken at words, or anywhere where there are none")
    func wrapping() {
        #expect(Text.wrapped("one two three", after: "x: ", width: 11) == "x: one two\n   three")
        #expect(Text.wrapped("abcdefghijkl", after: "x: ", width: 11) == "x: abcdefgh\n   ijkl")
    }
}
