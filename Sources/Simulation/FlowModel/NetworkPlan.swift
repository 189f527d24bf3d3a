public import Wire

/// What a large network is drawn from.
public struct NetworkPlan: Sendable {
    /// Relays.
    public var relayCount = 1_000
    /// Share of relays that are fit to be guards, 0 to 1.
    public var guardShare = 0.5
    /// Share of relays that are exits, 0 to 1; those are not guards.
    public var exitShare = 0.2
    /// Lines of relays, in bits a second each way.
    public var bandwidth = LogNormal(median: 50e6, spread: 1.2, least: 1e6, most: 10e9)
    /// Autonomous systems; the one of rank k has relays in proportion to k^-``systemExponent``.
    public var systemCount = 100
    /// How uneven systems are.
    public var systemExponent = 1.0
    /// IPv4 /16 of each system.
    public var subnetsPerSystem = 4
    /// Share of relays whose operator runs several, 0 to 1.
    public var familyShare = 0.3
    /// Relays of such an operator.
    public var familySize = 4
    /// How long relays stay up; `nil` for ever.
    public var uptime: Uptime?
    /// Where relays and clients are.
    public var countries: [Country] = []
    /// Clients.
    public var clientCount = 10_000
    /// What clients do.
    public var load = Load()
    /// Time of a datagram between two machines of one place, in seconds.
    public var latencyBase = 0.002
    /// What every 1,000 km add, in seconds.
    public var latencyPerMegametre = 0.0075
    /// Key work of a hop at a relay, in seconds.
    public var relayKeyWork = 162e-6
    /// Key work of a client for a whole circuit, in seconds.
    public var clientKeyWork = 453e-6
    /// Virtual time, in seconds.
    public var duration = 3_600.0
    /// Time in which circuits share lines as they are, in seconds.
    public var step = 10.0
    /// Age at which new flows go to another circuit, in seconds.
    public var rotation = 600.0
    /// Whether relays are paid.
    public var paysRelays = true
    /// Clients that are followed through a year for their guards.
    public var guardClientCount = 2_000
    /// What the directory says.
    public var parameters = NetworkParameters()

    /// A thousand relays of one place.
    public init() {}

    /// A distribution whose logarithm is normal, cut at both ends.
    public struct LogNormal: Sendable, Hashable {
        /// Half of all are below.
        public var median: Double
        /// Standard deviation of the natural logarithm.
        public var spread: Double
        /// The least there is.
        public var least: Double
        /// The most there is.
        public var most: Double

        /// Takes the numbers over.
        public init(median: Double, spread: Double, least: Double, most: Double) {
            self.median = median
            self.spread = spread
            self.least = least
            self.most = most
        }
    }

    /// How relays come and go.
    public struct Uptime: Sendable, Hashable {
        /// Mean time up, in seconds.
        public var mean: Double
        /// Shape of the Weibull distribution of times up: below 1 many short and few long ones.
        public var shape: Double
        /// Mean time down, exponential, in seconds.
        public var down: Double
        /// Share of relays that leave for good within a year, 0 to 1.
        public var leaving: Double

        /// Takes the numbers over.
        public init(mean: Double, shape: Double, down: Double, leaving: Double) {
            self.mean = mean
            self.shape = shape
            self.down = down
            self.leaving = leaving
        }
    }

    /// A country with its part of relays and clients.
    public struct Country: Sendable, Hashable {
        /// Its code.
        public var code: CountryCode
        /// Its part of all relays, against the others'.
        public var relays: Double
        /// Its part of all clients, against the others'.
        public var clients: Double
        /// Degrees north.
        public var latitude: Double
        /// Degrees east.
        public var longitude: Double

        /// Takes the numbers over.
        public init(
            code: CountryCode,
            relays: Double,
            clients: Double,
            latitude: Double,
            longitude: Double
        ) {
            self.code = code
            self.relays = relays
            self.clients = clients
            self.latitude = latitude
            self.longitude = longitude
        }
    }

    /// What a client sends.
    public struct Load: Sendable, Hashable {
        /// Whether cells follow the slots of `mix`, whatever there is to send.
        public var isMix = false
        /// Cells a second each way: on average in `fast`, always in `mix`.
        public var cellsPerSecond = 2.0
        /// In `fast`, the share of time a client sends at all, 0 to 1.
        public var activeShare = 0.1

        /// Two cells a second each way.
        public init() {}
    }

    /// Bytes of a cell on the wire, IPv4 and UDP headers included.
    public static let wireByteCount = 1_392 + 28
    /// The most relays a plan may have, for their indexes take 16 bits.
    public static let relayLimit = 60_000
}
