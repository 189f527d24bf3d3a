import Base
import Circuits
import CryptoPrimitives
import Directory
import Paths
import Wire

extension ClientControl {
    /// Brings every tunnel as near to what it should be as can be done now.
    mutating func maintain(now: Instant) {
        clock = max(clock, now)
        for id in tunnels.keys.sorted() {
            rotate(id, now: now)
            assign(id, now: now)
            startMissing(id, now: now)
            startBeside(id, now: now)
            startBesideSlow(id, now: now)
        }
        tendAudit(now: now)
        drainDialer(now: now)
        drainCashier(now: now)
    }

    /// Gives ready circuits to leases that lost theirs, or to new flows.
    private mutating func assign(_ id: TunnelID, now: Instant) {
        guard tunnels[id]?.isForErrands == false else { return }
        for circuitID in circuits.keys.sorted() {
            guard let circuit = circuits[circuitID], circuit.tunnel == id, circuit.stage == .ready,
                let tunnel = tunnels[id]
            else { continue }
            let exit = circuit.path.exit.id
            let lost = tunnel.leases.values.filter { $0.circuit == nil && $0.exit == exit }
                .min { $0.id < $1.id }
            if let lost {
                openTunnel(circuitID, lease: lost, now: now)
            } else if tunnel.current == nil, !isOpening(id) {
                openTunnel(circuitID, lease: nil, now: now)
            }
        }
    }

    /// Whether an exit is asked for addresses for new flows; not, for those of a lease that was lost.
    private func isOpening(_ id: TunnelID) -> Bool {
        circuits.values.contains { $0.tunnel == id && $0.stage == .opening && $0.lease == nil }
    }

    private mutating func openTunnel(_ id: CircuitID, lease: Lease?, now: Instant) {
        circuits[id]?.stage = .opening
        circuits[id]?.openingSince = now
        circuits[id]?.lease = lease?.id
        if let lease, let tunnel = circuits[id]?.tunnel {
            tunnels[tunnel]?.leases[lease.id]?.circuit = id
            if let end = lease.lastEnd {
                circuits[id]?.cause = .replacement(of: end.circuit, reason: end.reason)
            }
        }
        let request = ControlMessage.OpenTunnel(
            families: 3,
            leaseSecret: lease?.secret ?? .zero
        )
        beginPaying(id, now: now)
        say(.openTunnel(request), to: .third, over: id, now: now)
    }

    mutating func receiveOpened(
        _ answer: ControlMessage.TunnelOpened,
        over id: CircuitID,
        now: Instant
    ) {
        guard let circuit = circuits[id], circuit.stage == .opening,
            tunnels[circuit.tunnel] != nil
        else { return }
        circuits[id]?.openingSince = nil
        switch answer.status {
        case .notAnExit, .full:
            let reason = answer.status == .full ? "the exit is full" : "the exit carries nothing"
            return fail(id, culprit: .exit, reason: reason, now: now)
        case .opened, .takenOver:
            break
        }
        guard cashier.mayCarry(id), isProbed(id, families: answer.families, now: now) else {
            circuits[id]?.opened = answer
            return
        }
        finishOpened(answer, over: id, now: now)
    }

