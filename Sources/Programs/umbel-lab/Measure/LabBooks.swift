/// What the nodes of a lab say of money.
struct LabBooks {
    /// Sums in ticks; of accounts in hundredths of them.
    struct Sums: Encodable {
        var granted: UInt64 = 0
        var balances: UInt64 = 0
        var withdrawn: UInt64 = 0
        var burnt: UInt64 = 0
        var issued: UInt64 = 0
        var deposited: UInt64 = 0
        var mintsReclaimed: UInt64 = 0
        var bought: UInt64 = 0
        var reclaimed: UInt64 = 0
        var spent: UInt64 = 0
        var outstanding: UInt64 = 0
        var givenBack: UInt64 = 0
        var expired: UInt64 = 0
        var served: UInt64 = 0
        var credited: UInt64 = 0
        var waiting: UInt64 = 0
        var relaysExpired: UInt64 = 0

        /// Ticks clients count as spent that no relay has.
        ///
        /// They were shown to a circuit that had ended, or reserved by a client that died.
        var unserved: UInt64 { spent - min(spent, served) }

        /// Ticks that were issued and are nowhere.
        ///
        /// Not deposited, nor with a relay or a client, nor given back, nor lost.
        var unaccounted: Int64 {
            Int64(clamping: issued) - Int64(clamping: deposited + waiting + relaysExpired)
                - Int64(clamping: unserved + outstanding + givenBack + expired)
        }

        /// Hundredths of ticks that were granted or deposited and are nowhere.
        ///
        /// Not on accounts, nor paid for vouchers, nor burnt. What is left of a claim beyond whole
        /// vouchers is burnt too, and never was on an account.
        var unaccountedMoney: Int64 {
            let remainders = (mintsReclaimed - min(mintsReclaimed, reclaimed)) * 100
            return Int64(clamping: granted + deposited * 100 + remainders)
                - Int64(clamping: balances + withdrawn + burnt)
        }
    }

    private struct Mint: Decodable {
        struct Status: Decodable {
            struct Epoch: Decodable {
                var epoch: UInt32
                var issued: UInt64
                var deposited: UInt64
                var reclaimed: UInt64
            }

            var granted: UInt64
            var balances: UInt64
            var withdrawn: UInt64
            var burnt: UInt64
            var epochs: [Epoch]
        }

        var consistent: Bool
        var status: Status
    }

    private struct Tickets: Decodable {
        var outstanding: UInt64
        var bought: UInt64
        var reclaimed: UInt64
        var spent: UInt64
        var expired: UInt64
        var givenBack: UInt64

        private enum CodingKeys: String, CodingKey {
            case outstanding, bought, reclaimed, spent, expired
            case givenBack = "given_back"
        }
    }

    private struct Earnings: Decodable {
        var served: UInt64
        var credited: UInt64
        var waiting: UInt64
        var expired: UInt64
    }

    private var mints: [(name: String, report: Mint)] = []
    private var wallets: [(name: String, report: Tickets)] = []
    private var relays: [(name: String, report: Earnings)] = []
    /// Hosts of clients and relays that do not run: what they have is not in the sums.
    private var absent: [String] = []
    /// What all say together.
    private(set) var sums = Sums()

    /// Asks every node of the lab that runs.
    ///
    /// - Throws: ``LabError`` where there are no mints, or one does not answer.
    init(_ manifest: Manifest) throws(LabError) {
        // Ticks are issued, then spent, then served: asked the other way round, none is missing.
        for title in ["relay", "daemon", "mint"] {
            for host in manifest.hosts {
                for program in host.programs where program.title == title {
                    try add(program, of: host.name)
                }
            }
        }
        guard !mints.isEmpty else {
            throw LabError("there is no money in lab `\(manifest.lab)`", why: "no mint runs in it")
        }
        add()
    }

    private mutating func add(_ program: Manifest.Program, of host: String) throws(LabError) {
        guard let socket = program.socket, let process = program.process else { return }
        guard process.state == .running else {
            if program.title != "mint" { absent.append(host) }
            return
        }
        let probe = ControlProbe(socket: socket)
        switch program.title {
        case "mint": mints.append((host, try Self.ask(probe, "/v1/check", host)))
        case "daemon": wallets.append((host, try Self.ask(probe, "/v1/tickets", host)))
        default: relays.append((host, try Self.ask(probe, "/v1/earnings", host)))
        }
    }

