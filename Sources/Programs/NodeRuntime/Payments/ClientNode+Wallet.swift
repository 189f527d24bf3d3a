import Base
import ClientCore
public import ControlAPI
import CryptoPrimitives
import Directory
import EventLoop
import Store
import Tickets
import Wire

/// What a client's daemon does with money, for the command line.
extension ClientNode: WalletService {
    private static let look: Duration = .milliseconds(50)
    private static let inquiryLimit: TimeSpan = .seconds(15)
    private static let orderLimit: TimeSpan = .seconds(45)
    private static let noMints = Failure(
        "there is nobody to pay",
        why: "the consensus names no mints, or there is none yet",
        hint: "umbel status",
        exit: .temporary
    )

    /// What stands in the wallet at one moment.
    private struct Standing: Sendable {
        var account: Bytes32
        var balance: Credits?
        var sequence: UInt64
        var isBuying: Bool
        var isLocked: Bool
        var grantsWaiting: Int
        var takenGrants: Set<Bytes32>
        var noticeCount: UInt64
        var notices: [(number: UInt64, notice: Wallet.Notice)]
        var hasMints: Bool
        var threshold: Int
        var problem: String?

        /// What the wallet said after the notice with this number.
        func after(_ number: UInt64) -> [Wallet.Notice] {
            notices.filter { $0.number > number }.map(\.notice)
        }
    }

    /// Runs `body` on the control thread; `nil` where that is overrun.
    private func wallet<Value: Sendable>(
        _ body: @escaping @Sendable (inout Wallet, ClientPayments.WalletLook) -> Value
    ) async throws(Failure) -> Value {
        let value: Value? = await withCheckedContinuation { continuation in
            let once = Once<Value>(continuation)
            let isPosted = control.post(
                .payments(.wallet { wallet, look in once.resume(body(&wallet, look)) })
            )
            if !isPosted { once.resume(nil) }
        }
        guard let value else {
            throw Failure(
                "the wallet does not answer",
                why: "the daemon's control thread is overrun, or ends",
                hint: "try again",
                exit: .temporary
            )
        }
        return value
    }

    private func standing() async throws(Failure) -> Standing {
        try await wallet { Self.standing(of: &$0, $1) }
    }

    private static func standing(
        of wallet: inout Wallet,
        _ look: ClientPayments.WalletLook
    ) -> Standing {
        Standing(
            account: wallet.account,
            balance: wallet.balance,
            sequence: wallet.sequence,
            isBuying: wallet.isBuying,
            isLocked: wallet.isLockedAccount,
            grantsWaiting: wallet.grantCount,
            takenGrants: wallet.grantsTaken(by: look.tickets?.threshold ?? .max),
            noticeCount: look.notices.last?.number ?? 0,
            notices: look.notices,
            hasMints: look.tickets != nil,
            threshold: look.tickets?.threshold ?? 0,
            problem: look.problem
        )
    }

    /// Looks until `isDone` gives something, or the time is over.
    private func wait<Value: Sendable>(
        atMost limit: TimeSpan,
        _ isDone: @Sendable (Standing) throws(Failure) -> Value?
    ) async throws(Failure) -> Value? {
        let end = MonotonicClock.now() + limit
        while true {
            if let value = try isDone(try await standing()) { return value }
            guard MonotonicClock.now() < end else { return nil }
            try? await Task.sleep(for: Self.look)
        }
    }

    // MARK: Account

    /// How the account stands, asked of the mints.
    public func account() async throws(Failure) -> AccountReport {
        let threshold = try await wallet { wallet, look in
            wallet.inquire(at: look.wall)
            return look.tickets?.threshold
        }
        if let threshold {
            let end = MonotonicClock.now() + Self.inquiryLimit
            while MonotonicClock.now() < end {
                let count = try await wallet { wallet, look in
                    // A question whose circuit broke is asked again.
                    wallet.inquireAgain(at: look.wall)
                    return wallet.answeredCount
                }
                if count >= threshold { break }
                try? await Task.sleep(for: Self.look)
            }
        }
        return report(try await standing())
    }

    private func report(_ standing: Standing) -> AccountReport {
        var problem = standing.problem
        if !standing.hasMints { problem = problem ?? Self.noMints.why }
        if standing.isLocked {
            problem = "two orders stand under one number: the wallet was copied, and is locked"
        }
        return AccountReport(
            account: standing.account.hex,
            balance: standing.balance?.hundredths,
            sequence: standing.sequence,
            isBuying: standing.isBuying,
            grantsWaiting: standing.grantsWaiting,
            problem: problem
        )
    }

