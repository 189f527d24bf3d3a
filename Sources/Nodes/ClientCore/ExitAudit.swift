import Base
import CryptoPrimitives
import Wire

/// Whether an exit carries packets and answers names as another exit does.
///
/// Sans-IO. Over a circuit of its own to each, which carries nothing else, both are asked for the same
/// name, and, where their answers agree, for an echo of random bytes by the address they gave. Where
/// they differ a third exit decides. Say what is connected and what came; drain ``nextStep()`` after
/// each call. An exit that knows what an audit looks like can be honest for it; what it cannot is be
/// paid for all the rest and carry nothing, for that shows without an audit. Spec: §A.7.
struct ExitAudit {
    /// Something for the control plane to do.
    enum Step: Equatable {
        /// Connect a tunnel with this number to `exit`, or to any but `others`.
        case open(Int, exit: NodeID?, others: Set<NodeID>)
        /// Send a packet over it.
        case send(Int, [UInt8])
        /// It is over: what is thought of exits now.
        case end([(exit: NodeID, isGood: Bool)])

        static func == (lhs: Self, rhs: Self) -> Bool {
            switch (lhs, rhs) {
            case (.open(let a, let b, let c), .open(let d, let e, let f)):
                a == d && b == e && c == f
            case (.send(let a, let b), .send(let c, let d)): a == c && b == d
            case (.end(let a), .end(let b)):
                a.map(\.exit) == b.map(\.exit) && a.map(\.isGood) == b.map(\.isGood)
            default: false
            }
        }
    }

    private struct Side {
        var exit: NodeID?
        var isConnected = false
        var answer: AuditPacket.NameAnswer?
        var hasEcho = false
    }

    /// Time for all of it.
    static let limit: TimeSpan = .seconds(30)
    /// Time an exit that is connected has to answer.
    private static let answerLimit: TimeSpan = .seconds(5)
    private static let repeatTime: TimeSpan = .seconds(1)

    private let name: String
    private let number: UInt16
    private let payload: [UInt8]
    private var sides: [Side]
    private var steps: [Step] = []
    private var isEchoing = false
    private let end: Instant
    /// When what is asked now is given up.
    private var giveUp: Instant
    private var repeatAt: Instant
    private(set) var isOver = false

    /// Begins to audit `exit` by asking for `name`.
    init(of exit: NodeID, name: String, random: inout RandomGenerator, now: Instant) {
        self.name = name
        number = UInt16(truncatingIfNeeded: random.next())
        payload = random.bytes32().bytes
        sides = [Side(exit: exit), Side()]
        end = now + Self.limit
        giveUp = end
        repeatAt = end
        steps = [.open(0, exit: exit, others: []), .open(1, exit: nil, others: [exit])]
    }

    /// Takes the next step.
    mutating func nextStep() -> Step? {
        steps.isEmpty ? nil : steps.removeFirst()
    }

    /// When ``advance(to:)`` has something to do.
    var nextDeadline: Instant {
        isOver ? .distantFuture : min(giveUp, repeatAt, end)
    }

    /// Whether a tunnel with this number is wanted.
    func wants(_ side: Int) -> Bool {
        !isOver && sides.indices.contains(side)
    }

    /// Learns that the tunnel with this number is connected, and to whom.
    mutating func connected(_ side: Int, to exit: NodeID, now: Instant) {
        guard wants(side), !sides[side].isConnected else { return }
        sides[side].isConnected = true
        sides[side].exit = exit
        ask(now: now)
    }

    /// Takes a packet that came over the tunnel with this number.
    mutating func receive(_ bytes: [UInt8], over side: Int, now: Instant) {
        guard wants(side), let content = AuditPacket.content(bytes) else { return }
        switch content {
        case .name(number, let answer) where sides[side].answer == nil:
            sides[side].answer = answer
        case .echo(number, payload): sides[side].hasEcho = true
        case .name, .echo: return
        }
        judge(now: now)
    }

    /// Lets time pass.
    mutating func advance(to now: Instant) {
        guard !isOver else { return }
        if now >= giveUp || now >= end { return conclude() }
        if now >= repeatAt { ask(now: now) }
    }

    /// Asks all that are connected and have not answered, once all are connected.
    private mutating func ask(now: Instant) {
        guard sides.allSatisfy(\.isConnected) else { return }
        if giveUp == end { giveUp = min(end, now + Self.answerLimit) }
        repeatAt = now + Self.repeatTime
        for (index, side) in sides.enumerated() {
            if side.answer == nil {
                steps.append(
                    .send(index, AuditPacket.question(name, id: number, port: number | 0xc000))
                )
            } else if isEchoing, !side.hasEcho, let address = side.answer?.addresses.first {
                steps.append(
                    .send(index, AuditPacket.echo(to: address, id: number, payload: payload))
                )
            }
        }
    }

    private mutating func judge(now: Instant) {
        guard sides.allSatisfy({ $0.answer != nil }) else { return }
        guard sides.count == 2 else { return conclude() }
        guard sides[0].answer == sides[1].answer else {
            // One of them lies: a third one knows which.
            let known = Set(sides.compactMap(\.exit))
            sides.append(Side())
            giveUp = end
            repeatAt = end
            steps.append(.open(2, exit: nil, others: known))
            return
        }
        guard sides[0].answer?.addresses.isEmpty == false, !sides.allSatisfy(\.hasEcho) else {
            return conclude()
        }
        guard !isEchoing else { return }
        isEchoing = true
        giveUp = min(end, now + Self.answerLimit)
        ask(now: now)
    }

    /// Says what is thought of whom, as far as the exits contradict each other.
    private mutating func conclude() {
        isOver = true
        var verdicts: [(exit: NodeID, isGood: Bool)] = []
        func note(_ side: Int, _ isGood: Bool) {
            if let exit = sides[side].exit { verdicts.append((exit, isGood)) }
        }
        if sides.count == 3 {
            // Who says the same as the third is believed; where nobody does, nobody is.
            guard let third = sides[2].answer else { return steps.append(.end([])) }
            for side in 0..<2 where sides[1 - side].answer == third {
                note(1 - side, true)
                note(side, false)
            }
        } else if sides.allSatisfy(\.isConnected) {
            let served = sides.map { isEchoing ? $0.hasEcho : $0.answer != nil }
            switch (served[0], served[1]) {
            case (true, true), (true, false), (false, true):
                for side in 0..<2 { note(side, served[side]) }
            case (false, false):
                // Whom they were asked for does not answer echoes; they agreed on the name.
                if isEchoing { for side in 0..<2 { note(side, true) } }
            }
        }
        steps.append(.end(verdicts))
    }
}
