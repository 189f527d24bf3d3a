import Base
import Circuits
import CryptoPrimitives
import Links
import Onion
import RelayCore
import Wire

/// A relay with a limited line in virtual time, a neighbour that sends to it, and circuits of both.
///
/// The neighbour is client and next hop in one: what the relay passes on comes back to it.
final class LimitBench {
    /// What a circuit sends: a cell each `gap`, from `offset` on.
    struct Load {
        var circuit: Int
        var gap: TimeSpan
        var offset = TimeSpan.zero
    }

    private static let address = SocketAddress(ip: IPAddress(v4: 0x0a00_0001), port: 1)
    private static let link = LinkID(rawValue: 1)

    private(set) var now = Instant.zero + .seconds(100)
    private var shard: RelayShard
    private var neighbour: LinkTable
    private var paths: [Path] = []
    private var memory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)
    private var neighbourMemory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)
    private var sent: [[Instant]] = []
    /// How long each cell took that was passed on, in milliseconds, by circuit.
    private(set) var delays: [[Double]] = []

    // In an array, which takes no values that cannot be copied.
    private final class Path {
        var path: ClientPath

        init(_ path: consuming ClientPath) {
            self.path = path
        }
    }

    /// Sets up `count` circuits through a relay with these limits.
    init(circuits count: Int, limits: LineLimits, seed: UInt8) {
        var random = RandomGenerator(seed: Secret(copying: [UInt8](repeating: seed, count: 32)))
        shard = RelayShard(limits: limits, exit: nil, random: random.split(), now: now)
        neighbour = LinkTable(
            linkLimit: 4,
            generated: ArenaLayout.generated,
            random: random.split()
        )
        let forward = random.secret(byteCount: 32)
        let backward = random.secret(byteCount: 32)
        let exporter = random.secret(byteCount: 32)
        guard let near = SessionID(rawValue: 7), let far = SessionID(rawValue: 8) else {
            preconditionFailure("session numbers are not zero")
        }
        func link(isInitiator: Bool) -> NewLink {
            NewLink(
                id: Self.link,
                address: Self.address,
                peer: .relay(NodeID(.zero)),
                isInitiator: isInitiator,
                session: NewSession(
                    local: isInitiator ? near : far,
                    remote: isInitiator ? far : near,
                    keys: SessionKeys(
                        forward: forward,
                        backward: backward,
                        exporter: exporter,
                        isInitiator: isInitiator
                    ),
                    isConfirmed: true
                )
            )
        }
        _ = neighbour.add(link(isInitiator: true), now: now)
        perform(.addLink(link(isInitiator: false)))
        for circuit in 0..<count { open(circuit, random: &random) }
        sent = Array(repeating: [], count: count)
        delays = Array(repeating: [], count: count)
    }

    /// Cells the relay passed on.
    var passedCount: UInt64 { shard.counters.forwardCells }

    /// The most bytes that waited at the end of a batch.
    private(set) var mostWaiting = 0

    /// Cells it dropped because they had waited too long.
    var lateCount: UInt64 { shard.counters.lateCells }

    /// Sends the loads for `span`.
    func run(_ loads: [Load], for span: TimeSpan) {
        let start = now
        var due = loads.map { start + $0.offset }
        while let index = due.indices.min(by: { due[$0] < due[$1] }), due[index] < start + span {
            pass(to: due[index])
            let circuit = loads[index].circuit
            sent[circuit].append(now)
            send(circuit)
            due[index] = due[index] + loads[index].gap
        }
        pass(to: start + span)
    }

    private func pass(to end: Instant) {
        while shard.nextDeadline <= end {
            now = max(now, shard.nextDeadline)
            withMemory { bytes in shard.advance(to: now, bytes: &bytes) }
            collect()
        }
        now = max(now, end)
    }

    private static func number(_ circuit: Int) -> CircuitNumber {
        CircuitNumber(rawValue: 1 << 31 | UInt32(circuit + 1))
    }

    private func open(_ circuit: Int, random: inout RandomGenerator) {
        let id = CircuitID(rawValue: UInt64(circuit + 1))
        let number = Self.number(circuit)
        let create = [UInt8](repeating: 0, count: CreateBody.circuitByteCount)
        withNeighbour { bytes in
            guard let slot = neighbour.slot(of: Self.link) else { return }
            let header = LinkHeader(circuit: number, command: .create)
            _ = neighbour.sendSealed(
                &bytes,
                link: slot,
                header: header,
                body: create,
                now: now
            )
        }
        deliver()
        let forward = random.secret(byteCount: 32)
        let backward = random.secret(byteCount: 32)
        perform(
            .installCircuit(
                NewRelayCircuit(
                    id: id,
                    link: Self.link,
                    number: number,
                    hop: .first,
                    early: nil,
                    keys: HandshakeKeys(
                        forward: forward,
                        backward: backward,
                        exporter: random.secret(byteCount: 32),
                        transcript: .zero
                    ),
                    start: 0
                )
            )
        )
        perform(.setNext(id, Self.link, CircuitNumber(rawValue: UInt32(circuit + 1))))
        var path = ClientPath(id: id, number: number)
        path.setKeys(forward: forward, backward: backward, start: 0, at: .first)
        paths.append(Path(path))
    }

    private func perform(_ command: RelayCommand) {
        withMemory { bytes in
            shard.perform(command, bytes: &bytes, now: now)
        }
        shard.clearOutput()
    }

    /// Sends an empty cell of the circuit that is to be passed on.
    private func send(_ circuit: Int) {
        withNeighbour { bytes in
            guard let slot = neighbour.slot(of: Self.link),
                let datagram = neighbour.output.allocate()
            else { return }
            let body = datagram + Datagram.bodyOffset
            let header = paths[circuit].path.seal(
                &bytes,
                body: body,
                for: .first,
                command: .forward
            )
            _ = neighbour.send(
                &bytes,
                datagram: datagram,
                link: slot,
                header: header,
                now: now
            )
        }
        deliver()
    }

    /// Brings the relay what its neighbour sends.
    private func deliver() {
        neighbour.output.makeTrains()
        let offsets = neighbour.output.trains.offsets.map { Int($0) }
        neighbour.output.clear()
        for offset in offsets {
            let datagram = Array(neighbourMemory[offset..<offset + Datagram.byteCount])
            memory.replaceSubrange(0..<datagram.count, with: datagram)
            let run = DatagramRun(
                source: Self.address,
                offset: 0,
                byteCount: datagram.count,
                segmentByteCount: datagram.count
            )
            withMemory { bytes in
                shard.receive(&bytes, run: run, now: now)
            }
            collect()
        }
    }

    /// Notes what the relay sends.
    private func collect() {
        withMemory { bytes in shard.finishBatch(&bytes, now: now) }
        mostWaiting = max(mostWaiting, shard.waitingByteCount)
        let offsets = shard.links.output.trains.offsets.map { Int($0) }
        let datagrams = offsets.map { Array(memory[$0..<$0 + Datagram.byteCount]) }
        shard.clearOutput()
        for datagram in datagrams {
            neighbourMemory.replaceSubrange(0..<datagram.count, with: datagram)
            withNeighbour { bytes in
                let opened = neighbour.open(
                    &bytes,
                    datagram: 0,
                    source: Self.address,
                    now: now
                )
                guard case .cell(_, let header) = opened, header.command == .forward else { return }
                note(Int(header.circuit.rawValue) - 1)
            }
        }
        neighbour.output.clear()
    }

    private func note(_ circuit: Int) {
        guard sent.indices.contains(circuit), delays[circuit].count < sent[circuit].count else {
            return
        }
        let begun = sent[circuit][delays[circuit].count]
        delays[circuit].append((now - begun).milliseconds)
    }

    /// Lends the relay's arena.
    private func withMemory(_ body: (inout MutableRawSpan) -> Void) {
        // Out of the bench while it is lent.
        var bytes: [UInt8] = []
        swap(&bytes, &memory)
        Self.lend(&bytes, body)
        swap(&bytes, &memory)
    }

    /// Lends the neighbour's arena.
    private func withNeighbour(_ body: (inout MutableRawSpan) -> Void) {
        var bytes: [UInt8] = []
        swap(&bytes, &neighbourMemory)
        Self.lend(&bytes, body)
        swap(&bytes, &neighbourMemory)
    }

    private static func lend(_ bytes: inout [UInt8], _ body: (inout MutableRawSpan) -> Void) {
        var elements = bytes.mutableSpan
        var span = unsafe elements.mutableBytes
        body(&span)
    }
}
