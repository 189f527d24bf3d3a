import ControlAPI
import Synchronization

/// A client service that answers with fixed reports and remembers what it was asked.
final class FixedClient: ClientService {
    private let asked = Mutex<[String]>([])
    private let streams = Mutex<[AsyncStream<StatusReport>.Continuation]>([])
    /// How long it takes to change the machine.
    private let changeTime: Duration

    init(changeTime: Duration = .zero) {
        self.changeTime = changeTime
    }

    /// The calls so far, in order.
    var calls: [String] { asked.withLock { $0 } }

    static let report = StatusReport(
        state: .connected,
        exit: .init(nickname: "rose", id: String(repeating: "ab", count: 32), country: "DE"),
        since: 1_790_000_000,
        bytesSent: 12,
        bytesReceived: 34,
        tunnels: [.init(id: TunnelID(rawValue: 7), interface: "umbel0", pid: 99)]
    )

    static let circuits = CircuitsReport(circuits: [
        CircuitReport(
            id: 3,
            state: .active,
            hops: [
                .init(
                    position: 1,
                    nickname: "iris",
                    id: String(repeating: "01", count: 32),
                    country: "CH",
                    address: "192.0.2.11:4433",
                    roundTrip: 12.5
                )
            ],
            ageSeconds: 60,
            buildTime: 2.5,
            cellsForward: 1,
            cellsBackward: 2,
            bytesForward: 3,
            bytesBackward: 4,
            isolation: "machine",
            tunnel: TunnelID(rawValue: 7)
        )
    ])

    static let grant = TunnelGrant(
        id: TunnelID(rawValue: 7),
        interface: "umbel0",
        ipv4: "10.111.0.2",
        ipv6: "fd75:6d62:656c::2",
        resolvers: ["10.111.0.1", "fd75:6d62:656c::1"],
        mtu: 1280
    )

    /// Sends `report` to every open stream.
    func send(_ report: StatusReport) {
        streams.withLock { streams in
            for stream in streams { stream.yield(report) }
        }
    }

    /// Ends every open stream.
    func endStreams() {
        streams.withLock { streams in
            for stream in streams { stream.finish() }
        }
    }

    func status() async -> StatusReport {
        note("status")
        return Self.report
    }

    func statusUpdates() async -> AsyncStream<StatusReport> {
        note("statusUpdates")
        let (stream, continuation) = AsyncStream.makeStream(of: StatusReport.self)
        continuation.onTermination = { [self] _ in note("stream ended") }
        streams.withLock { $0.append(continuation) }
        continuation.yield(StatusReport(state: .connecting, since: 1))
        return stream
    }

    static let list = RelayListReport(relays: [
        .init(
            nickname: "rose",
            id: String(repeating: "ab", count: 32),
            country: "DE",
            flags: ["running", "exit"],
            addresses: ["192.0.2.1:4433"],
            weight: 10_000,
            family: "",
            autonomousSystem: 64_512
        )
    ])

    func relays() async -> RelayListReport {
        asked.withLock { $0.append("relays") }
        return Self.list
    }

    func measureExits(_ request: ExitSurveyRequest) async throws(Failure) -> RelayListReport {
        note("measure \(request.countries.joined(separator: ",")) \(request.count)")
        return Self.list
    }

    func circuits() async -> CircuitsReport {
        note("circuits")
        return Self.circuits
    }

    func ping(_ request: PingRequest) async throws(Failure) -> PingReport {
        note("ping \(request.hop ?? 0) \(request.count)")
        return PingReport(hops: [
            .init(position: 1, nickname: "iris", sent: request.count, roundTrips: [1, 2, 6]),
            .init(position: 2, nickname: "rose", sent: request.count, roundTrips: []),
        ])
    }

    func up(_ request: UpRequest) async throws(Failure) -> StatusReport {
        note("up \(request.exit?.joined(separator: ",") ?? "-")")
        guard request.exit != ["XX"] else {
            throw Failure(
                "no exit in XX",
                why: "the consensus lists none there",
                hint: "leave --exit away",
                exit: .temporary
            )
        }
        await change()
        return Self.report
    }

    func down() async throws(Failure) -> StatusReport {
        note("down")
        await change()
        return StatusReport(state: .disconnected, since: 2)
    }

    func openTunnel(
        _ request: TunnelRequest,
        for peer: PeerCredentials
    ) async throws(Failure) -> TunnelGrant {
        note(
            "openTunnel \(request.pid) \(request.exit?.joined() ?? "-") for \(peer.pid) \(peer.uid)"
        )
        return Self.grant
    }

    func goOutside(for peer: PeerCredentials) async throws(Failure) -> StatusReport {
        await status()
    }

    func closeTunnel(_ id: TunnelID, for peer: PeerCredentials) async throws(Failure) {
        note("closeTunnel \(id.rawValue)")
    }

    private func change() async {
        do { try await Task.sleep(for: changeTime) } catch { note("cancelled") }
    }

    private func note(_ call: String) {
        asked.withLock { $0.append(call) }
    }
}

/// A relay service that answers with a fixed report.
struct FixedRelay: RelayService {
    static let report = RelayStatusReport(
        nickname: "iris",
        identity: String(repeating: "01", count: 32),
        uptimeSeconds: 5,
        links: 2,
        circuits: 3,
        cellsForward: 4,
        cellsBackward: 5,
        drops: ["auth": 1, "queue": 0],
        exitLeases: nil
    )
    static let line = RelayLineReport(
        state: .quotaUsedUp,
        bytesSent: 6,
        bytesReceived: 7,
        bitRateSent: 8,
        bitRateReceived: 9,
        limitSent: 10,
        limitReceived: nil,
        bytesWaiting: 11,
        quota: RelayLineReport.Quota(usedBytes: 12, limitBytes: 13, ends: 14),
        memoryBytes: 15
    )

    func status() async -> RelayStatusReport { Self.report }

    func drain(_ request: DrainRequest) async throws -> RelayStatusReport {
        var report = Self.report
        report.line = Self.line
        report.line?.state = request.isDraining ? .draining : .serving
        report.line?.bytesWaiting = request.seconds
        return report
    }

    func rotateKeys() async throws -> KeyRotationReport { KeyRotationReport(expiryMinute: 99) }
}
