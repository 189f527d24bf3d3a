/// Something that happened in a client's daemon: a line of `GET /v1/events`.
///
/// There is one list of events. `umbel logs` prints it, the page shows it, and the state stream
/// tells what is added.
public struct EventReport: Codable, Hashable, Sendable {
    /// What an event is about, where readers can sort it by that.
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

    /// The layout's version, ``reportSchema``.
    public var schema: Int
    /// Counts up by one with each event of a node; a gap means that some were forgotten.
    public var number: UInt64
    /// When, in milliseconds since 1970-01-01 UTC.
    public var time: UInt64
    /// How bad it is: debug, info, notice, warning, error or critical.
    public var level: String
    /// What it is about; `nil` where that is none of the kinds.
    public var kind: Kind?
    /// The circuit; `nil` where it is about none.
    public var circuit: UInt64?
    /// Names of the circuit's relays, the guard first; `nil` where it is about none.
    public var hops: [String]?
    /// What happened, in a sentence; names no address of clients, nor of what they reach.
    public var text: String

    /// Makes an event in the current schema.
    public init(
        number: UInt64,
        time: UInt64,
        level: String,
        kind: Kind? = nil,
        circuit: UInt64? = nil,
        hops: [String]? = nil,
        text: String
    ) {
        schema = reportSchema
        self.number = number
        self.time = time
        self.level = level
        self.kind = kind
        self.circuit = circuit
        self.hops = hops
        self.text = text
    }

    private enum CodingKeys: String, CodingKey {
        case schema, number, level, kind, circuit, hops, text
        case time = "time_ms"
    }
}
