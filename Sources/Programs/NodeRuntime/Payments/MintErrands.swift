import Base
import Circuits
import ClientCore
import CryptoPrimitives
import Tickets
import Wire

/// A wallet's questions to mints on their way over a circuit of their own.
///
/// Each is sealed to its mint and handed to the middle or the exit, which passes it on: the guard,
/// which knows the client, sees cells; who passes it on does not know the client; the mint knows
/// neither. A mint has at most one question of a kind under way, so that one that is down holds up
/// nothing but its own; purchases go first. The circuit is built when something is to be asked and let
/// go when nothing was for a while. Spec: §A.8.
struct MintErrands: Sendable {
    /// The name of the circuit's tunnel among the client's.
    static let tunnel = ClientCore.TunnelID(rawValue: .max - 1)
    private static let silenceLimit: TimeSpan = .seconds(12)
    private static let idleLimit: TimeSpan = .seconds(20)
    /// The same of a circuit nobody pays for: it carries little, and the next one can be paid.
    private static let contactIdleLimit: TimeSpan = .seconds(2)
    private static let waitingLimit = 128
    /// Purchases under way at a hop.
    private static let purchaseLimit = 2

    /// Kinds of questions, the most pressing first.
    private enum Kind: Int, Sendable {
        case purchase, inquiry, grant, news

        init(_ request: MintRequest) {
            switch request {
            case .order, .reclaim: self = .purchase
            case .inquiry: self = .inquiry
            case .grant: self = .grant
            case .certificates, .deposit: self = .news
            }
        }
    }

    private struct Waiting: Sendable {
        var number: UInt64
        var mint: UInt8
        var request: MintRequest
        var since: Instant
    }

    private struct Running: Sendable {
        var id: UInt16
        var number: UInt64
        var mint: UInt8
        var kind: Kind
        var circuit: CircuitID
        var hop: HopIndex
        var answerer: SealedRequest.Answerer
        var assembly = PartAssembly()
        var since: Instant
    }

    private var tickets: TicketNetwork?
    private var waiting: [Waiting] = []
    private var running: [Running] = []
    private var finished: [(number: UInt64, reply: MintReply?)] = []
    private var isOpen = false
    private var isContact = false
    private var idleSince: Instant = .zero
    private var nextID: UInt16 = 1

    /// Takes the mints as the newest consensus has them.
    mutating func setTickets(_ tickets: TicketNetwork?) {
        self.tickets = tickets
    }

    /// Takes a question; its answer comes back under `number`, `nil` where none came.
    mutating func begin(_ number: UInt64, mint: UInt8, _ request: MintRequest, now: Instant) {
        guard waiting.count < Self.waitingLimit else { return finished.append((number, nil)) }
        waiting.append(Waiting(number: number, mint: mint, request: request, since: now))
    }

    /// Takes the next outcome.
    mutating func nextFinished() -> (number: UInt64, reply: MintReply?)? {
        finished.isEmpty ? nil : finished.removeFirst()
    }

    /// When ``tend(with:now:wall:)`` has something to give up.
    var nextDeadline: Instant {
        var deadline = Instant.distantFuture
        for item in waiting { deadline = min(deadline, item.since + Self.silenceLimit) }
        for item in running { deadline = min(deadline, item.since + Self.silenceLimit) }
        if isOpen, waiting.isEmpty, running.isEmpty {
            deadline = min(deadline, idleSince + patience)
        }
        return deadline
    }

    /// Time a circuit is kept that nothing is asked over.
    private var patience: TimeSpan {
        isContact ? Self.contactIdleLimit : Self.idleLimit
    }

