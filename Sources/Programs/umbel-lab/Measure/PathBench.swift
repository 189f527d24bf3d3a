import Base
import Circuits
import ClientCore
import CryptoPrimitives
import EventLoop
import Flows
import Links
import Onion
import RelayCore
import Wire

/// The packet paths of a client and of the three relays of its circuit, with memory between them.
///
/// Links and circuit stand from the start, with keys nobody agreed on: what is measured is the
/// data path alone. Each packet fills one cell, so that a batch is as many packets as cells.
struct PathBench: ~Copyable {
    /// Packets in a batch: as many datagrams as one receive slot holds, less than a shard may make.
    static let batchCount = 40

    /// A relay and the memory it works in.
    private struct Relay: ~Copyable {
        var shard: RelayShard
        let memory: NodeMemory
        let address: SocketAddress
    }

    private static let circuit = CircuitID(rawValue: 1)
    private static let tunnel = TunnelID(rawValue: 1)
    private static let lease = LeaseID(rawValue: 1)
    private static let payloadByteCount = 1_172
    private static let server = IPAddress(v4: 0xcb00_710a)
    private static let clientAddress = SocketAddress(ip: IPAddress(v4: 0xc633_640a), port: 50_000)

    private var client: ClientShard
    private let clientMemory = NodeMemory()
    private var guardRelay: Relay
    private var middle: Relay
    private var exit: Relay
    private let request: [UInt8]
    private var answer: [UInt8] = []

    /// Sets up links, circuit and lease, and sends one batch each way.
    init(seed: UInt8) {
        var random = RandomGenerator(seed: Secret(copying: [UInt8](repeating: seed, count: 32)))
        let now = MonotonicClock.now()
        client = ClientShard(random: random.split(), now: now)
        guardRelay = Self.relay(1, exit: nil, random: &random, now: now)
        middle = Self.relay(2, exit: nil, random: &random, now: now)
        exit = Self.relay(3, exit: Self.exitSettings, random: &random, now: now)
        request = BenchPacket.datagram(
            from: AddressPair.Tunnel.client.v4,
            to: Self.server,
            payloadByteCount: Self.payloadByteCount
        )
        link(random: &random, now: now)
        build(random: &random, now: now)
        sendForward()
        sendBackward()
    }

    /// Sends a batch from the client's tunnel to the exit's.
    mutating func sendForward() {
        let now = MonotonicClock.now()
        var bytes = unsafe clientMemory.buffer.mutableBytes
        for _ in 0..<Self.batchCount {
            bytes.copy(request, to: ArenaLayout.tunnelInput.lowerBound)
            client.receiveFromTunnel(
                &bytes,
                tunnel: Self.tunnel,
                byteCount: request.count,
                now: now
            )
        }
        client.finishBatch(&bytes, now: now)
        clientMemory.carry(client.links.output, to: guardRelay.memory)
        client.clearOutput()
        Self.pass(Self.clientAddress, through: &guardRelay, now: now)
        guardRelay.memory.carry(guardRelay.shard.links.output, to: middle.memory)
        guardRelay.shard.clearOutput()
        Self.pass(guardRelay.address, through: &middle, now: now)
        middle.memory.carry(middle.shard.links.output, to: exit.memory)
        middle.shard.clearOutput()
        Self.pass(middle.address, through: &exit, now: now)
        let list = exit.shard.tunnelWrites
        precondition(list?.writes.count == Self.batchCount, "packets were lost on their way out")
        if answer.isEmpty, let list {
            let piece = list.pieces[list.writes[0].pieces.upperBound - 1]
            answer = BenchPacket.answer(to: exit.memory.copy(piece))
        }
        exit.shard.clearOutput()
    }