    /// Brings a grant to the mints, and returns once enough have taken it.
    public func submit(_ submission: GrantSubmission) async throws(Failure) -> AccountReport {
        guard let bytes = [UInt8](hex: submission.grant), let grant = try? MintGrant(parsing: bytes)
        else {
            throw Failure(
                "this is no grant",
                why: "it cannot be read",
                hint: "umbel grant show FILE",
                exit: .usage
            )
        }
        let own = try await wallet { wallet, look in
            if wallet.account == grant.account { wallet.submit(grant, now: look.now) }
            return (account: wallet.account, hasMints: look.tickets != nil)
        }
        guard own.account == grant.account else {
            throw Failure(
                "the grant is for another account",
                why: "it names \(grant.account.hex)",
                hint: "ask the admins for one that names \(own.account.hex)",
                exit: .failed
            )
        }
        guard own.hasMints else { throw Self.noMints }
        let taken = try await wait(atMost: Self.orderLimit) { standing throws(Failure) in
            standing.takenGrants.contains(grant.id) || standing.grantsWaiting == 0 ? true : nil
        }
        guard taken == true else {
            throw Failure(
                "too few mints have taken the grant",
                why: "they do not answer, or its signatures are not those of enough admins",
                hint: "umbel grant show FILE; it is tried again until all have taken it",
                exit: .temporary
            )
        }
        return try await account()
    }

    /// Gives money to another account, and returns once that stands.
    public func transfer(_ request: TransferRequest) async throws(Failure) -> AccountReport {
        guard let to = Bytes32(hex: request.to), request.amount > 0 else {
            throw Failure(
                "this is no transfer",
                why: "it names no account of 64 hexadecimal digits, or no amount",
                hint: "umbel account transfer --to ACCOUNT --ticks 100",
                exit: .usage
            )
        }
        let amount = Credits(hundredths: request.amount)
        let first = try await begin(amount, to: to).noticeCount
        let stands = try await wait(atMost: Self.orderLimit) { standing throws(Failure) in
            for notice in standing.after(first) {
                switch notice {
                case .transferred: return true
                case .poor(let balance): throw Self.poor(balance)
                case .locked: throw Self.locked
                case .bought, .tagged, .reclaimed: continue
                }
            }
            return nil
        }
        guard stands == true else { throw Self.slow("the transfer") }
        return try await account()
    }

    /// Begins a transfer, once no other order is on its way; gives how things stood then.
    private func begin(_ amount: Credits, to: Bytes32) async throws(Failure) -> Standing {
        let end = MonotonicClock.now() + Self.orderLimit
        while true {
            let (isBegun, standing) = try await wallet { wallet, look in
                let standing = Self.standing(of: &wallet, look)
                return (wallet.transfer(amount, to: to), standing)
            }
            guard standing.hasMints else { throw Self.noMints }
            guard !standing.isLocked else { throw Self.locked }
            if isBegun { return standing }
            guard MonotonicClock.now() < end else { throw Self.slow("another order") }
            try? await Task.sleep(for: Self.look)
        }
    }

    private static func poor(_ balance: Credits) -> Failure {
        Failure(
            "the account has too little",
            why: "it has \(balance) ticks",
            hint: "umbel account show; earn by a relay, or ask the admins for a grant",
            exit: .failed
        )
    }

    private static let locked = Failure(
        "the account is locked",
        why: "another order stands under the same number: a copy of this wallet is in use",
        hint: "use one copy only; umbel account new makes another account",
        exit: .failed
    )

    private static func slow(_ what: String) -> Failure {
        Failure(
            "\(what) is not through yet",
            why: "too few mints have answered; nothing is lost, it goes on by itself",
            hint: "umbel account show",
            exit: .temporary
        )
    }

    // MARK: Vouchers

    /// The vouchers at hand.
    public func tickets() async throws(Failure) -> TicketsReport {
        try await wallet { wallet, look in Self.tickets(of: &wallet, look) }
    }

    private static func tickets(
        of wallet: inout Wallet,
        _ look: ClientPayments.WalletLook
    ) -> TicketsReport {
        let sums = wallet.sums
        let seconds = look.tickets.map { UInt64($0.parameters.ticketEpochSeconds) }
        return TicketsReport(
            outstanding: wallet.outstanding,
            bought: sums.bought,
            reclaimed: sums.reclaimed,
            spent: wallet.spent,
            givenBack: sums.givenBack,
            expired: sums.expired,
            epoch: look.tickets?.epoch(at: look.wall),
            vouchers: wallet.owned.map { voucher in
                let content = voucher.content
                return TicketsReport.Voucher(
                    relay: content.relay.rawValue.hex,
                    nickname: look.view?.relay(content.relay)?.nickname,
                    denomination: content.denomination.letter,
                    ticks: content.denomination.tickCount,
                    spent: voucher.spent,
                    epoch: content.epoch,
                    expires: (UInt64(content.epoch) + 2) * (seconds ?? 0)
                )
            },
            payMessages: look.payTraffic.messageCount,
            payBytes: look.payTraffic.byteCount
        )
    }

