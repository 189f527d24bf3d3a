import ControlAPI
import Synchronization

/// A service of protection that answers with fixed reports and remembers what it was asked.
final class FixedProtection: ProtectionService {
    private let asked = Mutex<[String]>([])

    /// The calls so far, in order.
    var calls: [String] { asked.withLock { $0 } }

    static let network = NetworkReport(
        ipv4: true,
        ipv6: false,
        udp: true,
        mtu: 1_500,
        nat: .translated,
        guards: [
            .init(
                nickname: "iris",
                id: String(repeating: "01", count: 32),
                address: "192.0.2.11:4433",
                roundTrip: 12.5,
                isWhole: true,
                mtu: 1_500
            ),
            .init(
                nickname: "rose",
                id: String(repeating: "ab", count: 32),
                address: "[2001:db8::1]:4433"
            ),
        ],
        mappings: [
            .init(
                kind: .varies,
                local: "10.0.0.7:40000",
                seen: ["192.0.2.1:1024", "192.0.2.1:1025"]
            )
        ]
    )

    static let events = (1...3).map { number in
        EventReport(
            number: UInt64(number),
            time: 1_790_000_000_123,
            level: "notice",
            text: "event \(number)"
        )
    }

    private func note(_ call: String) {
        asked.withLock { $0.append(call) }
    }

    func reconnect() async throws(Failure) -> StatusReport {
        note("reconnect")
        return FixedClient.report
    }

    func setLockdown(_ request: LockdownRequest) async throws(Failure) -> StatusReport {
        note("lockdown \(request.isOn)")
        return FixedClient.report
    }

    func login(
        _ request: LoginRequest,
        for peer: PeerCredentials
    ) async throws(Failure) -> StatusReport {
        note("login \(request.user) \(request.seconds) for \(peer.uid)")
        return FixedClient.report
    }

    func checkNetwork() async throws(Failure) -> NetworkReport {
        note("netcheck")
        return Self.network
    }

    func events() async -> [EventReport] {
        note("events")
        return Self.events
    }

    func eventUpdates() async -> AsyncStream<EventReport> {
        note("eventUpdates")
        return AsyncStream { continuation in
            for event in Self.events { continuation.yield(event) }
            continuation.finish()
        }
    }
}

/// A wallet nobody asks here.
struct NoWallet: WalletService {
    private static let refusal = Failure(
        "no wallet",
        why: "this node has none",
        hint: "none",
        exit: .unavailable
    )

    func account() async throws(Failure) -> AccountReport { throw Self.refusal }
    func tickets() async throws(Failure) -> TicketsReport { throw Self.refusal }
    func buy(_ request: BuyRequest) async throws(Failure) -> TicketsReport { throw Self.refusal }
    func submit(_ grant: GrantSubmission) async throws(Failure) -> AccountReport {
        throw Self.refusal
    }
    func transfer(_ request: TransferRequest) async throws(Failure) -> AccountReport {
        throw Self.refusal
    }
    func backup(_ request: WalletBackup) async throws(Failure) -> WalletBackup {
        throw Self.refusal
    }
    func audit() async throws(Failure) -> AuditReport { throw Self.refusal }
}
