public import Base

/// What a voucher says: the bytes the mints sign blindly.
///
/// Layout (§A.3), 149 bytes: `"umbel/1/voucher\0" 16 | netid 32 | epoch u32 | denom u8 | relay_id 32 |
/// w_0 32 | rc 32`; the denomination's high nibble is 0 here.
public struct VoucherContent: Hashable, Sendable {
    /// The network.
    public var network: NetworkID
    /// The epoch it was issued in.
    public var epoch: UInt32
    /// How many ticks it has.
    public var denomination: Denomination
    /// The relay it pays.
    public var relay: NodeID
    /// The root of its chain, w_0.
    public var root: Bytes32
    /// BLAKE2b-256 of the secret that reclaims what is left of it.
    public var reclaimCommitment: Bytes32

    /// Bytes of ``encoded``.
    public static let byteCount = 149
    private static let label: [UInt8] = Array("umbel/1/voucher\0".utf8)

    /// Puts a content together.
    public init(
        network: NetworkID,
        epoch: UInt32,
        denomination: Denomination,
        relay: NodeID,
        root: Bytes32,
        reclaimCommitment: Bytes32
    ) {
        self.network = network
        self.epoch = epoch
        self.denomination = denomination
        self.relay = relay
        self.root = root
        self.reclaimCommitment = reclaimCommitment
    }

    /// The bytes that are signed.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: Self.byteCount)
        writer.write(Self.label)
        writer.write(network.rawValue)
        writer.write(epoch)
        writer.write(denomination.rawValue)
        writer.write(relay.rawValue)
        writer.write(root)
        writer.write(reclaimCommitment)
        return writer.bytes
    }
}

/// A voucher as it is shown: what is known from elsewhere (network, relay) left out.
///
/// Layout (§A.3): `epoch u32 | denom u8 | w_0 32 | rc 32 | t x signature 256`; the denomination's
/// high nibble is the version of the designated set whose signatures follow, in index order.
public struct VoucherProof: Hashable, Sendable {
    /// The epoch it was issued in.
    public var epoch: UInt32
    /// How many ticks it has.
    public var denomination: Denomination
    /// Version of the designated set that signed.
    public var setVersion: UInt8
    /// The root of its chain.
    public var root: Bytes32
    /// BLAKE2b-256 of the reclaim secret.
    public var reclaimCommitment: Bytes32
    /// The signatures, in the order of their mints' indexes.
    public var signatures: [[UInt8]]

    /// Puts a proof together.
    public init(
        epoch: UInt32,
        denomination: Denomination,
        setVersion: UInt8,
        root: Bytes32,
        reclaimCommitment: Bytes32,
        signatures: [[UInt8]]
    ) {
        self.epoch = epoch
        self.denomination = denomination
        self.setVersion = setVersion
        self.root = root
        self.reclaimCommitment = reclaimCommitment
        self.signatures = signatures
    }

    /// What the mints signed, for the relay `relay` of `network`.
    public func content(network: NetworkID, relay: NodeID) -> VoucherContent {
        VoucherContent(
            network: network,
            epoch: epoch,
            denomination: denomination,
            relay: relay,
            root: root,
            reclaimCommitment: reclaimCommitment
        )
    }

    /// Reads the fields before the signatures and as many signatures as `tailByteCount` leaves.
    init(from reader: inout ByteReader, tailByteCount: Int) throws(WireError) {
        epoch = try reader.read()
        (denomination, setVersion) = try Denomination.split(try reader.read(UInt8.self))
        root = try reader.readBytes32()
        reclaimCommitment = try reader.readBytes32()
        let left = reader.remainingByteCount - tailByteCount
        guard left > 0, left.isMultiple(of: Self.signatureByteCount) else {
            throw .invalid(field: "signatures")
        }
        signatures = try Self.readSignatures(left / Self.signatureByteCount, from: &reader)
    }

    /// Reads a proof behind a count of its signatures.
    init(counted reader: inout ByteReader) throws(WireError) {
        let count = Int(try reader.read(UInt8.self))
        epoch = try reader.read()
        (denomination, setVersion) = try Denomination.split(try reader.read(UInt8.self))
        root = try reader.readBytes32()
        reclaimCommitment = try reader.readBytes32()
        signatures = try Self.readSignatures(count, from: &reader)
    }

    private static func readSignatures(
        _ count: Int,
        from reader: inout ByteReader
    ) throws(WireError) -> [[UInt8]] {
        guard (1...TicketLimits.mintCount).contains(count) else {
            throw .invalid(field: "signatures")
        }
        var signatures: [[UInt8]] = []
        for _ in 0..<count {
            signatures.append(try reader.read(byteCount: signatureByteCount))
        }
        return signatures
    }

    func write(to writer: inout ByteWriter, isCounted: Bool = false) {
        if isCounted { writer.write(UInt8(clamping: signatures.count)) }
        writer.write(epoch)
        writer.write(denomination.rawValue | setVersion << 4)
        writer.write(root)
        writer.write(reclaimCommitment)
        for signature in signatures { writer.write(signature) }
    }

