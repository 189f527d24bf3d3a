import Base
import Circuits
import CryptoPrimitives
import Flows
import Links
import Onion
import RelayCore
import TestSupport
import Wire

/// An exit's shard and a client that has a link to it, with circuits of one hop; fed from memory.
final class ShardBench {
    static let clientAddress = SocketAddress(ip: IPAddress(v4: 0x0a00_0001), port: 1)
    static let link = LinkID(rawValue: 1)

    var now = Instant.zero + .seconds(100)
    private var shard: RelayShard
    private var client: LinkTable
    /// What came back to the client, in order.
    private(set) var replies: [Reply] = []
    /// When each of them came.
    private(set) var replyTimes: [Instant] = []
    private var paths: [Int: Path] = [:]
    private var memory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)
    private var clientMemory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)

    /// A cell as it came back.
    struct Reply: Equatable {
        let command: CellCommand
        let number: CircuitNumber
        let firstByte: UInt8
    }

    // In a dictionary, which takes no values that cannot be copied.
    private final class Path {
        var path: ClientPath

        init(_ path: consuming ClientPath) {
            self.path = path
        }
    }

    init(
        peer: LinkPeer = .relay(NodeID(.zero)),
        linkLimit: Int = 64,
        circuitLimit: Int = 4_096,
        timing: LinkTable.Timing = LinkTable.Timing(),
        limits: LineLimits = LineLimits(),
        budget: LineBudget? = nil
    ) throws {
        shard = RelayShard(
            linkLimit: linkLimit,
            circuitLimit: circuitLimit,
            timing: timing,
            limits: limits,
            budget: budget,
            exit: ExitSettings(
                v4Pool: IPNetwork(IPAddress(v4: 0x6440_0000), prefixBitCount: 96 + 16),
                v6Pool: nil,
                allow: [],
                own: [],
                offload: .tcpAndUDP
            ),
            random: RandomGenerator(testSeed: 1),
            now: now
        )
        client = LinkTable(
            linkLimit: 4,
            generated: ArenaLayout.generated,
            random: RandomGenerator(testSeed: 2)
        )
        for isClient in [true, false] {
            guard let near = SessionID(rawValue: 7), let far = SessionID(rawValue: 8) else {
                continue
            }
            let link = NewLink(
                id: Self.link,
                address: Self.clientAddress,
                peer: isClient ? .relay(NodeID(.zero)) : peer,
                isInitiator: isClient,
                session: NewSession(
                    local: isClient ? near : far,
                    remote: isClient ? far : near,
                    keys: SessionKeys(
                        forward: .numbered(1),
                        backward: .numbered(2),
                        exporter: .numbered(3),
                        isInitiator: isClient
                    ),
                    isConfirmed: true
                )
            )
            if isClient { _ = client.add(link, now: now) } else { perform(.addLink(link)) }
        }
    }

    var circuitCount: Int { shard.circuitCount }
    var counters: RelayCounters { shard.counters }
    var fragmentByteCount: Int { shard.fragmentByteCount }

    func takeEvents() -> [RelayEvent] {
        shard.takeEvents()
    }

    func perform(_ command: RelayCommand) {
        withMemory { shard.perform(command, bytes: &$0, now: now) }
        shard.clearOutput()
    }

    func advance(by span: TimeSpan) {
        now = now + span
        withMemory { shard.advance(to: now, bytes: &$0) }
        shard.clearOutput()
    }

    /// How often the shard was woken by ``pass(to:)``.
    private(set) var wakeCount = 0

    /// Lets time pass to `end`, and has the shard do what is due on the way.
    func pass(to end: Instant) {
        while shard.nextDeadline <= end {
            wakeCount += 1
            now = max(now, shard.nextDeadline)
            withMemory { shard.advance(to: now, bytes: &$0) }
            collectReplies()
        }
        now = max(now, end)
    }

    /// Makes the circuit and lets it go on to a next hop, which answers as the client's link.
    func openThrough(_ circuit: Int) {
        open(circuit)
        let id = CircuitID(rawValue: UInt64(circuit))
        perform(.setNext(id, Self.link, Self.nextNumber(circuit)))
    }

    static func nextNumber(_ circuit: Int) -> CircuitNumber {
        CircuitNumber(rawValue: UInt32(circuit))
    }

    func setLimits(_ limits: LineLimits) {
        shard.setLimits(limits, sharing: LineBudget(limits), now: now)
    }

    var waitingByteCount: Int { shard.waitingByteCount }

    func beginBatch() {
        shard.noteReceiveQueue(byteCount: 0, now: now)
    }

    /// Hands a datagram to the shard.
    func receive(_ datagram: [UInt8], from source: SocketAddress = clientAddress) {
        memory.replaceSubrange(0..<datagram.count, with: datagram)
        let run = DatagramRun(
            source: source,
            offset: 0,
            byteCount: datagram.count,
            segmentByteCount: datagram.count
        )
        withMemory { shard.receive(&$0, run: run, now: now) }
        collectReplies()
    }

    private func collectReplies() {
        withMemory { shard.finishBatch(&$0, now: now) }
        let offsets = shard.links.output.trains.offsets.map { Int($0) }
        let datagrams = offsets.map { Array(memory[$0..<$0 + Datagram.byteCount]) }
        shard.clearOutput()
        for datagram in datagrams {
            clientMemory.replaceSubrange(0..<datagram.count, with: datagram)
            clientMemory.withArena { bytes in
                let source = Self.clientAddress
                guard
                    case .cell(_, let header) = client.open(
                        &bytes,
                        datagram: 0,
                        source: source,
                        now: now
                    )
                else { return }
                replyTimes.append(now)
                replies.append(
                    Reply(
                        command: header.command,
                        number: header.circuit,
                        firstByte: bytes.byte(at: Datagram.bodyOffset)
                    )
                )
            }
        }
        client.output.clear()
    }

    static func number(_ circuit: Int) -> CircuitNumber {
        CircuitNumber(rawValue: 1 << 31 | UInt32(circuit))
    }

    /// Sends a cell whose body is sealed under the link's key.
    func send(_ command: CellCommand, circuit: Int, body: [UInt8]) {
        clientMemory.withArena { bytes in
            guard let slot = client.slot(of: Self.link) else { return }
            let header = LinkHeader(circuit: Self.number(circuit), command: command)
            _ = client.sendSealed(&bytes, link: slot, header: header, body: body, now: now)
        }
        deliver()
    }

    func create(_ circuit: Int) {
        let body = [UInt8](repeating: 0, count: CreateBody.circuitByteCount)
        send(.create, circuit: circuit, body: body)
    }

    /// Makes the circuit, with a lease where `hasLease`.
    func open(_ circuit: Int, hasLease: Bool = false) {
        create(circuit)
        let id = CircuitID(rawValue: UInt64(circuit))
        perform(
            .installCircuit(
                NewRelayCircuit(
                    id: id,
                    link: Self.link,
                    number: Self.number(circuit),
                    hop: .first,
                    early: nil,
                    keys: HandshakeKeys(
                        forward: .numbered(11),
                        backward: .numbered(12),
                        exporter: .numbered(13),
                        transcript: .zero
                    ),
                    start: 0
                )
            )
        )
        var path = ClientPath(id: id, number: Self.number(circuit))
        path.setKeys(forward: .numbered(11), backward: .numbered(12), start: 0, at: .first)
        paths[circuit] = Path(path)
        if hasLease {
            perform(.holdLease(CircuitID(rawValue: UInt64(circuit)), UInt32(circuit)))
        }
    }

    /// Sends a cell of the circuit that is to be passed on.
    func forward(_ circuit: Int) {
        sendCell(circuit, command: .forward) { _, _ in }
    }

    /// Sends a cell of the circuit with what `fill` puts into it.
    func sendCell(
        _ circuit: Int,
        command: LayerCommand = .deliver,
        _ fill: (inout CellFill, inout MutableRawSpan) -> Void
    ) {
        clientMemory.withArena { bytes in
            guard let slot = client.slot(of: Self.link), let datagram = client.output.allocate(),
                let path = paths[circuit]
            else { return }
            let body = datagram + Datagram.bodyOffset
            var cell = CellFill(payload: body..<body + OnionLayer.innerByteCount(at: .first))
            fill(&cell, &bytes)
            cell.close(in: &bytes)
            let header = path.path.seal(
                &bytes,
                body: body,
                for: .first,
                command: command
            )
            _ = client.send(&bytes, datagram: datagram, link: slot, header: header, now: now)
        }
        deliver()
    }

    private func deliver() {
        client.output.makeTrains()
        let offsets = client.output.trains.offsets.map { Int($0) }
        let datagrams = offsets.map { Array(clientMemory[$0..<$0 + Datagram.byteCount]) }
        client.output.clear()
        for datagram in datagrams { receive(datagram) }
    }

    private func withMemory(_ body: (inout MutableRawSpan) -> Void) {
        // Out of the bench while it is lent.
        var memory: [UInt8] = []
        swap(&memory, &self.memory)
        memory.withArena(body)
        swap(&memory, &self.memory)
    }
}

extension [UInt8] {
    /// Lends the bytes.
    fileprivate mutating func withArena(_ body: (inout MutableRawSpan) -> Void) {
        var elements = mutableSpan
        var bytes = elements.mutableBytes
        body(&bytes)
    }
}
