import Base
import Circuits
import CryptoPrimitives
import Directory
import Links
import Onion
import Paths
import Wire

extension ClientControl {
    @discardableResult
    mutating func startCircuit(
        for tunnel: TunnelID,
        wanting wanted: PathConstraints,
        because cause: CircuitCause,
        now: Instant
    ) throws(PathError) -> CircuitID {
        guard selector.view.freshness(at: wall) != .expired else { throw .directoryExpired }
        var wanted = wanted
        wanted.excluded.formUnion(avoided(at: now))
        let path = try payablePath(wanted, now: now)
        let id = CircuitID(rawValue: nextCircuit)
        nextCircuit += 1
        let shape = tunnels[tunnel]?.shape ?? .fast
        circuits[id] = Circuit(id: id, tunnel: tunnel, path: path, begun: now, shape: shape)
        let why = tunnels[tunnel]?.isForErrands == true ? .errands : cause
        circuits[id]?.cause = why
        tell(.begun(why), of: id)
        let relay = path.guardRelay.id
        if let link = guardLinks[relay] {
            begin(id, over: link, now: now)
        } else if dialing[relay] == nil, let target = linkTarget(relay) {
            let link = LinkID(rawValue: nextLink)
            nextLink += 1
            if dialer.dial(target, as: link, now: now) { dialing[relay] = link }
            drainDialer(now: now)
        }
        return id
    }

    /// A path of relays there are vouchers for, and that gave what they were paid for, if there is one.
    ///
    /// Guards stay whatever is thought of them: who could make a client change them could choose them.
    mutating func payablePath(
        _ wanted: PathConstraints,
        now: Instant
    ) throws(PathError) -> Path {
        for doubted in doubtedRelays() {
            var preferred = wanted
            preferred.excluded.formUnion(doubted)
            for member in selector.guards.members { preferred.excluded.remove(member.id) }
            if let exit = wanted.exit { preferred.excluded.remove(exit) }
            preferred.excluded.formUnion(wanted.excluded)
            guard preferred.excluded != wanted.excluded else { continue }
            let path = try? selector.path(preferred, now: now, date: wall, using: &random)
            if let path { return path }
        }
        return try selector.path(wanted, now: now, date: wall, using: &random)
    }

    /// Relays a circuit had better not take, the longest list first.
    private mutating func doubtedRelays() -> [Set<NodeID>] {
        let bad = cashier.reputation.bad(at: wall)
        guard cashier.isRequired(at: wall) else { return [bad] }
        let others = selector.middles.members.map(\.id)
        let exits = selector.view.relays.filter { $0.flags.contains(.exit) }.map(\.id)
        return [true, false].map { hasRested in
            bad.union(cashier.unpayable(others + exits, hasRested: hasRested, at: wall))
        } + [bad]
    }

    mutating func begin(_ id: CircuitID, over link: LinkID, now: Instant) {
        guard let path = circuits[id]?.path else { return }
        circuits[id]?.stage = .waitingForKeys
        circuits[id]?.link = link
        let isForErrands = circuits[id].flatMap { tunnels[$0.tunnel]?.isForErrands } ?? false
        let isContact = isForErrands && !cashier.canPay(path.hops.map(\.id), at: wall)
        circuits[id]?.isFirstContact = isContact
        let shape = circuits[id]?.shape ?? .fast
        jobs.append(.build(id, work(for: path, isFirstContact: isContact, shape: shape)))
    }

    private mutating func work(
        for path: Path,
        isFirstContact: Bool,
        shape: TrafficShape
    ) -> BuildWork {
        var targets: [HopTarget] = []
        for hop in path.hops {
            targets.append(
                HopTarget(network: network, relay: hop.id, publicKey: hop.circuitKey)
            )
        }
        return BuildWork(
            targets: targets,
            minute: wall.minute,
            isFirstContact: isFirstContact,
            shape: shape,
            random: &random
        )
    }

    mutating func startBuild(
        _ id: CircuitID,
        handshakes: [ClientHandshake],
        now: Instant
    ) {
        guard let circuit = circuits[id], let link = circuit.link else { return }
        var targets: [HopTarget] = []
        for hop in circuit.path.hops {
            targets.append(
                HopTarget(network: network, relay: hop.id, publicKey: hop.circuitKey)
            )
        }
        var build = CircuitBuild(
            targets: targets,
            handshakes: handshakes,
            method: settings.method,
            now: now
        )
        // Clients open their links: their numbers have the top bit.
        let number = CircuitNumber(rawValue: UInt32(truncatingIfNeeded: random.next()) | 1 << 31)
        circuits[id]?.number = number
        circuits[id]?.stage = .building
        commands.append(.addCircuit(id, link, number, circuit.tunnel))
        shapeCircuit(id)
        let actions = build.start(now: now)
        circuits[id]?.build = build
        perform(actions, for: id, now: now)
    }