    static let signatureByteCount = 256
}

/// A place on a voucher's chain: so many ticks are paid; PAY_TICK for the circuit's newest voucher.
///
/// Layout (§A.3): `idx u32 | w_idx 32`.
public struct ChainPlace: Hashable, Sendable {
    /// Ticks paid by it; 0 is the root.
    public var index: UInt32
    /// The chain's value there.
    public var value: Bytes32

    /// Takes both over.
    public init(index: UInt32, value: Bytes32) {
        self.index = index
        self.value = value
    }

    init(from reader: inout ByteReader) throws(WireError) {
        index = try reader.read()
        value = try reader.readBytes32()
    }

    func write(to writer: inout ByteWriter) {
        writer.write(index)
        writer.write(value)
    }

    static let byteCount = 36
}

/// PAY_OPEN: a voucher and the ticks paid on it so far; also a deposit's row.
///
/// Layout (§A.3): a ``VoucherProof``, then a ``ChainPlace``; 873 bytes with three signatures.
public struct PayOpen: Hashable, Sendable {
    /// The voucher.
    public var voucher: VoucherProof
    /// The ticks paid.
    public var place: ChainPlace

    /// Puts both together.
    public init(voucher: VoucherProof, place: ChainPlace) {
        self.voucher = voucher
        self.place = place
    }

    /// Reads a whole record.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        try self.init(from: &reader)
        try reader.finish()
    }

    init(from reader: inout ByteReader) throws(WireError) {
        voucher = try VoucherProof(from: &reader, tailByteCount: ChainPlace.byteCount)
        place = try ChainPlace(from: &reader)
    }

    /// The record's bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 873)
        write(to: &writer)
        return writer.bytes
    }

    func write(to writer: inout ByteWriter) {
        voucher.write(to: &writer)
        place.write(to: &writer)
    }
}

/// PAY_ATTACH: a voucher this relay knows is used on this circuit too.
///
/// Layout (§A.3): `vid 32 | idx u32 | w_idx 32`.
public struct PayAttach: Hashable, Sendable {
    /// The voucher's name: BLAKE2b-256 of what the mints signed.
    public var voucher: Bytes32
    /// The ticks paid on it now.
    public var place: ChainPlace

    /// Puts both together.
    public init(voucher: Bytes32, place: ChainPlace) {
        self.voucher = voucher
        self.place = place
    }

    init(from reader: inout ByteReader) throws(WireError) {
        voucher = try reader.readBytes32()
        place = try ChainPlace(from: &reader)
    }

    func write(to writer: inout ByteWriter) {
        writer.write(voucher)
        place.write(to: &writer)
    }
}

/// What a hop says of the cells it carried for a circuit and the ticks it has: STAT.
///
/// Layout (§A.5): `paid u32 | fwd_in u32 | fwd_out u32 | bwd_in u32 | bwd_out u32 | drop_queue u16 |
/// qdelay u16`, 24 bytes. Counts run modulo 2^32.
public struct HopReport: Hashable, Sendable {
    /// Ticks the hop has been paid on this circuit.
    public var paidTicks: UInt32
    /// Forward cells that opened.
    public var forwardIn: UInt32
    /// Forward cells passed on.
    public var forwardOut: UInt32
    /// Backward cells taken from the next hop.
    public var backwardIn: UInt32
    /// Backward cells sent.
    public var backwardOut: UInt32
    /// Cells dropped for a queue that was too long.
    public var queueDrops: UInt16
    /// Delay of its queue in units of 100 microseconds.
    public var queueDelay: UInt16

    /// Puts a report together.
    public init(
        paidTicks: UInt32,
        forwardIn: UInt32,
        forwardOut: UInt32,
        backwardIn: UInt32,
        backwardOut: UInt32,
        queueDrops: UInt16 = 0,
        queueDelay: UInt16 = 0
    ) {
        self.paidTicks = paidTicks
        self.forwardIn = forwardIn
        self.forwardOut = forwardOut
        self.backwardIn = backwardIn
        self.backwardOut = backwardOut
        self.queueDrops = queueDrops
        self.queueDelay = queueDelay
    }

    /// Cells the hop counts for pay.
    public var usedCells: UInt32 {
        forwardIn &+ backwardOut
    }

    init(from reader: inout ByteReader) throws(WireError) {
        paidTicks = try reader.read()
        forwardIn = try reader.read()
        forwardOut = try reader.read()
        backwardIn = try reader.read()
        backwardOut = try reader.read()
        queueDrops = try reader.read()
        queueDelay = try reader.read()
    }

    func write(to writer: inout ByteWriter) {
        for value in [paidTicks, forwardIn, forwardOut, backwardIn, backwardOut] {
            writer.write(value)
        }
        writer.write(queueDrops)
        writer.write(queueDelay)
    }
}
