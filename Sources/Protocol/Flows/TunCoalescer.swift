import Base
import Wire

/// Merges runs of TCP segments and of equal UDP datagrams into super-packets for the TUN device.
///
/// Fills a ``TunWriteList`` that refers to the packets where they lie in the arena; headers of
/// super-packets and all offload headers are written into a region of the arena lent at `init`.
/// A packet is merged only after its checksums have been verified: the kernel computes those of a
/// super-packet anew and would make a bad one good.
///
/// After a batch: ``flush(in:)``, write ``list``, then ``removeAll()``. Up to then the packets
/// appended must stay where they are. Packets of one flow keep their order.
public struct TunCoalescer: ~Copyable {
    /// What the device may be given.
    public enum Offload: Sendable, BitwiseCopyable {
        /// Each packet alone.
        case none
        /// Super-packets of TCP.
        case tcp
        /// Super-packets of TCP and of UDP (USO, Linux 6.2 and later).
        case tcpAndUDP
    }

    /// A run that may still grow.
    private struct Run: BitwiseCopyable {
        let first: Segment
        /// Where its headers go.
        let headerOffset: Int
        /// Which part of the piece store is its own.
        let store: Int
        var segmentCount = 1
        var byteCount: Int
        var nextSequence: UInt32
        var isPushed = false
    }

    /// Segments of one super-packet at most.
    public static let segmentLimit = 64
    /// Bytes of one super-packet at most.
    public static let byteLimit = 0xffff
    /// Flows whose runs grow side by side.
    public static let runLimit = 8
    /// Bytes of the header region each write takes: offload header, 40 of IPv6, 60 of TCP.
    public static let headerSlotByteCount = 112

    /// What has been closed so far.
    public private(set) var list: TunWriteList

    private let offload: Offload
    private let headerRegion: Range<Int>
    private let slotCount: Int
    private var usedSlotCount = 0
    private var runs: [Run] = []
    /// ``segmentLimit`` pieces for each run.
    private var store: [ArenaPiece]
    /// A bit for each part of the store that no run has.
    private var freeStores: UInt32 = (1 << UInt32(runLimit)) - 1

    /// Starts empty.
    ///
    /// - Parameter headerRegion: a part of the arena that is the coalescer's alone,
    ///   ``headerSlotByteCount`` for each write of a batch.
    public init(offload: Offload, headerRegion: Range<Int>) {
        // A local: reading a stored property before all are set makes Swift 6.3.1 (-O, ~Copyable)
        // release the ones that are not.
        let slotCount = headerRegion.count / Self.headerSlotByteCount
        precondition(slotCount > 0, "header region too small")
        self.offload = offload
        self.headerRegion = headerRegion
        self.slotCount = slotCount
        list = TunWriteList(writeCapacity: slotCount)
        store = Array(
            repeating: ArenaPiece(offset: 0, byteCount: 0),
            count: Self.runLimit * Self.segmentLimit
        )
        runs.reserveCapacity(Self.runLimit)
    }

    /// Takes the packet in `packet`; `false`, and nothing taken, where the header region is full:
    /// flush, write and remove all first.
    ///
    /// What it is not able to merge goes out alone, as it is, for the kernel to judge.
    public mutating func append(
        _ packet: Range<Int>,
        in arena: inout MutableRawSpan
    ) -> Bool {
        guard usedSlotCount < slotCount else { return false }
        guard offload != .none, let segment = Segment(arena.bytes, packet) else {
            // A fragment belongs to a flow only the kernel knows: nothing may be overtaken.
            flush(in: &arena)
            appendAlone(packet, isVerified: false, slot: takeSlot(), in: &arena)
            return true
        }
        let isVerified = segment.hasValidChecksums(arena.bytes)
        let canRun =
            isVerified && (segment.isTCP || offload == .tcpAndUDP)
            && segment.isMergeable(arena.bytes)
        if let index = runIndex(of: segment, arena.bytes) {
            if canRun, extend(index, with: segment, in: &arena) { return true }
            close(index, in: &arena)
        }
        if canRun, !segment.isPushed(arena.bytes) {
            begin(with: segment, in: &arena)
        } else {
            appendAlone(packet, isVerified: isVerified, slot: takeSlot(), in: &arena)
        }
        return true
    }

    /// Closes all runs: everything appended is in ``list`` then.
    public mutating func flush(in arena: inout MutableRawSpan) {
        while !runs.isEmpty { close(0, in: &arena) }
    }

    /// Forgets what was written and takes the header region back.
    ///
    /// - Precondition: flushed since the last append.
    public mutating func removeAll() {
        precondition(runs.isEmpty, "runs not flushed")
        list.removeAll()
        usedSlotCount = 0
    }

    private mutating func takeSlot() -> Int {
        defer { usedSlotCount &+= 1 }
        return headerRegion.lowerBound &+ usedSlotCount &* Self.headerSlotByteCount
    }

    private func runIndex(of segment: Segment, _ arena: RawSpan) -> Int? {
        for index in runs.indices where runs[index].first.isSameFlow(as: segment, arena) {
            return index
        }
        return nil
    }

