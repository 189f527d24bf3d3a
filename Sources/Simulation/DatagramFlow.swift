public import Base

/// UDP packets a client's host sends at a steady rate; hosts behind exits answer each of them.
public final class DatagramFlow {
    /// What a flow is like.
    public struct Settings: Sendable {
        /// Time between packets.
        public var interval: TimeSpan = .milliseconds(20)
        /// Time before the first of them.
        public var delay: TimeSpan = .zero
        /// Packets in all.
        public var count: UInt32 = 100
        /// Packets sent at once each time.
        public var burst: UInt32 = 1
        /// Bytes of a packet's payload.
        public var byteCount = 200
        /// Bytes of an answer's payload.
        public var answerByteCount = 300
        /// Whether it goes over IPv6.
        public var isV6 = false
        /// Whether both ends understand marks of congestion (ECT).
        public var understandsMarks = false

        /// A hundred packets in two seconds.
        public init() {}
    }

    /// Its number, unique in its world; also its client's port less 1,024.
    public let id: UInt32
    /// What it is like.
    public let settings: Settings
    /// Packets sent by the client's host.
    public internal(set) var sentCount: UInt32 = 0
    /// Packets that reached the host behind the exit.
    public internal(set) var arrivedCount: UInt32 = 0
    /// Answers that came back.
    public internal(set) var answeredCount: UInt32 = 0
    /// Packets that reached the host behind the exit marked.
    public internal(set) var markedArrivalCount: UInt32 = 0
    /// Answers that came back marked.
    public internal(set) var markedAnswerCount: UInt32 = 0
    /// Numbers of the packets that reached the host behind the exit.
    public internal(set) var arrivals = NumberSet()
    /// Addresses it was seen from behind exits, in order.
    public internal(set) var leases: [IPAddress] = []
    /// When the last answer came.
    public internal(set) var lastAnswer: Instant?
    /// The longest time between two answers.
    public internal(set) var longestGap: TimeSpan = .zero
    /// When the first packet was sent.
    private(set) var firstSent: Instant?
    // Of the last packets; those before them are not waited for any more.
    private var sentAt: [Instant] = []
    var due: Instant

    private static let memory = 1_024

    init(id: UInt32, settings: Settings, start: Instant) {
        self.id = id
        self.settings = settings
        due = start + settings.delay
    }

    /// Whether everything has been sent.
    public var isSent: Bool { sentCount == settings.count }

    /// A packet leaves at `now`.
    func noteSent(at now: Instant) {
        if firstSent == nil { firstSent = now }
        if sentAt.count < Self.memory {
            sentAt.append(now)
        } else {
            sentAt[Int(sentCount) % Self.memory] = now
        }
        sentCount += 1
    }

    /// When packet `number` was sent; `nil` where that was too long ago.
    func sent(_ number: UInt32) -> Instant? {
        guard number < sentCount, sentCount - number <= Self.memory else { return nil }
        return sentAt[Int(number) % Self.memory]
    }

    // Flows of one client are far fewer than ports.
    var port: UInt16 { UInt16(1_024 + id % 60_000) }
    var nextDeadline: Instant { isSent ? .distantFuture : due }
}
