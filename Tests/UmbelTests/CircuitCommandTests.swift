import ControlAPI
import Foundation
import Synchronization
import Testing

/// A view into one circuit that does not change.
private final class OneCircuit: CircuitService {
    private let asked = Mutex<[String]>([])
    private let leaks: LeakReport
    var calls: [String] { asked.withLock { $0 } }

    init(leaks results: [LeakReport.Check.Result] = [.passed]) {
        leaks = LeakReport(
            checks: results.enumerated().map { index, result in
                LeakReport.Check(
                    name: "bypass, IPv6, port \(index)",
                    tried: "a datagram past the routes",
                    result: result,
                    detail: result == .leaking ? "it left by eth0" : "eth0: not permitted",
                    hint: result == .leaking ? "umbel up" : nil
                )
            }
        )
    }

    static let stat = HopStat(
        paidTicks: 0,
        forwardIn: 10,
        forwardOut: 10,
        backwardIn: 8,
        backwardOut: 8,
        queueDrops: 2,
        queueDelay: 1.5
    )

    func trace(_ request: TraceRequest) async throws(Failure) -> TraceReport {
        asked.withLock { $0.append("trace \(request.count)") }
        return TraceReport(
            circuit: 1,
            hops: (1...3).map { position in
                TraceReport.Hop(
                    position: position,
                    nickname: "r\(position)",
                    country: "DE",
                    sent: 10,
                    roundTrips: position == 3 ? [] : [Double(position)],
                    before: Self.stat,
                    after: Self.stat
                )
            },
            client: .init(sentBefore: 0, sentAfter: 0, receivedBefore: 0, receivedAfter: 0)
        )
    }

    func explain(_ circuit: UInt64) async throws(Failure) -> ExplainReport {
        ExplainReport(
            circuit: circuit,
            parties: [
                .init(
                    role: .guardRelay,
                    name: "r1",
                    country: "CH",
                    operator: "family ab",
                    addresses: ["192.0.2.1"],
                    keys: ["its own"],
                    payment: "3 ticks",
                    knows: ["who you are"],
                    hidden: ["the exit"]
                )
            ],
            warnings: ["r1 and r3 have one operator"]
        )
    }

    func newCircuit() async throws(Failure) -> CircuitsReport {
        asked.withLock { $0.append("new") }
        return CircuitsReport(circuits: [])
    }

    func closeCircuit(_ id: UInt64) async throws(Failure) -> CircuitsReport {
        asked.withLock { $0.append("close \(id)") }
        return CircuitsReport(circuits: [])
    }

    func stateUpdates() async -> AsyncStream<StateUpdate> { AsyncStream { $0.finish() } }

    func leakTest() async -> LeakReport {
        asked.withLock { $0.append("leaks") }
        return leaks
    }
}

private struct NoMoney: WalletService {
    private var refusal: Failure { Failure("none", why: "none", hint: "none", exit: .failed) }
    func account() async throws(Failure) -> AccountReport { throw refusal }
    func tickets() async throws(Failure) -> TicketsReport { throw refusal }
    func buy(_ request: BuyRequest) async throws(Failure) -> TicketsReport { throw refusal }
    func submit(_ grant: GrantSubmission) async throws(Failure) -> AccountReport { throw refusal }
    func transfer(_ request: TransferRequest) async throws(Failure) -> AccountReport {
        throw refusal
    }
    func backup(_ request: WalletBackup) async throws(Failure) -> WalletBackup { throw refusal }
    func audit() async throws(Failure) -> AuditReport { throw refusal }
}

@Suite("Commands that look into circuits", .timeLimit(.minutes(2)))
struct CircuitCommandTests {
    private func serving(
        _ circuits: OneCircuit,
        _ body: (String) async throws -> Void
    ) async throws {
        try await ScriptedDaemon([ScriptedDaemon.connected]).serving(
            wallet: NoMoney(),
            circuits: circuits,
            body
        )
    }

    @Test("trace prints one report where there is no terminal, with JSON on demand (row 74)")
    func trace() async throws {
        let circuits = OneCircuit()
        try await serving(circuits) { socket in
            let text = try await Invocation.umbel("trace", "--socket", socket)
            #expect(text.status == 0, "\(text.errors)")
            #expect(!text.output.contains("\u{1B}"))
            let lines = text.output.split(separator: "\n")
            #expect(lines.count == 4)
            #expect(lines[3].contains("100.0"), "the third hop is silent: \(lines[3])")
            let json = try await Invocation.umbel("trace", "-c", "3", "--json", "--socket", socket)
            let report = try JSONDecoder().decode(TraceReport.self, from: Data(json.output.utf8))
            #expect(report.hops.count == 3)
            let wrong = try await Invocation.umbel("trace", "-c", "0", "--socket", socket)
            #expect(wrong.status == 64)
        }
        #expect(circuits.calls == ["trace 10", "trace 3"])
    }

