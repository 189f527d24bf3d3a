public import Base
import Circuits
import Wire

extension RelayControl {
    /// A sealed request of a client to a mint, to be handed on.
    public struct MintRequest: Sendable {
        /// What its outcome is told under.
        public let token: UInt64
        /// The mint's index.
        public let mint: UInt8
        /// The sealed request.
        public let bytes: [UInt8]
    }

    /// What came of handing a request on.
    public enum MintOutcome: Hashable, Sendable {
        /// The mint's sealed answer.
        case answered([UInt8])
        /// The consensus names no such mint.
        case unknownMint
        /// The mint did not answer, or not in time.
        case unreachable
    }

    /// Takes the next request to hand on to a mint.
    public mutating func nextMintRequest() -> MintRequest? {
        mintErrands.next()
    }

    /// Tells a circuit's client what came of the request with this token.
    public mutating func finishMintRequest(
        _ token: UInt64,
        _ outcome: MintOutcome,
        now: Instant
    ) {
        guard let request = mintErrands.finish(token) else { return }
        let parts: [MintAnswerPart]
        switch outcome {
        case .answered(let bytes) where bytes.count <= TicketLimits.circuitByteCount:
            parts = MintAnswerPart.parts(id: request.id, of: bytes)
        case .unknownMint: parts = [MintAnswerPart(id: request.id, failed: .unknownMint)]
        case .answered, .unreachable: parts = [MintAnswerPart(id: request.id, failed: .unreachable)]
        }
        for part in parts { say(.mintAnswer(part), to: request.circuit, now: now) }
    }

    mutating func receive(_ ask: MintAsk, from id: CircuitID, now: Instant) {
        switch mintErrands.take(ask, from: id, now: now) {
        case .taken: break
        case .whole: counters.mintRequests += 1
        case .busy:
            counters.busyMintRequests += 1
            say(.mintAnswer(MintAnswerPart(id: ask.id, failed: .busy)), to: id, now: now)
        }
    }
}

extension MintAnswerPart {
    /// Says that nothing came of the request `id`.
    init(id: UInt16, failed status: Status) {
        self.init(id: id, status: status, total: 0, offset: 0, bytes: [])
    }
}
