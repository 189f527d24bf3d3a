/// A client's account with the mints: `GET /v1/account`.
public struct AccountReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The account's name, its public key: 64 hexadecimal digits.
    public var account: String
    /// What it may spend, in hundredths of ticks, as most mints have it; `nil` where none answered.
    public var balance: UInt64?
    /// The number of its next order.
    public var sequence: UInt64
    /// Whether an order is on its way.
    public var isBuying: Bool
    /// Grants that not all mints have taken yet.
    public var grantsWaiting: Int
    /// What went wrong last, for people; `nil` for nothing.
    public var problem: String?

    /// Makes a report in the current schema.
    public init(
        account: String,
        balance: UInt64?,
        sequence: UInt64,
        isBuying: Bool,
        grantsWaiting: Int,
        problem: String?
    ) {
        schema = reportSchema
        self.account = account
        self.balance = balance
        self.sequence = sequence
        self.isBuying = isBuying
        self.grantsWaiting = grantsWaiting
        self.problem = problem
    }

    private enum CodingKeys: String, CodingKey {
        case schema, account, balance, sequence, problem
        case isBuying = "buying"
        case grantsWaiting = "grants_waiting"
    }
}

/// A client's vouchers: `GET /v1/tickets`.
public struct TicketsReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// Ticks that can still be spent or given back.
    public var outstanding: UInt64
    /// Ticks of vouchers the account paid for.
    public var bought: UInt64
    /// Ticks of vouchers that came for old ones.
    public var reclaimed: UInt64
    /// Ticks paid to relays.
    public var spent: UInt64
    /// Ticks given back to the mints for new vouchers.
    public var givenBack: UInt64
    /// Ticks lost.
    public var expired: UInt64
    /// The epoch that runs; `nil` before there are mints.
    public var epoch: UInt32?
    /// The vouchers, those that expire first before the others.
    public var vouchers: [Voucher]
    /// Messages about pay to and from relays since the daemon began; `nil` where it does not tell.
    public var payMessages: UInt64?
    /// Bytes of these messages in cells.
    public var payBytes: UInt64?

    /// Whether nothing is missing: bought + reclaimed = spent + outstanding + given back + expired.
    public var addsUp: Bool {
        bought + reclaimed == spent + outstanding + givenBack + expired
    }

    /// One voucher.
    public struct Voucher: Codable, Hashable, Sendable {
        /// The relay it pays, 64 hexadecimal digits.
        public var relay: String
        /// The relay's name; `nil` where the consensus lists it no more.
        public var nickname: String?
        /// Its size: T, S, L or B.
        public var denomination: String
        /// Ticks it had.
        public var ticks: UInt32
        /// Ticks spent; `nil` while nobody was shown it.
        public var spent: UInt32?
        /// The epoch it was issued in.
        public var epoch: UInt32
        /// When relays take it no more, in seconds since 1970-01-01 UTC.
        public var expires: UInt64

        /// Puts a voucher together.
        public init(
            relay: String,
            nickname: String?,
            denomination: String,
            ticks: UInt32,
            spent: UInt32?,
            epoch: UInt32,
            expires: UInt64
        ) {
            self.relay = relay
            self.nickname = nickname
            self.denomination = denomination
            self.ticks = ticks
            self.spent = spent
            self.epoch = epoch
            self.expires = expires
        }
    }

    /// Makes a report in the current schema.
    public init(
        outstanding: UInt64,
        bought: UInt64,
        reclaimed: UInt64,
        spent: UInt64,
        givenBack: UInt64,
        expired: UInt64,
        epoch: UInt32?,
        vouchers: [Voucher],
        payMessages: UInt64? = nil,
        payBytes: UInt64? = nil
    ) {
        schema = reportSchema
        self.outstanding = outstanding
        self.bought = bought
        self.reclaimed = reclaimed
        self.spent = spent
        self.givenBack = givenBack
        self.expired = expired
        self.epoch = epoch
        self.vouchers = vouchers
        self.payMessages = payMessages
        self.payBytes = payBytes
    }

    private enum CodingKeys: String, CodingKey {
        case schema, outstanding, bought, reclaimed, spent, expired, epoch, vouchers
        case givenBack = "given_back"
        case payMessages = "pay_messages"
        case payBytes = "pay_bytes"
    }
}

/// What to buy: `POST /v1/tickets/buy`.
public struct BuyRequest: Codable, Hashable, Sendable {
    /// Size: T, S, L or B.
    public var denomination: String
    /// The relay to pay, by name or by the beginning of its identifier; `nil` for those a circuit
    /// may take.
    public var relay: String?

    /// Makes a request from its parts.
    public init(denomination: String, relay: String?) {
        self.denomination = denomination
        self.relay = relay
    }
}

/// A grant for the account: `POST /v1/account/grant`.
public struct GrantSubmission: Codable, Hashable, Sendable {
    /// The signed grant as hexadecimal digits.
    public var grant: String

    /// Makes a request from its part.
    public init(grant: String) {
        self.grant = grant
    }
}

