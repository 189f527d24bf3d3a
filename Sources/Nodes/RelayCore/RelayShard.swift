public import Base
import Circuits
public import CryptoPrimitives
public import Flows
public import Links
import Mixing
import Onion
import Wire

/// The packet path of a relay, or of one shard of it: links, circuits, exit leases.
///
/// Sans-IO. Hand received runs to ``receive(_:run:now:)`` and TUN packets to
/// ``receiveFromTunnel(_:byteCount:now:)``, commands to ``perform(_:bytes:now:)``, wake it at
/// ``nextDeadline``; end a batch with ``finishBatch(_:now:)``, then send ``trains``, write
/// ``tunnelWrites``, ``clearOutput()`` and drain ``nextEvent()``. `now` never goes back. All bytes
/// lie in the caller's arena (`ArenaLayout`). Not thread-safe: owned by one thread.
///
/// Say how much waits at the socket before a batch, by ``noteReceiveQueue(byteCount:now:)``: what
/// came through a queue beyond `CongestionSignal.queueBound` is marked, beyond twice that dropped,
/// where its circuit brings more than its share.
///
/// Bounds: `linkLimit` links; `circuitLimit` circuits, ``clientCircuitLimit`` on a client's link, of
/// which ``pendingLimit`` may wait for key work; four cells wait for a circuit. Of events that peers
/// repeat, 4,096 wait for the control plane; all others are as many as there are links, circuits and
/// commands.
public struct RelayShard: ~Copyable {
    /// Circuits that may wait for the key work of their CREATE.
    public static let pendingLimit = 4_096
    /// Circuits on one link of a client.
    public static let clientCircuitLimit = 256
    static let waitingCellLimit = 4
    private static let repeatedEventLimit = 4_096
    /// Datagrams and packets of one batch that may go on to other shards.
    private static let handOverLimit = 2_048
    /// Control records of one circuit that are taken out of one batch.
    static let controlRecordLimit = 32
    /// Bytes of packets in progress on all circuits together.
    public static let fragmentByteLimit = 16 << 20
    private static let sweepInterval: TimeSpan = .seconds(5)
    private static let pendingLife: TimeSpan = .seconds(10)
    /// Idle circuits that carried nothing make room for others after this time.
    static let unusedLife: TimeSpan = .seconds(10)
    /// The shortest time between two events that tell of cells dropped for lack of pay.
    static let unpaidInterval: TimeSpan = .milliseconds(100)
    /// Slots looked at to make room for one circuit, so that a flood of CREATE costs little.
    static let evictionSpan = 1_024

    // Not private: code elsewhere that destroys a shard refers to the metadata of its circuits.
    struct Route {
        var slot: Int
        var link: LinkID
        var number: CircuitNumber

        var key: UInt64 {
            UInt64(UInt32(truncatingIfNeeded: slot)) << 32 | UInt64(number.rawValue)
        }
    }

    struct WaitingCell {
        var body: [UInt8]
        var counter: LayerCounter
        /// Whether this hop's layer is open already and only the next hop is missing.
        var isOpened: Bool
    }

    struct OpenCell {
        var datagram: Int
        var fill: CellFill
    }

    /// How much waited at the socket when the batch was received.
    enum QueueState {
        case short, long, overlong
    }

    /// What becomes of a cell for the queue it came through.
    enum Judgement {
        case pass, mark, shed
    }

    /// How often something happened in one batch.
    struct BatchCount {
        var batch: UInt32 = 0
        var count = 0
    }

    struct Circuit: ~Copyable {
        let previous: Route
        var next: Route?
        var path: RelayPath?
        var waiting: [WaitingCell] = []
        /// Its lanes in the queue of a limited line; -1 before the first cell.
        var forwardLane: Int32 = -1
        var backwardLane: Int32 = -1
        /// Its place among the circuits whose traffic is shaped; -1 for most.
        var shaped: Int32 = -1
        var lease: UInt32?
        var open: OpenCell?
        var reassembler: Reassembler?
        var nextFragmentID: UInt16 = 0
        var share = ShareMeter.Share()
        var controlRecords = BatchCount()
        /// Whether the control plane was told that the next hop is gone.
        var hasLostNext = false
        /// Whether a cell was passed on, or a packet taken out, since it was created.
        var hasCarried = false
        var signal = CongestionSignal()
        /// Whether the client is to hear of congestion towards the exit.
        var owesForwardMark = false
        var meter = CellMeter()
        /// When the control plane was last told of cells that nobody paid for.
        var toldUnpaid: Instant = .zero
        /// When the control plane was last told of a full tick.
        var toldCounts: Instant = .zero
        var lastUsed: Instant