    /// Lets a circuit carry packets: its exit has given addresses, and every hop is paid.
    mutating func finishOpened(
        _ answer: ControlMessage.TunnelOpened,
        over id: CircuitID,
        now: Instant
    ) {
        guard circuits[id]?.stage == .opening, let tunnel = circuits[id]?.tunnel,
            tunnels[tunnel] != nil
        else { return }
        guard beginSchedule(id, now: now) else {
            circuits[id]?.opened = answer
            return
        }
        guard let circuit = circuits[id] else { return }
        circuits[id]?.stage = .active
        circuits[id]?.probe = nil
        tunnels[circuit.tunnel]?.lastExit = circuit.path.exit.id
        if let cause = circuits[id]?.cause { tell(.carrying(cause), of: id) }
        if answer.status == .takenOver, let lease = circuit.lease {
            tunnels[circuit.tunnel]?.leases[lease]?.secret = answer.leaseSecret
            tunnels[circuit.tunnel]?.leases[lease]?.lostSince = nil
            tunnels[circuit.tunnel]?.leases[lease]?.isExitDoubted = false
            commands.append(.bind(lease, circuit.tunnel, id))
            // Given up for new flows too early: it serves them again, unless it is old.
            if tunnels[circuit.tunnel]?.current == nil,
                let opened = tunnels[circuit.tunnel]?.leases[lease]?.opened,
                now < opened + settings.rotation
            {
                tunnels[circuit.tunnel]?.current = lease
                commands.append(.setCurrent(circuit.tunnel, lease))
            }
        } else {
            // A new lease; flows of one that could not be taken over end.
            let current = tunnels[circuit.tunnel]?.current
            let isNext = current == nil || current == circuit.lease
            if let old = circuit.lease { endLease(old, keeping: id, now: now) }
            let lease = LeaseID(rawValue: nextLease)
            nextLease += 1
            tunnels[circuit.tunnel]?.leases[lease] = Lease(
                id: lease,
                exit: circuit.path.exit.id,
                secret: answer.leaseSecret,
                circuit: id,
                opened: now,
                families: answer.families
            )
            circuits[id]?.lease = lease
            commands.append(.bind(lease, circuit.tunnel, id))
            if isNext {
                tunnels[circuit.tunnel]?.current = lease
                commands.append(.setCurrent(circuit.tunnel, lease))
            }
        }
        tunnels[circuit.tunnel]?.failures = 0
        tunnels[circuit.tunnel]?.lastFailure = nil
        tunnels[circuit.tunnel]?.retryAt = .zero
        if tunnels[circuit.tunnel]?.current == circuits[id]?.lease {
            setState(circuit.tunnel, .connected)
        }
        if tunnels[circuit.tunnel]?.connectedSince == nil {
            tunnels[circuit.tunnel]?.connectedSince = now
        }
        mayAudit(circuit.path.exit.id, of: circuit.tunnel, now: now)
    }

    mutating func endLease(
        _ id: LeaseID,
        keeping circuit: CircuitID? = nil,
        now: Instant
    ) {
        for tunnel in tunnels.keys.sorted() {
            guard let lease = tunnels[tunnel]?.leases.removeValue(forKey: id) else { continue }
            if tunnels[tunnel]?.current == id { tunnels[tunnel]?.current = nil }
            commands.append(.endLease(id))
            if let used = lease.circuit, used != circuit { drop(used, isOrderly: true, now: now) }
        }
    }

    /// Looks for another lease for new flows where the current one is old, or lost for too long.
    private mutating func rotate(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels[id], let current = tunnel.current,
            let lease = tunnel.leases[current]
        else { return }
        if let since = lease.lostSince {
            guard now >= since + patience(for: lease) else { return }
            tunnels[id]?.current = nil
            // A flow that begins now must not be pinned to a lease that may never come back.
            commands.append(.setCurrent(id, nil))
            if let reason = tunnel.lastFailure { noteDisconnected(id, reason: reason) }
        } else if now >= lease.opened + settings.rotation {
            // Its flows go on; new ones begin on another lease. Until that stands they begin here.
            tunnels[id]?.current = nil
        }
    }

    /// Begins the circuits the tunnel lacks: for leases without one, for new flows, as a spare.
    mutating func startMissing(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels[id] else { return }
        let lost = tunnel.leases.values.filter { $0.circuit == nil }.sorted { $0.id < $1.id }
        for lease in lost where exitFailures[lease.exit, default: 0] >= Self.exitFailureLimit {
            endLease(lease.id, now: now)
        }
        if now >= tunnel.retryAt { startNeeded(id, now: now) }
        startSpare(id, now: now)
    }

