public import Base
import Circuits
public import CryptoPrimitives
import Links
import Onion
public import Wire

/// Finds out whether relays answer, pass circuits on, and how much they carry.
///
/// A probe is a link, a circuit built hop by hop over one to three relays, an ECHO from the last one
/// and, where it is asked for, a measurement to it. Sans-IO. Begin with ``begin(_:token:now:minute:)``;
/// feed ``ClientEvent``s and time; drain ``nextCommand()`` and ``nextResult()`` after each call. Does
/// its key work itself, so it wants a thread that has nothing else to do. Bound: ``probeLimit`` probes
/// at a time.
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

    /// What to do.
    public struct Plan: Sendable {
        /// The relays of the circuit, one to three; this machine speaks to the first.
        public let path: [Target]
        /// How much to measure over it; `nil` for an echo alone.
        public let measurement: Measurement?
        /// Whether relays want pay, so that they are shown a pass.
        public let showsPass: Bool

        /// Takes the three over.
        ///
        /// - Precondition: there are one to three relays.
        public init(path: [Target], measurement: Measurement? = nil, showsPass: Bool = false) {
            precondition((1...3).contains(path.count), "a circuit has one to three hops")
            self.path = path
            self.measurement = measurement
            self.showsPass = showsPass
        }
    }

    /// How much a measurement takes.
    public struct Measurement: Hashable, Sendable {
        /// The most cells.
        public let cells: Int
        /// The longest time.
        public let time: TimeSpan

        /// Takes both over.
        public init(cells: Int, time: TimeSpan) {
            self.cells = cells
            self.time = time
        }
    }

    /// Who signs passes.
    public struct Authority: Sendable {
        /// Its index.
        public let index: UInt8
        /// Its signing key.
        public let key: Ed25519.SigningKey

        /// Takes both over.
        public init(index: UInt8, key: Ed25519.SigningKey) {
            self.index = index
            self.key = key
        }
    }

    /// Why a probe failed.
    public enum Failure: Hashable, Sendable {
        /// The first relay does not answer as it should.
        case silent(String)
        /// The first relay answers, and what is behind it does not.
        case stuck(String)
    }

    /// How a probe went.
    public struct Outcome: Hashable, Sendable {
        /// What the caller called it.
        public let token: UInt64
        /// Why it failed; `nil` when the last relay echoed.
        public let failure: Failure?
        /// What was measured, in kilobits a second; `nil` where nothing was, or nothing came back.
        public let kilobits: UInt32?
    }

    private enum Stage {
        case linking
        case creating(ClientHandshake)
        case echoing(nonce: UInt64)
        case measuring
    }

    private struct Probe {
        let token: UInt64
        let plan: Plan
        let minute: UInt32
        let link: LinkID
        let circuit: CircuitID
        let number: CircuitNumber
        var deadline: Instant
        var stage = Stage.linking
        // The hop the stage is about: being created, or spoken to.
        var hop = HopIndex.first
        var createDue: Instant = .distantFuture
        var channels = HopIndex.all.map { ControlChannel(hop: $0) }

        var last: HopIndex { HopIndex.all[plan.path.count - 1] }
        var target: Target { plan.path[hop.offset] }
    }

    private let network: NetworkID
    private let authority: Authority?
    private var dialer: LinkDialer
    private var random: RandomGenerator
    private var probes: [Probe] = []
    private var commands: [ClientCommand] = []
    private var results: [Outcome] = []
    private var next: UInt64 = 1

    /// Makes a prober of relays of `network`, who signs as `authority`.
    public init(
        network: NetworkID,
        authority: Authority? = nil,
        random: consuming RandomGenerator
    ) {
        var random = random
        self.network = network
        self.authority = authority
        dialer = LinkDialer(identity: nil, random: random.split())
        self.random = random
    }

    /// Whether another probe may begin.
    public var hasRoom: Bool {
        probes.count < Self.probeLimit
    }

    /// Begins a probe; the outcome names `token`.
    ///
    /// - Precondition: ``hasRoom``.
    public mutating func begin(
        _ plan: Plan,
        token: UInt64,
        now: Instant,
        minute: UInt32
    ) {
        precondition(hasRoom, "probes are bounded")
        defer { next += 1 }
        let probe = Probe(
            token: token,
            plan: plan,
            minute: minute,
            link: LinkID(rawValue: next),
            circuit: CircuitID(rawValue: next),
            number: CircuitNumber(rawValue: UInt32(truncatingIfNeeded: random.next()) | 1 << 31),
            deadline: now + Self.timeLimit
        )
        probes.append(probe)
        let link = LinkTarget(
            network: network,
            relay: probe.target.relay,
            address: probe.target.address,
            publicKey: probe.target.circuitKey
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
            deadline = min(deadline, probe.deadline, probe.createDue)
            for channel in probe.channels { deadline = min(deadline, channel.nextDeadline) }
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
        case .created(let id, let body):
            guard let probe = probe(id), probe.hop == .first else { return }
            receiveCreated(id, body, now: now)
        case .destroyed(let id, let reason):
            let why = reason.map { "\($0)" } ?? "no reason"
            end(id, failure: "it refuses circuits (\(why))")
        case .control(let id, let hop, let record): receiveControl(id, hop, record, now: now)
        case .link(.lost(let link)):
            if let probe = probes.first(where: { $0.link == link }) {
                end(probe.circuit, failure: "its link was lost")
            }
        case .measured(let id, let kilobits): end(id, failure: nil, kilobits: kilobits)
        case .link, .silent, .exhausted, .leaseUnused, .counted, .unpaid, .packet, .probed, .pinged,
            .judged:
            break
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
        case .measuring: "a measurement does not end"
        }
    }

    private func probe(_ id: CircuitID) -> Probe? {
        probes.first { $0.circuit == id }
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
                let probe = probes[index]
                // No tunnel has this number: only what is sent here goes over the circuit.
                let tunnel = TunnelID(rawValue: .max)
                commands.append(.addCircuit(probe.circuit, probe.link, probe.number, tunnel))
                create(at: index, now: now)
            case .failed(let link, _):
                guard let probe = probes.first(where: { $0.link == link }) else { continue }
                end(probe.circuit, failure: Self.silence(.linking))
            case .sendControl, .renewed: break
            }
        }
    }

    // MARK: Building

    /// Begins to create the hop the probe is at.
    private mutating func create(at index: Int, now: Instant) {
        let probe = probes[index]
        let target = HandshakeTarget(
            role: .circuit,
            network: network,
            relay: probe.target.relay,
            publicKey: probe.target.circuitKey
        )
        let message = ClientMessage(hop: probe.hop.rawValue, minute: probe.minute).encoded
        let handshake: ClientHandshake
        do throws(HandshakeError) {
            handshake = try ClientHandshake.start(
                with: target,
                ephemeral: random.secret(byteCount: 32)
            ) { _ in message }
        } catch {
            return end(probe.circuit, failure: "its key is none")
        }
        probes[index].stage = .creating(handshake)
        guard let before = HopIndex(rawValue: probe.hop.rawValue - 1) else {
            return sendCreate(probe.circuit, now: now)
        }
        say(
            .extend(next: probe.target.relay, create: handshake.body.encoded),
            to: before,
            of: probe.circuit,
            now: now
        )
    }

    private mutating func sendCreate(_ id: CircuitID, now: Instant) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }),
            case .creating(let handshake) = probes[index].stage, probes[index].hop == .first
        else { return }
        probes[index].createDue = now + Self.createWait
        let (link, number) = (probes[index].link, probes[index].number)
        commands.append(.sendCell(link, number, .create, handshake.body.encoded))
    }

    private mutating func receiveCreated(_ id: CircuitID, _ body: [UInt8], now: Instant) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }),
            case .creating(let handshake) = probes[index].stage
        else { return }
        let hop = probes[index].hop
        let keys: HandshakeKeys
        do {
            let answer = try CreatedBody(parsing: Array(body.prefix(CreatedBody.byteCount)))
            keys = try handshake.finish(answer).keys
        } catch {
            return end(id, failure: "its answer is not made with its key")
        }
        probes[index].createDue = .distantFuture
        let start = UInt32(truncatingIfNeeded: random.next(below: UInt64(LayerSealer.cellLimit)))
        commands.append(
            .setKeys(id, hop, forward: keys.forward, backward: keys.backward, start: start)
        )
        if probes[index].plan.showsPass, let authority {
            let pass = pass(
                for: probes[index].target.relay,
                as: authority,
                probes[index].minute
            )
            say(.payPass(pass), to: hop, of: id, now: now)
            guard probe(id) != nil else { return }
        }
        if let next = hop.next, hop < probes[index].last {
            probes[index].hop = next
            return create(at: index, now: now)
        }
        let nonce = random.next()
        probes[index].stage = .echoing(nonce: nonce)
        say(.echo(isAnswer: false, nonce: nonce), to: hop, of: id, now: now)
    }

    private mutating func pass(
        for relay: NodeID,
        as authority: Authority,
        _ minute: UInt32
    ) -> PayPass {
        let nonce = Array(random.bytes32().bytes.prefix(16))
        var pass = PayPass(authority: authority.index, minute: minute, nonce: nonce)
        pass.signature = authority.key.sign(
            pass.body(for: relay),
            label: .pass,
            network: network.rawValue
        )
        return pass
    }

    // MARK: Speaking to hops

    private mutating func receiveControl(
        _ id: CircuitID,
        _ hop: HopIndex,
        _ bytes: [UInt8],
        now: Instant
    ) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }) else { return }
        do {
            let record = try ControlRecord(parsing: bytes)
            for message in try probes[index].channels[hop.offset].receive(record, now: now) {
                let content = try ControlMessage(
                    type: message.type,
                    parsing: message.bytes,
                    fromClient: false
                )
                // Whatever was said may have ended the probe.
                guard probe(id) != nil else { return }
                receive(content, from: hop, of: id, now: now)
            }
        } catch {
            return end(id, failure: "it breaks the protocol")
        }
        pump(id, now: now)
    }

    private mutating func receive(
        _ content: ControlMessage,
        from hop: HopIndex,
        of id: CircuitID,
        now: Instant
    ) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }) else { return }
        let probe = probes[index]
        switch (content, probe.stage) {
        case (.extended(let result), .creating) where hop.next == probe.hop:
            switch result {
            case .created(let body): receiveCreated(id, body, now: now)
            case .failed(let failure):
                end(id, failure: "it cannot extend a circuit to another relay (\(failure))")
            }
        case (.echo(isAnswer: true, let nonce), .echoing(let expected))
        where hop == probe.last && nonce == expected:
            guard let measurement = probe.plan.measurement else { return end(id, failure: nil) }
            probes[index].stage = .measuring
            probes[index].deadline = now + measurement.time + Self.timeLimit
            commands.append(
                .measure(id, hop, cells: measurement.cells, time: measurement.time)
            )
        default: break
        }
    }

    private mutating func say(
        _ message: ControlMessage,
        to hop: HopIndex,
        of id: CircuitID,
        now: Instant
    ) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }) else { return }
        do throws(ControlChannel.SendError) {
            try probes[index].channels[hop.offset].send(message)
        } catch {
            return end(id, failure: "no room for a message")
        }
        pump(id, now: now)
    }

    private mutating func pump(_ id: CircuitID, now: Instant) {
        guard let index = probes.firstIndex(where: { $0.circuit == id }) else { return }
        for hop in HopIndex.all {
            while let record = probes[index].channels[hop.offset].nextRecord(now: now) {
                commands.append(.sendControl(id, hop, record))
            }
        }
    }

    private mutating func end(_ id: CircuitID, failure: String?, kilobits: UInt32? = nil) {
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
        results.append(
            Outcome(
                token: probe.token,
                failure: failure.map { probe.hop == .first ? .silent($0) : .stuck($0) },
                kilobits: kilobits
            )
        )
    }
}
