/// What has become of a client's circuits lately: `GET /v1/history`.
public struct EventsReport: Codable, Hashable, Sendable {
    /// Events a daemon remembers, at most.
    public static let limit = 500

    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// The events, oldest first.
    public var events: [Event]

    /// One event.
    public struct Event: Codable, Hashable, Sendable {
        /// What it is about.
        public enum Kind: String, Codable, CaseIterable, Sendable {
            /// The daemon's state changed.
            case state
            /// A circuit was begun.
            case begun
            /// All hops of a circuit stand.
            case ready
            /// A circuit carries packets from now on.
            case carrying
            /// A circuit is gone.
            case ended
            /// The directory changed, or is missing.
            case directory
        }

        /// Counts up from 1.
        public var id: UInt64
        /// When, in milliseconds since 1970-01-01 UTC.
        public var time: UInt64
        /// What it is about.
        public var kind: Kind
        /// The circuit; `nil` where it is about none.
        public var circuit: UInt64?
        /// Names of the circuit's relays, the guard first; empty where it is about none.
        public var hops: [String]
        /// What happened, in a sentence.
        public var text: String

        /// Makes an event from its parts.
        public init(
            id: UInt64,
            time: UInt64,
            kind: Kind,
            circuit: UInt64? = nil,
            hops: [String] = [],
            text: String
        ) {
            self.id = id
            self.time = time
            self.kind = kind
            self.circuit = circuit
            self.hops = hops
            self.text = text
        }

        private enum CodingKeys: String, CodingKey {
            case id, kind, circuit, hops, text
            case time = "time_ms"
        }
    }

    /// Makes a report in the current schema.
    public init(events: [Event]) {
        schema = reportSchema
        self.events = events
    }
}
