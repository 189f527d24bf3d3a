import Base
import Circuits
import ClientCore
import CryptoPrimitives
import EventLoop
import Flows
import Glibc
import Links
import Onion
import RelayCore
import Tickets
import Wire

/// A client and the three relays of a circuit, fed from memory.
///
/// Super-packets go in at one end and come out at the other; datagrams are copied from arena to
/// arena in between. Only the shards' own time counts.
struct PathBench: ~Copyable {
    /// The packet paths a cell takes.
    enum Place: Int, CaseIterable {
        case client, guardRelay, middle, exit
    }

    /// Segments of a super-packet: as many as a train of datagrams has.
    static let segmentCount = 47
    /// Super-packets of a batch, at most what the arena's receive slots hold.
    var packetsOfBatch = 4
    /// Cells of a batch.
    private var cellsOfBatch: Int { Self.segmentCount * packetsOfBatch }

    private static let tunnel = TunnelID(rawValue: 1)
    private static let lease = LeaseID(rawValue: 1)
    private static let circuit = CircuitID(rawValue: 1)
    private static let server = IPAddress(v4: 0x2d0a_0001)
    private static let pool = IPNetwork(IPAddress(v4: 0x6440_0000), prefixBitCount: 96 + 16)

    private var client: ClientShard
    private var guardRelay: RelayShard
    private var middle: RelayShard
    private var exit: RelayShard
    private var arenas: [[UInt8]]
    private let forwardPacket: [UInt8]
    private var backwardPacket: [UInt8] = []
    /// Pays at each relay; `nil` where nothing is paid.
    private var tills: [Till]?
    /// Offsets of the datagrams taken from a shard's output.
    private var outgoing: [Int32] = []
    /// Whether it tells by system calls where the work of a place begins and ends.
    var isMarking = false
    /// Time spent so far at each place, in nanoseconds.
    private(set) var spent = [UInt64](repeating: 0, count: Place.allCases.count)

    /// A relay's account of the circuit: each tick it counts is paid by the next place of a chain.
    private struct Till {
        let places: [ChainPlace]
        var paid: UInt32 = 4
        let tickCells: UInt32

        /// Takes a tick as a relay's book does, by one hash; what the circuit may use then.
        mutating func pay() -> CellAllowance {
            let earlier = places[Int(paid) % places.count]
            paid += 1
            let place = places[Int(paid) % places.count]
            precondition(
                place.index < earlier.index || PaymentChain.leads(place, to: earlier),
                "a tick off the chain"
            )
            return allowance
        }

        var allowance: CellAllowance {
            CellAllowance(
                cellLimit: (UInt64(paid) + HopPayer.credit) * UInt64(tickCells),
                tickCells: tickCells,
                carriesPackets: true
            )
        }
    }

    /// Sets up links, a circuit of three hops and a lease; pays for each tick if `isPaid`.
    init(seed: UInt8, isPaid: Bool = false) {
        var random = RandomGenerator(seed: Secret(copying: [UInt8](repeating: seed, count: 32)))
        let now = Instant(nanoseconds: 1)
        let exitSettings = ExitSettings(
            v4Pool: Self.pool,
            v6Pool: nil,
            allow: [],
            own: [],
            offload: .tcpAndUDP
        )
        client = ClientShard(random: random.split(), now: now)
        guardRelay = RelayShard(exit: nil, random: random.split(), now: now)
        middle = RelayShard(exit: nil, random: random.split(), now: now)
        exit = RelayShard(exit: exitSettings, random: random.split(), now: now)
        arenas = Place.allCases.map { _ in [UInt8](repeating: 0, count: ArenaLayout.byteCount) }
        forwardPacket = SuperPacket.tcp(
            from: AddressPair.Tunnel.client.v4,
            to: Self.server,
            segmentCount: Self.segmentCount
        )
        connect(&random, now: now)
        if isPaid { startPaying(now: now) }
        learnLease(now: now)
    }

    private mutating func startPaying(now: Instant) {
        var chain = PaymentChain(tail: .zero, count: Denomination.large.tickCount)
        let places = (0..<chain.count).map { chain.walk(to: $0) }
        let made = Place.allCases.map { place in
            Till(places: places, tickCells: place == .exit ? 128 : 256)
        }
        for place in Place.allCases where place != .client {
            perform(at: place, .allow(Self.circuit, made[place.rawValue].allowance), now: now)
        }
        perform(.countCells(Self.circuit, every: 32), now: now)
        tills = made
    }

