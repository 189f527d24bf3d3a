import Base
import Circuits
import ClientCore
public import ControlAPI
import EventLoop
import HostNetwork
import UDPTransport
import Wire

// How a client's daemon lets people look into its circuits.
extension ClientNode: CircuitService {
    /// How long a new circuit may take to carry packets.
    private static let renewalLimit: Duration = .seconds(10)
    /// How long hops may take to say what they carried, where that is not a look in passing: time
    /// for what is lost to be sent again, five times over.
    private static let statementLimit: Duration = .seconds(5)

    // MARK: Echoes

    /// Measures round trips to the hops of a circuit, all hops at once.
    public func ping(_ request: PingRequest) async throws(Failure) -> PingReport {
        let circuit = try await circuit(request.circuit)
        let wanted = request.hop.flatMap { UInt8(exactly: $0) }.flatMap { HopIndex(rawValue: $0) }
        if request.hop != nil, wanted == nil {
            throw Failure(
                "there is no hop \(request.hop ?? 0)",
                why: "a circuit has the hops 1 to 3",
                hint: "umbel ping --hop 1",
                exit: .usage
            )
        }
        let hops = HopIndex.all.filter { wanted == nil || wanted == $0 }
        let outcomes = await echoes(
            TraceRequest(count: request.count, interval: PingRequest.defaultInterval),
            to: hops,
            over: circuit.id
        )
        return PingReport(
            hops: zip(hops, outcomes).map { hop, outcome in
                PingReport.Hop(
                    position: Int(hop.rawValue),
                    nickname: circuit.hops[hop.offset].nickname,
                    sent: request.count,
                    roundTrips: outcome?.roundTrips.map(\.milliseconds) ?? []
                )
            }
        )
    }

    /// Measures every hop of a circuit.
    public func trace(_ request: TraceRequest) async throws(Failure) -> TraceReport {
        let circuit = try await circuit(request.circuit)
        let before = await traffic(of: [circuit.id])?.traffic.first ?? nil
        var patience = Duration.nanoseconds(Int64(max(0, request.patience) * 1_000_000))
        let (earlier, heard, outcomes): ([HopReport?], CircuitTraffic?, [EchoSeries.Outcome?])
        if request.count == 1 {
            // A look in passing: losses are small beside what else the circuit carries.
            async let said = countedStatements(of: circuit.id, within: patience)
            outcomes = await echoes(request, to: HopIndex.all, over: circuit.id)
            (earlier, heard) = await said
        } else {
            // Statements that are lost come later than others: no echo is on the way meanwhile.
            patience = max(patience, Self.statementLimit)
            (earlier, heard) = await countedStatements(of: circuit.id, within: patience)
            outcomes = await echoes(request, to: HopIndex.all, over: circuit.id)
        }
        let sent = await traffic(of: [circuit.id])?.traffic.first ?? nil
        // A hop that answers no echo has nothing to say either, and is not waited for.
        let isSilent = outcomes.contains { $0?.roundTrips.isEmpty ?? true }
        let later = isSilent ? earlier : await statements(of: circuit.id, within: patience)
        let received = await traffic(of: [circuit.id])?.traffic.first ?? nil
        return TraceReport(
            circuit: UInt64(circuit.id.rawValue),
            hops: HopIndex.all.map { hop in
                let relay = circuit.hops[hop.offset]
                return TraceReport.Hop(
                    position: Int(hop.rawValue),
                    nickname: relay.nickname,
                    country: relay.country.map { "\($0)" } ?? "??",
                    sent: outcomes[hop.offset]?.sent ?? 0,
                    roundTrips: outcomes[hop.offset]?.roundTrips.map(\.milliseconds) ?? [],
                    before: earlier[hop.offset].map { HopStat($0) },
                    after: later[hop.offset].map { HopStat($0) }
                )
            },
            client: TraceReport.Counts(
                sentBefore: before?.sentCells ?? 0,
                sentAfter: sent?.sentCells ?? 0,
                receivedBefore: heard?.receivedCells ?? 0,
                receivedAfter: received?.receivedCells ?? 0
            )
        )
    }

    /// The circuit `id`, or the one in use.
    private func circuit(_ id: UInt64?) async throws(Failure) -> ClientControl.CircuitReport {
        let circuits = await snapshot()?.circuits ?? []
        if let id {
            let known = circuits.first { UInt64($0.id.rawValue) == id }
            guard let known else { throw Self.noCircuit(id) }
            guard known.stage != .building else {
                throw Failure(
                    "circuit \(id) does not stand yet",
                    why: "its hops are still being built",
                    hint: "umbel circuits",
                    exit: .temporary
                )
            }
            return known
        }
        let tunnel = mainTunnel
        guard let tunnel, let used = circuits.first(where: { $0.isCurrent && $0.tunnel == tunnel })
        else {
            throw Failure(
                "there is no circuit in use",
                why: reason() ?? "the client is not connected",
                hint: "umbel up --wait",
                exit: .notConnected
            )
        }
        return used
    }

    private static func noCircuit(_ id: UInt64) -> Failure {
        Failure(
            "there is no circuit \(id)",
            why: "it is closed, or never was",
            hint: "umbel circuits",
            exit: .failed
        )
    }

