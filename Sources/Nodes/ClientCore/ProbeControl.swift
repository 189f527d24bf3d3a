public import Base
import Circuits
public import CryptoPrimitives
import Links
import Onion
public import Wire

/// Finds out whether relays answer: a link, a circuit of one hop, an ECHO over it.
///
/// Sans-IO. Begin with ``begin(_:at:now:minute:)``; feed ``ClientEvent``s and time; drain
/// ``nextCommand()`` and ``nextResult()`` after each call. Does its key work itself, so it wants a
/// thread that has nothing else to do. Bound: ``probeLimit`` probes at a time.
public struct ProbeControl: ~Copyable {
    /// Probes at a time: half of what a shard has links for.
    public static let probeLimit = 32
    private static let timeLimit: TimeSpan = .milliseconds(2_500)
    private static let createWait: TimeSpan = .milliseconds(400)

    /// A relay to look for.
    public struct Target: Sendable {
        /// The relay.
        public let relay: NodeID
        /// Where it says it answers.
        public let address: SocketAddress
        /// Its X-Wing public key.
        public let circuitKey: [UInt8]

        /// Takes the three over.
        public init(relay: NodeID, address: SocketAddress, circuitKey: [UInt8]) {
            self.relay = relay
            self.address = address
            self.circuitKey = circuitKey
        }
    }

    /// How a probe went.
    public struct Outcome: Hashable, Sendable {
        /// What the caller called it.
        public let token: UInt64
        /// Why the relay counts as silent; `nil` when it echoed.
        public let failure: String?
    }

    private enum Stage {
        case linking
        case creating(ClientHandshake)
        case echoing(nonce: UInt64)
    }

    private struct Probe {
        let token: UInt64
        let target: Target
        let minute: UInt32
        let link: LinkID
        let circuit: CircuitID
        let number: CircuitNumber
        let deadline: Instant
        var stage = Stage.linking
        var createDue: Instant = .distantFuture
        var channel = ControlChannel(hop: .first)
    }

    private let network: NetworkID
    private var dialer: LinkDialer
    private var random: RandomGenerator
    private var probes: [Probe] = []
    private var commands: [ClientCommand] = []
    private var results: [Outcome] = []
    private var next: UInt64 = 1

    /// Makes a prober of relays of `network`.
    public init(network: NetworkID, random: consuming RandomGenerator) {
        var random = random
        self.network = network
        dialer = LinkDialer(identity: nil, random: random.split())
        self.random = random
    }

    /// Whether another probe may begin.
    public var hasRoom: Bool {
        probes.count < Self.probeLimit
    }

    /// Begins to look for a relay; the outcome names `token`.
    ///
    /// - Precondition: ``hasRoom``.
    public mutating func begin(
        _ target: Target,
        token: UInt64,
        now: Instant,
        minute: UInt32
    ) {
        precondition(hasRoom, "probes are bounded")
        defer { next += 1 }
        let probe = Probe(
            token: token,
            target: target,
            minute: minute,
            link: LinkID(rawValue: next),
            circuit: CircuitID(rawValue: next),
            number: CircuitNumber(rawValue: UInt32(truncatingIfNeeded: random.next()) | 1 << 31),
            deadline: now + Self.timeLimit
        )
        probes.append(probe)
        let link = LinkTarget(
            network: network,
            relay: target.relay,
            address: target.address,
            publicKey: target.circuitKey
        )
        guard dialer.dial(link, as: probe.link, now: now) else {
            return end(probe.circuit, failure: "too many probes")
        }
        drainDialer(now: now)
    }

    /// Takes the next command for the shard.
    public mutating func nextCommand() -> ClientCommand? {
        commands.isEmpty ? nil : commands.removeFirst()
    }

    /// Takes the next outcome.
    public mutating func nextResult() -> Outcome? {
        results.isEmpty ? nil : results.removeFirst()
    }

    /// When ``advance(to:)`` has something to do.
    public var nextDeadline: Instant {
        var deadline = dialer.nextDeadline
        for probe in probes {
            deadline = min(deadline, probe.deadline, probe.createDue, probe.channel.nextDeadline)
        }
        return deadline
    }

    /// Takes what the shard reports.
    public mutating func receive(_ event: ClientEvent, now: Instant) {
        switch event {
        case .handshake(let bytes, _):
            guard let datagram = try? HandshakeDatagram(parsing: bytes) else { return }
            switch datagram {
            case .response(let response): dialer.receive(response, now: now)
            case .cookie(let cookie): dialer.receive(cookie, now: now)
            case .initiation: break
            }
        case .created(let id, let body): receiveCreated(id, body, now: now)
        case .destroyed(let id, let reason):
            let why = reason.map { "\($0)" } ?? "no reason"
            end(id, failure: "it refuses circuits (\(why))")
        case .control(let id, .first, let record): receiveControl(id, record, now: now)
        case .link(.lost(let link)):
            if let probe = probes.first(where: { $0.link == link }) {
                end(probe.circuit, failure: "its link was lost")
            }
        case .link, .control, .silent, .exhausted, .leaseUnused: break
        }
        drainDialer(now: now)
    }