    /// Pays for the ticks `place` has counted, and takes what the client has.
    private mutating func pay(at place: Place, now: Instant) {
        guard tills != nil else { return }
        let events: [RelayEvent]
        switch place {
        case .client:
            _ = client.takeEvents()
            return
        case .guardRelay: events = guardRelay.takeEvents()
        case .middle: events = middle.takeEvents()
        case .exit: events = exit.takeEvents()
        }
        for event in events {
            guard case .counted(_, let counts) = event, !counts.isUnpaid,
                let allowance = tills?[place.rawValue].pay()
            else { continue }
            perform(at: place, .allow(Self.circuit, allowance), now: now)
        }
    }

    /// Moves `cells` cells, rounded up to whole batches, one way; the cells that went.
    mutating func run(cells: Int, isForward: Bool) -> Int {
        var moved = 0
        while moved < cells {
            if isForward { forward() } else { backward() }
            moved += cellsOfBatch
        }
        return moved
    }

    // MARK: One batch

    private mutating func forward() {
        carryToExit(now: MonotonicClock.now())
        let packets = exit.tunnelWrites?.writes.reduce(0) { $0 + $1.packetCount } ?? 0
        precondition(packets == cellsOfBatch, "\(packets) packets left the exit")
        exit.clearOutput()
    }

    /// Moves a batch from the client to the exit's output.
    private mutating func carryToExit(now: Instant) {
        let packet = forwardPacket
        for _ in 0..<packetsOfBatch {
            with(.client) { bench, bytes in
                bytes.copy(packet, to: ArenaLayout.tunnelInput.lowerBound)
                let begun = bench.begin(.client)
                bench.client.receiveFromTunnel(
                    &bytes,
                    tunnel: Self.tunnel,
                    byteCount: packet.count,
                    now: now
                )
                bench.count(.client, since: begun)
            }
        }
        finish(.client, now: now)
        pass(from: .client, to: .guardRelay, now: now)
        pass(from: .guardRelay, to: .middle, now: now)
        pass(from: .middle, to: .exit, now: now)
    }

    private mutating func backward() {
        let now = MonotonicClock.now()
        let packet = backwardPacket
        for _ in 0..<packetsOfBatch {
            with(.exit) { bench, bytes in
                bytes.copy(packet, to: ArenaLayout.tunnelInput.lowerBound)
                let begun = bench.begin(.exit)
                bench.exit.receiveFromTunnel(&bytes, byteCount: packet.count, now: now)
                bench.count(.exit, since: begun)
            }
        }
        finish(.exit, now: now)
        pass(from: .exit, to: .middle, now: now)
        pass(from: .middle, to: .guardRelay, now: now)
        pass(from: .guardRelay, to: .client, now: now)
        let packets =
            client.tunnelWrites(of: Self.tunnel)?.writes.reduce(0) { $0 + $1.packetCount } ?? 0
        precondition(packets == cellsOfBatch, "\(packets) packets reached the client")
        client.clearOutput()
    }

    /// Copies what `source` sends into the receive slots of `target`, and lets it work on that.
    private mutating func pass(from source: Place, to target: Place, now: Instant) {
        takeOutput(of: source)
        let count = outgoing.count
        precondition(count == cellsOfBatch, "\(count) cells left \(source)")
        // Out of the bench while it is read: nothing is to count its references cell by cell.
        var sent: [UInt8] = []
        swap(&sent, &arenas[source.rawValue])
        with(target) { bench, bytes in
            let datagrams = unsafe sent.span.bytes
            for index in 0..<count {
                let slot = index / Self.segmentCount * ArenaLayout.receiveSlotByteCount
                let place = slot + index % Self.segmentCount * Datagram.byteCount
                let start = Int(bench.outgoing[index])
                bytes.copy(
                    datagrams.extracting(start..<start + Datagram.byteCount),
                    to: place
                )
            }
        }
        swap(&sent, &arenas[source.rawValue])
        let address = Self.address(source)
        with(target) { bench, bytes in
            let begun = bench.begin(target)
            for slot in 0..<bench.packetsOfBatch {
                let run = DatagramRun(
                    source: address,
                    offset: slot * ArenaLayout.receiveSlotByteCount,
                    byteCount: Self.segmentCount * Datagram.byteCount,
                    segmentByteCount: Datagram.byteCount
                )
                switch target {
                case .client: bench.client.receive(&bytes, run: run, now: now)
                case .guardRelay: bench.guardRelay.receive(&bytes, run: run, now: now)
                case .middle: bench.middle.receive(&bytes, run: run, now: now)
                case .exit: bench.exit.receive(&bytes, run: run, now: now)
                }
            }
            bench.count(target, since: begun)
        }
        finish(target, now: now)
    }