    /// Circuits of the tunnel that carry nothing yet.
    private func making(_ id: TunnelID) -> [Circuit] {
        circuits.values.filter {
            $0.tunnel == id && $0.stage != .active && $0.stage != .opening
        }
    }

    private mutating func startNeeded(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels[id] else { return }
        let making = making(id)
        let lost = tunnel.leases.values.filter { $0.circuit == nil }.sorted { $0.id < $1.id }
        for lease in lost where !making.contains(where: { $0.path.exit.id == lease.exit }) {
            var wanted = tunnel.wanted
            wanted.exit = lease.exit
            let cause = lease.lastEnd.map { end in
                CircuitCause.replacement(of: end.circuit, reason: end.reason)
            }
            start(id, wanting: wanted, because: cause ?? .first, now: now)
        }
        let lostExits = Set(tunnel.leases.values.filter { $0.lostSince != nil }.map(\.exit))
        guard tunnel.current == nil, !isOpening(id),
            !making.contains(where: { !lostExits.contains($0.path.exit.id) })
        else { return }
        var wanted = tunnel.wanted
        wanted.excluded.formUnion(lostExits)
        var cause = tunnel.lastFailure.map { CircuitCause.retry(reason: $0) } ?? .first
        if tunnel.lastFailure == nil, !tunnel.leases.isEmpty { cause = .rotation }
        // Where an exit was lost, another one of its country takes its place, if there is one.
        if tunnel.state != .connected, startNear(id, wanting: wanted, because: cause, now: now) {
            return
        }
        start(id, wanting: wanted, because: cause, now: now)
    }

    private mutating func startSpare(_ id: TunnelID, now: Instant) {
        guard let tunnel = tunnels[id], let current = tunnel.current,
            let lease = tunnel.leases[current],
            let active = lease.circuit.flatMap({ circuits[$0] }), active.stage == .active,
            !tunnel.leases.values.contains(where: { $0.circuit == nil })
        else { return }
        let making = making(id).sorted { $0.id < $1.id }
        // What was begun for another exit is of no use as a spare.
        for circuit in making where circuit.path.exit.id != lease.exit && circuit.stage == .ready {
            drop(circuit.id, isOrderly: true, now: now)
        }
        guard settings.keepsSpare, Self.auditSide(id) == nil, now >= tunnel.spareRetryAt,
            !making.contains(where: { $0.path.exit.id == lease.exit })
        else { return }
        var wanted = tunnel.wanted
        wanted.exit = lease.exit
        wanted.excluded.insert(active.path.middle.id)
        // Without another middle there is no spare; the circuit in use is not disturbed by it.
        do throws(PathError) {
            let spare = try startCircuit(for: id, wanting: wanted, because: .spare, now: now)
            circuits[spare]?.isSpare = true
        } catch {
            tunnels[id]?.spareRetryAt = now + .seconds(30)
        }
    }

    private mutating func start(
        _ id: TunnelID,
        wanting wanted: PathConstraints,
        because cause: CircuitCause,
        now: Instant
    ) {
        do throws(PathError) {
            try startCircuit(for: id, wanting: wanted, because: cause, now: now)
        } catch {
            // A lease's exit that is down says nothing of the others. But that all there are have
            // failed is less likely than that this machine's network did: they get another try at
            // once, and the tunnel's own back-off paces the tries.
            var isExitOnly = false
            if case .noExit = error { isExitOnly = wanted.exit != tunnels[id]?.wanted.exit }
            if !isExitOnly { selector.retryAll() }
            backOff(id, reason: "\(error)", now: now)
        }
    }

