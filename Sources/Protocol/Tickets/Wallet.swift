public import Base
public import CryptoPrimitives
public import Wire

/// What a client owns: its account, its vouchers, and vouchers on their way from the mints.
///
/// Sans-IO. Say what is wanted, feed replies, outcomes of work and of stores, and time; drain
/// ``nextStep()`` after each call. An order and all its secrets are on disk before anything of it is
/// sent, and the same bytes are sent again until the mints have answered: no reply that is lost
/// loses money. Not thread-safe. Spec: §A.4, §A.5.1. Bound: ``voucherLimit`` vouchers.
public struct Wallet: ~Copyable {
    /// Vouchers kept, at most.
    public static let voucherLimit = 4_096
    static let retry: TimeSpan = .seconds(2)
    static let moneyRetry: TimeSpan = .seconds(10)

    enum Table {
        static let standing: UInt8 = 20
        static let purchase: UInt8 = 21
        static let certificate: UInt8 = 22
        static let voucher: UInt8 = 23
        static let grant: UInt8 = 24
    }

    /// Something for the parent machine to do.
    public enum Step: Sendable {
        /// Put these on disk and say so by ``Wallet/stored(_:)``.
        case store(UInt64, [RecordWrite])
        /// Do key work, and bring its outcome.
        case work(WalletWork)
        /// Ask a mint; the answer comes back under the number.
        case ask(UInt64, mint: UInt8, MintRequest)
        /// Tell whoever wants to know.
        case notice(Notice)
    }

    /// Something people may want to know.
    public enum Notice: Hashable, Sendable {
        /// Vouchers came.
        case bought(Int, Denomination)
        /// The account has too little; its balance.
        case poor(Credits)
        /// A mint signed with a key it did not publish: nothing it signs is taken.
        case tagged(mint: UInt8)
        /// Another order of this account stands: the wallet was copied.
        case locked(sequence: UInt64)
        /// Ticks of old vouchers were given back as new ones.
        case reclaimed(ticks: UInt64)
        /// Money went to another account.
        case transferred(Credits, to: Bytes32)
    }

    /// Counts of ticks; `bought + reclaimed = spent + outstanding + given back + expired` at all
    /// times.
    public struct Sums: Hashable, Sendable {
        /// Of vouchers the account paid for.
        public var bought: UInt64 = 0
        /// Of vouchers that came for old ones.
        public var reclaimed: UInt64 = 0
        /// Paid to relays, of vouchers that are gone.
        public var spent: UInt64 = 0
        /// Given back to the mints for new ones.
        public var givenBack: UInt64 = 0
        /// Lost.
        public var expired: UInt64 = 0

        /// Nothing yet.
        public init() {}
    }

    enum Stage {
        case blinding
        case storing(UInt64)
        case asking
        case finishing
        case keeping(UInt64)
    }

    enum Question {
        case purchase(mint: UInt8)
        case certificate
        case grant(Bytes32, mint: UInt8)
        case inquiry(mint: UInt8)
    }

    struct Want: Hashable, Comparable {
        var denomination: Denomination
        var relay: NodeID

        /// What a circuit cannot begin without comes first: trials for middle and exit, a large one
        /// for the guard.
        ///
        /// Nothing waits for a bulk one.
        private var rank: Int {
            switch denomination {
            case .trial: 0
            case .large: 1
            case .small: 2
            case .bulk: 3
            }
        }

        static func < (lhs: Self, rhs: Self) -> Bool {
            (lhs.rank, lhs.relay) < (rhs.rank, rhs.relay)
        }
    }