    private mutating func finish(_ place: Place, now: Instant) {
        with(place) { bench, bytes in
            let begun = bench.begin(place)
            switch place {
            case .client: bench.client.finishBatch(&bytes, now: now)
            case .guardRelay: bench.guardRelay.finishBatch(&bytes, now: now)
            case .middle: bench.middle.finishBatch(&bytes, now: now)
            case .exit: bench.exit.finishBatch(&bytes, now: now)
            }
            bench.count(place, since: begun)
        }
        let begun = begin(place)
        pay(at: place, now: now)
        count(place, since: begun)
    }

    /// Notes in `outgoing` what `place` sends, and takes it away.
    private mutating func takeOutput(of place: Place) {
        // Copied: a list that is held while it is emptied would be allocated anew.
        outgoing.removeAll(keepingCapacity: true)
        switch place {
        case .client:
            outgoing.append(contentsOf: client.links.output.trains.offsets)
            client.clearOutput()
        case .guardRelay:
            outgoing.append(contentsOf: guardRelay.links.output.trains.offsets)
            guardRelay.clearOutput()
        case .middle:
            outgoing.append(contentsOf: middle.links.output.trains.offsets)
            middle.clearOutput()
        case .exit:
            outgoing.append(contentsOf: exit.links.output.trains.offsets)
            exit.clearOutput()
        }
    }

    private func begin(_ place: Place) -> Instant {
        if isMarking { Self.mark(place.rawValue * 2) }
        return MonotonicClock.now()
    }

    private mutating func count(_ place: Place, since begun: Instant) {
        spent[place.rawValue] += (MonotonicClock.now() - begun).nanoseconds
        if isMarking { Self.mark(place.rawValue * 2 + 1) }
    }

    /// A system call that does nothing, for whoever traces this program.
    private static func mark(_ number: Int) {
        _ = getpgid(markBase + Int32(number))
    }

    /// No process has so high a number.
    private static let markBase: Int32 = 0x7000_0000

    /// Lends the arena of `place`.
    private mutating func with(
        _ place: Place,
        _ body: (inout PathBench, inout MutableRawSpan) -> Void
    ) {
        // Out of the bench while it is lent, so that both may change.
        var arena: [UInt8] = []
        swap(&arena, &arenas[place.rawValue])
        var span = arena.mutableSpan
        var bytes = unsafe span.mutableBytes
        body(&self, &bytes)
        swap(&arena, &arenas[place.rawValue])
    }

    // MARK: Setting up

    private static func address(_ place: Place) -> SocketAddress {
        SocketAddress(ip: IPAddress(v4: 0xc000_0201 + UInt32(place.rawValue)), port: 1)
    }

    /// The link between `place` and the next one towards the exit.
    private static func link(after place: Place) -> LinkID {
        LinkID(rawValue: UInt64(place.rawValue) + 1)
    }

    /// The circuit's number on that link; its initiator is the end nearer to the client.
    private static func number(after place: Place) -> CircuitNumber {
        CircuitNumber(rawValue: 1 << 31 | UInt32(place.rawValue) + 7)
    }

    private mutating func connect(_ random: inout RandomGenerator, now: Instant) {
        let places: [(near: Place, far: Place, hop: HopIndex)] = [
            (.client, .guardRelay, .first), (.guardRelay, .middle, .second),
            (.middle, .exit, .third),
        ]
        for (near, far, _) in places {
            let pair = Self.sessions(UInt32(near.rawValue), random: &random)
            let id = Self.link(after: near)
            let isClient = near == .client
            perform(
                at: near,
                .addLink(Self.newLink(id, far, pair.near, isInitiator: true)),
                now: now
            )
            perform(
                at: far,
                .addLink(
                    Self.newLink(id, near, pair.far, isInitiator: false, isClient: isClient)
                ),
                now: now
            )
        }
        perform(
            .addCircuit(
                Self.circuit,
                Self.link(after: .client),
                Self.number(after: .client),
                Self.tunnel
            ),
            now: now
        )
        for (near, far, hop) in places {
            create(from: near, to: far, now: now)
            let forward = random.secret(byteCount: 32)
            let backward = random.secret(byteCount: 32)
            let keys = HandshakeKeys(
                forward: forward,
                backward: backward,
                exporter: random.secret(byteCount: 32),
                transcript: .zero
            )
            let circuit = NewRelayCircuit(
                id: Self.circuit,
                link: Self.link(after: near),
                number: Self.number(after: near),
                hop: hop,
                early: nil,
                keys: keys,
                start: 0
            )
            perform(at: far, .installCircuit(circuit), now: now)
            perform(
                .setKeys(Self.circuit, hop, forward: forward, backward: backward, start: 0),
                now: now
            )
        }
        for place in [Place.guardRelay, .middle] {
            perform(
                at: place,
                .setNext(Self.circuit, Self.link(after: place), Self.number(after: place)),
                now: now
            )
        }
        perform(
            at: .exit,
            .holdLease(Self.circuit, 0),
            now: now
        )
        perform(.addTunnel(Self.tunnel, .tcpAndUDP), now: now)
        perform(.bind(Self.lease, Self.tunnel, Self.circuit), now: now)
        perform(.setCurrent(Self.tunnel, Self.lease), now: now)
        for place in Place.allCases { takeOutput(of: place) }
    }

