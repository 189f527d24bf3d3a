/// What a client's daemon shows of its circuits, and does with one of them by hand.
///
/// Every call may come from any task, and several at a time.
public protocol CircuitService: Sendable {
    /// Measures every hop of a circuit: round trips, queues, and what each segment loses.
    ///
    /// `request` is within its bounds.
    func trace(_ request: TraceRequest) async throws(Failure) -> TraceReport

    /// Who knows what of a circuit.
    func explain(_ circuit: UInt64) async throws(Failure) -> ExplainReport

    /// Replaces the circuit in use by another one to the same exit; returns once that carries
    /// packets.
    func newCircuit() async throws(Failure) -> CircuitsReport

    /// Closes a circuit; what it carries moves to another one.
    func closeCircuit(_ id: UInt64) async throws(Failure) -> CircuitsReport

    /// The state now, after every change, and once a second, until the daemon stops or the reader
    /// does. A slow reader misses the older ones.
    func stateUpdates() async -> AsyncStream<StateUpdate>

    /// Looks at whether anything leaves this machine around the tunnel.
    func leakTest() async -> LeakReport
}

/// One message of the state stream, `GET /v1/stream`: its name is the event's, its JSON the data.
public enum StateUpdate: Sendable {
    /// `status`: the daemon's state.
    case status(StatusReport)
    /// `circuits`: its circuits.
    case circuits(CircuitsReport)
    /// `event`: something that happened.
    case event(EventReport)
}
