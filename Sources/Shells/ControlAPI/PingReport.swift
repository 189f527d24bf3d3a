/// Which hops of the current circuit to ping, and how often: `POST /v1/ping`.
public struct PingRequest: Codable, Hashable, Sendable {
    /// The most pings one request may ask for.
    public static let countLimit = 100

    /// The hop, 1 for the guard; `nil` for all of them.
    public var hop: Int?
    /// Pings to send to each: 1 to ``countLimit``.
    public var count: Int

    /// Makes a request from its parts.
    public init(hop: Int? = nil, count: Int) {
        self.hop = hop
        self.count = count
    }
}

/// The round trips to the hops of a circuit.
public struct PingReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The hops that were pinged, guard first.
    public var hops: [Hop]

    /// The round trips to one hop.
    public struct Hop: Codable, Hashable, Sendable {
        /// 1 for the guard, rising towards the exit.
        public var position: Int
        /// The relay's name.
        public var nickname: String
        /// Pings sent.
        public var sent: Int
        /// Pings answered.
        public var received: Int
        /// Shortest round trip in milliseconds; `nil` without an answer.
        public var minimum: Double?
        /// Mean round trip in milliseconds; `nil` without an answer.
        public var average: Double?
        /// Longest round trip in milliseconds; `nil` without an answer.
        public var maximum: Double?

        /// Makes a hop's result from the round trips in milliseconds that came back.
        public init(position: Int, nickname: String, sent: Int, roundTrips: [Double]) {
            self.position = position
            self.nickname = nickname
            self.sent = sent
            received = roundTrips.count
            minimum = roundTrips.min()
            maximum = roundTrips.max()
            average =
                roundTrips.isEmpty ? nil : roundTrips.reduce(0, +) / Double(roundTrips.count)
        }

        private enum CodingKeys: String, CodingKey {
            case position, nickname, sent, received
            case minimum = "min_ms"
            case average = "avg_ms"
            case maximum = "max_ms"
        }
    }

    /// Makes a report in the current schema.
    public init(hops: [Hop]) {
        schema = reportSchema
        self.hops = hops
    }
}
