public import Base

/// UDP packets a client's host sends at a steady rate; hosts behind exits answer each of them.
public final class DatagramFlow {
    /// What a flow is like.
    public struct Settings: Sendable {
        /// Time between packets.
        public var interval: TimeSpan = .milliseconds(20)
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
    public internal(set) var arrivals: Set<UInt32> = []
    /// Addresses it was seen from behind exits, in order.
    public internal(set) var leases: [IPAddress] = []
    /// When the last answer came.
    public internal(set) var lastAnswer: Instant?
    /// The longest time between two answers.
    public internal(set) var longestGap: TimeSpan = .zero
    var sentAt: [Instant] = []
    var due: Instant

    init(id: UInt32, settings: Settings, start: Instant) {
        self.id = id
        self.settings = settings
        due = start
    }

    /// Whether everything has been sent.
    public var isSent: Bool { sentCount == settings.count }

    var port: UInt16 { UInt16(1_024 + id) }
    var nextDeadline: Instant { isSent ? .distantFuture : due }
}
