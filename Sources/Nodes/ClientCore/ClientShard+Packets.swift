import Base
import Circuits
import CryptoPrimitives
import Flows
import Links
import Onion
import Wire

// Packets of tunnels are laid into cells by their flows, and taken out of them.
extension ClientShard {
    mutating func deliver(
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

    mutating func receiveFragment(
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

    func isOwn(_ address: IPAddress) -> Bool {
        let own = AddressPair.Tunnel.client
        return address == own.v4 || address == own.v6
    }

    /// The circuit a flow's packets go over; `nil` if there is none now.
    mutating func route(_ key: FlowKey, tunnel: Int, now: Instant) -> Int? {
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
    mutating func tellOn(
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

    mutating func send(
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
    mutating func sendProbe(
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

    mutating func closeCell(_ slot: Int, bytes: inout MutableRawSpan, now: Instant) {
        guard var open = circuits[slot].open else { return }
        circuits[slot].open = nil
        guard !open.fill.isEmpty else { return }
        open.fill.close(in: &bytes)
        sendCell(slot, datagram: open.datagram, to: .third, bytes: &bytes, now: now)
    }
}