        init(previous: Route, now: Instant) {
            self.previous = previous
            lastUsed = now
        }
    }

    /// The shard's links; its output holds the datagrams to send.
    public internal(set) var links: LinkTable
    var circuits: Slab<Circuit>
    var routes: IndexTable
    var names: IndexTable
    var pendingCount = 0
    /// Cells that wait until their circuit is made or extended.
    var waitingCellCount = 0
    var openCircuits: [Int] = []
    var exit: ExitGate?
    var filler: FillerGenerator
    private var events: [RelayEvent] = []
    private var repeatedEventCount = 0
    var scratchUsed = 0
    /// Bytes of packets in progress, on all circuits.
    public internal(set) var fragmentByteCount = 0
    private var handOvers: [HandOver] = []
    private let position: ShardPosition
    var queue = QueueState.short
    var queueDelay = QueueDelay()
    var meter = ShareMeter()
    private var nextSweep: Instant
    var sweepPosition = 0
    private let idleLimit: TimeSpan
    /// What may be taken on, and the cells that wait for a line that is limited.
    var limits: LineLimits
    var pacer: LinePacer
    var queued: FairQueue
    var releaseDue: Instant = .distantFuture
    /// Circuits of `padded` and `mix`, and their cells that wait.
    var shaper: RelayShaper
    /// What the shard counted.
    public internal(set) var counters = RelayCounters()

    /// Makes a shard without links.
    public init(
        linkLimit: Int = 16_384,
        circuitLimit: Int = 65_536,
        timing: LinkTable.Timing = LinkTable.Timing(),
        circuitIdleLimit: TimeSpan = .seconds(600),
        position: ShardPosition = ShardPosition(),
        limits: LineLimits = LineLimits(),
        budget: LineBudget? = nil,
        exit: ExitSettings?,
        random: consuming RandomGenerator,
        now: Instant
    ) {
        var random = random
        self.position = position
        links = LinkTable(
            linkLimit: linkLimit,
            generated: ArenaLayout.generated,
            timing: timing,
            random: random.split()
        )
        circuits = Slab(limit: circuitLimit)
        self.limits = limits
        pacer = LinePacer(budget ?? LineBudget(limits))
        queued = FairQueue(circuitLimit: circuitLimit)
        routes = IndexTable(limit: circuitLimit * 2, seed: (random.next(), random.next()))
        names = IndexTable(limit: circuitLimit, seed: (random.next(), random.next()))
        filler = FillerGenerator(key: random.secret(byteCount: 32))
        shaper = RelayShaper(circuitLimit: circuitLimit, random: random.split())
        idleLimit = circuitIdleLimit
        nextSweep = now + Self.sweepInterval
        if let exit { self.exit = ExitGate(exit, shardCount: position.count, now: now) }
    }

    // MARK: Outputs

    /// Takes the next event for the control plane.
    public mutating func takeEvents() -> [RelayEvent] {
        while let event = links.nextEvent() { note(event) }
        // Every batch asks: an empty answer must not make a copy of the room for later ones.
        guard !events.isEmpty else { return [] }
        defer { events.removeAll(keepingCapacity: true) }
        repeatedEventCount = 0
        return events
    }

    /// What the shell writes to the TUN device, valid until ``clearOutput()``.
    public var tunnelWrites: TunWriteList? {
        switch exit {
        case .some(let gate): gate.coalescer.list
        case .none: nil
        }
    }

    /// Datagrams and packets that may still be made before the output must be sent.
    public var remainingCapacity: Int {
        links.output.remainingCapacity
    }

    /// Circuits, those that wait for key work included.
    public var circuitCount: Int {
        circuits.count
    }

    /// Takes what came here and belongs to other shards.
    public mutating func takeHandOvers() -> [HandOver] {
        guard !handOvers.isEmpty else { return [] }
        defer { handOvers.removeAll(keepingCapacity: true) }
        return handOvers
    }