    /// Sends a batch from the exit's tunnel to the client's.
    mutating func sendBackward() {
        let now = MonotonicClock.now()
        var bytes = unsafe exit.memory.buffer.mutableBytes
        for _ in 0..<Self.batchCount {
            bytes.copy(answer, to: ArenaLayout.tunnelInput.lowerBound)
            exit.shard.receiveFromTunnel(&bytes, byteCount: answer.count, now: now)
        }
        exit.shard.finishBatch(&bytes, now: now)
        exit.memory.carry(exit.shard.links.output, to: middle.memory)
        exit.shard.clearOutput()
        Self.pass(exit.address, through: &middle, now: now)
        middle.memory.carry(middle.shard.links.output, to: guardRelay.memory)
        middle.shard.clearOutput()
        Self.pass(middle.address, through: &guardRelay, now: now)
        guardRelay.memory.carry(guardRelay.shard.links.output, to: clientMemory)
        guardRelay.shard.clearOutput()
        var own = unsafe clientMemory.buffer.mutableBytes
        client.receive(&own, run: Self.batch(from: guardRelay.address), now: now)
        client.finishBatch(&own, now: now)
        let count = client.tunnelWrites(of: Self.tunnel)?.writes.count
        precondition(count == Self.batchCount, "packets were lost on their way back")
        client.clearOutput()
    }

    private static func batch(from source: SocketAddress) -> DatagramRun {
        DatagramRun(
            source: source,
            offset: ArenaLayout.receive.lowerBound,
            byteCount: batchCount * Datagram.byteCount,
            segmentByteCount: Datagram.byteCount
        )
    }

    private static func pass(
        _ source: SocketAddress,
        through relay: inout Relay,
        now: Instant
    ) {
        var bytes = unsafe relay.memory.buffer.mutableBytes
        relay.shard.receive(&bytes, run: batch(from: source), now: now)
        relay.shard.finishBatch(&bytes, now: now)
    }

    // MARK: Setting up

    private static var exitSettings: ExitSettings {
        ExitSettings(
            v4Pool: IPNetwork(IPAddress(v4: 0x6440_0000), prefixBitCount: 96 + 16),
            v6Pool: nil,
            allow: [IPNetwork(server, prefixBitCount: 128)],
            own: [],
            offload: .none
        )
    }

    private static func relay(
        _ number: UInt32,
        exit: ExitSettings?,
        random: inout RandomGenerator,
        now: Instant
    ) -> Relay {
        Relay(
            shard: RelayShard(exit: exit, random: random.split(), now: now),
            memory: NodeMemory(),
            address: SocketAddress(ip: IPAddress(v4: 0xc612_0001 | number << 8), port: 4_433)
        )
    }

    private static func number(_ hop: UInt32) -> CircuitNumber {
        // Whoever opened a link draws from the upper half.
        CircuitNumber(rawValue: 1 << 31 | hop)
    }

    private mutating func link(random: inout RandomGenerator, now: Instant) {
        var bytes = unsafe clientMemory.buffer.mutableBytes
        let first = BenchLink(1, random: &random)
        client.perform(.addLink(first.far(at: guardRelay.address)), bytes: &bytes, now: now)
        Self.perform(.addLink(first.near(at: Self.clientAddress)), &guardRelay, now)
        let second = BenchLink(2, random: &random)
        Self.perform(.addLink(second.far(at: middle.address)), &guardRelay, now)
        Self.perform(.addLink(second.near(at: guardRelay.address)), &middle, now)
        let third = BenchLink(3, random: &random)
        Self.perform(.addLink(third.far(at: exit.address)), &middle, now)
        Self.perform(.addLink(third.near(at: middle.address)), &exit, now)
    }

    private static func perform(_ command: RelayCommand, _ relay: inout Relay, _ now: Instant) {
        var bytes = unsafe relay.memory.buffer.mutableBytes
        relay.shard.perform(command, bytes: &bytes, now: now)
    }