    @Test("explain says who knows what, and what two would know together")
    func explain() async throws {
        try await serving(OneCircuit()) { socket in
            let text = try await Invocation.umbel("explain", "7", "--socket", socket)
            #expect(text.status == 0, "\(text.errors)")
            #expect(text.output.hasPrefix("guard: r1 (CH)\n  Knows     who you are\n"))
            #expect(text.output.contains("together\n  ! r1 and r3 have one operator"))
            let json = try await Invocation.umbel("explain", "7", "--json", "--socket", socket)
            let report = try JSONDecoder().decode(ExplainReport.self, from: Data(json.output.utf8))
            #expect(report.circuit == 7)
        }
    }

    @Test("circuits lists, shows, renews and closes")
    func circuits() async throws {
        let circuits = OneCircuit()
        try await serving(circuits) { socket in
            for arguments in [["circuits"], ["circuits", "list"]] {
                let run = try await Invocation.run(
                    Invocation.program,
                    arguments + ["--json", "--socket", socket]
                )
                #expect(run.status == 0, "\(run.errors)")
                _ = try JSONDecoder().decode(CircuitsReport.self, from: Data(run.output.utf8))
            }
            let missing = try await Invocation.umbel("circuits", "show", "99", "--socket", socket)
            #expect(missing.status == 1)
            #expect(missing.errors.contains("there is no circuit 99"))
            let new = try await Invocation.umbel("circuits", "new", "--json", "--socket", socket)
            #expect(new.status == 0)
            let close = try await Invocation.umbel("circuits", "close", "3", "--socket", socket)
            #expect(close.status == 0)
            #expect(close.errors == "circuit 3 is closed\n")
        }
        #expect(circuits.calls == ["new", "close 3"])
    }

    @Test("top prints one screen where there is no terminal, and JSON on demand")
    func top() async throws {
        try await serving(OneCircuit()) { socket in
            let text = try await Invocation.umbel("top", "--socket", socket)
            #expect(text.status == 0, "\(text.errors)")
            #expect(text.output.hasPrefix("connected through rose (DE)\n"))
            #expect(!text.output.contains("\u{1B}"))
            let json = try await Invocation.umbel("top", "--json", "--socket", socket)
            #expect(json.output.contains(#""bytes_backward_per_s":0"#))
            #expect(json.output.contains(#""schema":1"#))
        }
    }

    @Test(
        "leaktest says by its status whether something leaks, and whether anything could",
        arguments: [
            ([LeakReport.Check.Result.passed, .passed], 0, "nothing leaks"),
            ([.passed, .leaking], 1, "something leaks"), ([.skipped], 2, "nothing to test"),
        ]
    )
    func leaktest(results: [LeakReport.Check.Result], status: Int32, verdict: String) async throws {
        try await serving(OneCircuit(leaks: results)) { socket in
            let text = try await Invocation.umbel("leaktest", "--socket", socket)
            #expect(text.status == status, "\(text.errors)")
            #expect(text.output.hasPrefix(verdict + "\n"))
            #expect(text.output.contains("what to do\n") == results.contains(.leaking))
            let json = try await Invocation.umbel("leaktest", "--json", "--socket", socket)
            #expect(json.status == status)
            let report = try JSONDecoder().decode(LeakReport.self, from: Data(json.output.utf8))
            #expect(report.checks.map(\.result) == results)
        }
    }

    @Test(
        "Every line fits into 40 and into 80 columns, without escape codes (row 74)",
        arguments: [40, 80],
        [
            ["trace"], ["top"], ["explain", "7"], ["leaktest"], ["circuits"], ["ping"],
            ["circuits", "show", "1"],
        ]
    )
    func narrow(width: Int, command: [String]) async throws {
        try await serving(OneCircuit(leaks: [.passed, .leaking])) { socket in
            let run = try await Invocation.run(
                Invocation.program,
                command + ["--socket", socket],
                environment: ["COLUMNS": "\(width)"]
            )
            #expect(run.errors.isEmpty)
            #expect(!run.output.isEmpty)
            #expect(!run.output.contains("\u{1B}"))
            for line in run.output.split(separator: "\n") {
                #expect(line.count <= width, "\(line)")
            }
        }
    }

    @Test("Without a daemon each command says so at once, and how to start one (row 72)")
    func absent() async throws {
        for arguments in [
            ["circuits", "new"], ["circuits", "close", "1"], ["ping"], ["trace"], ["top"],
            ["explain", "1"], ["leaktest"], ["inspector"],
        ] {
            let run = try await Invocation.run(
                Invocation.program,
                arguments + ["--socket", "/nonexistent/socket"]
            )
            #expect(run.status == 69, "\(arguments): \(run.errors)")
            #expect(run.errors.contains("hint: "))
            #expect(run.output.isEmpty)
        }
    }
}
