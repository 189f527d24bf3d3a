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
    private static let controlRecordLimit = 32
    /// Bytes of packets in progress on all circuits together.
    public static let fragmentByteLimit = 16 << 20
    private static let sweepInterval: TimeSpan = .seconds(5)
    private static let pendingLife: TimeSpan = .seconds(10)
    /// Idle circuits that carried nothing make room for others after this time.
    static let unusedLife: TimeSpan = .seconds(10)
    /// The shortest time between two events that tell of cells dropped for lack of pay.
    private static let unpaidInterval: TimeSpan = .milliseconds(100)
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
    private enum QueueState {
        case short, long, overlong
    }

    /// What becomes of a cell for the queue it came through.
    private enum Judgement {
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
    private var openCircuits: [Int] = []
    private var exit: ExitGate?
    var filler: FillerGenerator
    private var events: [RelayEvent] = []
    private var repeatedEventCount = 0
    var scratchUsed = 0
    /// Bytes of packets in progress, on all circuits.
    public private(set) var fragmentByteCount = 0
    private var handOvers: [HandOver] = []
    private let position: ShardPosition
    private var queue = QueueState.short
    private var queueDelay = QueueDelay()
    private var meter = ShareMeter()
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

    private mutating func receiveCell(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        link: Int,
        header: LinkHeader,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        let place = routes.value(for: Self.key(link, header.circuit))
        switch header.command {
        case .forward:
            guard let place, place & 1 == 0 else {
                counters.unknownCircuit += 1
                return
            }
            receiveForward(&bytes, datagram: datagram, slot: place >> 1, header: header, now: now)
        case .backward:
            guard let place, place & 1 == 1 else {
                counters.unknownCircuit += 1
                return
            }
            receiveBackward(&bytes, datagram: datagram, slot: place >> 1, header: header, now: now)
        case .create:
            // Each end of a link draws its numbers from a half of its own.
            guard header.circuit.isFromInitiator != links.isInitiator(at: link) else {
                counters.drops[RelayPath.Drop.malformed.rawValue] += 1
                return
            }
            if place == nil, !begin(link: link, number: header.circuit, bytes: &bytes, now: now) {
                counters.overflow += 1
                return destroy(header.circuit, on: link, .busy, bytes: &bytes, now: now)
            }
            let content = bytes.bytes.copyBytes(body..<body + CreateBody.circuitByteCount)
            note(.create(links.id(at: link), header.circuit, content))
        case .created:
            guard let place, place & 1 == 1 else {
                counters.unknownCircuit += 1
                return
            }
            let content = bytes.bytes.copyBytes(body..<body + CreatedBody.byteCount)
            note(.created(links.id(at: link), header.circuit, content))
        case .destroy:
            let reason = DestroyReason(rawValue: bytes.byte(at: body))
            guard let place else {
                note(.refused(links.id(at: link), header.circuit, reason))
                return
            }
            let slot = place >> 1
            if place & 1 == 1 {
                guard let id = circuits[slot].path?.id, !circuits[slot].hasLostNext else { return }
                circuits[slot].hasLostNext = true
                note(.nextLost(id))
                return
            }
            if let id = circuits[slot].path?.id { note(.destroyed(id)) }
            remove(slot, now: now)
        case .padding, .linkControl:
            return
        }
    }

    private mutating func receiveForward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        header: LinkHeader,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        let counter = LayerCounter(rawValue: header.counter)
        circuits[slot].lastUsed = now
        let judgement = judge(slot)
        guard judgement != .shed else {
            counters.shedCells += 1
            circuits[slot].meter.noteShed()
            return
        }
        if pacer.isLimiting {
            let departure = FairQueue.Departure(
                circuit: slot,
                kind: .forward,
                counter: header.counter,
                isMarked: judgement == .mark,
                cell: -1
            )
            return enqueue(departure, bytes: bytes.bytes, body: body, now: now)
        }
        openForward(
            &bytes,
            datagram: datagram,
            slot: slot,
            counter: counter,
            isMarked: judgement == .mark,
            now: now
        )
    }

    mutating func openForward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        counter: LayerCounter,
        isMarked: Bool,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        guard let outcome = circuits[slot].path?.openForward(&bytes, body: body, counter: counter)
        else {
            wait(slot, bytes: bytes.bytes, body: body, counter: counter, isOpened: false)
            return
        }
        let shaped = Int(circuits[slot].shaped)
        if shaped >= 0, !outcome.isDropped { noteShaped(shaped, slot: slot, now: now) }
        handle(
            outcome,
            &bytes,
            datagram: datagram,
            slot: slot,
            isMarked: isMarked,
            now: now
        )
        if shaped >= 0 { handleRebuilt(&bytes, slot: slot, now: now) }
    }

    /// Counts a cell that came for the circuit and says what the queue behind it makes of it.
    private mutating func judge(_ slot: Int) -> Judgement {
        let isOverShare = meter.count(&circuits[slot].share)
        guard isOverShare, queue != .short else { return .pass }
        return queue == .long ? .mark : .shed
    }

    mutating func handle(
        _ outcome: RelayPath.Forwarded,
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        isMarked: Bool,
        now: Instant
    ) {
        if case .dropped(let reason) = outcome {
            counters.drops[reason.rawValue] += 1
            return
        }
        let verdict = circuits[slot].meter.takeForward()
        if verdict != .carried { noteCounts(verdict, slot: slot, now: now) }
        switch outcome {
        case .pass(let counter) where verdict != .refused:
            if isMarked {
                circuits[slot].owesForwardMark = true
                counters.markedCells += 1
            }
            pass(counter, &bytes, datagram: datagram, slot: slot, now: now)
        case .records(let isEarly):
            // Unpaid too: what is in it may be pay.
            if verdict != .refused { counters.deliveredCells += 1 }
            receiveRecords(
                &bytes,
                body: datagram + Datagram.bodyOffset,
                slot: slot,
                isEarly: isEarly,
                isMarked: isMarked,
                now: now
            )
        case .pass, .nothing, .dropped:
            return
        }
    }

    /// Tells the control plane that a tick is full, or, now and then, that cells are not paid for.
    private mutating func noteCounts(_ verdict: CellMeter.Verdict, slot: Int, now: Instant) {
        if verdict == .refused {
            counters.unpaidCells += 1
            guard now - circuits[slot].toldUnpaid >= Self.unpaidInterval else { return }
            circuits[slot].toldUnpaid = now
        } else {
            // The client hears of them no oftener: the control plane is not woken for the others.
            guard now - circuits[slot].toldCounts >= circuits[slot].meter.reportInterval else {
                return
            }
            circuits[slot].toldCounts = now
        }
        guard let id = circuits[slot].path?.id else { return }
        note(.counted(id, counts(of: slot)))
    }

    private func counts(of slot: Int) -> CellCounts {
        var counts = circuits[slot].meter.counts
        counts.queueDelay = queueDelay.units
        return counts
    }

    mutating func pass(
        _ counter: LayerCounter,
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        guard let next = circuits[slot].next else {
            // The last hop has nobody to pass anything on to.
            guard circuits[slot].path?.hop != .third else {
                counters.drops[RelayPath.Drop.noNextHop.rawValue] += 1
                return
            }
            wait(slot, bytes: bytes.bytes, body: body, counter: counter, isOpened: true)
            return
        }
        guard let hop = circuits[slot].path?.hop, isCurrent(next) else { return }
        if circuits[slot].shaped >= 0,
            holdForward(counter, bytes.bytes, body: body, slot: slot, now: now)
        {
            return
        }
        send(counter, to: next, &bytes, datagram: datagram, slot: slot, hop: hop, now: now)
    }

    /// Sends a cell that has waited, and whose inside lies at the body, on to the next hop.
    mutating func sendForward(
        _ counter: LayerCounter,
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        now: Instant
    ) {
        guard let next = circuits[slot].next, let hop = circuits[slot].path?.hop, isCurrent(next)
        else { return }
        send(counter, to: next, &bytes, datagram: datagram, slot: slot, hop: hop, now: now)
    }

    // Both ways of a cell end here; a call more is a call for each cell.
    @inline(__always)
    private mutating func send(
        _ counter: LayerCounter,
        to next: Route,
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        hop: HopIndex,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        filler.fill(
            &bytes,
            range: body + OnionLayer.innerByteCount(at: hop)..<body + Datagram.bodyByteCount
        )
        let header = LinkHeader(
            circuit: next.number,
            counter: counter.rawValue,
            command: .forward
        )
        if links.send(&bytes, datagram: datagram, link: next.slot, header: header, now: now) {
            circuits[slot].hasCarried = true
            circuits[slot].meter.notePassed()
            counters.forwardCells += 1
        }
    }

    private mutating func receiveBackward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        header: LinkHeader,
        now: Instant
    ) {
        circuits[slot].lastUsed = now
        let judgement = judge(slot)
        circuits[slot].meter.noteFromNext()
        guard judgement != .shed else {
            counters.shedCells += 1
            circuits[slot].meter.noteShed()
            return
        }
        if pacer.isLimiting {
            let departure = FairQueue.Departure(
                circuit: slot,
                kind: .backward,
                counter: header.counter,
                isMarked: judgement == .mark,
                cell: -1
            )
            let body = datagram + Datagram.bodyOffset
            return enqueue(departure, bytes: bytes.bytes, body: body, now: now)
        }
        passBackward(
            &bytes,
            datagram: datagram,
            slot: slot,
            counter: header.counter,
            isMarked: judgement == .mark,
            now: now
        )
    }

    mutating func passBackward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        counter: UInt32,
        isMarked: Bool,
        now: Instant
    ) {
        guard isPaid(slot, now: now) else { return }
        var layer = LayerHeader(command: .forward, nextCounter: counter)
        if isMarked {
            layer.flags = .congestionExperienced
            counters.markedCells += 1
        }
        sendBackward(&bytes, datagram: datagram, slot: slot, header: layer, now: now)
    }

    /// Counts a backward cell; false where nobody has paid for it.
    mutating func isPaid(_ slot: Int, now: Instant) -> Bool {
        let verdict = circuits[slot].meter.takeBackward()
        if verdict != .carried { noteCounts(verdict, slot: slot, now: now) }
        return verdict != .refused
    }

    mutating func sendBackward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        header: LayerHeader,
        now: Instant
    ) {
        let isShaped = circuits[slot].shaped >= 0
        let body = datagram + Datagram.bodyOffset
        if isShaped, holdBackward(header, bytes.bytes, body: body, slot: slot, now: now) { return }
        seal(&bytes, datagram: datagram, slot: slot, header: header, isShaped: isShaped, now: now)
        if isShaped { settleParity(&bytes, slot: slot, now: now) }
    }

    /// Seals a cell for the client that has waited, or is cover, and sends it.
    mutating func emitBackward(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        header: LayerHeader,
        now: Instant
    ) {
        seal(&bytes, datagram: datagram, slot: slot, header: header, isShaped: true, now: now)
    }

    @inline(__always)
    private mutating func seal(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        header: LayerHeader,
        isShaped: Bool,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        let previous = circuits[slot].previous
        var header = header
        if circuits[slot].owesForwardMark {
            circuits[slot].owesForwardMark = false
            header.flags.insert(.forwardCongestion)
        }
        if circuits[slot].meter.isRefusing { header.flags.insert(.unpaid) }
        guard isCurrent(previous), circuits[slot].path?.canSealBackward == true,
            let hop = circuits[slot].path?.hop,
            let counter = circuits[slot].path?.sealBackward(&bytes, body: body, header: header)
        else { return }
        filler.fill(
            &bytes,
            range: body + OnionLayer.byteCount(at: hop)..<body + Datagram.bodyByteCount
        )
        if isShaped,
            holdSealed(
                counter,
                bytes.bytes,
                body: body,
                slot: slot,
                isOwn: header.command == .deliver
            )
        {
            return
        }
        sendSealed(counter, to: previous, &bytes, datagram: datagram, now: now)
    }

    /// Seals the parity that is owed, and sends it.
    mutating func sendParity(
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        slot: Int,
        now: Instant
    ) {
        let body = datagram + Datagram.bodyOffset
        guard isCurrent(circuits[slot].previous), let hop = circuits[slot].path?.hop,
            let counter = circuits[slot].path?.sealParity(&bytes, body: body)
        else { return }
        circuits[slot].meter.countOwn()
        counters.parityCells += 1
        filler.fill(
            &bytes,
            range: body + OnionLayer.byteCount(at: hop)..<body + Datagram.bodyByteCount
        )
        let previous = circuits[slot].previous
        sendSealed(counter, to: previous, &bytes, datagram: datagram, now: now)
    }

    @inline(__always)
    private mutating func sendSealed(
        _ counter: LayerCounter,
        to previous: Route,
        _ bytes: inout MutableRawSpan,
        datagram: Int,
        now: Instant
    ) {
        let link = LinkHeader(
            circuit: previous.number,
            counter: counter.rawValue,
            command: .backward
        )
        if links.send(&bytes, datagram: datagram, link: previous.slot, header: link, now: now) {
            counters.backwardCells += 1
        }
    }

    // MARK: Records

    private mutating func receiveRecords(
        _ bytes: inout MutableRawSpan,
        body: Int,
        slot: Int,
        isEarly: Bool,
        isMarked: Bool,
        now: Instant
    ) {
        guard let hop = circuits[slot].path?.hop, let id = circuits[slot].path?.id else { return }
        var cursor = RecordCursor(payload: body..<body + OnionLayer.innerByteCount(at: hop))
        let isUnpaid = circuits[slot].meter.isRefusing
        let carriesPackets = circuits[slot].meter.carriesPackets && !isUnpaid
        do throws(WireError) {
            while let record = try cursor.next(in: bytes.bytes) {
                switch record {
                case .control(let range):
                    guard takesControlRecord(slot) else {
                        counters.overflow += 1
                        continue
                    }
                    guard !isUnpaid || circuits[slot].meter.takesControl() else { continue }
                    note(.control(id, bytes.bytes.copyBytes(range), isEarly: isEarly))
                case .packet(let range):
                    guard !isEarly, carriesPackets else { continue }
                    receivePacket(
                        range,
                        slot: slot,
                        isMarked: isMarked,
                        bytes: &bytes,
                        now: now
                    )
                case .probe(let range):
                    guard !isEarly, carriesPackets, bytes.byte(at: range.lowerBound) == 0,
                        isPaid(slot, now: now)
                    else { continue }
                    bytes.storeBigEndian(UInt8(1), at: range.lowerBound)
                    // Sealed where it lies: nothing is left to read.
                    return echo(&bytes, body: body, slot: slot, isMarked: isMarked, now: now)
                case .firstFragment, .furtherFragment:
                    guard !isEarly, carriesPackets else { continue }
                    receiveFragment(
                        record,
                        slot: slot,
                        isMarked: isMarked,
                        bytes: &bytes,
                        now: now
                    )
                }
            }
        } catch {
            counters.drops[RelayPath.Drop.malformed.rawValue] += 1
        }
    }

    /// Sends back the cell at `body`, which has just been opened.
    private mutating func echo(
        _ bytes: inout MutableRawSpan,
        body: Int,
        slot: Int,
        isMarked: Bool,
        now: Instant
    ) {
        counters.echoedCells += 1
        var header = LayerHeader(command: .deliver)
        if isMarked { header.flags = .forwardCongestion }
        let datagram = body - Datagram.bodyOffset
        sendBackward(&bytes, datagram: datagram, slot: slot, header: header, now: now)
    }

    /// Counts a control record of the circuit; false where it has had its part of the batch.
    ///
    /// What is dropped comes again, or acknowledges what will be acknowledged again.
    private mutating func takesControlRecord(_ slot: Int) -> Bool {
        if circuits[slot].controlRecords.batch != meter.batch {
            circuits[slot].controlRecords = BatchCount(batch: meter.batch)
        }
        circuits[slot].controlRecords.count += 1
        return circuits[slot].controlRecords.count <= Self.controlRecordLimit
    }

    private mutating func receivePacket(
        _ packet: Range<Int>,
        slot: Int,
        isMarked: Bool,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard let lease = circuits[slot].lease else {
            counters.malformedPackets += 1
            return
        }
        let outcome = exit?.send(
            packet,
            lease: lease,
            isMarked: isMarked,
            signal: &circuits[slot].signal,
            bytes: &bytes,
            now: now
        )
        switch outcome {
        case .written:
            circuits[slot].hasCarried = true
            counters.exitPackets += 1
            counters.exitBytes += UInt64(packet.count)
        case .dropped:
            counters.signalDrops += 1
        case .refused(let header, let mayAnswer):
            counters.policyRefused += 1
            if mayAnswer {
                answerRefused(packet, header: header, slot: slot, bytes: &bytes, now: now)
            }
        case .malformed:
            counters.malformedPackets += 1
        case .full, nil:
            counters.overflow += 1
        }
    }

    private mutating func receiveFragment(
        _ record: Record,
        slot: Int,
        isMarked: Bool,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard circuits[slot].lease != nil else { return }
        let free = ArenaLayout.scratch.lowerBound + scratchUsed..<ArenaLayout.scratch.upperBound
        guard free.count >= 65_535 else {
            counters.overflow += 1
            return
        }
        if circuits[slot].reassembler == nil { circuits[slot].reassembler = Reassembler() }
        let before = fragmentByteCount(of: slot)
        defer { boundFragments(now: now) }
        do throws(FlowError) {
            // Whatever comes of it, it is counted.
            defer { fragmentByteCount += fragmentByteCount(of: slot) - before }
            let whole = try circuits[slot].reassembler?.receive(
                record,
                in: &bytes,
                output: free,
                now: now
            )
            guard let packet = whole ?? nil else { return }
            scratchUsed += packet.count
            receivePacket(packet, slot: slot, isMarked: isMarked, bytes: &bytes, now: now)
        } catch {
            counters.malformedPackets += 1
        }
    }

    private func fragmentByteCount(of slot: Int) -> Int {
        switch circuits[slot].reassembler {
        case .some(let reassembler): reassembler.byteCount
        case .none: 0
        }
    }

    private mutating func dropFragments(_ slot: Int, olderThan age: TimeSpan, now: Instant) {
        let before = fragmentByteCount(of: slot)
        guard before > 0 else { return }
        circuits[slot].reassembler?.removeAll(olderThan: age, now: now)
        fragmentByteCount += fragmentByteCount(of: slot) - before
    }

    /// Gives up the older part of the packets in progress where they have become too many.
    ///
    /// A half of the room, so that the walk over the circuits is paid for by what filled it.
    private mutating func boundFragments(now: Instant) {
        guard fragmentByteCount > Self.fragmentByteLimit else { return }
        var age = TimeSpan.zero
        for slot in 0..<circuits.endIndex where circuits.contains(slot) {
            if let begun = circuits[slot].reassembler?.begun { age = max(age, now - begun) }
        }
        while fragmentByteCount > Self.fragmentByteLimit / 2 {
            // Of packets begun within a millisecond none is the older one.
            age = age > .milliseconds(1) ? age / 2 : .zero
            for slot in 0..<circuits.endIndex where circuits.contains(slot) {
                dropFragments(slot, olderThan: age, now: now)
            }
        }
    }

    private mutating func answerRefused(
        _ packet: Range<Int>,
        header: IPHeader,
        slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let start = ArenaLayout.scratch.lowerBound + scratchUsed
        guard start + ICMPReply.maximumByteCount <= ArenaLayout.scratch.upperBound,
            let count = ICMPReply.administrativelyProhibited.write(
                answering: packet,
                header: header,
                from: AddressPair.Tunnel.resolver,
                in: &bytes,
                to: start
            ),
            let place = room(for: count, slot: slot, bytes: &bytes, now: now)
        else { return }
        bytes.move(start..<start + count, to: place)
    }

    // MARK: Cells made here

    private mutating func send(
        segment index: Int,
        of packet: TunPacket,
        to slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let count = packet.byteCount(ofSegment: index)
        if let place = room(for: count, slot: slot, bytes: &bytes, now: now) {
            packet.writeSegment(index, in: &bytes, to: place)
            return
        }
        guard count > OnionLayer.innerByteCount(at: .third) - RecordLayout.headerByteCount else {
            counters.overflow += 1
            return
        }
        // Larger than a cell: lay it out once, then cut it.
        let start = ArenaLayout.scratch.lowerBound + scratchUsed
        guard start + count <= ArenaLayout.scratch.upperBound else {
            counters.overflow += 1
            return
        }
        packet.writeSegment(index, in: &bytes, to: start)
        circuits[slot].nextFragmentID &+= 1
        var fragmenter = PacketFragmenter(
            packet: start..<start + count,
            id: circuits[slot].nextFragmentID
        )
        while !fragmenter.isFinished {
            guard openCell(slot) else {
                counters.overflow += 1
                return
            }
            guard var open = circuits[slot].open else { return }
            let isWritten = fragmenter.writeNext(into: &open.fill, in: &bytes)
            circuits[slot].open = open
            if !isWritten { closeCell(slot, bytes: &bytes, now: now) }
        }
    }

    /// The place for a packet of `count` bytes in the circuit's open cell; `nil` if there is none.
    private mutating func room(
        for count: Int,
        slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) -> Int? {
        if let open = circuits[slot].open, !open.fill.fits(packetByteCount: count) {
            if open.fill.isEmpty { return nil }
            closeCell(slot, bytes: &bytes, now: now)
        }
        guard openCell(slot), var open = circuits[slot].open,
            open.fill.fits(packetByteCount: count)
        else { return nil }
        let place = open.fill.begin(packetByteCount: count, in: &bytes)
        circuits[slot].open = open
        return place
    }

    /// Makes sure the circuit has a cell to fill; false if none can be made.
    private mutating func openCell(_ slot: Int) -> Bool {
        if circuits[slot].open != nil { return true }
        guard let hop = circuits[slot].path?.hop, let datagram = links.output.allocate() else {
            return false
        }
        let body = datagram + Datagram.bodyOffset
        circuits[slot].open = OpenCell(
            datagram: datagram,
            fill: CellFill(payload: body..<body + OnionLayer.innerByteCount(at: hop))
        )
        openCircuits.append(slot)
        return true
    }

    /// Seals and queues the circuit's open cell, if it has one with something in it.
    private mutating func closeCell(_ slot: Int, bytes: inout MutableRawSpan, now: Instant) {
        guard var open = circuits[slot].open else { return }
        circuits[slot].open = nil
        guard !open.fill.isEmpty else { return }
        circuits[slot].lastUsed = now
        guard isPaid(slot, now: now) else { return }
        open.fill.close(in: &bytes)
        if pacer.isLimiting {
            let departure = FairQueue.Departure(
                circuit: slot,
                kind: .made,
                counter: 0,
                isMarked: false,
                cell: -1
            )
            let body = open.datagram + Datagram.bodyOffset
            return enqueue(departure, bytes: bytes.bytes, body: body, now: now)
        }
        sendBackward(
            &bytes,
            datagram: open.datagram,
            slot: slot,
            header: LayerHeader(command: .deliver),
            now: now
        )
    }

    private mutating func sendControl(
        _ record: [UInt8],
        to slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard let hop = circuits[slot].path?.hop, let datagram = links.output.allocate() else {
            counters.overflow += 1
            return
        }
        bytes.copy(
            RecordPayload.make(kind: ControlRecord.recordKind, body: record, hop: hop),
            to: datagram + Datagram.bodyOffset
        )
        circuits[slot].meter.countOwn()
        sendBackward(
            &bytes,
            datagram: datagram,
            slot: slot,
            header: LayerHeader(command: .deliver),
            now: now
        )
    }

    // MARK: Circuits

    static func key(_ link: Int, _ number: CircuitNumber) -> UInt64 {
        UInt64(UInt32(truncatingIfNeeded: link)) << 32 | UInt64(number.rawValue)
    }

    func slot(of id: CircuitID) -> Int? {
        names.value(for: UInt64(id.rawValue))
    }

    func isPending(_ slot: Int) -> Bool {
        switch circuits[slot].path {
        case .some: false
        case .none: true
        }
    }

    /// Whether the route's slot still belongs to its link: slots are used again.
    func isCurrent(_ route: Route) -> Bool {
        links.slot(of: route.link) == route.slot
    }

    // MARK: Exit

    private func holder(of address: IPAddress) -> ExitGate.Holder {
        switch exit {
        case .some(let gate): gate.holder(of: address)
        case .none: .nobody
        }
    }

    /// Drops what a circuit has in progress, and takes its lease from it if it holds one.
    mutating func releaseLease(_ slot: Int, now: Instant) {
        dropFragments(slot, olderThan: .zero, now: now)
        guard let lease = circuits[slot].lease else { return }
        circuits[slot].lease = nil
        exit?.release(lease, by: slot)
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