    /// Sends echoes to `hops`, all at once; `nil` for a hop where that could not begin.
    private func echoes(
        _ request: TraceRequest,
        to hops: [HopIndex],
        over circuit: CircuitID
    ) async -> [EchoSeries.Outcome?] {
        await withTaskGroup(of: (Int, EchoSeries.Outcome?).self) { group in
            for (index, hop) in hops.enumerated() {
                group.addTask { (index, await self.echoes(request, to: hop, over: circuit)) }
            }
            var outcomes = [EchoSeries.Outcome?](repeating: nil, count: hops.count)
            for await (index, outcome) in group { outcomes[index] = outcome }
            return outcomes
        }
    }

    private func echoes(
        _ request: TraceRequest,
        to hop: HopIndex,
        over circuit: CircuitID
    ) async -> EchoSeries.Outcome? {
        let token = nextToken
        nextToken += 1
        let series = EchoSeries(
            hop: hop,
            cellCount: request.count,
            interval: TimeSpan(nanoseconds: UInt64(max(0, request.interval) * 1_000_000)),
            patience: TimeSpan(nanoseconds: UInt64(max(0, request.patience) * 1_000_000)),
            now: MonotonicClock.now()
        )
        return await withCheckedContinuation { continuation in
            watch.wait(token, continuation)
            if !control.post(.ping(circuit, series, token: token)) { watch.finish(token, nil) }
        }
    }

    /// What the hops of a circuit say they have carried, and what the client had when they said so: the
    /// later its own count, the more of what it received would seem lost.
    private func countedStatements(
        of circuit: CircuitID,
        within patience: Duration
    ) async -> ([HopReport?], CircuitTraffic?) {
        let said = await statements(of: circuit, within: patience)
        return (said, await traffic(of: [circuit])?.traffic.first ?? nil)
    }

    /// What the hops of a circuit say they have carried; `nil` for one that does not answer in time.
    private func statements(
        of circuit: CircuitID,
        within patience: Duration
    ) async -> [HopReport?] {
        let token = nextToken
        nextToken += 1
        let limit = Task {
            try await Task.sleep(for: patience)
            self.watch.giveUp(token)
        }
        defer { limit.cancel() }
        return await withCheckedContinuation { continuation in
            watch.wait(token, for: circuit, continuation)
            if !control.post(.askReports(circuit)) { watch.giveUp(token) }
        }
    }

    // MARK: Looking

    /// Who knows what of a circuit.
    public func explain(_ id: UInt64) async throws(Failure) -> ExplainReport {
        let report = await circuits().circuits.first { $0.id == id }
        guard let report else { throw Self.noCircuit(id) }
        let relay = report.hops.first.flatMap { SocketAddress($0.address) }
        let source = relay.flatMap {
            UDPSocket.source(toward: $0, mark: ProcessRights.mark)
        }
        guard let explained = ExplainReport(report, source: source.map { "\($0)" }) else {
            throw Self.noCircuit(id)
        }
        return explained
    }

    /// The state now, after every change and once a second.
    public func stateUpdates() async -> AsyncStream<StateUpdate> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: StateUpdate.self,
            bufferingPolicy: .bufferingNewest(64)
        )
        let token = nextToken
        nextToken += 1
        watch.add(continuation, as: token)
        let listener = eventRing.listen { continuation.yield(.event($0)) }
        continuation.onTermination = { [weak self, eventRing] _ in
            eventRing.forget(listener)
            Task { await self?.forgetReader(token) }
        }
        continuation.yield(.status(await status()))
        continuation.yield(.circuits(await circuits()))
        return stream
    }

    private func forgetReader(_ token: UInt64) {
        watch.removeReader(token)
    }

    /// Tells those who read along how things stand.
    func tellState() {
        guard watch.hasReaders, !isTellingState else { return }
        isTellingState = true
        Task {
            // What changes meanwhile is in the reports, which are taken after this.
            isTellingState = false
            watch.tell(.status(await status()))
            watch.tell(.circuits(await circuits()))
        }
    }

    /// Looks at whether anything leaves the machine around the tunnel.
    public func leakTest() async -> LeakReport {
        let relay = await circuits().circuits.first?.hops.first.flatMap {
            SocketAddress($0.address)
        }
        return LeakTest(
            leadsMachine: machine != nil,
            isLocked: await network.isLocked(),
            guardAddress: relay
        ).run()
    }

    // MARK: Orders

    /// Replaces the circuit in use by another one to the same exit.
    public func newCircuit() async throws(Failure) -> CircuitsReport {
        _ = try await circuit(nil)
        guard let tunnel = mainTunnel else { return await circuits() }
        let token = nextToken
        nextToken += 1
        let limit = Task {
            try await Task.sleep(for: Self.renewalLimit)
            self.watch.giveUpCarrier(token)
        }
        let carries = await withCheckedContinuation { continuation in
            watch.waitForCarrier(token, continuation)
            if !control.post(.renew(tunnel)) { watch.giveUpCarrier(token) }
        }
        limit.cancel()
        guard carries else {
            throw Failure(
                "no new circuit carries packets yet",
                why: reason() ?? "none came to stand in 10 seconds",
                hint: "umbel status --watch",
                exit: .temporary
            )
        }
        return await circuits()
    }

    /// Closes a circuit.
    public func closeCircuit(_ id: UInt64) async throws(Failure) -> CircuitsReport {
        let isThere: Bool? = await withCheckedContinuation { continuation in
            let once = Once(continuation)
            let circuit = CircuitID(rawValue: id)
            if !control.post(.closeCircuit(circuit) { once.resume($0) }) { once.resume(nil) }
        }
        guard isThere == true else { throw Self.noCircuit(id) }
        return await circuits()
    }
}