    /// Installs the circuit hop by hop; a CREATE makes its place at each relay.
    private mutating func build(random: inout RandomGenerator, now: Instant) {
        let create = [UInt8](repeating: 0, count: CreateBody.circuitByteCount)
        var keys: [HandshakeKeys] = []
        for _ in HopIndex.all {
            keys.append(
                HandshakeKeys(
                    forward: random.secret(byteCount: 32),
                    backward: random.secret(byteCount: 32),
                    exporter: random.secret(byteCount: 32),
                    transcript: .zero
                )
            )
        }
        let links = (1...3).map { LinkID(rawValue: $0) }
        var bytes = unsafe clientMemory.buffer.mutableBytes
        let commands: [ClientCommand] =
            [
                .addTunnel(Self.tunnel, .none),
                .addCircuit(Self.circuit, links[0], Self.number(1), Self.tunnel),
                .sendCell(links[0], Self.number(1), .create, create),
            ]
            + HopIndex.all.map { hop in
                .setKeys(
                    Self.circuit,
                    hop,
                    forward: keys[hop.offset].forward,
                    backward: keys[hop.offset].backward,
                    start: 0
                )
            } + [
                .bind(Self.lease, Self.tunnel, Self.circuit),
                .setCurrent(Self.tunnel, Self.lease),
            ]
        for command in commands { client.perform(command, bytes: &bytes, now: now) }
        client.finishBatch(&bytes, now: now)
        clientMemory.carry(client.links.output, to: guardRelay.memory)
        client.clearOutput()
        Self.install(.first, keys[0], at: &guardRelay, from: Self.clientAddress, now: now)
        Self.extend(to: links[1], Self.number(2), create, at: &guardRelay, now: now)
        guardRelay.memory.carry(guardRelay.shard.links.output, to: middle.memory)
        guardRelay.shard.clearOutput()
        Self.install(.second, keys[1], at: &middle, from: guardRelay.address, now: now)
        Self.extend(to: links[2], Self.number(3), create, at: &middle, now: now)
        middle.memory.carry(middle.shard.links.output, to: exit.memory)
        middle.shard.clearOutput()
        Self.install(.third, keys[2], at: &exit, from: middle.address, now: now)
        let secret = random.bytes32()
        Self.perform(.openTunnel(Self.circuit, shown: .zero, secret: secret), &exit, now)
        exit.shard.clearOutput()
        _ = (client.takeEvents(), exit.shard.takeEvents())
    }

    private static func install(
        _ hop: HopIndex,
        _ keys: HandshakeKeys,
        at relay: inout Relay,
        from source: SocketAddress,
        now: Instant
    ) {
        var bytes = unsafe relay.memory.buffer.mutableBytes
        var run = batch(from: source)
        run.byteCount = Datagram.byteCount
        relay.shard.receive(&bytes, run: run, now: now)
        let circuit = NewRelayCircuit(
            id: circuit,
            link: LinkID(rawValue: UInt32(hop.rawValue)),
            number: number(UInt32(hop.rawValue)),
            hop: hop,
            early: nil,
            keys: keys,
            start: 0
        )
        perform(.installCircuit(circuit), &relay, now)
        _ = relay.shard.takeEvents()
    }

    private static func extend(
        to link: LinkID,
        _ number: CircuitNumber,
        _ create: [UInt8],
        at relay: inout Relay,
        now: Instant
    ) {
        perform(.sendCell(link, number, .create, create), &relay, now)
        perform(.setNext(circuit, link, number), &relay, now)
        var bytes = unsafe relay.memory.buffer.mutableBytes
        relay.shard.finishBatch(&bytes, now: now)
    }
}

/// The block of memory a node's shard works in; it is there until the program ends.
@safe private struct NodeMemory {
    let buffer: UnsafeMutableRawBufferPointer

