/// The state of a mint: `GET /v1/status` at a mint's socket.
public struct MintStatusReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The mint's name.
    public var name: String
    /// Its index among the mints.
    public var index: Int
    /// Seconds since it started.
    public var uptimeSeconds: UInt64
    /// The epoch of vouchers that runs; `nil` before the first consensus.
    public var epoch: UInt32?
    /// Whether the consensus lists it.
    public var isListed: Bool
    /// Mints the consensus lists.
    public var mintsListed: Int
    /// Accounts it knows.
    public var accounts: Int
    /// Given by admins, in hundredths of ticks.
    public var granted: UInt64
    /// What accounts may spend, in hundredths of ticks.
    public var balances: UInt64
    /// Paid for vouchers, in hundredths of ticks.
    public var withdrawn: UInt64
    /// Burnt, in hundredths of ticks.
    public var burnt: UInt64
    /// Ticks of vouchers by epoch, ascending.
    public var epochs: [Epoch]
    /// What was counted, by name.
    public var counters: [String: UInt64]
    /// Items other mints have yet to take.
    public var gossipWaiting: Int
    /// Why the ledger cannot be written; `nil` where it can.
    public var problem: String?
    /// What each authority said to the last announcement, by name.
    public var authorities: [String: String]

    /// The vouchers of one epoch, in ticks.
    public struct Epoch: Codable, Hashable, Sendable {
        /// The epoch.
        public var epoch: UInt32
        /// Signed by this mint.
        public var issued: UInt64
        /// Paid to relays and deposited.
        public var deposited: UInt64
        /// Given back to holders.
        public var reclaimed: UInt64

        /// Takes the four over.
        public init(epoch: UInt32, issued: UInt64, deposited: UInt64, reclaimed: UInt64) {
            self.epoch = epoch
            self.issued = issued
            self.deposited = deposited
            self.reclaimed = reclaimed
        }
    }

    /// Makes a report in the current schema.
    public init(
        name: String,
        index: Int,
        uptimeSeconds: UInt64,
        epoch: UInt32?,
        isListed: Bool,
        mintsListed: Int,
        accounts: Int,
        granted: UInt64,
        balances: UInt64,
        withdrawn: UInt64,
        burnt: UInt64,
        epochs: [Epoch],
        counters: [String: UInt64],
        gossipWaiting: Int,
        problem: String?,
        authorities: [String: String]
    ) {
        schema = reportSchema
        self.name = name
        self.index = index
        self.uptimeSeconds = uptimeSeconds
        self.epoch = epoch
        self.isListed = isListed
        self.mintsListed = mintsListed
        self.accounts = accounts
        self.granted = granted
        self.balances = balances
        self.withdrawn = withdrawn
        self.burnt = burnt
        self.epochs = epochs
        self.counters = counters
        self.gossipWaiting = gossipWaiting
        self.problem = problem
        self.authorities = authorities
    }

    private enum CodingKeys: String, CodingKey {
        case schema, name, index, epoch, accounts, granted, balances, withdrawn, burnt, epochs
        case counters, problem, authorities
        case uptimeSeconds = "uptime_s"
        case isListed = "listed"
        case mintsListed = "mints_listed"
        case gossipWaiting = "gossip_waiting"
    }
}

/// Whether a mint's books agree with each other: `GET /v1/check` at a mint's socket.
public struct MintCheckReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// Whether the accounts are what grants, deposits, orders and certificates make of them.
    public var isConsistent: Bool
    /// The mint's state at the same moment.
    public var status: MintStatusReport

    /// Makes a report in the current schema.
    public init(isConsistent: Bool, status: MintStatusReport) {
        schema = reportSchema
        self.isConsistent = isConsistent
        self.status = status
    }

    private enum CodingKeys: String, CodingKey {
        case schema, status
        case isConsistent = "consistent"
    }
}
