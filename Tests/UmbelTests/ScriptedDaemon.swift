import ControlAPI
import Foundation
import Logging
import Synchronization

/// A daemon that goes through given states, and whose tunnels are TUN interfaces without a reader.
final class ScriptedDaemon: ClientService {
    private let states: [StatusReport]
    private let asked = Mutex<[String]>([])

    var calls: [String] { asked.withLock { $0 } }

    /// Makes a daemon whose state is the last of `states`; a watcher sees all of them.
    init(_ states: [StatusReport]) {
        self.states = states
    }

    static let connected = StatusReport(
        state: .connected,
        exit: .init(nickname: "rose", id: String(repeating: "ab", count: 32), country: "DE"),
        since: 0,
        bytesSent: 2048,
        bytesReceived: 5
    )

    func status() async -> StatusReport { states[states.count - 1] }

    func statusUpdates() async -> AsyncStream<StatusReport> {
        AsyncStream { continuation in
            for state in states { continuation.yield(state) }
        }
    }

    func relays() async -> RelayListReport {
        RelayListReport(relays: [
            .init(
                nickname: "rose",
                id: String(repeating: "ab", count: 32),
                country: "DE",
                flags: ["running", "exit"],
                addresses: ["192.0.2.1:4433"],
                weight: 10_000,
                family: ""
            ),
            .init(
                nickname: "iris",
                id: String(repeating: "cd", count: 32),
                country: "FR",
                flags: ["running", "guard"],
                addresses: ["192.0.2.2:4433", "[2001:db8::2]:4433"],
                weight: 5_000,
                family: "00112233"
            ),
        ])
    }

    func measureExits(_ request: ExitSurveyRequest) async throws(Failure) -> RelayListReport {
        note("measure \(request.countries.joined(separator: ",")) \(request.count)")
        return await relays()
    }

    func circuits() async -> CircuitsReport {
        let hops = ["iris", "a-relay-of-19-bytes", "rose"].enumerated().map { index, name in
            CircuitReport.Hop(
                position: index + 1,
                nickname: name,
                id: String(repeating: "\(index)f", count: 32),
                country: "DE",
                address: "[2001:db8:1111:2222:3333:4444:5555:\(index)]:44330",
                roundTrip: index == 2 ? nil : 12.345
            )
        }
        return CircuitsReport(circuits: [
            CircuitReport(id: 1, state: .active, hops: hops, ageSeconds: 75, isolation: "machine")
        ])
    }

    func ping(_ request: PingRequest) async throws(Failure) -> PingReport {
        PingReport(hops: [
            .init(position: 1, nickname: "iris", sent: request.count, roundTrips: [1, 2]),
            .init(
                position: 2,
                nickname: "rose",
                sent: request.count,
                roundTrips: request.hop == nil ? [3] : []
            ),
        ])
    }

    func up(_ request: UpRequest) async throws(Failure) -> StatusReport {
        note("up \(request.exit?.joined(separator: ",") ?? "-")")
        return states[0]
    }

    func down() async throws(Failure) -> StatusReport {
        StatusReport(state: .disconnected, since: 0)
    }

    func openTunnel(
        _ request: TunnelRequest,
        for peer: PeerCredentials
    ) async throws(Failure) -> TunnelGrant {
        note("open \(request.exit?.joined(separator: ",") ?? "-")")
        let arguments = [
            "-t", "\(request.pid)", "-n", "ip", "tuntap", "add", "umbel0", "mode", "tun",
        ]
        let made = try? await Invocation.run("/usr/bin/nsenter", arguments)
        guard made?.status == 0 else {
            throw Failure("no TUN", why: made?.errors ?? "", hint: "none", exit: .unavailable)
        }
        return TunnelGrant(
            id: TunnelID(rawValue: 9),
            interface: "umbel0",
            ipv4: "10.111.0.2",
            ipv6: "fd75:6d62:656c::2",
            resolvers: ["10.111.0.1", "fd75:6d62:656c::1"],
            mtu: 1280
        )
    }

    func goOutside(for peer: PeerCredentials) async throws(Failure) -> StatusReport {
        note("outside")
        return states[0]
    }

    func closeTunnel(_ id: TunnelID, for peer: PeerCredentials) async throws(Failure) {
        note("close \(id.rawValue)")
    }

    func note(_ call: String) {
        asked.withLock { $0.append(call) }
    }

    /// Serves this daemon, for `group` too, at a socket of its own while `operation` runs.
    func serving(
        group: String? = nil,
        _ operation: (_ socket: String) async throws -> Void
    ) async throws {
        try await serving(group: group, operation) { server, ready in
            try await server.serve(
                self,
                wallet: NoWallet(),
                protection: self,
                onReady: ready
            )
        }
    }

    /// Serves this daemon with a wallet and a view into its circuits while `operation` runs.
    func serving(
        wallet: some WalletService,
        circuits: some CircuitService,
        _ operation: (_ socket: String) async throws -> Void
    ) async throws {
        try await serving(group: nil, operation) { server, ready in
            try await server.serve(self, wallet: wallet, circuits: circuits, onReady: ready)
        }
    }

    private func serving(
        group: String?,
        _ operation: (_ socket: String) async throws -> Void,
        by serve:
            @escaping @Sendable (
                ControlServer, @escaping @Sendable () async -> Void
            ) async throws -> Void
    ) async throws {
        let folder = "/tmp/umbel-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/control.sock"
        let (ready, becameReady) = AsyncStream.makeStream(of: Void.self)
        let server = ControlServer(
            path: path,
            group: group,
            node: NodeReport(role: .client, version: "0.1.0", pid: getpid()),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
        let task = Task {
            defer { becameReady.finish() }
            try await serve(server) { becameReady.finish() }
        }
        for await _ in ready {}
        let result: Result<Void, any Error>
        do {
            result = .success(try await operation(path))
        } catch {
            result = .failure(error)
        }
        task.cancel()
        try await task.value
        try result.get()
    }
}