    /// Lets time pass: repetitions, and the end of what takes too long.
    public mutating func advance(to now: Instant) {
        dialer.advance(to: now)
        drainDialer(now: now)
        for probe in probes {
            if probe.deadline <= now {
                end(probe.circuit, failure: Self.silence(probe.stage))
                continue
            }
            if probe.createDue <= now { sendCreate(probe.circuit, now: now) }
            pump(probe.circuit, now: now)
        }
    }

    private static func silence(_ stage: Stage) -> String {
        switch stage {
        case .linking: "no answer at its address"
        case .creating: "it opens a link but no circuit"
        case .echoing: "it opens a circuit but echoes nothing"
        }
    }

    private mutating func drainDialer(now: Instant) {
        while let step = dialer.nextStep() {
            switch step {
            case .job(let job): dialer.finish(job.run(), now: now)
            case .send(let datagram, let destination):
                commands.append(.sendHandshake(datagram, to: destination))
            case .established(let link):
                commands.append(.addLink(link))
                guard let index = probes.firstIndex(where: { $0.link == link.id }) else {
                    commands.append(.removeLink(link.id, saysGoodbye: true))
                    continue
                }
                create(at: index, now: now)
            case .failed(let link, _):
                guard let probe = probes.first(where: { $0.link == link }) else { continue }
                end(probe.circuit, failure: Self.silence(.linking))
            case .sendControl, .renewed: break
            }
        }
    }

    private mutating func create(at index: Int, now: Instant) {
        let probe = probes[index]
        let target = HandshakeTarget(
            role: .circuit,
            network: network,
            relay: probe.target.relay,
            publicKey: probe.target.circuitKey
        )
        let message = ClientMessage(hop: 1, minute: probe.minute).encoded
        do throws(HandshakeError) {
            let handshake = try ClientHandshake.start(
                with: target,
                ephemeral: random.secret(byteCount: 32)
            ) { _ in message }
            probes[index].stage = .creating(handshake)
        } catch {
            return end(probe.circuit, failure: "its key is none")
        }
        // No tunnel has this number: nothing but control messages goes over the circuit.
        let tunnel = TunnelID(rawValue: .max)
        commands.append(.addCircuit(probe.circuit, probe.link, probe.number, tunnel))
        sendCreate(probe.circuit, now: now)
    }

    private mutating func sendCreate(_ id: CircuitID, now: Instant) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }),
            case .creating(let handshake) = probes[index].stage
        else { return }
        probes[index].createDue = now + Self.createWait
        let (link, number) = (probes[index].link, probes[index].number)
        commands.append(.sendCell(link, number, .create, handshake.body.encoded))
    }

    private mutating func receiveCreated(_ id: CircuitID, _ body: [UInt8], now: Instant) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }),
            case .creating(let handshake) = probes[index].stage
        else { return }
        let keys: HandshakeKeys
        do {
            let answer = try CreatedBody(parsing: Array(body.prefix(CreatedBody.byteCount)))
            keys = try handshake.finish(answer).keys
        } catch {
            return end(id, failure: "its answer is not made with its key")
        }
        let nonce = random.next()
        probes[index].stage = .echoing(nonce: nonce)
        probes[index].createDue = .distantFuture
        let start = UInt32(truncatingIfNeeded: random.next(below: UInt64(LayerSealer.cellLimit)))
        commands.append(
            .setKeys(id, .first, forward: keys.forward, backward: keys.backward, start: start)
        )
        do throws(ControlChannel.SendError) {
            try probes[index].channel.send(.echo(isAnswer: false, nonce: nonce))
        } catch {
            return end(id, failure: "no room for an echo")
        }
        pump(id, now: now)
    }

    private mutating func receiveControl(_ id: CircuitID, _ bytes: [UInt8], now: Instant) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }),
            case .echoing(let nonce) = probes[index].stage
        else { return }
        do {
            let record = try ControlRecord(parsing: bytes)
            for message in try probes[index].channel.receive(record, now: now) {
                let content = try ControlMessage(
                    type: message.type,
                    parsing: message.bytes,
                    fromClient: false
                )
                if content == .echo(isAnswer: true, nonce: nonce) {
                    return end(id, failure: nil)
                }
            }
        } catch {
            return end(id, failure: "it breaks the protocol")
        }
        pump(id, now: now)
    }

    private mutating func pump(_ id: CircuitID, now: Instant) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }) else { return }
        while let record = probes[index].channel.nextRecord(now: now) {
            commands.append(.sendControl(id, .first, record))
        }
    }

    private mutating func end(_ id: CircuitID, failure: String?) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }) else { return }
        let probe = probes.remove(at: index)
        dialer.cancel(probe.link)
        if case .linking = probe.stage {
        } else {
            let reason = [DestroyReason.finished.rawValue]
            commands.append(.sendCell(probe.link, probe.number, .destroy, reason))
            commands.append(.removeCircuit(id))
            commands.append(.removeLink(probe.link, saysGoodbye: true))
        }
        results.append(Outcome(token: probe.token, failure: failure))
    }
}