    /// Closes half-filled cells and runs of packets: the output is complete then.
    public mutating func finishBatch(_ bytes: inout MutableRawSpan, now: Instant) {
        for slot in openCircuits where circuits.contains(slot) {
            closeCell(slot, bytes: &bytes, now: now)
        }
        openCircuits.removeAll(keepingCapacity: true)
        let isPaced = pacer.isLimiting || queued.count > 0
        if isPaced { releaseQueued(&bytes, now: now) }
        if waitingByteCount > limits.waitingByteLimit { enforceQuota(&bytes, now: now) }
        counters.sentDatagrams += UInt64(links.output.count)
        exit?.coalescer.flush(in: &bytes)
        links.output.makeTrains()
    }

    /// Forgets the output after it was sent and written.
    public mutating func clearOutput() {
        links.output.clear()
        exit?.coalescer.removeAll()
        scratchUsed = 0
    }

    // MARK: Inputs

    /// Begins a batch: `byteCount` bytes wait at the socket behind what is handed in next.
    public mutating func noteReceiveQueue(byteCount: Int, now: Instant) {
        queueDelay.beginBatch(waitingByteCount: byteCount, now: now)
        queue =
            byteCount <= CongestionSignal.queueBound
            ? .short : byteCount <= CongestionSignal.queueBound * 2 ? .long : .overlong
        meter.beginBatch()
    }

    /// Takes a run of datagrams that lies in the arena.
    public mutating func receive(_ bytes: inout MutableRawSpan, run: DatagramRun, now: Instant) {
        guard run.segmentByteCount == Datagram.byteCount else { return links.noteWrongSize() }
        queueDelay.note(datagramCount: run.byteCount / Datagram.byteCount)
        var offset = run.offset
        let end = run.offset + run.byteCount
        counters.receivedDatagrams += UInt64(run.byteCount / Datagram.byteCount)
        while offset + Datagram.byteCount <= end {
            receiveDatagram(&bytes, datagram: offset, source: run.source, now: now)
            offset += Datagram.byteCount
        }
        if offset != end { links.noteWrongSize() }
    }

    /// Takes a packet of the TUN device, read to `ArenaLayout.tunnelInput` with its offload header.
    public mutating func receiveFromTunnel(
        _ bytes: inout MutableRawSpan,
        byteCount: Int,
        now: Instant
    ) {
        let start = ArenaLayout.tunnelInput.lowerBound
        let packet = start + VirtioNetHeader.byteCount..<start + byteCount
        guard byteCount > VirtioNetHeader.byteCount,
            let offload = try? VirtioNetHeader(parsing: bytes.bytes, at: start),
            let header = try? IPHeader(parsing: bytes.bytes, packet)
        else {
            counters.malformedPackets += 1
            return
        }
        let slot: Int
        let rewriter: AddressRewriter
        switch holder(of: header.destination) {
        case .circuit(slot: let holder, let lease):
            slot = holder
            rewriter = lease
        case .shard(let other) where other != position.index:
            handOver(.packet(bytes.bytes.copyBytes(start..<start + byteCount)), to: other)
            return
        case .shard, .nobody:
            counters.unknownLease += 1
            return
        }
        do throws(FlowError) {
            try rewriter.rewriteBackward(
                packet,
                header: header,
                isUnsummed: offload.needsChecksum,
                in: &bytes
            )
            let tunnel = try TunPacket(parsing: bytes.bytes, header: offload, packet: packet)
            counters.returnPackets += UInt64(tunnel.segmentCount)
            counters.returnBytes += UInt64(packet.count)
            for index in 0..<tunnel.segmentCount {
                send(segment: index, of: tunnel, to: slot, bytes: &bytes, now: now)
            }
        } catch {
            counters.malformedPackets += 1
        }
    }