    private mutating func appendAlone(
        _ packet: Range<Int>,
        isVerified: Bool,
        slot: Int,
        in arena: inout MutableRawSpan
    ) {
        VirtioNetHeader(isDataValid: isVerified).store(to: &arena, at: slot)
        list.append(
            ArenaPiece(offset: slot, byteCount: VirtioNetHeader.byteCount),
            ArenaPiece(offset: packet.lowerBound, byteCount: packet.count)
        )
    }

    private mutating func begin(with segment: Segment, in arena: inout MutableRawSpan) {
        if runs.count == Self.runLimit { close(0, in: &arena) }
        let free = freeStores.trailingZeroBitCount
        freeStores &= ~(1 << UInt32(free))
        let run = Run(
            first: segment,
            headerOffset: takeSlot(),
            store: free &* Self.segmentLimit,
            byteCount: segment.byteCount,
            nextSequence: segment.nextSequence(arena.bytes)
        )
        store[run.store] = segment.payloadPiece
        runs.append(run)
    }

    /// Adds the segment to the run of its flow if it goes on exactly where that ends.
    private mutating func extend(
        _ index: Int,
        with segment: Segment,
        in arena: inout MutableRawSpan
    ) -> Bool {
        let run = runs[index]
        let payloadByteCount = segment.payloadByteCount
        guard payloadByteCount <= run.first.payloadByteCount,
            run.segmentCount < Self.segmentLimit,
            run.byteCount &+ payloadByteCount <= Self.byteLimit,
            !segment.isTCP || segment.sequence(arena.bytes) == run.nextSequence,
            segment.hasEqualHeaders(to: run.first, index: run.segmentCount, arena.bytes)
        else { return false }
        store[run.store &+ run.segmentCount] = segment.payloadPiece
        runs[index].segmentCount &+= 1
        runs[index].byteCount &+= payloadByteCount
        runs[index].nextSequence = segment.nextSequence(arena.bytes)
        let isPushed = segment.isPushed(arena.bytes)
        runs[index].isPushed = isPushed
        // Only the last segment may be short or pushed.
        if isPushed || payloadByteCount < run.first.payloadByteCount {
            close(index, in: &arena)
        }
        return true
    }

    /// Takes the run out and puts its write into the list.
    private mutating func close(_ index: Int, in arena: inout MutableRawSpan) {
        let run = runs.remove(at: index)
        freeStores |= 1 << UInt32(run.store / Self.segmentLimit)
        let first = run.first
        guard run.segmentCount > 1 else {
            let packet = first.start..<first.start &+ first.byteCount
            appendAlone(packet, isVerified: true, slot: run.headerOffset, in: &arena)
            return
        }
        let headers = run.headerOffset &+ VirtioNetHeader.byteCount
        arena.move(first.start..<first.start &+ first.headerByteCount, to: headers)
        if first.isV6 {
            arena.storeBigEndian(
                UInt16(truncatingIfNeeded: run.byteCount &- IPLayout.v6ByteCount),
                at: headers &+ IPLayout.v6PayloadLength
            )
        } else {
            arena.storeBigEndian(
                UInt16(truncatingIfNeeded: run.byteCount),
                at: headers &+ IPLayout.v4TotalLength
            )
            arena.storeIPv4Checksum(headerByteCount: IPLayout.v4ByteCount, at: headers)
        }
        patchTransport(run, in: &arena, at: headers)
        list.append(
            ArenaPiece(
                offset: run.headerOffset,
                byteCount: VirtioNetHeader.byteCount &+ first.headerByteCount
            ),
            store[run.store..<run.store &+ run.segmentCount]
        )
    }

    /// Transport header and offload header of a super-packet; the checksum field holds the
    /// pseudo-header's sum, folded and not complemented, as `CHECKSUM_PARTIAL` wants it.
    private func patchTransport(_ run: Run, in arena: inout MutableRawSpan, at headers: Int) {
        let first = run.first
        let transport = headers &+ first.transportOffset
        let byteCount = run.byteCount &- first.transportOffset
        var sum = InternetChecksum()
        sum.addPseudoHeader(
            arena.bytes,
            packetOffset: headers,
            isV6: first.isV6,
            protocolNumber: first.isTCP ? IPProtocol.tcp : IPProtocol.udp,
            byteCount: byteCount
        )
        var offload = VirtioNetHeader()
        offload.needsChecksum = true
        offload.headerByteCount = UInt16(truncatingIfNeeded: first.headerByteCount)
        offload.segmentByteCount = UInt16(truncatingIfNeeded: first.payloadByteCount)
        offload.checksumStart = UInt16(truncatingIfNeeded: first.transportOffset)
        let field = first.isTCP ? TransportLayout.tcpChecksum : TransportLayout.udpChecksum
        offload.checksumOffset = UInt16(truncatingIfNeeded: field)
        if first.isTCP {
            offload.segmentation = first.isV6 ? .tcpV6 : .tcpV4
            if run.isPushed {
                let flags = arena.byte(at: transport &+ TransportLayout.tcpFlags)
                arena.storeBigEndian(
                    flags | TCPFlags.psh,
                    at: transport &+ TransportLayout.tcpFlags
                )
            }
        } else {
            offload.segmentation = .udpL4
            arena.storeBigEndian(
                UInt16(truncatingIfNeeded: byteCount),
                at: transport &+ TransportLayout.udpLength
            )
        }
        arena.storeBigEndian(sum.folded, at: transport &+ field)
        offload.store(to: &arena, at: run.headerOffset)
    }
}
