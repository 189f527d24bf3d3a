/// How to look at a circuit hop by hop: `POST /v1/trace`.
public struct TraceRequest: Codable, Hashable, Sendable {
    /// The most echoes to each hop one request may ask for.
    public static let countLimit = 50_000
    /// The longest a request may take to send them, in milliseconds.
    public static let timeLimit = 60_000.0

    /// The circuit; `nil` for the one in use.
    public var circuit: UInt64?
    /// Echoes to send to each hop: 1 to ``countLimit``.
    public var count: Int
    /// Milliseconds from one to the next.
    public var interval: Double
    /// Milliseconds after which an echo is lost.
    public var patience: Double

    /// Makes a request from its parts.
    public init(
        circuit: UInt64? = nil,
        count: Int = 10,
        interval: Double = 100,
        patience: Double = 1_000
    ) {
        self.circuit = circuit
        self.count = count
        self.interval = interval
        self.patience = patience
    }

    /// What is out of bounds; `nil` where nothing is.
    public var problem: String? {
        if !(1...Self.countLimit).contains(count) {
            return "a request sends 1 to \(Self.countLimit) echoes to each hop"
        }
        if !(0.05...10_000).contains(interval) {
            return "echoes are 0.05 to 10,000 milliseconds apart"
        }
        if !(10...10_000).contains(patience) {
            return "an echo is waited for 10 to 10,000 milliseconds"
        }
        if Double(count) * interval > Self.timeLimit {
            return "a request takes a minute at most: \(count) echoes are too many so far apart"
        }
        return nil
    }

    private enum CodingKeys: String, CodingKey {
        case circuit, count
        case interval = "interval_ms"
        case patience = "patience_ms"
    }
}

/// A circuit hop by hop: how long each answers, what waits in it, what is lost on the way to it.
public struct TraceReport: Codable, Hashable, Sendable {
    /// Round trips of a hop that are told one by one, at most.
    public static let listedLimit = 1_000

    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The circuit.
    public var circuit: UInt64
    /// The hops, guard first.
    public var hops: [Hop]
    /// The stretches between the client and the hops, the client's first.
    public var segments: [Segment]
    /// What the client itself counted of the circuit.
    public var client: Counts

    /// One hop.
    public struct Hop: Codable, Hashable, Sendable {
        /// 1 for the guard, rising towards the exit.
        public var position: Int
        /// The relay's name.
        public var nickname: String
        /// The relay's country, two letters.
        public var country: String
        /// Echoes sent to it.
        public var sent: Int
        /// Echoes that came back.
        public var received: Int
        /// The round trips.
        public var roundTrips: RoundTrips
        /// The last of them in milliseconds, ``TraceReport/listedLimit`` at most.
        public var listed: [Double]
        /// What it had carried before; `nil` where it did not say.
        public var before: HopStat?
        /// What it had carried afterwards; `nil` where it did not say.
        public var after: HopStat?

        /// Makes a hop from its parts.
        public init(
            position: Int,
            nickname: String,
            country: String,
            sent: Int,
            roundTrips: [Double],
            before: HopStat?,
            after: HopStat?
        ) {
            self.position = position
            self.nickname = nickname
            self.country = country
            self.sent = sent
            received = roundTrips.count
            self.roundTrips = RoundTrips(roundTrips)
            listed = Array(roundTrips.suffix(TraceReport.listedLimit))
            self.before = before
            self.after = after
        }

        private enum CodingKeys: String, CodingKey {
            case position, nickname, country, sent, received, before, after
            case roundTrips = "round_trips"
            case listed = "listed_ms"
        }
    }

    /// What the client counted, before and afterwards.
    public struct Counts: Codable, Hashable, Sendable {
        /// Cells sent, before.
        public var sentBefore: UInt64
        /// Cells sent, afterwards.
        public var sentAfter: UInt64
        /// Cells received, before.
        public var receivedBefore: UInt64
        /// Cells received, afterwards.
        public var receivedAfter: UInt64