    /// Does what the control plane wants.
    public mutating func perform(
        _ command: RelayCommand,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        switch command {
        case .addLink(let link):
            if !links.add(link, now: now) { note(LinkEvent.lost(link.id)) }
        case .renewLink(let id, let session):
            _ = links.renew(id, with: session, now: now)
        case .removeLink(let id, let saysGoodbye):
            links.remove(id, saysGoodbye: saysGoodbye, bytes: &bytes, now: now)
        case .keepLinkAlive(let id, let isWanted):
            links.setKeepsAlive(isWanted, link: id, now: now)
        case .sendHandshake(let datagram, let destination):
            if !links.sendHandshake(datagram, to: destination, bytes: &bytes) {
                counters.overflow += 1
            }
        case .sendCell(let link, let number, let command, let body):
            guard let slot = links.slot(of: link) else { return }
            let header = LinkHeader(circuit: number, command: command)
            if !links.sendSealed(&bytes, link: slot, header: header, body: body, now: now) {
                counters.overflow += 1
            }
        case .sendLinkControl(let link, let message):
            guard let slot = links.slot(of: link) else { return }
            _ = links.sendControl(message, link: slot, bytes: &bytes, now: now)
        case .installCircuit(let circuit):
            install(circuit, bytes: &bytes, now: now)
        case .refuseCircuit(let link, let number):
            guard let slot = links.slot(of: link),
                let place = routes.value(for: Self.key(slot, number)),
                isPending(place >> 1)
            else { return }
            remove(place >> 1, now: now)
        case .setNext(let id, let link, let number):
            setNext(id, link: link, number: number, bytes: &bytes, now: now)
        case .clearNext(let id):
            guard let slot = slot(of: id), let next = circuits[slot].next else { return }
            leave(next)
            circuits[slot].next = nil
        case .sendControl(let id, let record):
            guard let slot = slot(of: id) else { return }
            sendControl(record, to: slot, bytes: &bytes, now: now)
        case .holdLease(let id, let lease):
            guard let slot = slot(of: id) else { return }
            releaseLease(slot, now: now)
            exit?.hold(lease, by: slot)
            circuits[slot].lease = lease
        case .releaseLease(let id):
            guard let slot = slot(of: id) else { return }
            releaseLease(slot, now: now)
        case .placeLease(let lease, let shard):
            exit?.note(lease, at: shard)
        case .allow(let id, let allowance):
            guard let slot = slot(of: id) else { return }
            circuits[slot].meter.set(allowance)
        case .count(let id):
            guard let slot = slot(of: id) else { return }
            note(.counted(id, counts(of: slot)))
        case .removeCircuit(let id):
            guard let slot = slot(of: id) else { return }
            remove(slot, now: now)
        }
    }

    // MARK: Time

    /// When ``advance(to:bytes:)`` has something to do.
    public var nextDeadline: Instant {
        min(min(links.nextDeadline, nextSweep), min(releaseDue, shaper.due))
    }

    /// Lets time pass: pings, lost links, idle circuits.
    public mutating func advance(to now: Instant, bytes: inout MutableRawSpan) {
        links.advance(to: now, bytes: &bytes)
        if now >= shaper.due { advanceShaping(to: now, bytes: &bytes) }
        guard now >= nextSweep else { return }
        nextSweep = now + Self.sweepInterval
        queued.shrink()
        shaper.store.shrink()
        for slot in 0..<circuits.endIndex where circuits.contains(slot) {
            dropFragments(slot, olderThan: Reassembler.lifetime, now: now)
            let idle = now - circuits[slot].lastUsed
            if isPending(slot) {
                if idle >= Self.pendingLife { remove(slot, now: now) }
            } else if idle >= idleLimit, let id = circuits[slot].path?.id {
                note(.idle(id))
            }
        }
    }

    // MARK: Datagrams

    private mutating func receiveDatagram(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        source: SocketAddress,
        now: Instant
    ) {
        if position.count > 1, let owner = position.owner(of: datagram, in: bytes.bytes) {
            let whole = bytes.bytes.copyBytes(datagram..<datagram + Datagram.byteCount)
            return handOver(.datagram(whole, from: source), to: owner)
        }
        switch links.open(&bytes, datagram: datagram, source: source, now: now) {
        case .consumed, .dropped:
            return
        case .handshake:
            let whole = bytes.bytes.copyBytes(datagram..<datagram + Datagram.byteCount)
            note(.handshake(whole, from: source))
        case .cell(let link, let header):
            receiveCell(&bytes, datagram: datagram, link: link, header: header, now: now)
        }
    }

    // MARK: Other shards

    private mutating func handOver(_ content: HandOver.Content, to shard: Int) {
        guard handOvers.count < Self.handOverLimit else {
            counters.overflow += 1
            return
        }
        counters.handedOver += 1
        handOvers.append(HandOver(shard: shard, content: content))
    }

    // MARK: Events

    mutating func note(_ event: LinkEvent) {
        note(.link(event))
    }

    mutating func note(_ event: RelayEvent) {
        if event.isRepeated {
            guard repeatedEventCount < Self.repeatedEventLimit else {
                counters.overflow += 1
                return
            }
            repeatedEventCount += 1
        }
        events.append(event)
    }
}