/// Money for another account: `POST /v1/account/transfer`.
public struct TransferRequest: Codable, Hashable, Sendable {
    /// The other account, 64 hexadecimal digits.
    public var to: String
    /// How much, in hundredths of ticks.
    public var amount: UInt64

    /// Makes a request from its parts.
    public init(to: String, amount: UInt64) {
        self.to = to
        self.amount = amount
    }
}

/// A wallet sealed under a key: `POST /v1/tickets/backup` brings the key, its answer the wallet.
public struct WalletBackup: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The key of 32 bytes, 64 hexadecimal digits; empty in an answer.
    public var key: String
    /// The sealed wallet as hexadecimal digits; empty in a question.
    public var sealed: String

    /// Makes a backup from its parts.
    public init(key: String = "", sealed: String = "") {
        schema = reportSchema
        self.key = key
        self.sealed = sealed
    }
}

/// What the mints' signed totals say: `GET /v1/tickets/audit`.
public struct AuditReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The epochs, ascending.
    public var epochs: [Epoch]

    /// Whether no mint saw more come back than it signed.
    public var holds: Bool {
        epochs.allSatisfy { $0.mints.allSatisfy(\.holds) }
    }

    /// One epoch as each mint saw it.
    public struct Epoch: Codable, Hashable, Sendable {
        /// The epoch.
        public var epoch: UInt32
        /// What each mint signed and said of it.
        public var mints: [Mint]

        /// Takes both over.
        public init(epoch: UInt32, mints: [Mint]) {
            self.epoch = epoch
            self.mints = mints
        }
    }

    /// What one mint says of one epoch, in ticks.
    public struct Mint: Codable, Hashable, Sendable {
        /// Its index.
        public var index: Int
        /// Whether it signs the epoch's vouchers.
        public var isDesignated: Bool
        /// Ticks of vouchers it signed.
        public var issued: UInt64
        /// Ticks deposited with it.
        public var deposited: UInt64
        /// Ticks given back.
        public var reclaimed: UInt64

        /// Whether no more came back than was signed.
        public var holds: Bool {
            !isDesignated || deposited + reclaimed <= issued
        }

        /// Takes all over.
        public init(
            index: Int,
            isDesignated: Bool,
            issued: UInt64,
            deposited: UInt64,
            reclaimed: UInt64
        ) {
            self.index = index
            self.isDesignated = isDesignated
            self.issued = issued
            self.deposited = deposited
            self.reclaimed = reclaimed
        }

        private enum CodingKeys: String, CodingKey {
            case index, issued, deposited, reclaimed
            case isDesignated = "designated"
        }
    }

    /// Makes a report in the current schema.
    public init(epochs: [Epoch]) {
        schema = reportSchema
        self.epochs = epochs
    }
}

/// What a relay earned: `GET /v1/earnings`.
public struct EarningsReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The account that is credited: the relay's identifier.
    public var account: String
    /// Ticks clients paid.
    public var served: UInt64
    /// Of those, on record with a mint at least.
    public var deposited: UInt64
    /// Of those, on record with enough mints: money.
    public var credited: UInt64
    /// Not deposited in time, and lost.
    public var expired: UInt64
    /// Still to be credited.
    public var waiting: UInt64
    /// Vouchers taken.
    public var vouchers: UInt64
    /// Thousandths of a deposit that are burnt; `nil` before there is a consensus.
    public var burnPerMille: UInt32?
    /// What went wrong with the last deposit, by mint; empty for nothing.
    public var problems: [String: String]
    /// The same by the day clients paid, ascending.
    public var days: [Day]

    /// What was earned on one day.
    public struct Day: Codable, Hashable, Sendable {
        /// Days since 1970-01-01 UTC.
        public var day: UInt32
        /// Ticks clients paid on it.
        public var served: UInt64
        /// Of those, on record with a mint at least.
        public var deposited: UInt64
        /// Of those, money.
        public var credited: UInt64
        /// Lost.
        public var expired: UInt64

        /// Takes all over.
        public init(
            day: UInt32,
            served: UInt64,
            deposited: UInt64,
            credited: UInt64,
            expired: UInt64
        ) {
            self.day = day
            self.served = served
            self.deposited = deposited
            self.credited = credited
            self.expired = expired
        }
    }

    /// Whether nothing is missing: served = credited + waiting + expired.
    public var addsUp: Bool {
        served == credited + waiting + expired
    }

    /// Makes a report in the current schema.
    public init(
        account: String,
        served: UInt64,
        deposited: UInt64,
        credited: UInt64,
        expired: UInt64,
        waiting: UInt64,
        vouchers: UInt64,
        burnPerMille: UInt32?,
        problems: [String: String],
        days: [Day]
    ) {
        schema = reportSchema
        self.account = account
        self.days = days
        self.served = served
        self.deposited = deposited
        self.credited = credited
        self.expired = expired
        self.waiting = waiting
        self.vouchers = vouchers
        self.burnPerMille = burnPerMille
        self.problems = problems
    }

    private enum CodingKeys: String, CodingKey {
        case schema, account, served, deposited, credited, expired, waiting, vouchers, problems
        case days
        case burnPerMille = "burn_per_mille"
    }
}
