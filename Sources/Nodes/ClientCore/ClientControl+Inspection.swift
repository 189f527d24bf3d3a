public import Base
public import Circuits
import Paths
public import Wire

/// Why a circuit was begun, or put to its present use.
public enum CircuitCause: Hashable, Sendable {
    /// Its tunnel had none.
    case first
    /// To stand ready, to the same exit by another middle.
    case spare
    /// In place of this one, for this reason.
    case replacement(of: CircuitID, reason: String)
    /// The lease before it is old: new flows begin on another one.
    case rotation
    /// The one tried before did not come to stand, for this reason.
    case retry(reason: String)
    /// Beside one whose guard takes its time.
    case slowGuard
    /// Towards another exit, while it is not known whether the one in use lives.
    case doubt
    /// To measure an exit.
    case measurement
    /// For questions to mints.
    case errands
}

/// How a circuit ended.
public struct CircuitEnd: Hashable, Sendable {
    /// The circuit.
    public let circuit: CircuitID
    /// Why.
    public let reason: String
}

/// Something that became of a circuit.
public struct CircuitNotice: Sendable {
    /// What became of it.
    public enum Change: Hashable, Sendable {
        /// It is being built.
        case begun(CircuitCause)
        /// All its hops stand, after this time.
        case ready(TimeSpan)
        /// It carries packets from now on.
        case carrying(CircuitCause)
        /// It is gone.
        case ended(reason: String)
    }

    /// The circuit.
    public let id: CircuitID
    /// The tunnel it serves.
    public let tunnel: TunnelID
    /// Names of its relays, the guard first.
    public let hops: [String]
    /// What became of it.
    public let change: Change
}

/// What a hop said it carried, and when that was heard.
public struct HopStatement: Hashable, Sendable {
    /// Its STAT.
    public let report: HopReport
    /// When it came.
    public let heard: Instant
}

// What people ask of circuits by hand: echoes, reports, an end.
extension ClientControl {
    /// Sends a series of echoes; a ``Notice/pinged(token:_:)`` tells what came of it.
    ///
    /// - Returns: false if there is no such circuit, or it is not built yet.
    public mutating func ping(
        _ id: CircuitID,
        by series: EchoSeries,
        token: UInt64,
        now: Instant
    ) -> Bool {
        guard isBuilt(id) else { return false }
        // What nobody pays for sends no echo back.
        beginPaying(id, now: now)
        commands.append(.ping(id, series, token: token))
        return true
    }

    /// Asks `hop` what it has carried; a ``Notice/reported(_:_:_:)`` brings the answer.
    ///
    /// - Returns: false if there is no such circuit, it is not built yet, or the hop has several such
    ///   questions to answer.
    public mutating func askReport(of hop: HopIndex, over id: CircuitID, now: Instant) -> Bool {
        guard isBuilt(id), let waiting = circuits[id]?.channels[hop.offset].waitingCount,
            waiting < Self.asksWaitingLimit
        else { return false }
        say(.reportAsk, to: hop, over: id, now: now)
        return circuits[id] != nil
    }

    /// Closes a circuit for somebody who wants that; what it carries moves as after a fault.
    ///
    /// - Returns: false if there is no such circuit.
    public mutating func close(_ id: CircuitID, now: Instant) -> Bool {
        guard circuits[id] != nil else { return false }
        fail(id, culprit: nil, reason: "closed by hand", now: now)
        maintain(now: now)
        return true
    }

    private func isBuilt(_ id: CircuitID) -> Bool {
        switch circuits[id]?.stage {
        case .ready, .opening, .active: true
        case .waitingForLink, .waitingForKeys, .building, nil: false
        }
    }

    /// Takes what came of a series of echoes.
    mutating func receive(
        _ outcome: EchoSeries.Outcome,
        of id: CircuitID,
        token: UInt64,
        now: Instant
    ) {
        if let last = outcome.roundTrips.last {
            circuits[id]?.roundTrips[outcome.hop.offset] = last
            circuits[id]?.isSilent[outcome.hop.offset] = false
            if outcome.hop == .third { noteTrip(last, over: id) }
        } else if outcome.sent > 0 {
            circuits[id]?.isSilent[outcome.hop.offset] = true
        }
        notices.append(.pinged(token: token, outcome))
    }

    /// Tells of a change of a circuit that is not only there to measure.
    mutating func tell(_ change: CircuitNotice.Change, of id: CircuitID) {
        guard let circuit = circuits[id], circuit.cause != .measurement,
            notices.count < Self.noticeLimit
        else { return }
        notices.append(
            .circuit(
                CircuitNotice(
                    id: id,
                    tunnel: circuit.tunnel,
                    hops: circuit.path.hops.map(\.nickname),
                    change: change
                )
            )
        )
    }

    private static let noticeLimit = 4_096
}
