/// What a node knows of its network, as part of its status.
public struct DirectoryReport: Codable, Hashable, Sendable {
    /// When the document at hand began to hold, in seconds since 1970; 0 before the first one.
    public var validAfter: UInt64
    /// When it ceases to hold, in seconds since 1970; 0 before the first one.
    public var validUntil: UInt64
    /// Relays it lists.
    public var relays: Int
    /// Names of the authorities that signed it.
    public var signers: [String]
    /// Names of all authorities of the network; `nil` where the node does not say.
    public var authorities: [String]?
    /// Authorities that must have signed; `nil` where the node does not say.
    public var threshold: Int?
    /// Where it came from.
    public var source: String
    /// Whether circuits made now are paid for: it asks for pay, and has the mints' keys of this epoch.
    public var isPaid: Bool
    /// What is wrong with the authorities, such as two documents for one interval; `nil` for
    /// nothing.
    public var alarm: String?

    /// Makes a report from its parts.
    public init(
        validAfter: UInt64,
        validUntil: UInt64,
        relays: Int,
        signers: [String],
        authorities: [String]? = nil,
        threshold: Int? = nil,
        source: String,
        isPaid: Bool,
        alarm: String? = nil
    ) {
        self.validAfter = validAfter
        self.validUntil = validUntil
        self.relays = relays
        self.signers = signers
        self.authorities = authorities
        self.threshold = threshold
        self.source = source
        self.isPaid = isPaid
        self.alarm = alarm
    }

    private enum CodingKeys: String, CodingKey {
        case relays, signers, authorities, threshold, source, alarm
        case validAfter = "valid_after"
        case validUntil = "valid_until"
        case isPaid = "paid"
    }
}

/// Whether the directory lists a relay, as part of the relay's status.
public struct ListingReport: Codable, Hashable, Sendable {
    /// Whether the document at hand lists it.
    public var isListed: Bool
    /// The flags it is listed with.
    public var flags: [String]
    /// Its weight, in kilobits a second; 0 where it is not listed.
    public var weight: UInt32
    /// What each authority said of it last, by the authority's name.
    public var authorities: [String: String]
    /// Seconds that the machine's clock is behind the authorities', negative where it is ahead; `nil`
    /// before one of them told its time.
    public var clockOffsetSeconds: Int64?

    /// Seconds a relay's clock may be off: what clients send at once is judged to two minutes.
    public static let clockTolerance: Int64 = 120

    /// Whether the machine's clock shows another time than the authorities' do.
    public var hasWrongClock: Bool {
        (clockOffsetSeconds ?? 0).magnitude > UInt64(Self.clockTolerance)
    }

    /// Makes a report from its parts.
    public init(
        isListed: Bool,
        flags: [String],
        weight: UInt32,
        authorities: [String: String],
        clockOffsetSeconds: Int64? = nil
    ) {
        self.isListed = isListed
        self.flags = flags
        self.weight = weight
        self.authorities = authorities
        self.clockOffsetSeconds = clockOffsetSeconds
    }

    private enum CodingKeys: String, CodingKey {
        case flags, weight, authorities
        case isListed = "listed"
        case clockOffsetSeconds = "clock_offset_s"
    }
}

/// The state of an authority: `GET /v1/status` at its socket.
public struct AuthorityStatusReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The authority's name.
    public var name: String
    /// Its number in signatures.
    public var index: UInt8
    /// Seconds since it started.
    public var uptimeSeconds: UInt64
    /// Authorities heard of lately, this one included.
    public var met: Int
    /// Authorities there are.
    public var authorities: Int
    /// Signatures a document needs.
    public var threshold: Int
    /// Relays it knows.
    public var relaysKnown: Int
    /// Relays that answered it.
    public var relaysRunning: Int
    /// What was counted.
    public var counters: [String: UInt64]
    /// The newest document; `nil` before the first one.
    public var directory: DirectoryReport?

    /// Makes a report in the current schema.
    public init(
        name: String,
        index: UInt8,
        uptimeSeconds: UInt64,
        met: Int,
        authorities: Int,
        threshold: Int,
        relaysKnown: Int,
        relaysRunning: Int,
        counters: [String: UInt64],
        directory: DirectoryReport?
    ) {
        schema = reportSchema
        self.name = name
        self.index = index
        self.uptimeSeconds = uptimeSeconds
        self.met = met
        self.authorities = authorities
        self.threshold = threshold
        self.relaysKnown = relaysKnown
        self.relaysRunning = relaysRunning
        self.counters = counters
        self.directory = directory
    }

    private enum CodingKeys: String, CodingKey {
        case schema, name, index, met, authorities, threshold, counters, directory
        case uptimeSeconds = "uptime_s"
        case relaysKnown = "relays_known"
        case relaysRunning = "relays_running"
    }
}

/// Asks for round trips to exits: `POST /v1/exits/measure`.
public struct ExitSurveyRequest: Codable, Hashable, Sendable {
    /// The most exits one request may ask for.
    public static let countLimit = 32

    /// Countries they stand in, two letters each; empty for any.
    public var countries: [String]
    /// How many, the heaviest first: 1 to ``countLimit``.
    public var count: Int

    /// Makes a request from its parts.
    public init(countries: [String] = [], count: Int) {
        self.countries = countries
        self.count = count
    }
}

/// A relay as `umbel relays` and `umbel exits` list it: `GET /v1/relays`.
public struct RelayListReport: Codable, Hashable, Sendable {
    /// One relay.
    public struct Relay: Codable, Hashable, Sendable {
        /// Its name.
        public var nickname: String
        /// Its identifier, 64 hexadecimal digits.
        public var id: String
        /// Its country, two letters, or `??`.
        public var country: String
        /// Its flags.
        public var flags: [String]
        /// Where it answers.
        public var addresses: [String]
        /// Its share of traffic relative to others, in kilobits a second.
        public var weight: UInt32
        /// Its family, or empty.
        public var family: String
        /// The autonomous system it stands in; `nil` where that is not known.
        public var autonomousSystem: UInt32?
        /// The round trip through this client's circuits to it as their exit, in milliseconds; `nil`
        /// where there was none.
        public var roundTripMilliseconds: Double?
        /// How long the last circuit to it as exit took to build, in milliseconds; `nil` where
        /// there was none.
        public var buildMilliseconds: Double?

        private enum CodingKeys: String, CodingKey {
            case nickname, id, country, flags, addresses, weight, family
            case autonomousSystem = "as"
            case roundTripMilliseconds = "round_trip_ms"
            case buildMilliseconds = "build_ms"
        }

        /// Makes a relay from its parts.
        public init(
            nickname: String,
            id: String,
            country: String,
            flags: [String],
            addresses: [String],
            weight: UInt32,
            family: String,
            autonomousSystem: UInt32? = nil,
            roundTripMilliseconds: Double? = nil,
            buildMilliseconds: Double? = nil
        ) {
            self.autonomousSystem = autonomousSystem
            self.roundTripMilliseconds = roundTripMilliseconds
            self.buildMilliseconds = buildMilliseconds
            self.nickname = nickname
            self.id = id
            self.country = country
            self.flags = flags
            self.addresses = addresses
            self.weight = weight
            self.family = family
        }
    }

    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The relays, the heaviest first.
    public var relays: [Relay]

    /// Makes a report in the current schema.
    public init(relays: [Relay]) {
        schema = reportSchema
        self.relays = relays
    }
}
