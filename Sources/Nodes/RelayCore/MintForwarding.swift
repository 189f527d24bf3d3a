import Base
import Circuits
import Wire

/// Requests to mints on their way through a relay: put together from their parts, handed on whole,
/// and their answers.
///
/// The relay cannot read them. A circuit's client sends the parts of one request after the other.
/// Bounds: ``TicketLimits/circuitRequestCount`` requests of a circuit under way, ``limit`` in all,
/// ``perSecond`` in a second, ``TicketLimits/circuitByteCount`` bytes each. Spec: §A.8.
struct MintForwarding: Sendable {
    static let limit = 128
    static let perSecond: UInt64 = 50
    static let burst: UInt64 = 200

    /// Something to hand on.
    struct Request: Sendable {
        var id: UInt16
        var circuit: CircuitID
    }

    private var assemblies: [CircuitID: PartAssembly] = [:]
    private var underWay: [UInt64: Request] = [:]
    private var outgoing: [RelayControl.MintRequest] = []
    private var bucket: TokenBucket
    private var nextToken: UInt64 = 1

    init(now: Instant) {
        bucket = TokenBucket(perSecond: Self.perSecond, burst: Self.burst, now: now)
    }

    /// What came of a part.
    enum Outcome: Equatable {
        case taken, whole, busy
    }

    /// Takes a part a circuit's client sent.
    mutating func take(_ ask: MintAsk, from circuit: CircuitID, now: Instant) -> Outcome {
        guard
            underWay.values.count(where: { $0.circuit == circuit })
                < TicketLimits.circuitRequestCount
        else { return .busy }
        if assemblies[circuit] == nil, assemblies.count >= Self.limit { return .busy }
        let whole = assemblies[circuit, default: PartAssembly()].take(
            id: ask.id,
            total: ask.total,
            offset: ask.offset,
            bytes: ask.bytes
        )
        guard let whole else { return .taken }
        assemblies[circuit] = nil
        guard underWay.count < Self.limit, bucket.take(now: now) else { return .busy }
        let token = nextToken
        nextToken += 1
        underWay[token] = Request(id: ask.id, circuit: circuit)
        outgoing.append(RelayControl.MintRequest(token: token, mint: ask.mint, bytes: whole))
        return .whole
    }

    /// Takes the next request to hand on.
    mutating func next() -> RelayControl.MintRequest? {
        outgoing.isEmpty ? nil : outgoing.removeFirst()
    }

    /// Whose request bore `token`; `nil` where its circuit is gone.
    mutating func finish(_ token: UInt64) -> Request? {
        underWay.removeValue(forKey: token)
    }

    /// Forgets what a circuit asked for.
    mutating func forget(_ circuit: CircuitID) {
        assemblies[circuit] = nil
        for (token, request) in underWay where request.circuit == circuit { underWay[token] = nil }
    }
}