    let network: NetworkID
    let key: Ed25519.SigningKey
    var random: RandomGenerator
    var tickets: TicketNetwork?
    var vouchers: [Bytes32: OwnedVoucher] = [:]
    // How far vouchers that are being spent may be shown: on disk that counts as spent.
    var marks: [Bytes32: UInt32] = [:]
    var certificates: [UInt64: OrderCertificate] = [:]
    /// The number of the account's next order.
    public internal(set) var sequence: UInt64 = 0
    /// Counts of ticks.
    public internal(set) var sums = Sums()
    var purchase: Purchase?
    var stage = Stage.blinding
    var answers = PurchaseAnswers()
    var grants: [Bytes32: (grant: MintGrant, taken: Set<UInt8>, retryAt: Instant)] = [:]
    var questions: [UInt64: Question] = [:]
    var nextNumber: UInt64 = 1
    var wants: Set<Want> = []
    // Relays a circuit waits for: what is bought for them does not rest.
    var urgent: Set<NodeID> = []
    // Relays that use up one large voucher after the other.
    var busyRelays: Set<NodeID> = []
    var candidates: [NodeID] = []
    var draft: (payment: Draft, vouchers: [OwnedVoucher])?
    var pauseUntil: Instant = .zero
    var isLocked = false
    var balances: [UInt8: Credits] = [:]
    var standings: [UInt8: UInt64] = [:]
    var steps: [Step] = []
    var keptKeys: [UInt32: [UInt8: [[UInt8]]]] = [:]

    enum Draft {
        case order(epoch: UInt32, Denomination)
        case claim(Bytes32, spent: UInt32, epoch: UInt32)
    }

    /// Makes the wallet of an account from its records; none for a new one.
    ///
    /// - Throws: ``WireError`` for a record that cannot be read.
    public init(
        network: NetworkID,
        key: Ed25519.SigningKey,
        records: [StoredRecord],
        random: consuming RandomGenerator
    ) throws(WireError) {
        self.network = network
        self.key = key
        self.random = random
        for record in records {
            var reader = ByteReader(record.value)
            switch record.table {
            case Table.standing:
                sequence = try reader.read()
                sums.bought = try reader.read()
                sums.reclaimed = try reader.read()
                sums.spent = try reader.read()
                sums.givenBack = try reader.read()
                sums.expired = try reader.read()
                try reader.finish()
            case Table.purchase:
                purchase = try Purchase(parsing: record.value, network: network)
                stage = .asking
            case Table.certificate:
                let certificate = try OrderCertificate(parsing: record.value)
                certificates[certificate.order.sequence] = certificate
            case Table.voucher:
                let voucher = try OwnedVoucher(from: &reader, network: network)
                vouchers[voucher.content.name] = voucher
            case Table.grant:
                let grant = try MintGrant(parsing: record.value)
                grants[grant.id] = (grant, [], .zero)
            default: continue
            }
        }
    }

    // MARK: Outputs

    /// Takes the next step.
    public mutating func nextStep() -> Step? {
        steps.isEmpty ? nil : steps.removeFirst()
    }

    /// When ``advance(to:at:)`` has something to do.
    public var nextDeadline: Instant {
        var deadline = Instant.distantFuture
        guard tickets != nil else { return deadline }
        if purchase != nil, case .asking = stage {
            // What is past has been looked at: whoever answered is not asked again.
            for (mint, time) in answers.retryAt where answers.replies[mint] == nil {
                deadline = min(deadline, time)
            }
        } else if !wants.isEmpty, purchase == nil, draft == nil, !isLocked {
            deadline = min(deadline, pauseUntil)
        }
        for grant in grants.values { deadline = min(deadline, grant.retryAt) }
        return deadline
    }

    /// The account's name.
    public var account: Bytes32 {
        key.publicKey
    }

    /// Ticks of vouchers nobody was shown yet, and vouchers, by denomination.
    public var fresh: [Denomination: Int] {
        var counts: [Denomination: Int] = [:]
        for voucher in vouchers.values where voucher.spent == nil {
            counts[voucher.content.denomination, default: 0] += 1
        }
        return counts
    }

    /// All vouchers, ascending by epoch.
    public var owned: [OwnedVoucher] {
        vouchers.values.sorted {
            ($0.content.epoch, $0.content.root) < ($1.content.epoch, $1.content.root)
        }
    }

    /// Ticks that can still be spent or given back.
    public var outstanding: UInt64 {
        vouchers.values.reduce(0) { $0 + UInt64($1.left) }
    }