    /// Buys vouchers, and returns once they are on disk.
    public func buy(_ request: BuyRequest) async throws(Failure) -> TicketsReport {
        guard let denomination = Denomination(letter: request.denomination) else {
            throw Failure(
                "there is no voucher of size \(request.denomination)",
                why: "there are T with 16 ticks, S with 64 and L with 1,024",
                hint: "umbel tickets buy --size S",
                exit: .usage
            )
        }
        let begun = try await begin(request, denomination)
        let bought = try await wait(atMost: Self.orderLimit) { standing throws(Failure) in
            if standing.sequence > begun.sequence { return true }
            for notice in standing.after(begun.noticeCount) {
                switch notice {
                case .poor(let balance): throw Self.poor(balance)
                case .locked: throw Self.locked
                case .tagged(let mint):
                    throw Failure(
                        "mint \(mint) signs with a key it did not publish",
                        why: "its signatures would mark this client, and are not taken",
                        hint: "umbel tickets audit; tell the operators of the network",
                        exit: .failed
                    )
                case .bought, .reclaimed, .transferred: continue
                }
            }
            return nil
        }
        guard bought == true else { throw Self.slow("the purchase") }
        return try await tickets()
    }

    /// Begins a purchase, once no other is on its way; gives how things stood then.
    private func begin(
        _ request: BuyRequest,
        _ denomination: Denomination
    ) async throws(Failure) -> Standing {
        let end = MonotonicClock.now() + Self.orderLimit
        while true {
            let (relays, isBegun, standing) = try await wallet { wallet, look in
                let relays = Self.relays(request.relay, denomination, look)
                let standing = Self.standing(of: &wallet, look)
                let isBegun = wallet.buy(denomination, for: relays, at: look.wall)
                return (relays, isBegun, standing)
            }
            guard standing.hasMints else { throw Self.noMints }
            guard !relays.isEmpty else {
                throw Failure(
                    "there is no relay \(request.relay ?? "to pay")",
                    why: "the consensus lists none by this name, or there is no consensus yet",
                    hint: "umbel relays",
                    exit: .failed
                )
            }
            guard !standing.isLocked else { throw Self.locked }
            if isBegun { return standing }
            guard MonotonicClock.now() < end else { throw Self.slow("another order") }
            try? await Task.sleep(for: Self.look)
        }
    }

    private static func relays(
        _ name: String?,
        _ denomination: Denomination,
        _ look: ClientPayments.WalletLook
    ) -> [NodeID] {
        guard let name else {
            guard let payees = look.payees else { return [] }
            switch denomination {
            case .large, .bulk: return payees.guards
            case .trial, .small: return payees.others
            }
        }
        return (look.view?.relays ?? []).filter {
            $0.nickname == name || (name.count >= 8 && $0.id.rawValue.hex.hasPrefix(name))
        }.prefix(1).map(\.id)
    }

    /// The wallet, sealed under a key.
    public func backup(_ request: WalletBackup) async throws(Failure) -> WalletBackup {
        guard let key = [UInt8](hex: request.key), key.count == 32 else {
            throw Failure(
                "there is no key to seal the backup under",
                why: "a key has 64 hexadecimal digits",
                hint: "umbel tickets backup --output FILE --passphrase-file FILE",
                exit: .usage
            )
        }
        do {
            let sealed = try WalletArchive.seal(
                seed: try KeyFile.bytes(wallet.keyPath),
                records: try wallet.store.records(),
                key: key
            )
            return WalletBackup(sealed: sealed.hex)
        } catch {
            throw Failure(
                "the wallet cannot be backed up",
                why: "\(error)",
                hint: "check the disk of the daemon's state folder",
                exit: .failed
            )
        }
    }

    /// What the mints' totals in the consensus say.
    public func audit() async throws(Failure) -> AuditReport {
        guard let consensus = await directory.document()?.consensus,
            let tickets = TicketNetwork(consensus)
        else { throw Self.noMints }
        return AuditReport(consensus.mints, tickets)
    }
}

extension AuditReport {
    /// What the totals of a consensus' mints say.
    init(_ section: MintSection, _ tickets: TicketNetwork) {
        let epochs = Set(section.announcements.flatMap { $0.totals.map(\.epoch) })
        self.init(
            epochs: epochs.sorted().map { epoch in
                let sets = (0...tickets.setVersion).flatMap {
                    tickets.designated(epoch: epoch, version: $0)
                }
                return Epoch(
                    epoch: epoch,
                    mints: section.announcements.compactMap { announcement in
                        announcement.totals.first { $0.epoch == epoch }.map {
                            let sum = MintStatusReport.Epoch($0)
                            return Mint(
                                index: Int(announcement.index),
                                isDesignated: sets.contains(announcement.index),
                                issued: sum.issued,
                                deposited: sum.deposited,
                                reclaimed: sum.reclaimed
                            )
                        }
                    }
                )
            }
        )
    }
}

extension Denomination {
    /// The letter people know it by.
    var letter: String {
        switch self {
        case .trial: "T"
        case .small: "S"
        case .large: "L"
        case .bulk: "B"
        }
    }

    /// The denomination with this letter, small or capital.
    init?(letter: String) {
        guard let found = Self.allCases.first(where: { $0.letter == letter.uppercased() }) else {
            return nil
        }
        self = found
    }
}
