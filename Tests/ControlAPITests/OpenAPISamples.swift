import ControlAPI

/// A report and the name `openapi.yaml` describes it by.
struct Sample: Sendable, CustomStringConvertible {
    let name: String
    let value: any Encodable & Sendable

    var description: String { name }
}

extension OpenAPITests {
    static let directory = DirectoryReport(
        validAfter: 1,
        validUntil: 2,
        relays: 9,
        signers: ["ash"],
        authorities: ["ash", "elm", "fir", "oak"],
        threshold: 3,
        source: "disk",
        isPaid: true,
        alarm: "two documents"
    )

    static let authority = AuthorityStatusReport(
        name: "ash",
        index: 0,
        uptimeSeconds: 1,
        met: 4,
        authorities: 4,
        threshold: 3,
        relaysKnown: 9,
        relaysRunning: 9,
        counters: ["votes": 1],
        directory: directory
    )

    static let mint = MintStatusReport(
        name: "ash",
        index: 0,
        uptimeSeconds: 1,
        epoch: 3,
        isListed: true,
        mintsListed: 4,
        accounts: 1,
        granted: 2,
        balances: 3,
        withdrawn: 4,
        burnt: 5,
        epochs: [.init(epoch: 3, issued: 1, deposited: 1, reclaimed: 0)],
        counters: ["orders": 1],
        gossipWaiting: 0,
        problem: "none",
        authorities: ["ash": "listed"]
    )

    private static var traffic: TrafficReport {
        let choice = TrafficChoice(mode: .mix, slotMilliseconds: 10)
        var report = TrafficReport(
            mode: .mix,
            slotMilliseconds: 10,
            price: TrafficPrice(of: choice, tickCells: 256)
        )
        report.cellsPerSecond = 100
        report.waitingCells = 1
        report.coverCells = 2
        report.rebuiltCells = 3
        report.lossForward = 0.5
        report.lossBackward = 0.25
        report.loopsSent = 4
        report.loopsAnswered = 4
        report.loopMilliseconds = 200
        return report
    }

    private static var status: StatusReport {
        var report = FixedClient.report
        report.reason = "no consensus yet"
        report.progress = .init(percent: 45, stage: "directory", detail: "fetching")
        report.progress?.elapsed = 1
        report.progress?.unchanged = 1
        report.lockdown = true
        report.loginUntil = 1
        report.health = [.init(about: "clock", problem: "it is off", fix: "set it")]
        report.directory = directory
        report.relays = .init(
            sameDirectory: 1,
            olderDirectory: 0,
            newerDirectory: 0,
            conflictingDirectory: 0,
            noDirectory: 0,
            clockOffsetMinutes: -1
        )
        return report
    }

    private static var relay: RelayStatusReport {
        var report = FixedRelay.report
        report.line = FixedRelay.line
        report.exitLeases = 2
        report.directory = directory
        report.listing = ListingReport(
            isListed: true,
            flags: ["running"],
            weight: 3,
            authorities: ["ash": "listed"],
            clockOffsetSeconds: -3_600
        )
        return report
    }

    private static let tickets = TicketsReport(
        outstanding: 1,
        bought: 2,
        reclaimed: 3,
        spent: 4,
        givenBack: 5,
        expired: 6,
        epoch: 7,
        vouchers: [
            .init(
                relay: "ab",
                nickname: "iris",
                denomination: "T",
                ticks: 16,
                spent: 1,
                epoch: 7,
                expires: 8
            )
        ]
    )

    private static let earnings = EarningsReport(
        account: "ab",
        served: 1,
        deposited: 1,
        credited: 1,
        expired: 0,
        waiting: 0,
        vouchers: 1,
        burnPerMille: 20,
        problems: ["mint 1": "silent"],
        days: [.init(day: 1, served: 1, deposited: 1, credited: 1, expired: 0)]
    )

