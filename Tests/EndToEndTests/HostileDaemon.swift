import ControlAPI
import Foundation
import Logging

/// A daemon whose relays have names that a page must not take for its own.
final class HostileDaemon: ClientService, CircuitService, WalletService, ProtectionService {
    static let names = [
        "<script>umbelWasHere=1</script>", "<img src=x onerror=umbelWasHere=1>",
        "\"'><svg onload=umbelWasHere=1>",
    ]

    private static var circuits: CircuitsReport {
        CircuitsReport(circuits: [
            CircuitReport(
                id: 1,
                state: .active,
                hops: names.enumerated().map { index, name in
                    CircuitReport.Hop(
                        position: index + 1,
                        nickname: name,
                        id: String(repeating: "ab", count: 32),
                        country: index == 0 ? "<b>" : "DE",
                        address: name,
                        family: name
                    )
                },
                ageSeconds: 1,
                isolation: names[1],
                cause: names[0]
            )
        ])
    }

    private static let state = StatusReport(
        state: .connected,
        reason: names[0],
        exit: .init(nickname: names[1], id: names[1], country: names[2]),
        since: 0,
        directory: DirectoryReport(
            validAfter: 0,
            validUntil: 1,
            relays: 3,
            signers: names,
            source: names[0],
            isPaid: false,
            alarm: names[1]
        )
    )

    private var refusal: Failure {
        Failure(Self.names[0], why: Self.names[1], hint: Self.names[2], exit: .failed)
    }

    func status() async -> StatusReport { Self.state }
    func statusUpdates() async -> AsyncStream<StatusReport> { AsyncStream { $0.finish() } }
    func circuits() async -> CircuitsReport { Self.circuits }
    func ping(_ request: PingRequest) async throws(Failure) -> PingReport { throw refusal }
    func up(_ request: UpRequest) async throws(Failure) -> StatusReport { throw refusal }
    func down() async throws(Failure) -> StatusReport { throw refusal }
    func openTunnel(
        _ request: TunnelRequest,
        for peer: PeerCredentials
    ) async throws(Failure) -> TunnelGrant { throw refusal }
    func closeTunnel(_ id: TunnelID, for peer: PeerCredentials) async throws(Failure) {}
    func goOutside(for peer: PeerCredentials) async throws(Failure) -> StatusReport {
        throw refusal
    }
    func measureExits(_ request: ExitSurveyRequest) async throws(Failure) -> RelayListReport {
        throw refusal
    }

    func relays() async -> RelayListReport {
        RelayListReport(
            relays: Self.names.map { name in
                RelayListReport.Relay(
                    nickname: name,
                    id: name,
                    country: name,
                    flags: [name],
                    addresses: [name],
                    weight: 1,
                    family: name
                )
            }
        )
    }

    func trace(_ request: TraceRequest) async throws(Failure) -> TraceReport { throw refusal }
    func explain(_ circuit: UInt64) async throws(Failure) -> ExplainReport { throw refusal }
    func newCircuit() async throws(Failure) -> CircuitsReport { throw refusal }
    func closeCircuit(_ id: UInt64) async throws(Failure) -> CircuitsReport { throw refusal }
    func leakTest() async -> LeakReport { LeakReport(checks: []) }

    func stateUpdates() async -> AsyncStream<StateUpdate> {
        let (stream, continuation) = AsyncStream.makeStream(of: StateUpdate.self)
        continuation.yield(.status(Self.state))
        continuation.yield(.circuits(Self.circuits))
        for event in Self.events { continuation.yield(.event(event)) }
        return stream
    }

    private static let events = names.enumerated().map { index, name in
        EventReport(
            number: UInt64(index) + 1,
            time: 0,
            level: name,
            kind: .ended,
            hops: names,
            text: name
        )
    }

    func events() async -> [EventReport] { Self.events }
    func eventUpdates() async -> AsyncStream<EventReport> { AsyncStream { $0.finish() } }
    func reconnect() async throws(Failure) -> StatusReport { throw refusal }
    func setLockdown(_ request: LockdownRequest) async throws(Failure) -> StatusReport {
        throw refusal
    }
    func login(
        _ request: LoginRequest,
        for peer: PeerCredentials
    ) async throws(Failure) -> StatusReport { throw refusal }
    func checkNetwork() async throws(Failure) -> NetworkReport { throw refusal }

    func account() async throws(Failure) -> AccountReport { throw refusal }
    func tickets() async throws(Failure) -> TicketsReport { throw refusal }
    func buy(_ request: BuyRequest) async throws(Failure) -> TicketsReport { throw refusal }
    func submit(_ grant: GrantSubmission) async throws(Failure) -> AccountReport { throw refusal }
    func transfer(_ request: TransferRequest) async throws(Failure) -> AccountReport {
        throw refusal
    }
    func backup(_ request: WalletBackup) async throws(Failure) -> WalletBackup { throw refusal }
    func audit() async throws(Failure) -> AuditReport { throw refusal }

    /// Serves it at the socket `path` while `body` runs.
    func serving(at path: String, _ body: (String) async throws -> Void) async throws {
        let server = ControlServer(
            path: path,
            group: nil,
            node: NodeReport(role: .client, version: "0", pid: getpid()),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        let (ready, becameReady) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            defer { becameReady.finish() }
            try await server.serve(self, wallet: self, protection: self, circuits: self) {
                becameReady.finish()
            }
        }
        for await _ in ready {}
        let result: Result<Void, any Error>
        do { result = .success(try await body(path)) } catch { result = .failure(error) }
        task.cancel()
        try await task.value
        try result.get()
    }
}
