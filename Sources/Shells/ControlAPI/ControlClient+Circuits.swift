import NIOHTTP1

// Questions about circuits.
extension ControlClient {
    /// Measures a circuit hop by hop.
    public func trace(_ request: TraceRequest) async throws(Failure) -> TraceReport {
        // Echoes, what is lost of them, and what hops say before and afterwards.
        let sending = Duration.milliseconds(Int(Double(max(request.count, 0)) * request.interval))
        let patience = Duration.milliseconds(Int(request.patience))
        return try await send(
            .POST,
            "/v1/trace",
            request,
            within: sending + patience * 3 + Self.timeout * 4
        )
    }

    /// Who knows what of a circuit.
    public func explain(_ circuit: UInt64) async throws(Failure) -> ExplainReport {
        try await send(.GET, "/v1/circuits/\(circuit)/explain")
    }

    /// Replaces the circuit in use.
    public func newCircuit() async throws(Failure) -> CircuitsReport {
        try await order(.POST, "/v1/circuits")
    }

    /// Closes a circuit.
    public func closeCircuit(_ id: UInt64) async throws(Failure) -> CircuitsReport {
        try await send(.DELETE, "/v1/circuits/\(id)")
    }

    /// Looks at whether anything leaves the machine around the tunnel.
    public func leakTest() async throws(Failure) -> LeakReport {
        try await order(.POST, "/v1/leaktest")
    }
}
