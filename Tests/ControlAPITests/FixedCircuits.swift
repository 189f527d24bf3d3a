import ControlAPI
import Synchronization

/// A view into circuits that answers with fixed reports and remembers what it was asked.
final class FixedCircuits: CircuitService {
    private let asked = Mutex<[String]>([])

    /// The calls so far, in order.
    var calls: [String] { asked.withLock { $0 } }

    static let stat = HopStat(
        paidTicks: 4,
        forwardIn: 100,
        forwardOut: 98,
        backwardIn: 50,
        backwardOut: 52,
        queueDrops: 1,
        queueDelay: 0.5
    )

    /// A circuit of three hops, with everything that can be known of it.
    static let circuit = CircuitReport(
        id: 3,
        state: .active,
        hops: [
            ("iris", "CH", "192.0.2.11:4433"), ("rose", "DE", "198.51.100.12:4433"),
            ("lily", "CH", "203.0.113.13:4433"),
        ].enumerated().map { index, relay in
            CircuitReport.Hop(
                position: index + 1,
                nickname: relay.0,
                id: String(repeating: "0\(index + 1)", count: 32),
                country: relay.1,
                address: relay.2,
                roundTrip: 1.5,
                paidTicks: 40,
                lacksVoucher: false,
                family: index == 0 ? nil : "ab12",
                autonomousSystem: index == 1 ? nil : 64_500,
                isSilent: false,
                stat: stat
            )
        },
        ageSeconds: 60,
        buildTime: 2.5,
        cellsForward: 10,
        cellsBackward: 20,
        isolation: "machine",
        tunnel: TunnelID(rawValue: 1),
        cause: "the tunnel had none",
        flows: 5
    )

    static let event = EventReport(
        number: 1,
        time: 1_790_000_000_000,
        level: "info",
        kind: .ended,
        circuit: 3,
        hops: ["iris", "rose", "lily"],
        text: "circuit 3 is gone: nothing comes back"
    )

    static let traced = TraceReport(
        circuit: 3,
        hops: (1...3).map { position in
            TraceReport.Hop(
                position: position,
                nickname: "r\(position)",
                country: "DE",
                sent: 4,
                roundTrips: [1, 2, 3],
                before: stat,
                after: position == 3 ? nil : stat
            )
        },
        client: .init(sentBefore: 1, sentAfter: 5, receivedBefore: 2, receivedAfter: 5)
    )

    static let leaks = LeakReport(checks: [
        .init(name: "lock", tried: "it", result: .leaking, detail: "none", hint: "umbel up")
    ])

    func trace(_ request: TraceRequest) async throws(Failure) -> TraceReport {
        note("trace \(request.circuit ?? 0) \(request.count) \(request.interval)")
        return Self.traced
    }

    func explain(_ circuit: UInt64) async throws(Failure) -> ExplainReport {
        note("explain \(circuit)")
        guard circuit == 3, let report = ExplainReport(Self.circuit, source: "192.0.2.100") else {
            throw Failure("none", why: "gone", hint: "umbel circuits", exit: .failed)
        }
        return report
    }

    func newCircuit() async throws(Failure) -> CircuitsReport {
        note("new")
        return CircuitsReport(circuits: [Self.circuit])
    }

    func closeCircuit(_ id: UInt64) async throws(Failure) -> CircuitsReport {
        note("close \(id)")
        return CircuitsReport(circuits: [])
    }

    func stateUpdates() async -> AsyncStream<StateUpdate> {
        AsyncStream { continuation in
            continuation.yield(.status(FixedClient.report))
            continuation.yield(.circuits(CircuitsReport(circuits: [Self.circuit])))
            continuation.yield(.event(Self.event))
            continuation.finish()
        }
    }

    func leakTest() async -> LeakReport {
        note("leaks")
        return Self.leaks
    }

    private func note(_ call: String) {
        asked.withLock { $0.append(call) }
    }
}

extension TestSocket {
    /// Runs `operation` while a client with a view into its circuits is served.
    func serving(
        _ service: FixedClient,
        circuits: FixedCircuits,
        _ operation: (ControlClient) async throws -> Void
    ) async throws {
        let server = server()
        try await serving(
            { ready in
                try await server.serve(
                    service,
                    wallet: NoWallet(),
                    circuits: circuits,
                    onReady: ready
                )
            },
            operation
        )
    }
}
