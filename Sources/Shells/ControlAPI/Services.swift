/// What a client's daemon does for the command line.
///
/// Every call may come from any task, and several at a time.
public protocol ClientService: Sendable {
    /// The state right now.
    func status() async -> StatusReport

    /// The state now and after every change, until the daemon stops or the reader does.
    ///
    /// Keeps the newest report when the reader is slow (`bufferingNewest(1)`).
    func statusUpdates() async -> AsyncStream<StatusReport>

    /// The circuits right now.
    func circuits() async -> CircuitsReport

    /// Measures round trips over the active circuit; `request.count` is within its bound.
    func ping(_ request: PingRequest) async throws(Failure) -> PingReport

    /// Begins to connect, and returns without waiting for it.
    func up(_ request: UpRequest) async throws(Failure) -> StatusReport

    /// Disconnects, and lifts what blocks traffic.
    func down() async throws(Failure) -> StatusReport

    /// Makes a tunnel and puts its interface into the network namespace of `request.pid`.
    ///
    /// Returns once a circuit is ready. `peer` asked for it: the service refuses a process of
    /// another user unless `peer` is root.
    func openTunnel(
        _ request: TunnelRequest,
        for peer: PeerCredentials
    ) async throws(Failure) -> TunnelGrant

    /// The relays of the network, the heaviest first.
    func relays() async -> RelayListReport

    /// Measures round trips to exits, which the list then tells; `request.count` is within its
    /// bound.
    func measureExits(_ request: ExitSurveyRequest) async throws(Failure) -> RelayListReport

    /// Lets the process that asks, and the children it will have, go beside the machine's tunnel.
    func goOutside(for peer: PeerCredentials) async throws(Failure) -> StatusReport

    /// Closes a tunnel; without effect where it is closed already.
    func closeTunnel(_ id: TunnelID, for peer: PeerCredentials) async throws(Failure)
}

/// What a relay tells its operator.
public protocol RelayService: Sendable {
    /// The state right now.
    func status() async -> RelayStatusReport

    /// Refuses new circuits from now on, and ends those that stand after a time; or serves again.
    func drain(_ request: DrainRequest) async throws -> RelayStatusReport

    /// Uses another circuit key from now on.
    func rotateKeys() async throws -> KeyRotationReport
}

/// What an authority tells its operator.
public protocol AuthorityService: Sendable {
    /// The state right now.
    func status() async -> AuthorityStatusReport
}

/// What a mint tells its operator.
public protocol MintService: Sendable {
    /// The state right now.
    func status() async -> MintStatusReport

    /// Whether its books agree with each other; looks at all of them.
    func check() async throws(Failure) -> MintCheckReport
}

/// What a client's daemon does with money.
public protocol WalletService: Sendable {
    /// How the account stands, asked of the mints.
    func account() async throws(Failure) -> AccountReport

    /// The vouchers at hand.
    func tickets() async throws(Failure) -> TicketsReport

    /// Buys vouchers, and returns once they are on disk.
    func buy(_ request: BuyRequest) async throws(Failure) -> TicketsReport

    /// Brings a grant to the mints, and returns once enough have taken it.
    func submit(_ grant: GrantSubmission) async throws(Failure) -> AccountReport

    /// Gives money to another account, and returns once that stands.
    func transfer(_ request: TransferRequest) async throws(Failure) -> AccountReport

    /// The wallet, sealed under a key.
    func backup(_ request: WalletBackup) async throws(Failure) -> WalletBackup

    /// What the mints' totals in the consensus say.
    func audit() async throws(Failure) -> AuditReport
}

/// What a relay tells its operator of money.
public protocol EarningsService: Sendable {
    /// What it earned.
    func earnings() async throws(Failure) -> EarningsReport
}