    /// Moves the build of `id` on, and does what it asks for.
    mutating func step(
        _ id: CircuitID,
        now: Instant,
        _ body: (inout CircuitBuild) throws(CircuitBuild.Failure) -> [CircuitBuild.Action]
    ) {
        guard var build = circuits[id]?.build else { return }
        do throws(CircuitBuild.Failure) {
            let actions = try body(&build)
            circuits[id]?.build = build
            perform(actions, for: id, now: now)
            if build.isComplete { complete(id, now: now) }
        } catch {
            switch error {
            case .guardSilent:
                fail(id, culprit: .guardRelay, reason: "the guard does not answer", now: now)
            case .extendFailed(let hop, let failure):
                noteExtend(id, hop: hop, isAnswered: false)
                let reason = "hop \(hop.rawValue) could not extend: \(failure)"
                fail(id, culprit: extendCulprit(id, hop: hop), reason: reason, now: now)
            case .tooSlow(let hop):
                let reason = "hop \(hop.rawValue) did not answer in time"
                fail(id, culprit: Self.position(of: hop), reason: reason, now: now)
            case .notAuthentic(let hop), .violation(let hop):
                let reason = "hop \(hop.rawValue) broke the protocol"
                fail(id, culprit: Self.position(of: hop), reason: reason, now: now)
            }
        }
    }

    private mutating func perform(
        _ actions: [CircuitBuild.Action],
        for id: CircuitID,
        now: Instant
    ) {
        for action in actions {
            guard let circuit = circuits[id], let link = circuit.link else { return }
            switch action {
            case .sendCreate(let body):
                commands.append(.sendCell(link, circuit.number, .create, body))
            case .setEarly(let keys, let hop):
                commands.append(.setEarly(id, hop, key: keys.forward, start: drawStart()))
            case .setKeys(let keys, let hop):
                commands.append(
                    .setKeys(
                        id,
                        hop,
                        forward: keys.forward,
                        backward: keys.backward,
                        start: drawStart(of: circuit.shape, at: hop)
                    )
                )
            case .send(let message, let hop):
                say(message, to: hop, over: id, now: now)
            case .sayAgain(let hop):
                circuits[id]?.channels[hop.offset].repeatAll(now: now)
                pump(id, now: now)
            case .finish(let work):
                jobs.append(.finish(id, work))
            }
        }
    }

    private mutating func drawStart() -> UInt32 {
        UInt32(truncatingIfNeeded: random.next(below: UInt64(LayerSealer.cellLimit)))
    }

    /// The first count under main keys; groups of parity begin at multiples of five.
    private mutating func drawStart(of shape: TrafficShape, at hop: HopIndex) -> UInt32 {
        let start = drawStart()
        guard case .mix = shape, hop == .second else { return start }
        return start - start % 5
    }

    private mutating func complete(_ id: CircuitID, now: Instant) {
        guard let circuit = circuits[id] else { return }
        let said = circuit.build?.statements ?? []
        statements.note(said, view: selector.view, wall: wall)
        circuits[id]?.build = nil
        circuits[id]?.stage = .ready
        circuits[id]?.buildTime = now - circuit.begun
        tell(.ready(now - circuit.begun), of: id)
        if exitBuilds.count < Self.exitTripLimit || exitBuilds[circuit.path.exit.id] != nil {
            exitBuilds[circuit.path.exit.id] = now - circuit.begun
        }
        if circuit.isSpare { tunnels[circuit.tunnel]?.spareFailures = 0 }
        exitFailures[circuit.path.exit.id] = nil
        selector.noteSuccess(of: circuit.path, on: wall)
        selector.noteExtend(by: circuit.path.guardRelay.id, isAnswered: true)
        notices.append(.pathsChanged)
        beginSurvey(id, now: now)
        if tunnels[circuit.tunnel]?.isForErrands == true { beginPaying(id, now: now) }
    }

    mutating func noteExtend(_ id: CircuitID, hop: HopIndex, isAnswered: Bool) {
        guard hop == .first, let relay = circuits[id]?.path.guardRelay.id else { return }
        selector.noteExtend(by: relay, isAnswered: isAnswered)
    }

    /// Who is to blame where `hop` says it cannot reach the next one.
    ///
    /// The middle or the exit: the middle at first, the exit where another could not reach it either.
    private mutating func extendCulprit(_ id: CircuitID, hop: HopIndex) -> PathPosition {
        guard hop != .first, let exit = circuits[id]?.path.exit.id else { return .middle }
        let failures = exitFailures[exit, default: 0]
        exitFailures[exit] = failures + 1
        return failures == 0 ? .middle : .exit
    }

    static func position(of hop: HopIndex) -> PathPosition {
        switch hop {
        case .first: .guardRelay
        case .second: .middle
        default: .exit
        }
    }
}
