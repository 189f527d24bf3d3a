import Base
import Circuits
import CryptoPrimitives
import Flows
import Links
import Mixing
import Onion
import Wire

// Where a circuit ends: records are taken out of its cells, packets laid into new ones.
extension RelayShard {
    // MARK: Records

    mutating func receiveRecords(
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

    func fragmentByteCount(of slot: Int) -> Int {
        switch circuits[slot].reassembler {
        case .some(let reassembler): reassembler.byteCount
        case .none: 0
        }
    }

    mutating func dropFragments(_ slot: Int, olderThan age: TimeSpan, now: Instant) {
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

    mutating func send(
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
    mutating func room(
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
    mutating func closeCell(_ slot: Int, bytes: inout MutableRawSpan, now: Instant) {
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

    mutating func sendControl(
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

    // MARK: Exit

    func holder(of address: IPAddress) -> ExitGate.Holder {
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
}