        /// Puts counts together.
        public init(
            sentBefore: UInt64,
            sentAfter: UInt64,
            receivedBefore: UInt64,
            receivedAfter: UInt64
        ) {
            self.sentBefore = sentBefore
            self.sentAfter = sentAfter
            self.receivedBefore = receivedBefore
            self.receivedAfter = receivedAfter
        }

        private enum CodingKeys: String, CodingKey {
            case sentBefore = "sent_before"
            case sentAfter = "sent_after"
            case receivedBefore = "received_before"
            case receivedAfter = "received_after"
        }
    }

    /// Cells that went over a segment one way.
    public struct Way: Codable, Hashable, Sendable {
        /// Cells its near end sent.
        public var sent: UInt64
        /// Cells its far end received.
        public var received: UInt64
        /// The part that was lost, 0 to 1; `nil` where nothing was sent.
        public var loss: Double?

        /// Compares both ends; counts of different moments may differ by what was on the way.
        public init(sent: UInt64, received: UInt64) {
            self.sent = sent
            self.received = received
            loss =
                sent == 0 ? nil : Double(sent - min(sent, received)) / Double(sent)
        }
    }

    /// A stretch between two neighbours, by what both ends counted.
    public struct Segment: Codable, Hashable, Sendable {
        /// The nearer end: 0 for the client, else the hop's position.
        public var from: Int
        /// The farther end.
        public var to: Int
        /// Towards the exit; `nil` where an end did not say.
        public var forward: Way?
        /// Towards the client; `nil` where an end did not say.
        public var backward: Way?

        /// Puts a segment together.
        public init(from: Int, to: Int, forward: Way?, backward: Way?) {
            self.from = from
            self.to = to
            self.forward = forward
            self.backward = backward
        }
    }

    /// Makes a report in the current schema; the segments follow from what hops and client counted.
    public init(circuit: UInt64, hops: [Hop], client: Counts) {
        schema = reportSchema
        self.circuit = circuit
        self.hops = hops
        self.client = client
        segments = Self.segments(hops, client)
    }

    /// This report and one that followed it on the same circuit, as one.
    public func joined(with later: Self) -> Self {
        guard later.circuit == circuit, later.hops.count == hops.count else { return later }
        var counts = client
        counts.sentAfter = later.client.sentAfter
        counts.receivedAfter = later.client.receivedAfter
        let joined = zip(hops, later.hops).map { earlier, later in
            var hop = Hop(
                position: earlier.position,
                nickname: earlier.nickname,
                country: earlier.country,
                sent: earlier.sent + later.sent,
                roundTrips: Array((earlier.listed + later.listed).suffix(Self.listedLimit)),
                before: earlier.before ?? later.before,
                after: later.after ?? earlier.after
            )
            hop.received = earlier.received + later.received
            return hop
        }
        return Self(circuit: circuit, hops: joined, client: counts)
    }

    private static func segments(_ hops: [Hop], _ client: Counts) -> [Segment] {
        hops.indices.map { index in
            let far = hops[index]
            var out: UInt64?
            var back: UInt64?
            if index == 0 {
                out = client.sentAfter - min(client.sentAfter, client.sentBefore)
                back = client.receivedAfter - min(client.receivedAfter, client.receivedBefore)
            } else {
                out = grown(hops[index - 1], \.forwardOut)
                back = grown(hops[index - 1], \.backwardIn)
            }
            return Segment(
                from: index,
                to: index + 1,
                forward: way(out, grown(far, \.forwardIn)),
                backward: way(grown(far, \.backwardOut), back)
            )
        }
    }

    private static func way(_ sent: UInt64?, _ received: UInt64?) -> Way? {
        guard let sent, let received else { return nil }
        return Way(sent: sent, received: received)
    }

    private static func grown(_ hop: Hop, _ count: KeyPath<HopStat, UInt32>) -> UInt64? {
        guard let before = hop.before, let after = hop.after else { return nil }
        return UInt64(after[keyPath: count] &- before[keyPath: count])
    }
}
