import ControlAPI

extension ScriptedDaemon: ProtectionService {
    func reconnect() async throws(Failure) -> StatusReport {
        note("reconnect")
        return await status()
    }

    func setLockdown(_ request: LockdownRequest) async throws(Failure) -> StatusReport {
        note("lockdown \(request.isOn)")
        return await status()
    }

    func login(
        _ request: LoginRequest,
        for peer: PeerCredentials
    ) async throws(Failure) -> StatusReport {
        note("login \(request.user) \(request.seconds)")
        return await status()
    }

    func checkNetwork() async throws(Failure) -> NetworkReport {
        NetworkReport(
            ipv4: true,
            ipv6: false,
            udp: true,
            mtu: 1_400,
            nat: .translated,
            guards: [
                .init(
                    nickname: "a-relay-of-19-bytes",
                    id: String(repeating: "ab", count: 32),
                    address: "[2001:db8:1111:2222:3333:4444:5555:1]:44330",
                    roundTrip: 12.345,
                    isWhole: false,
                    mtu: 1_400
                )
            ]
        )
    }

    func events() async -> [EventReport] {
        [
            EventReport(
                number: 1,
                time: 1_790_000_000_123,
                level: "notice",
                text: "somebody had changed the firewall's rules of this machine: put back"
            )
        ]
    }

    func eventUpdates() async -> AsyncStream<EventReport> {
        let events = await events()
        return AsyncStream { continuation in
            for event in events { continuation.yield(event) }
            continuation.finish()
        }
    }
}

/// A wallet nobody asks.
struct NoWallet: WalletService {
    private static let refusal = Failure(
        "no wallet",
        why: "this daemon has none",
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
