/// Which hops of the current circuit to ping, and how often: `POST /v1/ping`.
public struct PingRequest: Codable, Hashable, Sendable {
    /// The most pings one request may ask for.
    public static let countLimit = 1_000
    /// Milliseconds from one ping to the next, where the request does not say.
    public static let defaultInterval = 100.0

    /// The hop, 1 for the guard; `nil` for all of them.
    public var hop: Int?
    /// Pings to send to each: 1 to ``countLimit``.
    public var count: Int
    /// The circuit; `nil` for the one in use.
    public var circuit: UInt64?

    /// Makes a request from its parts.
    public init(hop: Int? = nil, count: Int, circuit: UInt64? = nil) {
        self.circuit = circuit
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
        /// What 99 of 100 round trips do not exceed, in milliseconds; `nil` without an answer.
        public var percentile99: Double?
        /// Longest round trip in milliseconds; `nil` without an answer.
        public var maximum: Double?
        /// The part of the pings that was not answered, 0 to 1.
        public var loss: Double

        /// Makes a hop's result from the round trips in milliseconds that came back.
        public init(position: Int, nickname: String, sent: Int, roundTrips: [Double]) {
            self.position = position
            self.nickname = nickname
            self.sent = sent
            received = roundTrips.count
            let judged = RoundTrips(roundTrips)
            minimum = judged.minimum
            average = judged.average
            percentile99 = judged.percentile99
            maximum = judged.maximum
            loss = sent > 0 ? Double(sent - min(sent, roundTrips.count)) / Double(sent) : 0
        }

        private enum CodingKeys: String, CodingKey {
            case position, nickname, sent, received, loss
            case percentile99 = "p99_ms"
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
