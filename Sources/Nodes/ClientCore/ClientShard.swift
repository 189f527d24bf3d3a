public import Base
public import Circuits
public import CryptoPrimitives
public import Flows
public import Links
import Onion
import Wire

/// The packet path of a client: links to guards, circuits, tunnels and the flows in them.
///
/// Sans-IO. Hand received runs to ``receive(_:run:now:)`` and TUN packets to
/// ``receiveFromTunnel(_:tunnel:byteCount:now:)``, commands to ``perform(_:bytes:now:)``, wake it at
/// ``nextDeadline``; end a batch with ``finishBatch(_:now:)``, then send the trains of ``links``,
/// write ``tunnelWrites(of:)``, ``clearOutput()`` and ``takeEvents()``. `now` never goes back. All
/// bytes lie in the caller's arena (`ArenaLayout`). Not thread-safe: owned by one thread.
///
/// Say how much waits at the socket before a batch, by ``noteReceiveQueue(byteCount:)``.
///
/// Bounds: 64 links, 1,024 circuits, ``tunnelLimit`` tunnels of 65,536 flows, four cells that wait
/// for a hop's key, 1,024 events that happen again, and one for each link and circuit that do not.
public struct ClientShard: ~Copyable {
    /// Tunnels at a time.
    public static let tunnelLimit = 32
    /// Flows of a tunnel at a time, where nothing else is said.
    public static let flowLimit = 65_536
    private static let waitingCellLimit = 4
    private static let repeatedEventLimit = 1_024
    private static let sweepInterval: TimeSpan = .milliseconds(250)
    private static let silenceLimit: TimeSpan = .seconds(1)
    private static let echoInterval: TimeSpan = .milliseconds(10)
    static let echoReserve = 32
    private static let unpaidInterval: TimeSpan = .milliseconds(100)
    /// Count steps between two reports of a circuit's counts, at most.
    private static let widestCount: UInt64 = 256
    /// Bytes of a packet that answers a probe: headers of IP and UDP, and that of the answer.
    private static let probedByteCount = 80

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
        var position: ClientPath.Position
    }

    struct OpenCell {
        var datagram: Int
        var fill: CellFill
    }

    struct Circuit: ~Copyable {
        let route: Route
        let tunnel: TunnelID
        var path: ClientPath
        var waiting: [WaitingCell] = []
        var open: OpenCell?
        var reassembler = Reassembler()
        var nextFragmentID: UInt16 = 0
        var unansweredSince: Instant?
        /// Whether a hop told of congestion towards the exit, which no packet has told on yet.
        var owesForwardMark = false
        var forwardSignal = CongestionSignal()
        var backwardSignal = CongestionSignal()
        var sentBytes: UInt64 = 0
        var receivedBytes: UInt64 = 0
        var echo: EchoStream?
        var counts = HopCounts()
        /// The count after which it is reported again.
        var countMark: UInt64 = .max
        var countStep: UInt64 = .max
        /// When the control plane was last told that a hop wants pay.
        var toldUnpaid: Instant = .zero
        /// Whether its exit is being probed: what comes is for the control plane.
        var isProbing = false
        /// Its place among the circuits whose traffic is shaped; -1 for most.
        var shaped: Int32 = -1
    }

    struct Tunnel: ~Copyable {
        let id: TunnelID
        let headerStart: Int
        var flows: FlowTable
        var coalescer: TunCoalescer
        /// Whether its packets go to the control plane.
        let isInternal: Bool
        var current: LeaseID?
    }

    struct Lease {
        let id: LeaseID
        let tunnel: TunnelID
        var circuit: Int
    }

    /// The shard's links; its output holds the datagrams to send.
    public internal(set) var links: LinkTable
    var circuits: Slab<Circuit>
    private let flowLimit: Int
    private var routes: IndexTable
    private var names: IndexTable
    private var tunnels: Slab<Tunnel>
    private var leases: [Lease] = []
    private var openCircuits: [Int] = []
    // Slots of circuits that are being measured.
    private var echoCircuits: [Int] = []
    private var nextEcho: Instant = .distantFuture
    private var filler: FillerGenerator
    var random: RandomGenerator
    /// Circuits of `padded` and `mix`, and their cells that wait.
    var shaper = ClientShaper()
    var runningSeries: [RunningSeries] = []
    private var events: [ClientEvent] = []
    private var repeatedEventCount = 0
    private var scratchUsed = 0
    private var isQueueLong = false
    private var nextSweep: Instant
    /// What the shard counted.
    public internal(set) var counters = ClientCounters()

    /// Makes a shard without links.
    ///
    /// - Parameter flowLimit: flows of a tunnel at most; their memory is reserved when it opens.
    public init(
        timing: LinkTable.Timing = LinkTable.Timing(),
        flowLimit: Int = Self.flowLimit,
        random: consuming RandomGenerator,
        now: Instant
    ) {
        var random = random
        self.flowLimit = flowLimit
        links = LinkTable(
            linkLimit: 64,
            generated: ArenaLayout.generated,
            timing: timing,
            random: random.split()
        )
        circuits = Slab(limit: 1_024)
        routes = IndexTable(limit: 1_024, seed: (random.next(), random.next()))
        names = IndexTable(limit: 1_024, seed: (random.next(), random.next()))
        tunnels = Slab(limit: Self.tunnelLimit)
        filler = FillerGenerator(key: random.secret(byteCount: 32))
        self.random = random
        nextSweep = now + Self.sweepInterval
    }

    // MARK: Outputs

    /// Takes the events for the control plane.
    public mutating func takeEvents() -> [ClientEvent] {
        while let event = links.nextEvent() { note(.link(event)) }
        // Every batch asks: an empty answer must not make a copy of the room for later ones.
        guard !events.isEmpty else { return [] }
        defer { events.removeAll(keepingCapacity: true) }
        repeatedEventCount = 0
        return events
    }

    /// What the shell writes to the TUN device of `tunnel`, valid until ``clearOutput()``.
    public func tunnelWrites(of tunnel: TunnelID) -> TunWriteList? {
        guard let slot = slot(of: tunnel) else { return nil }
        return tunnels[slot].coalescer.list
    }

    /// Datagrams that may still be made before the output must be sent.
    public var remainingCapacity: Int {
        links.output.remainingCapacity
    }

    /// Cells sent and received by `id`; `nil` if there is no such circuit.
    public func traffic(of id: CircuitID) -> CircuitTraffic? {
        guard let slot = slot(of: id) else { return nil }
        return CircuitTraffic(
            sentCells: circuits[slot].path.sentCells,
            receivedCells: circuits[slot].path.receivedCells,
            sentBytes: circuits[slot].sentBytes,
            receivedBytes: circuits[slot].receivedBytes,
            flows: flowCount(over: slot),
            shaped: shapedTraffic(slot)
        )
    }

    /// Flows of the leases whose packets go over the circuit in `slot`.
    private func flowCount(over slot: Int) -> Int {
        var count = 0
        for lease in leases where lease.circuit == slot {
            guard let tunnel = self.slot(of: lease.tunnel) else { continue }
            count += tunnels[tunnel].flows.flowCount(of: lease.id.rawValue)
        }
        return count
    }

    /// Closes half-filled cells and runs of packets: the output is complete then.
    public mutating func finishBatch(_ bytes: inout MutableRawSpan, now: Instant) {
        for slot in openCircuits where circuits.contains(slot) {
            closeCell(slot, bytes: &bytes, now: now)
        }
        openCircuits.removeAll(keepingCapacity: true)
        for slot in echoCircuits { sendEchoes(slot, bytes: &bytes, now: now) }
        for slot in 0..<tunnels.endIndex where tunnels.contains(slot) {
            tunnels[slot].coalescer.flush(in: &bytes)
        }
        links.output.makeTrains()
    }

    /// Forgets the output after it was sent and written.
    public mutating func clearOutput() {
        links.output.clear()
        for slot in 0..<tunnels.endIndex where tunnels.contains(slot) {
            tunnels[slot].coalescer.removeAll()
        }
        scratchUsed = 0
    }

    // MARK: Inputs

    /// Begins a batch: `byteCount` bytes wait at the socket behind what is handed in next.
    ///
    /// Above `CongestionSignal.queueBound` packets carry that on to their senders.
    public mutating func noteReceiveQueue(byteCount: Int) {
        isQueueLong = byteCount > CongestionSignal.queueBound
    }

    /// Takes a run of datagrams that lies in the arena.
    public mutating func receive(_ bytes: inout MutableRawSpan, run: DatagramRun, now: Instant) {
        guard run.segmentByteCount == Datagram.byteCount else { return links.noteWrongSize() }
        var offset = run.offset
        let end = run.offset + run.byteCount
        while offset + Datagram.byteCount <= end {
            receiveDatagram(&bytes, datagram: offset, source: run.source, now: now)
            offset += Datagram.byteCount
        }
        if offset != end { links.noteWrongSize() }
    }

    /// Takes a packet of `tunnel`, read to `ArenaLayout.tunnelInput` with its offload header.
    public mutating func receiveFromTunnel(
        _ bytes: inout MutableRawSpan,
        tunnel id: TunnelID,
        byteCount: Int,
        now: Instant
    ) {
        let start = ArenaLayout.tunnelInput.lowerBound
        guard byteCount > VirtioNetHeader.byteCount, let tunnel = slot(of: id),
            let offload = try? VirtioNetHeader(parsing: bytes.bytes, at: start),
            let packet = try? TunPacket(
                parsing: bytes.bytes,
                header: offload,
                packet: start + VirtioNetHeader.byteCount..<start + byteCount
            ), isOwn(packet.header.source)
        else {
            counters.malformedPackets += 1
            return
        }
        guard let slot = route(packet.flowKey, tunnel: tunnel, now: now) else {
            counters.blockedPackets += UInt64(packet.segmentCount)
            return
        }
        let goesOn = tellOn(packet, slot: slot, bytes: &bytes, now: now)
        // Where its sender understands no mark, one segment is lost for all of them.
        for index in (goesOn ? 0 : 1)..<packet.segmentCount {
            send(segment: index, of: packet, over: slot, bytes: &bytes, now: now)
        }
        circuits[slot].sentBytes += UInt64(byteCount - VirtioNetHeader.byteCount)
        counters.sentPackets += UInt64(packet.segmentCount)
        counters.sentBytes += UInt64(byteCount - VirtioNetHeader.byteCount)
    }

    /// Does what the control plane wants.
    public mutating func perform(
        _ command: ClientCommand,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        switch command {
        case .addLink(let link):
            if !links.add(link, now: now) { note(.link(.lost(link.id))) }
        case .renewLink(let id, let session):
            _ = links.renew(id, with: session, now: now)
        case .removeLink(let id, let saysGoodbye):
            links.remove(id, saysGoodbye: saysGoodbye, bytes: &bytes, now: now)
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
        case .addCircuit(let id, let link, let number, let tunnel):
            addCircuit(id, link: link, number: number, tunnel: tunnel)
        case .shape(let id, let plan):
            guard let slot = slot(of: id) else { return }
            setShape(plan, slot: slot, now: now)
        case .keepSchedule(let id):
            guard let slot = slot(of: id) else { return }
            keepSchedule(slot: slot, now: now)
        case .setEarly(let id, let hop, let key, let start):
            guard let slot = slot(of: id) else { return }
            circuits[slot].path.setEarly(key, start: start, at: hop)
        case .setKeys(let id, let hop, let forward, let backward, let start):
            guard let slot = slot(of: id) else { return }
            circuits[slot].path.setKeys(
                forward: forward,
                backward: backward,
                start: start,
                at: hop
            )
            releaseWaiting(slot, bytes: &bytes, now: now)
        case .sendControl(let id, let hop, let record):
            guard let slot = slot(of: id) else { return }
            sendControl(record, over: slot, to: hop, bytes: &bytes, now: now)
        case .measure(let id, let hop, let cells, let time):
            guard let slot = slot(of: id) else { return }
            let isNew = circuits[slot].echo == nil
            circuits[slot].echo = EchoStream(hop: hop, cellLimit: cells, time: time, now: now)
            if isNew { echoCircuits.append(slot) }
            nextEcho = now + Self.echoInterval
        case .ping(let id, let series, let token):
            begin(series, over: id, token: token)
            advanceSeries(to: now, bytes: &bytes)
        case .countCells(let id, let step):
            guard let slot = slot(of: id) else { return }
            circuits[slot].countStep = UInt64(max(1, step))
            noteCounts(slot)
        case .sendProbe(let id, let packet):
            guard let slot = slot(of: id) else { return }
            sendProbe(packet, over: slot, bytes: &bytes, now: now)
        case .removeCircuit(let id):
            guard let slot = slot(of: id) else { return }
            removeCircuit(slot, now: now)
        case .addTunnel(let id, let offload):
            addTunnel(id, offload: offload)
        case .addInternalTunnel(let id):
            addTunnel(id, offload: .none, isInternal: true)
        case .sendPacket(let id, let packet):
            sendPacket(packet, of: id, bytes: &bytes, now: now)
        case .removeTunnel(let id):
            guard let slot = slot(of: id) else { return }
            _ = tunnels.remove(at: slot)
            leases.removeAll { $0.tunnel == id }
        case .bind(let lease, let tunnel, let circuit):
            guard let slot = slot(of: circuit) else { return }
            circuits[slot].isProbing = false
            if let index = leases.firstIndex(where: { $0.id == lease }) {
                leases[index].circuit = slot
            } else {
                leases.append(Lease(id: lease, tunnel: tunnel, circuit: slot))
            }
        case .setCurrent(let tunnel, let lease):
            guard let slot = slot(of: tunnel) else { return }
            tunnels[slot].current = lease
        case .endLease(let lease):
            guard let index = leases.firstIndex(where: { $0.id == lease }) else { return }
            if let slot = slot(of: leases[index].tunnel) {
                tunnels[slot].flows.removeAll(of: lease.rawValue)
                if tunnels[slot].current == lease { tunnels[slot].current = nil }
            }
            leases.remove(at: index)
        }
    }

    /// Sends a packet of an internal tunnel as if a TUN device had brought it.
    private mutating func sendPacket(
        _ packet: [UInt8],
        of id: TunnelID,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let start = ArenaLayout.tunnelInput.lowerBound
        let count = VirtioNetHeader.byteCount + packet.count
        guard count <= ArenaLayout.tunnelInput.count else { return }
        // An offload header of zeros: a packet alone, its checksums in it.
        bytes.zero(start..<start + VirtioNetHeader.byteCount)
        bytes.copy(packet, to: start + VirtioNetHeader.byteCount)
        receiveFromTunnel(&bytes, tunnel: id, byteCount: count, now: now)
    }

    // MARK: Time

    /// When ``advance(to:bytes:)`` has something to do.
    public var nextDeadline: Instant {
        min(
            min(links.nextDeadline, circuits.count > 0 ? nextSweep : .distantFuture, nextEcho),
            min(nextSeriesDeadline, shaper.due)
        )
    }

    /// Lets time pass: pings, lost links, silent circuits, flows that ended.
    public mutating func advance(to now: Instant, bytes: inout MutableRawSpan) {
        links.advance(to: now, bytes: &bytes)
        if now >= nextEcho { advanceEchoes(to: now) }
        if !runningSeries.isEmpty { advanceSeries(to: now, bytes: &bytes) }
        if now >= shaper.due { advanceShaping(to: now, bytes: &bytes) }
        guard now >= nextSweep else { return }
        nextSweep = now + Self.sweepInterval
        for slot in 0..<circuits.endIndex where circuits.contains(slot) {
            guard let since = circuits[slot].unansweredSince else { continue }
            let silence = now - since
            if silence >= Self.silenceLimit { note(.silent(circuits[slot].path.id, silence)) }
        }
        for slot in 0..<tunnels.endIndex where tunnels.contains(slot) {
            tunnels[slot].flows.expire(now: now)
            let id = tunnels[slot].id
            let current = tunnels[slot].current
            for lease in leases where lease.tunnel == id && lease.id != current {
                if tunnels[slot].flows.flowCount(of: lease.id.rawValue) == 0 {
                    note(.leaseUnused(lease.id))
                }
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
        let body = datagram + Datagram.bodyOffset
        switch links.open(&bytes, datagram: datagram, source: source, now: now) {
        case .consumed, .dropped:
            return
        case .handshake:
            let whole = bytes.bytes.copyBytes(datagram..<datagram + Datagram.byteCount)
            note(.handshake(whole, from: source))
        case .cell(let link, let header):
            let key = UInt64(UInt32(truncatingIfNeeded: link)) << 32
            guard let slot = routes.value(for: key | UInt64(header.circuit.rawValue)) else {
                counters.unknownCircuit += 1
                return
            }
            switch header.command {
            case .backward:
                let counter = LayerCounter(rawValue: header.counter)
                let outcome = circuits[slot].path.open(&bytes, body: body, counter: counter)
                guard circuits[slot].shaped >= 0 else {
                    return handle(outcome, slot: slot, body: body, bytes: &bytes, now: now)
                }
                noteShaped(slot, now: now)
                handle(outcome, slot: slot, body: body, bytes: &bytes, now: now)
                handleRebuilt(&bytes, slot: slot, now: now)
            case .created:
                let content = bytes.bytes.copyBytes(body..<body + CreatedBody.byteCount)
                note(.created(circuits[slot].path.id, content))
            case .destroy:
                let reason = DestroyReason(rawValue: bytes.byte(at: body))
                note(.destroyed(circuits[slot].path.id, reason))
                removeCircuit(slot, now: now)
            case .forward, .create, .padding, .linkControl:
                counters.droppedCells += 1
            }
        }
    }

    mutating func handle(
        _ outcome: ClientPath.Opened,
        slot: Int,
        body: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        switch outcome {
        case .records(let hop, let flags):
            noteAnswer(flags, slot: slot, now: now)
            count(hop, slot: slot)
            let isMarked = isQueueLong || flags.contains(.congestionExperienced)
            receiveRecords(
                from: hop,
                slot: slot,
                body: body,
                isMarked: isMarked,
                isForwardMarked: flags.contains(.forwardCongestion),
                bytes: &bytes,
                now: now
            )
        case .nothing(let flags):
            noteAnswer(flags, slot: slot, now: now)
            // Cover and parity are the middle's.
            if circuits[slot].shaped >= 0 { count(.second, slot: slot) }
        case .dropped:
            counters.droppedCells += 1
        case .waiting(let position):
            guard circuits[slot].waiting.count < Self.waitingCellLimit else {
                counters.droppedCells += 1
                return
            }
            circuits[slot].waiting.append(
                WaitingCell(
                    body: bytes.bytes.copyBytes(body..<body + Datagram.bodyByteCount),
                    position: position
                )
            )
        }
    }

    /// Notes that hops live, and what the flags of their layers say.
    private mutating func noteAnswer(_ flags: LayerHeader.Flags, slot: Int, now: Instant) {
        circuits[slot].unansweredSince = nil
        if flags.contains(.forwardCongestion) { circuits[slot].owesForwardMark = true }
        if flags.contains(.unpaid), circuits[slot].countMark != .max,
            now - circuits[slot].toldUnpaid >= Self.unpaidInterval
        {
            circuits[slot].toldUnpaid = now
            note(.unpaid(circuits[slot].path.id))
        }
    }

    /// Counts a cell for, or from, `hop`.
    mutating func count(_ hop: HopIndex, slot: Int) {
        circuits[slot].counts.note(hop.offset)
        if circuits[slot].counts.total >= circuits[slot].countMark { noteCounts(slot) }
    }

    private mutating func noteCounts(_ slot: Int) {
        let (total, step) = (circuits[slot].counts.total, circuits[slot].countStep)
        // Pay is ahead by a sixteenth of what is paid, up to 256 ticks, and owed again once half of that
        // is used. A stride is a quarter of it at most, so a quarter is left when it is paid. The widest
        // one is 32 ticks at guard and middle; at the exit, whose ticks have half the cells, it is 64,
        // and as many are left then: 76 ms at 1 Gbit/s, for the way there and back.
        let stride = max(step, min(total / 64, step * Self.widestCount))
        circuits[slot].countMark = total + stride
        note(.counted(circuits[slot].path.id, circuits[slot].counts))
    }

    private mutating func releaseWaiting(
        _ slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let waiting = circuits[slot].waiting
        circuits[slot].waiting = []
        for cell in waiting {
            // Opened where cells are made; the place is not used for anything else afterwards.
            guard let datagram = links.output.allocate() else {
                counters.overflow += 1
                return
            }
            let body = datagram + Datagram.bodyOffset
            bytes.copy(cell.body, to: body)
            let outcome = circuits[slot].path.resume(&bytes, body: body, from: cell.position)
            handle(outcome, slot: slot, body: body, bytes: &bytes, now: now)
        }
    }

    private mutating func receiveRecords(
        from hop: HopIndex,
        slot: Int,
        body: Int,
        isMarked: Bool,
        isForwardMarked: Bool,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        var cursor = RecordCursor(payload: body..<body + OnionLayer.innerByteCount(at: hop))
        do throws(WireError) {
            while let record = try cursor.next(in: bytes.bytes) {
                switch record {
                case .control(let range):
                    note(.control(circuits[slot].path.id, hop, bytes.bytes.copyBytes(range)))
                case .probe(let range):
                    guard bytes.byte(at: range.lowerBound) == 1 else { continue }
                    let sequence: UInt32 = bytes.bytes.loadBigEndian(at: range.lowerBound + 1)
                    let mark: UInt64 = bytes.bytes.loadBigEndian(at: range.lowerBound + 5)
                    if !runningSeries.isEmpty,
                        receiveSeries(
                            slot: slot,
                            hop: hop,
                            sequence: sequence,
                            mark: mark,
                            now: now
                        )
                    {
                        continue
                    }
                    guard hop == circuits[slot].echo?.hop else { continue }
                    circuits[slot].echo?.receive(
                        sequence: sequence,
                        mark: mark,
                        isMarked: isMarked || isForwardMarked,
                        now: now
                    )
                case .packet(let range):
                    // Only the exit speaks to the tunnel.
                    guard hop == .third else { continue }
                    deliver(range, slot: slot, isMarked: isMarked, bytes: &bytes, now: now)
                case .firstFragment, .furtherFragment:
                    guard hop == .third else { continue }
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
            counters.droppedCells += 1
        }
    }

    private mutating func deliver(
        _ packet: Range<Int>,
        slot: Int,
        isMarked: Bool,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard let tunnel = self.slot(of: circuits[slot].tunnel),
            let header = try? IPHeader(parsing: bytes.bytes, packet), isOwn(header.destination)
        else {
            counters.malformedPackets += 1
            return
        }
        if circuits[slot].isProbing {
            let end = packet.lowerBound + min(packet.count, Self.probedByteCount)
            let begin = bytes.bytes.copyBytes(packet.lowerBound..<end)
            return note(.probed(circuits[slot].path.id, begin))
        }
        if isMarked {
            counters.backwardSignals += 1
            let goesOn = circuits[slot].backwardSignal.apply(
                by: header,
                packetOffset: packet.lowerBound,
                in: &bytes,
                now: now
            )
            guard goesOn else { return }
        }
        if tunnels[tunnel].isInternal {
            note(.packet(tunnels[tunnel].id, bytes.bytes.copyBytes(packet)))
        } else if !tunnels[tunnel].coalescer.append(packet, in: &bytes) {
            counters.overflow += 1
            return
        }
        circuits[slot].receivedBytes += UInt64(packet.count)
        counters.receivedPackets += 1
        counters.receivedBytes += UInt64(packet.count)
    }

    private mutating func receiveFragment(
        _ record: Record,
        slot: Int,
        isMarked: Bool,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let free = ArenaLayout.scratch.lowerBound + scratchUsed..<ArenaLayout.scratch.upperBound
        guard free.count >= 65_535 else {
            counters.overflow += 1
            return
        }
        do throws(FlowError) {
            guard
                let packet = try circuits[slot].reassembler.receive(
                    record,
                    in: &bytes,
                    output: free,
                    now: now
                )
            else { return }
            scratchUsed += packet.count
            deliver(packet, slot: slot, isMarked: isMarked, bytes: &bytes, now: now)
        } catch {
            counters.malformedPackets += 1
        }
    }

    // MARK: Flows

    private func isOwn(_ address: IPAddress) -> Bool {
        let own = AddressPair.Tunnel.client
        return address == own.v4 || address == own.v6
    }

    /// The circuit a flow's packets go over; `nil` if there is none now.
    private mutating func route(_ key: FlowKey, tunnel: Int, now: Instant) -> Int? {
        let lease: LeaseID
        if let known = tunnels[tunnel].flows.handle(for: key, now: now) {
            lease = LeaseID(rawValue: known)
        } else {
            guard let current = tunnels[tunnel].current else { return nil }
            _ = tunnels[tunnel].flows.insert(key, handle: current.rawValue, now: now)
            lease = current
        }
        guard let index = leases.firstIndex(where: { $0.id == lease }),
            leases[index].circuit >= 0
        else { return nil }
        return leases[index].circuit
    }

    /// Lets a packet tell its sender of congestion towards the exit, once for each time a hop told
    /// of it; false where the packet does so by being lost.
    private mutating func tellOn(
        _ packet: TunPacket,
        slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) -> Bool {
        guard circuits[slot].owesForwardMark, CongestionSignal.canTell(packet.header) else {
            return true
        }
        circuits[slot].owesForwardMark = false
        counters.forwardSignals += 1
        return circuits[slot].forwardSignal.apply(
            by: packet.header,
            packetOffset: packet.packet.lowerBound,
            in: &bytes,
            now: now
        )
    }

    private mutating func send(
        segment index: Int,
        of packet: TunPacket,
        over slot: Int,
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
        sendFragments(of: start..<start + count, over: slot, bytes: &bytes, now: now)
    }

    /// Sends a packet of our own to the exit, which is being probed from now on.
    private mutating func sendProbe(
        _ packet: [UInt8],
        over slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        circuits[slot].isProbing = true
        let start = ArenaLayout.scratch.lowerBound + scratchUsed
        guard start + packet.count <= ArenaLayout.scratch.upperBound else {
            counters.overflow += 1
            return
        }
        bytes.copy(packet, to: start)
        scratchUsed += packet.count
        sendFragments(of: start..<start + packet.count, over: slot, bytes: &bytes, now: now)
    }

    private mutating func sendFragments(
        of packet: Range<Int>,
        over slot: Int,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        circuits[slot].nextFragmentID &+= 1
        var fragmenter = PacketFragmenter(
            packet: packet,
            id: circuits[slot].nextFragmentID
        )
        while !fragmenter.isFinished {
            guard openCell(slot), var open = circuits[slot].open else {
                counters.overflow += 1
                return
            }
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

    private mutating func openCell(_ slot: Int) -> Bool {
        if circuits[slot].open != nil { return true }
        guard circuits[slot].path.canSend(to: .third), let datagram = links.output.allocate() else {
            return false
        }
        let body = datagram + Datagram.bodyOffset
        circuits[slot].open = OpenCell(
            datagram: datagram,
            fill: CellFill(payload: body..<body + OnionLayer.innerByteCount(at: .third))
        )
        openCircuits.append(slot)
        return true
    }

    private mutating func closeCell(_ slot: Int, bytes: inout MutableRawSpan, now: Instant) {
        guard var open = circuits[slot].open else { return }
        circuits[slot].open = nil
        guard !open.fill.isEmpty else { return }
        open.fill.close(in: &bytes)
        sendCell(slot, datagram: open.datagram, to: .third, bytes: &bytes, now: now)
    }

    // MARK: Measurements

    /// Sends what a measurement's window lets out.
    private mutating func sendEchoes(_ slot: Int, bytes: inout MutableRawSpan, now: Instant) {
        guard let hop = circuits[slot].echo?.hop else { return }
        while links.output.remainingCapacity > Self.echoReserve,
            circuits[slot].path.canSend(to: hop),
            let cell = circuits[slot].echo?.nextCell(using: &random)
        {
            guard sendProbe(cell, slot: slot, to: hop, bytes: &bytes, now: now) else { return }
        }
    }

    /// Sends a PROBE to `hop`; false where there is no room for it.
    mutating func sendProbe(
        _ cell: (sequence: UInt32, mark: UInt64),
        slot: Int,
        to hop: HopIndex,
        bytes: inout MutableRawSpan,
        now: Instant
    ) -> Bool {
        guard let datagram = links.output.allocate() else { return false }
        let body = datagram + Datagram.bodyOffset
        let count = OnionLayer.innerByteCount(at: hop) - RecordLayout.headerByteCount
        bytes.zero(body..<body + RecordLayout.headerByteCount + count)
        bytes.storeBigEndian(RecordLayout.probe, at: body)
        bytes.storeBigEndian(UInt16(truncatingIfNeeded: count), at: body + 1)
        let content = body + RecordLayout.headerByteCount
        bytes.storeBigEndian(cell.sequence, at: content + 1)
        bytes.storeBigEndian(cell.mark, at: content + 5)
        // Silence is the measurement's own affair.
        sendCell(
            slot,
            datagram: datagram,
            to: hop,
            wantsAnswer: false,
            bytes: &bytes,
            now: now
        )
        return true
    }

    /// Whether a cell for `hop` of the circuit in `slot` can be sealed now.
    func canSend(_ slot: Int, to hop: HopIndex) -> Bool {
        circuits[slot].path.canSend(to: hop)
    }

    private mutating func advanceEchoes(to now: Instant) {
        var isAnyOver = false
        for slot in echoCircuits {
            circuits[slot].echo?.advance(to: now)
            guard circuits[slot].echo?.isOver(at: now) == true else { continue }
            let kilobits = circuits[slot].echo?.kilobits(at: now)
            note(.measured(circuits[slot].path.id, kilobits: kilobits ?? nil))
            circuits[slot].echo = nil
            isAnyOver = true
        }
        if isAnyOver { echoCircuits.removeAll { circuits[$0].echo == nil } }
        nextEcho = echoCircuits.isEmpty ? .distantFuture : now + Self.echoInterval
    }

    // MARK: Cells

    private mutating func sendControl(
        _ record: [UInt8],
        over slot: Int,
        to hop: HopIndex,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        guard circuits[slot].path.canSend(to: hop), let datagram = links.output.allocate() else {
            counters.overflow += 1
            return
        }
        bytes.copy(
            RecordPayload.make(kind: ControlRecord.recordKind, body: record, hop: hop),
            to: datagram + Datagram.bodyOffset
        )
        sendCell(
            slot,
            datagram: datagram,
            to: hop,
            isControl: true,
            wantsAnswer: !ControlRecord.isAcknowledgement(record),
            bytes: &bytes,
            now: now
        )
    }

    private mutating func sendCell(
        _ slot: Int,
        datagram: Int,
        to hop: HopIndex,
        isControl: Bool = false,
        wantsAnswer: Bool = true,
        bytes: inout MutableRawSpan,
        now: Instant
    ) {
        let route = circuits[slot].route
        guard links.slot(of: route.link) == route.slot else { return }
        guard circuits[slot].path.canSend(to: hop) else {
            return note(.exhausted(circuits[slot].path.id))
        }
        let body = datagram + Datagram.bodyOffset
        let isShaped = circuits[slot].shaped >= 0
        if isShaped,
            hold(
                bytes.bytes,
                body: body,
                slot: slot,
                for: hop,
                isControl: isControl,
                wantsAnswer: wantsAnswer,
                now: now
            )
        {
            return
        }
        let header = circuits[slot].path.seal(&bytes, body: body, for: hop)
        count(hop, slot: slot)
        if wantsAnswer, circuits[slot].unansweredSince == nil {
            circuits[slot].unansweredSince = now
        }
        _ = links.send(&bytes, datagram: datagram, link: route.slot, header: header, now: now)
        if isShaped { settleParity(&bytes, slot: slot, now: now) }
    }

    // MARK: Tables

    func slot(of id: CircuitID) -> Int? {
        names.value(for: UInt64(id.rawValue))
    }

    private func slot(of id: TunnelID) -> Int? {
        for slot in 0..<tunnels.endIndex where tunnels.contains(slot) {
            if tunnels[slot].id == id { return slot }
        }
        return nil
    }

    private mutating func addCircuit(
        _ id: CircuitID,
        link: LinkID,
        number: CircuitNumber,
        tunnel: TunnelID
    ) {
        guard !circuits.isFull, let linkSlot = links.slot(of: link) else {
            return note(.destroyed(id, .linkLost))
        }
        let route = Route(slot: linkSlot, link: link, number: number)
        let slot = circuits.insert(
            Circuit(route: route, tunnel: tunnel, path: ClientPath(id: id, number: number))
        )
        _ = routes.set(route.key, to: slot)
        _ = names.set(UInt64(id.rawValue), to: slot)
    }

    private mutating func removeCircuit(_ slot: Int, now: Instant) {
        endShaping(slot, now: now)
        echoCircuits.removeAll { $0 == slot }
        if echoCircuits.isEmpty { nextEcho = .distantFuture }
        let circuit = circuits.remove(at: slot)
        routes.remove(circuit.route.key)
        names.remove(UInt64(circuit.path.id.rawValue))
        if !runningSeries.isEmpty { endSeries(of: circuit.path.id) }
        // Packets of its leases are blocked until another circuit takes them over.
        for index in leases.indices where leases[index].circuit == slot {
            leases[index].circuit = -1
        }
    }

    private mutating func addTunnel(
        _ id: TunnelID,
        offload: TunCoalescer.Offload,
        isInternal: Bool = false
    ) {
        guard !tunnels.isFull, slot(of: id) == nil else {
            counters.overflow += 1
            return
        }
        // Each tunnel makes its headers in a part of the region of its own.
        let width = ArenaLayout.tunnelHeaders.count / Self.tunnelLimit
        var taken = Set<Int>()
        for slot in 0..<tunnels.endIndex where tunnels.contains(slot) {
            taken.insert(tunnels[slot].headerStart)
        }
        for place in 0..<Self.tunnelLimit {
            let start = ArenaLayout.tunnelHeaders.lowerBound + place * width
            guard !taken.contains(start) else { continue }
            _ = tunnels.insert(
                Tunnel(
                    id: id,
                    headerStart: start,
                    flows: FlowTable(capacity: flowLimit, seed: (random.next(), random.next())),
                    coalescer: TunCoalescer(
                        offload: offload,
                        headerRegion: start..<start + width
                    ),
                    isInternal: isInternal
                )
            )
            return
        }
    }

    mutating func note(_ event: ClientEvent) {
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