    static let samples: [Sample] = [
        Sample(name: "NodeReport", value: NodeReport(role: .relay, version: "1", pid: 2)),
        Sample(
            name: "NodeReport",
            value: NodeReport(role: .client, version: "1", pid: 2, rootless: true)
        ),
        Sample(name: "StatusReport", value: FixedClient.report),
        Sample(name: "StatusReport", value: status),
        Sample(name: "CircuitsReport", value: FixedClient.circuits),
        Sample(name: "CircuitsReport", value: CircuitsReport(circuits: [FixedCircuits.circuit])),
        Sample(
            name: "PingReport",
            value: PingReport(hops: [
                .init(position: 1, nickname: "iris", sent: 3, roundTrips: [1, 2, 3]),
                .init(position: 2, nickname: "rose", sent: 3, roundTrips: []),
            ])
        ),
        Sample(name: "PingRequest", value: PingRequest(hop: 1, count: 2, circuit: 3)),
        Sample(name: "TraceRequest", value: TraceRequest(circuit: 3)),
        Sample(name: "TraceReport", value: FixedCircuits.traced),
        Sample(name: "LeakReport", value: FixedCircuits.leaks),
        Sample(
            name: "ExplainReport",
            value: ExplainReport(FixedCircuits.circuit, source: nil)
                ?? ExplainReport(circuit: 0, parties: [], warnings: [])
        ),
        Sample(name: "NetworkReport", value: FixedProtection.network),
        Sample(name: "EventReport", value: FixedCircuits.event),
        Sample(name: "LockdownRequest", value: LockdownRequest(isOn: true)),
        Sample(name: "LoginRequest", value: LoginRequest(user: 1, seconds: 2)),
        Sample(name: "RelayListReport", value: FixedClient.list),
        Sample(name: "ExitSurveyRequest", value: ExitSurveyRequest(countries: ["DE"], count: 1)),
        Sample(
            name: "UpRequest",
            value: UpRequest(
                exit: ["DE"],
                traffic: TrafficChoice(mode: .mix, slotMilliseconds: 2.5)
            )
        ),
        Sample(name: "TrafficReport", value: traffic),
        Sample(name: "TunnelRequest", value: TunnelRequest(pid: 1, exit: ["DE"])),
        Sample(
            name: "TunnelRequest",
            value: TunnelRequest(pid: 1, thread: 2, device: 9)
        ),
        Sample(name: "TunnelGrant", value: FixedClient.grant),
        Sample(
            name: "AccountReport",
            value: AccountReport(
                account: "ab",
                balance: 1,
                sequence: 2,
                isBuying: false,
                grantsWaiting: 0,
                problem: "none"
            )
        ),
        Sample(name: "TicketsReport", value: tickets),
        Sample(name: "BuyRequest", value: BuyRequest(denomination: "T", relay: "iris")),
        Sample(name: "GrantSubmission", value: GrantSubmission(grant: "ab")),
        Sample(name: "TransferRequest", value: TransferRequest(to: "ab", amount: 1)),
        Sample(name: "WalletBackup", value: WalletBackup(key: "ab")),
        Sample(
            name: "AuditReport",
            value: AuditReport(epochs: [
                .init(
                    epoch: 1,
                    mints: [
                        .init(
                            index: 0,
                            isDesignated: true,
                            issued: 1,
                            deposited: 1,
                            reclaimed: 0
                        )
                    ]
                )
            ])
        ),
        Sample(name: "RelayStatusReport", value: FixedRelay.report),
        Sample(name: "RelayStatusReport", value: relay),
        Sample(name: "KeyRotationReport", value: KeyRotationReport(expiryMinute: 9)),
        Sample(name: "EarningsReport", value: earnings),
        Sample(name: "AuthorityStatusReport", value: authority),
        Sample(name: "MintStatusReport", value: mint),
        Sample(name: "MintCheckReport", value: MintCheckReport(isConsistent: true, status: mint)),
        Sample(name: "Failure", value: Failure("a", why: "b", hint: "c", exit: .temporary)),
    ]
}
