public import Circuits
public import ClientCore
public import Wire

// What people ask of circuits by hand.
extension ClientNode {
    /// Sends a series of echoes; false where that cannot begin.
    public func ping(_ circuit: CircuitID, by series: EchoSeries, token: UInt64) -> Bool {
        defer { settle() }
        return control.ping(circuit, by: series, token: token, now: world.now)
    }

    /// What came of the series with `token`; `nil` before it is over.
    public func outcome(of token: UInt64) -> EchoSeries.Outcome? {
        for (_, notice) in notices {
            if case .pinged(token: token, let outcome) = notice { return outcome }
        }
        return nil
    }

    /// Asks a hop what it has carried; false where it cannot be asked.
    public func askReport(of hop: HopIndex, over circuit: CircuitID) -> Bool {
        defer { settle() }
        return control.askReport(of: hop, over: circuit, now: world.now)
    }

    /// Closes a circuit; false if there is none.
    public func closeCircuit(_ id: CircuitID) -> Bool {
        defer { settle() }
        return control.close(id, now: world.now)
    }

    /// What became of circuits, in order.
    public var circuitNotices: [CircuitNotice] {
        notices.compactMap { _, notice in
            if case .circuit(let change) = notice { change } else { nil }
        }
    }
}