    /// Makes the place for the circuit at `far`, as a CREATE does.
    private mutating func create(from near: Place, to far: Place, now: Instant) {
        let link = Self.link(after: near)
        let number = Self.number(after: near)
        let body = [UInt8](repeating: 0, count: CreateBody.circuitByteCount)
        takeOutput(of: near)
        if near == .client {
            perform(.sendCell(link, number, .create, body), now: now)
        } else {
            perform(at: near, .sendCell(link, number, .create, body), now: now)
        }
        finish(near, now: now)
        takeOutput(of: near)
        guard let offset = outgoing.first.map({ Int($0) }) else {
            preconditionFailure("no CREATE left \(near)")
        }
        arenas[far.rawValue].replaceSubrange(
            0..<Datagram.byteCount,
            with: arenas[near.rawValue][offset..<offset + Datagram.byteCount]
        )
        let run = DatagramRun(
            source: Self.address(near),
            offset: 0,
            byteCount: Datagram.byteCount,
            segmentByteCount: Datagram.byteCount
        )
        with(far) { bench, bytes in
            switch far {
            case .client: preconditionFailure("a client takes no CREATE")
            case .guardRelay: bench.guardRelay.receive(&bytes, run: run, now: now)
            case .middle: bench.middle.receive(&bytes, run: run, now: now)
            case .exit: bench.exit.receive(&bytes, run: run, now: now)
            }
        }
        takeOutput(of: far)
    }

    /// Sends one batch, to see which address the exit gave the client.
    private mutating func learnLease(now: Instant) {
        carryToExit(now: now)
        guard let list = exit.tunnelWrites, let write = list.writes.first else {
            preconditionFailure("nothing left the exit")
        }
        let start = list.pieces[write.pieces.lowerBound].offset + VirtioNetHeader.byteCount
        let bytes = arenas[Place.exit.rawValue]
        let source = bytes[start + 12..<start + 16].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        exit.clearOutput()
        backwardPacket = SuperPacket.tcp(
            from: Self.server,
            to: IPAddress(v4: source),
            segmentCount: Self.segmentCount
        )
        spent = spent.map { _ in 0 }
    }

    private mutating func perform(_ command: ClientCommand, now: Instant) {
        with(.client) { bench, bytes in
            bench.client.perform(command, bytes: &bytes, now: now)
        }
    }

    /// What both kinds of node are told alike.
    private mutating func perform(at place: Place, _ command: RelayCommand, now: Instant) {
        with(place) { bench, bytes in
            switch place {
            case .client:
                guard case .addLink(let link) = command else {
                    preconditionFailure("no command of a client")
                }
                bench.client.perform(.addLink(link), bytes: &bytes, now: now)
            case .guardRelay: bench.guardRelay.perform(command, bytes: &bytes, now: now)
            case .middle: bench.middle.perform(command, bytes: &bytes, now: now)
            case .exit: bench.exit.perform(command, bytes: &bytes, now: now)
            }
        }
    }

    private static func sessions(
        _ index: UInt32,
        random: inout RandomGenerator
    ) -> (near: NewSession, far: NewSession) {
        let forward = random.secret(byteCount: 32)
        let backward = random.secret(byteCount: 32)
        let exporter = random.secret(byteCount: 32)
        guard let near = SessionID(rawValue: 100 + index),
            let far = SessionID(rawValue: 200 + index)
        else { preconditionFailure("session numbers are not zero") }
        func keys(_ isInitiator: Bool) -> SessionKeys {
            SessionKeys(
                forward: forward,
                backward: backward,
                exporter: exporter,
                isInitiator: isInitiator
            )
        }
        return (
            NewSession(local: near, remote: far, keys: keys(true), isConfirmed: true),
            NewSession(local: far, remote: near, keys: keys(false), isConfirmed: true)
        )
    }

    private static func newLink(
        _ id: LinkID,
        _ peer: Place,
        _ session: NewSession,
        isInitiator: Bool,
        isClient: Bool = false
    ) -> NewLink {
        NewLink(
            id: id,
            address: address(peer),
            peer: isClient ? .client : .relay(NodeID(.zero)),
            isInitiator: isInitiator,
            session: session
        )
    }
}