    /// Sends what can be sent, gives up what nobody answers, and keeps a circuit while it is needed.
    mutating func tend(with control: inout ClientControl?, now: Instant, wall: WallTime) {
        expire(now: now)
        guard !waiting.isEmpty || !running.isEmpty else {
            if isOpen, now >= idleSince + patience {
                control?.close(Self.tunnel, now: now)
                isOpen = false
            }
            return
        }
        // One of first contact is soon used up: it gives way once the next one can be paid for.
        if isOpen, isContact, running.isEmpty, control?.couldPayErrands(now: now) == true {
            control?.close(Self.tunnel, now: now)
            isContact = false
        }
        idleSince = now
        control?.openErrands(Self.tunnel, now: now, wall: wall)
        isOpen = true
        let circuits = (control?.circuitReports() ?? []).filter {
            $0.tunnel == Self.tunnel && $0.stage == .spare
        }
        let standing = Set(circuits.map(\.id))
        for item in running where !standing.contains(item.circuit) {
            finished.append((item.number, nil))
        }
        running.removeAll { !standing.contains($0.circuit) }
        for circuit in circuits {
            isContact = control?.isFirstContact(circuit.id) ?? false
            // What is to be paid says nothing before every hop is.
            guard control?.mayAsk(over: circuit.id) == true else { continue }
            for hop in [HopIndex.third, .second] {
                // A conversation holds 32 pieces; the longest question has 17.
                while control?.waitingCount(of: hop, over: circuit.id) ?? .max <= 8,
                    let next = next(over: circuit.id, hop)
                {
                    send(waiting.remove(at: next), over: circuit.id, hop, with: &control, now: now)
                }
            }
        }
    }

    /// The place of the question that goes over this hop now; `nil` for none.
    private func next(over circuit: CircuitID, _ hop: HopIndex) -> Int? {
        let here = running.filter { $0.circuit == circuit && $0.hop == hop }
        guard here.count < TicketLimits.circuitRequestCount else { return nil }
        // Their answers are long.
        let takesPurchase = here.count { $0.kind == .purchase } < Self.purchaseLimit
        return waiting.indices.filter { index in
            let (mint, kind) = (waiting[index].mint, Kind(waiting[index].request))
            return (kind != .purchase || takesPurchase)
                && !running.contains { $0.mint == mint && $0.kind == kind }
        }.min {
            (Kind(waiting[$0].request).rawValue, $0) < (Kind(waiting[$1].request).rawValue, $1)
        }
    }

    private mutating func send(
        _ item: Waiting,
        over circuit: CircuitID,
        _ hop: HopIndex,
        with control: inout ClientControl?,
        now: Instant
    ) {
        guard let key = tickets?.mints[item.mint]?.sealingKey,
            let sealed = try? SealedRequest.seal(item.request.encoded, to: key),
            sealed.bytes.count <= TicketLimits.circuitByteCount
        else { return finished.append((item.number, nil)) }
        let id = nextID
        nextID &+= 1
        for part in MintAsk.parts(id: id, mint: item.mint, of: sealed.bytes) {
            guard control?.ask(part, hop: hop, over: circuit, now: now) == true else {
                return finished.append((item.number, nil))
            }
        }
        running.append(
            Running(
                id: id,
                number: item.number,
                mint: item.mint,
                kind: Kind(item.request),
                circuit: circuit,
                hop: hop,
                answerer: sealed.answerer,
                since: now
            )
        )
    }

    /// Takes a part of an answer.
    mutating func take(_ part: MintAnswerPart, of circuit: CircuitID, from hop: HopIndex) {
        guard
            let index = running.firstIndex(where: {
                $0.circuit == circuit && $0.hop == hop && $0.id == part.id
            })
        else { return }
        guard part.status == .answered else { return end(at: index, nil) }
        let whole = running[index].assembly.take(
            id: part.id,
            total: part.total,
            offset: part.offset,
            bytes: part.bytes
        )
        guard let whole else { return }
        end(at: index, try? MintPost.open(whole, with: running[index].answerer))
    }

    private mutating func end(at index: Int, _ reply: MintReply?) {
        finished.append((running.remove(at: index).number, reply))
    }

    private mutating func expire(now: Instant) {
        for item in waiting where now >= item.since + Self.silenceLimit {
            finished.append((item.number, nil))
        }
        waiting.removeAll { now >= $0.since + Self.silenceLimit }
        while let index = running.firstIndex(where: { now >= $0.since + Self.silenceLimit }) {
            end(at: index, nil)
        }
    }
}