    private static func ask<Report: Decodable>(
        _ probe: ControlProbe,
        _ path: String,
        _ host: String
    ) throws(LabError) -> Report {
        try probe.report(path, of: host, subject: "of its money")
    }

    private mutating func add() {
        // Each designated mint signs every voucher: the one that signed most has all of an epoch.
        var issued: [UInt32: UInt64] = [:]
        var deposited: [UInt32: UInt64] = [:]
        var reclaimed: [UInt32: UInt64] = [:]
        for (_, mint) in mints {
            sums.granted = max(sums.granted, mint.status.granted)
            sums.burnt = max(sums.burnt, mint.status.burnt)
            sums.withdrawn = max(sums.withdrawn, mint.status.withdrawn)
            for epoch in mint.status.epochs {
                issued[epoch.epoch] = max(issued[epoch.epoch] ?? 0, epoch.issued)
                deposited[epoch.epoch] = max(deposited[epoch.epoch] ?? 0, epoch.deposited)
                reclaimed[epoch.epoch] = max(reclaimed[epoch.epoch] ?? 0, epoch.reclaimed)
            }
        }
        sums.balances = mints.map(\.report.status.balances).min() ?? 0
        sums.issued = issued.values.reduce(0, +)
        sums.deposited = deposited.values.reduce(0, +)
        sums.mintsReclaimed = reclaimed.values.reduce(0, +)
        for (_, wallet) in wallets {
            sums.bought += wallet.bought
            sums.reclaimed += wallet.reclaimed
            sums.spent += wallet.spent
            sums.outstanding += wallet.outstanding
            sums.givenBack += wallet.givenBack
            sums.expired += wallet.expired
        }
        for (_, relay) in relays {
            sums.served += relay.served
            sums.credited += relay.credited
            sums.waiting += relay.waiting
            sums.relaysExpired += relay.expired
        }
    }

    /// What does not add up.
    func findings(isStill: Bool) -> [String] {
        var findings: [String] = []
        for (name, mint) in mints where !mint.consistent {
            findings.append("the accounts of mint \(name) are not what their rows make of them")
        }
        for (name, wallet) in wallets
        where wallet.bought + wallet.reclaimed
            != wallet.spent + wallet.outstanding + wallet.givenBack + wallet.expired
        {
            findings.append("the wallet of \(name) does not add up")
        }
        for (name, relay) in relays
        where relay.served != relay.credited + relay.waiting + relay.expired {
            findings.append("the earnings of \(name) do not add up")
        }
        if sums.deposited + sums.mintsReclaimed > sums.issued {
            findings.append(
                "\(sums.deposited) ticks were deposited and \(sums.mintsReclaimed) reclaimed,"
                    + " \(sums.issued) issued"
            )
        }
        guard absent.isEmpty else {
            if isStill {
                findings.append(
                    "\(absent.joined(separator: ", ")) do not run: their books are not counted"
                )
            }
            return findings
        }
        if sums.served > sums.spent {
            findings.append("relays served \(sums.served) ticks, clients spent \(sums.spent)")
        }
        guard isStill else { return findings }
        let pairs: [(String, UInt64, UInt64)] = [
            ("issued and in wallets", sums.issued, sums.bought + sums.reclaimed),
            ("given back and reclaimed", sums.givenBack, sums.mintsReclaimed),
            ("credited and deposited", sums.credited, sums.deposited),
        ]
        for (what, left, right) in pairs where left != right {
            findings.append("\(what): \(left) and \(right) ticks")
        }
        for (name, mint) in mints where mint.status.balances != sums.balances {
            findings.append(
                "mint \(name) has \(mint.status.balances) on accounts, another \(sums.balances)"
            )
        }
        if sums.unaccounted != 0 {
            findings.append("of what was issued \(sums.unaccounted) ticks are nowhere")
        }
        if sums.unaccountedMoney != 0 {
            findings.append("of the money \(sums.unaccountedMoney) hundredths are nowhere")
        }
        return findings
    }
}
