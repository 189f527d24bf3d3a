/// What a relay carries, and what its operator lets it carry.
public struct RelayLineReport: Codable, Hashable, Sendable {
    /// Whether new circuits are taken.
    public enum State: String, Codable, Sendable {
        /// They are.
        case serving
        /// They are refused until the operator says otherwise.
        case draining
        /// The quota of the period is used up.
        case quotaUsedUp = "quota_used_up"
        /// It is not one of the hours in which the relay serves.
        case closed
    }

    /// Whether new circuits are taken.
    public var state: State
    /// Bytes sent since it started, headers of UDP and IP included.
    public var bytesSent: UInt64
    /// Bytes received since it started, likewise.
    public var bytesReceived: UInt64
    /// Bits a second sent, over the last ten seconds.
    public var bitRateSent: UInt64
    /// Bits a second received, over the last ten seconds.
    public var bitRateReceived: UInt64
    /// Bits a second it may send; `nil` for any number.
    public var limitSent: UInt64?
    /// Bits a second it may receive; `nil` for any number.
    public var limitReceived: UInt64?
    /// Bytes of cells and packets that wait in it.
    public var bytesWaiting: Int
    /// The quota of bytes; `nil` where there is none.
    public var quota: Quota?
    /// Bytes of memory its process uses.
    public var memoryBytes: UInt64

    /// How far a quota is used up.
    public struct Quota: Codable, Hashable, Sendable {
        /// Bytes that counted in this period.
        public var usedBytes: UInt64
        /// Bytes it has.
        public var limitBytes: UInt64
        /// When the next period begins, in seconds since 1970-01-01 UTC.
        public var ends: UInt64

        /// Puts it together.
        public init(usedBytes: UInt64, limitBytes: UInt64, ends: UInt64) {
            self.usedBytes = usedBytes
            self.limitBytes = limitBytes
            self.ends = ends
        }

        private enum CodingKeys: String, CodingKey {
            case ends
            case usedBytes = "used_bytes"
            case limitBytes = "limit_bytes"
        }
    }

    /// Puts a report together.
    public init(
        state: State,
        bytesSent: UInt64,
        bytesReceived: UInt64,
        bitRateSent: UInt64,
        bitRateReceived: UInt64,
        limitSent: UInt64?,
        limitReceived: UInt64?,
        bytesWaiting: Int,
        quota: Quota?,
        memoryBytes: UInt64
    ) {
        self.state = state
        self.bytesSent = bytesSent
        self.bytesReceived = bytesReceived
        self.bitRateSent = bitRateSent
        self.bitRateReceived = bitRateReceived
        self.limitSent = limitSent
        self.limitReceived = limitReceived
        self.bytesWaiting = bytesWaiting
        self.quota = quota
        self.memoryBytes = memoryBytes
    }

    private enum CodingKeys: String, CodingKey {
        case state, quota
        case bytesSent = "bytes_sent"
        case bytesReceived = "bytes_received"
        case bitRateSent = "bit_rate_sent"
        case bitRateReceived = "bit_rate_received"
        case limitSent = "limit_sent"
        case limitReceived = "limit_received"
        case bytesWaiting = "bytes_waiting"
        case memoryBytes = "memory_bytes"
    }
}

/// Asks a relay to take no new circuits: `POST /v1/drain`.
public struct DrainRequest: Codable, Hashable, Sendable {
    /// The longest a relay waits.
    public static let secondsLimit = 3_600

    /// Whether it is to drain; where not, it serves again.
    public var isDraining: Bool
    /// Seconds it waits for circuits to end by themselves before it ends them.
    public var seconds: Int

    /// Makes a request.
    public init(isDraining: Bool, seconds: Int) {
        self.isDraining = isDraining
        self.seconds = seconds
    }

    private enum CodingKeys: String, CodingKey {
        case seconds
        case isDraining = "draining"
    }
}

/// A relay's new circuit key: `POST /v1/keys`.
public struct KeyRotationReport: Codable, Hashable, Sendable {
    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// Until which minute since 1970 it is used.
    public var expiryMinute: UInt32

    /// Makes a report in the current schema.
    public init(expiryMinute: UInt32) {
        schema = reportSchema
        self.expiryMinute = expiryMinute
    }

    private enum CodingKeys: String, CodingKey {
        case schema
        case expiryMinute = "expiry_minute"
    }
}