    /// Takes a circuit that failed away from its lease and the shard.
    mutating func fail(
        _ id: CircuitID,
        culprit: PathPosition?,
        reason: String,
        now: Instant
    ) {
        guard let circuit = circuits[id] else { return }
        if let culprit {
            let relay =
                switch culprit {
                case .guardRelay: circuit.path.guardRelay.id
                case .middle: circuit.path.middle.id
                case .exit: circuit.path.exit.id
                }
            selector.noteFailure(of: relay, at: culprit, now: now)
        }
        drop(id, isOrderly: false, because: reason, now: now)
        guard let tunnel = tunnels[circuit.tunnel] else { return }
        if let lease = circuit.lease, tunnel.leases[lease] != nil {
            tunnels[circuit.tunnel]?.leases[lease]?.circuit = nil
            tunnels[circuit.tunnel]?.leases[lease]?.lastEnd = CircuitEnd(
                circuit: id,
                reason: reason
            )
            if tunnel.leases[lease]?.lostSince == nil {
                tunnels[circuit.tunnel]?.leases[lease]?.lostSince = now
            }
            if tunnel.current == lease {
                setState(circuit.tunnel, .recovering(reason: reason))
            }
        }
        // What worked is replaced at once; what did not is tried again after a while.
        guard circuit.stage != .active else { return }
        if circuit.isSpare, circuit.lease == nil {
            let failures = tunnel.spareFailures
            tunnels[circuit.tunnel]?.spareFailures = failures + 1
            let retry = now + wait(failures)
            tunnels[circuit.tunnel]?.spareRetryAt = retry
        } else {
            backOff(circuit.tunnel, reason: reason, now: now)
        }
    }

    /// Removes a circuit here, in the shard and at the guard.
    ///
    /// - Parameter isOrderly: whether nothing is wrong with it; after a fault no hop is paid a class.
    mutating func drop(
        _ id: CircuitID,
        isOrderly: Bool,
        because reason: String = "no longer needed",
        now: Instant
    ) {
        tell(.ended(reason: reason), of: id)
        for (hop, message) in cashier.end(id, isOrderly: isOrderly) {
            guard (try? circuits[id]?.channels[hop.offset].send(message)) != nil else { continue }
            while let record = circuits[id]?.channels[hop.offset].nextRecord(now: now) {
                commands.append(.sendControl(id, hop, record))
            }
        }
        guard let circuit = circuits.removeValue(forKey: id) else { return }
        if let link = circuit.link, links[link] != nil, circuit.stage != .waitingForKeys {
            let reason = [DestroyReason.finished.rawValue]
            commands.append(.sendCell(link, circuit.number, .destroy, reason))
        }
        commands.append(.removeCircuit(id))
        if let token = circuit.survey {
            let isAsked = pings.values.contains { $0.token == token && $0.circuit == id }
            // Of one that is asked already its time-out tells.
            if !isAsked { notices.append(.pong(token: token, .third, nil)) }
        }
        releaseLinks()
    }

    private mutating func backOff(_ id: TunnelID, reason: String, now: Instant) {
        guard let tunnel = tunnels[id] else { return }
        tunnels[id]?.failures = tunnel.failures + 1
        let wait = tunnel.failures == 0 ? .milliseconds(1) : wait(tunnel.failures)
        tunnels[id]?.retryAt = now + wait
        tunnels[id]?.lastFailure = reason
        if tunnel.current == nil { noteDisconnected(id, reason: reason) }
    }

    /// Says why the tunnel is not connected, where no lease of it has a circuit.
    private mutating func noteDisconnected(_ id: TunnelID, reason: String) {
        guard let tunnel = tunnels[id], !tunnel.leases.values.contains(where: { $0.circuit != nil })
        else { return }
        setState(id, .connecting(reason: reason))
    }

    /// A time that doubles with `failures` from 100 ms to 6.4 s, of which half is drawn.
    private mutating func wait(_ failures: Int) -> TimeSpan {
        let step = TimeSpan.milliseconds(100 << UInt64(min(failures, 6)))
        return step / 2 + TimeSpan(nanoseconds: random.next(below: step.nanoseconds / 2 + 1))
    }

    private mutating func setState(_ id: TunnelID, _ state: TunnelState) {
        guard let tunnel = tunnels[id], tunnel.state != state else { return }
        tunnels[id]?.state = state
        notices.append(.tunnel(id, state))
    }
}