    init() {
        unsafe buffer = .allocate(byteCount: ArenaLayout.byteCount, alignment: 64)
        _ = unsafe buffer.initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Lays the datagrams of `output` into the receive slots of `other`, one behind the other.
    func carry(_ output: borrowing DatagramOutput, to other: NodeMemory) {
        var place = ArenaLayout.receive.lowerBound
        var target = unsafe other.buffer.mutableBytes
        let source = unsafe buffer.bytes
        for index in output.offsets.indices {
            let offset = Int(output.offsets[index])
            target.copy(source.extracting(offset..<offset + Datagram.byteCount), to: place)
            place += Datagram.byteCount
        }
    }

    func copy(_ piece: ArenaPiece) -> [UInt8] {
        unsafe Array(buffer[piece.offset..<piece.offset + piece.byteCount])
    }
}

/// A link whose two ends have the same keys.
private struct BenchLink {
    private let number: UInt32
    private let secrets: [Secret]

    init(_ number: UInt32, random: inout RandomGenerator) {
        self.number = number
        var secrets: [Secret] = []
        for _ in 0..<3 { secrets.append(random.secret(byteCount: 32)) }
        self.secrets = secrets
    }

    /// As whoever opened it sees it; `address` is the other end's.
    func far(at address: SocketAddress) -> NewLink {
        link(address, isInitiator: true)
    }

    /// As whoever was asked sees it; `address` is the other end's.
    func near(at address: SocketAddress) -> NewLink {
        link(address, isInitiator: false)
    }

    private func link(_ address: SocketAddress, isInitiator: Bool) -> NewLink {
        guard let far = SessionID(rawValue: 100 + number),
            let near = SessionID(rawValue: 200 + number)
        else { preconditionFailure("session numbers are not zero") }
        return NewLink(
            id: LinkID(rawValue: number),
            address: address,
            peer: .relay(NodeID(.zero)),
            isInitiator: isInitiator,
            session: NewSession(
                local: isInitiator ? far : near,
                remote: isInitiator ? near : far,
                keys: SessionKeys(
                    forward: secrets[0],
                    backward: secrets[1],
                    exporter: secrets[2],
                    isInitiator: isInitiator
                ),
                isConfirmed: true
            )
        )
    }
}

/// Packets as a TUN device gives them, an empty offload header first.
private enum BenchPacket {
    private static let headerByteCount = 28

    static func datagram(
        from source: IPAddress,
        to destination: IPAddress,
        payloadByteCount: Int
    ) -> [UInt8] {
        let count = headerByteCount + payloadByteCount
        var packet = [UInt8](repeating: 0, count: count)
        // Version 4, five words; 64 hops; UDP without a checksum.
        (packet[0], packet[8], packet[9]) = (0x45, 64, 17)
        put(UInt16(count), &packet, 2)
        for (address, place) in [(source, 12), (destination, 16)] {
            let word = address.v4 ?? 0
            put(UInt16(word >> 16), &packet, place)
            put(UInt16(word & 0xffff), &packet, place + 2)
        }
        for (value, place) in [(4_000, 20), (9_999, 22), (8 + payloadByteCount, 24)] {
            put(UInt16(value), &packet, place)
        }
        return framed(packet)
    }

    /// The packet with its ends exchanged.
    static func answer(to packet: [UInt8]) -> [UInt8] {
        var answer = packet
        answer.replaceSubrange(12..<16, with: packet[16..<20])
        answer.replaceSubrange(16..<20, with: packet[12..<16])
        answer.replaceSubrange(20..<22, with: packet[22..<24])
        answer.replaceSubrange(22..<24, with: packet[20..<22])
        return framed(answer)
    }

    private static func put(_ value: UInt16, _ packet: inout [UInt8], _ place: Int) {
        (packet[place], packet[place + 1]) = (UInt8(value >> 8), UInt8(value & 0xff))
    }

    private static func framed(_ packet: [UInt8]) -> [UInt8] {
        var packet = packet
        put(0, &packet, 10)
        var sum: UInt32 = 0
        for place in stride(from: 0, to: 20, by: 2) {
            sum += UInt32(packet[place]) << 8 | UInt32(packet[place + 1])
        }
        while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
        put(~UInt16(truncatingIfNeeded: sum), &packet, 10)
        return [UInt8](repeating: 0, count: VirtioNetHeader.byteCount) + packet
    }
}