    /// Ticks spent in all, of vouchers at hand too.
    public var spent: UInt64 {
        vouchers.values.reduce(sums.spent) { $0 + UInt64($1.spent ?? 0) }
    }

    /// The account's balance as most mints that were asked have it; `nil` before any was.
    public var balance: Credits? {
        let known = balances.values.sorted()
        return known.isEmpty ? nil : known[(known.count - 1) / 2]
    }

    /// Whether vouchers are on their way.
    public var isBuying: Bool {
        purchase != nil || draft != nil
    }

    // MARK: Commands

    /// Takes the mints as the newest consensus has them.
    ///
    /// A key that was seen before and is another now is refused with the whole value: keys of an
    /// epoch never change, so that no user can be marked by one of his own.
    public mutating func setTickets(_ new: TicketNetwork) {
        for (index, mint) in new.mints.sorted(by: { $0.key < $1.key }) {
            for (epoch, keys) in mint.keys {
                let ders = keys.map(\.der)
                if let known = keptKeys[epoch]?[index], known != ders {
                    steps.append(.notice(.tagged(mint: index)))
                    return
                }
                keptKeys[epoch, default: [:]][index] = ders
            }
        }
        tickets = new
    }

    /// Relays that vouchers beyond those wanted are bought for.
    public mutating func setCandidates(_ relays: [NodeID]) {
        candidates = relays
    }

    /// Asks for a voucher of this kind to be there.
    ///
    /// - Parameter isUrgent: whether it is to be used at once; else it rests for a while.
    public mutating func want(
        _ denomination: Denomination,
        for relay: NodeID,
        isUrgent: Bool = false
    ) {
        wants.insert(Want(denomination: denomination, relay: relay))
        if isUrgent { urgent.insert(relay) }
    }

    /// Brings money the admins gave to this account to the mints.
    public mutating func submit(_ grant: MintGrant, now: Instant) {
        guard grants[grant.id] == nil else { return }
        grants[grant.id] = (grant, [], now)
        _ = store([
            RecordWrite(table: Table.grant, key: grant.id.bytes, value: grant.encoded)
        ])
    }

    /// Asks every mint how the account stands.
    public mutating func inquire(at wall: WallTime) {
        balances = [:]
        inquireAgain(at: wall)
    }

    /// Asks those mints that did not say how the account stands and are not being asked.
    public mutating func inquireAgain(at wall: WallTime) {
        guard let tickets else { return }
        let signature = key.sign(
            MintRequest.inquiryBody(account: account, minute: wall.minute),
            label: .order,
            network: network.rawValue
        )
        for mint in tickets.mints.keys.sorted() where balances[mint] == nil {
            let isAsked = questions.values.contains {
                if case .inquiry(mint) = $0 { true } else { false }
            }
            guard !isAsked else { continue }
            ask(
                mint,
                .inquiry(mint: mint),
                .inquiry(account: account, minute: wall.minute, signature: signature)
            )
        }
    }

    // MARK: Time

    /// Lets time pass: buys what is wanted, asks again, gives back what is old.
    public mutating func advance(to now: Instant, at wall: WallTime) {
        guard let tickets else { return }
        expire(in: tickets, at: wall)
        for id in grants.keys.sorted() { push(id, in: tickets, now: now) }
        if purchase == nil, draft == nil, !isLocked, now >= pauseUntil {
            begin(in: tickets, now: now, at: wall)
        } else if purchase != nil, case .asking = stage {
            askAll(in: tickets, now: now)
        }
    }

    private mutating func push(_ id: Bytes32, in tickets: TicketNetwork, now: Instant) {
        guard let entry = grants[id], entry.retryAt <= now else { return }
        grants[id]?.retryAt = now + Self.retry
        let isAsked = questions.values.contains {
            if case .grant(id, _) = $0 { true } else { false }
        }
        guard !isAsked else { return }
        for mint in tickets.mints.keys.sorted() where !entry.taken.contains(mint) {
            ask(mint, .grant(id, mint: mint), .grant(entry.grant))
        }
    }
}
