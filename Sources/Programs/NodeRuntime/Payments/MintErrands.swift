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
/// neither. One question at a time with each hop. The circuit is built when something is to be asked
/// and let go when nothing was for ``idleLimit``. Spec: §A.8.
struct MintErrands: Sendable {
    /// The name of the circuit's tunnel among the client's.
    static let tunnel = ClientCore.TunnelID(rawValue: .max - 1)
    private static let silenceLimit: TimeSpan = .seconds(12)
    private static let idleLimit: TimeSpan = .seconds(20)
    private static let waitingLimit = 128

    private struct Waiting: Sendable {
        var number: UInt64
        var mint: UInt8
        var request: MintRequest
        var since: Instant
    }

    private struct Running: Sendable {
        var id: UInt16
        var number: UInt64
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
            deadline = min(deadline, idleSince + Self.idleLimit)
        }
        return deadline
    }

    /// Sends what can be sent, gives up what nobody answers, and keeps a circuit while it is needed.
    mutating func tend(with control: inout ClientControl?, now: Instant, wall: WallTime) {
        expire(now: now)
        guard !waiting.isEmpty || !running.isEmpty else {
            if isOpen, now >= idleSince + Self.idleLimit {
                control?.close(Self.tunnel, now: now)
                isOpen = false
            }
            return
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
            for hop in [HopIndex.third, .second]
            where !running.contains(where: { $0.circuit == circuit.id && $0.hop == hop }) {
                guard !waiting.isEmpty else { return }
                send(waiting.removeFirst(), over: circuit.id, hop, with: &control, now: now)
            }
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
