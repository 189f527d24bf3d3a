public import Base

/// What changes one consensus into another one: relays that go, and records that come or replace.
///
/// Layout (§E.2): `base digest 32 | digest 32 | front length u32 | front | gone count u32 | relay_ids |
/// record count u32 | records | count u8 | count x (index u8 | signature 64)`; the front is the new
/// body with no record. Identities and records ascend.
public struct ConsensusDiff: Hashable, Sendable {
    /// The digest of the body it changes.
    public let base: Bytes32
    /// The digest of the body it makes.
    public let digest: Bytes32
    /// The new consensus without its relays.
    public let front: Consensus
    /// Relays that are listed no longer, ascending.
    public let gone: [NodeID]
    /// Records that are new or say something new, ascending by identity.
    public let records: [RelayRecord]
    /// The signatures under the new body, ascending by index.
    public let signatures: [ConsensusSignature]

    /// Finds what changes `old` into `new`; the digests are those of their bodies.
    public init(
        from old: Consensus,
        _ base: Bytes32,
        to new: Consensus,
        _ digest: Bytes32,
        signatures: [ConsensusSignature]
    ) {
        self.base = base
        self.digest = digest
        var front = new
        front.relays = []
        self.front = front
        self.signatures = signatures
        var gone: [NodeID] = []
        var records: [RelayRecord] = []
        var index = 0
        for record in new.relays {
            while index < old.relays.count, old.relays[index].id < record.id {
                gone.append(old.relays[index].id)
                index += 1
            }
            if index < old.relays.count, old.relays[index].id == record.id {
                if old.relays[index] != record { records.append(record) }
                index += 1
            } else {
                records.append(record)
            }
        }
        gone += old.relays[index...].map(\.id)
        self.gone = gone
        self.records = records
    }

    /// The consensus this makes of `old`, whose body the caller compares with ``digest``.
    ///
    /// - Throws: ``WireError/invalid(field:)`` where a relay goes that `old` does not list.
    public func applied(to old: Consensus) throws(WireError) -> Consensus {
        var relays: [RelayRecord] = []
        relays.reserveCapacity(old.relays.count + records.count)
        var goneIndex = 0
        var index = 0
        for record in old.relays {
            while index < records.count, records[index].id < record.id {
                relays.append(records[index])
                index += 1
            }
            if goneIndex < gone.count, gone[goneIndex] == record.id {
                goneIndex += 1
            } else if index < records.count, records[index].id == record.id {
                relays.append(records[index])
                index += 1
            } else {
                relays.append(record)
            }
        }
        relays += records[index...]
        guard goneIndex == gone.count else { throw .invalid(field: "gone relays") }
        var new = front
        new.relays = relays
        return new
    }

    init(from reader: inout ByteReader) throws(WireError) {
        base = try reader.readBytes32()
        digest = try reader.readBytes32()
        let frontByteCount = Int(try reader.read(UInt32.self))
        front = try Consensus(parsing: try reader.read(byteCount: frontByteCount))
        guard front.relays.isEmpty else { throw .invalid(field: "diff front") }
        let goneCount = try Self.readCount(&reader, leastByteCount: 32)
        var gone: [NodeID] = []
        for _ in 0..<goneCount { gone.append(NodeID(try reader.readBytes32())) }
        let count = try Self.readCount(&reader, leastByteCount: RelayRecord.minimumByteCount)
        var records: [RelayRecord] = []
        for _ in 0..<count { records.append(try RelayRecord(from: &reader)) }
        let signatureCount = Int(try reader.read(UInt8.self))
        guard signatureCount <= ConsensusFrame.maximumSignatureCount else {
            throw .invalid(field: "signatures")
        }
        var signatures: [ConsensusSignature] = []
        for _ in 0..<signatureCount {
            let index = try reader.read(UInt8.self)
            let bytes = try reader.read(byteCount: ConsensusSignature.signatureByteCount)
            signatures.append(try ConsensusSignature(index: index, bytes: bytes))
        }
        self.gone = gone
        self.records = records
        self.signatures = signatures
        guard zip(gone, gone.dropFirst()).allSatisfy({ $0 < $1 }),
            zip(records, records.dropFirst()).allSatisfy({ $0.id < $1.id })
        else { throw .invalid(field: "diff order") }
    }

    /// The diff's bytes, as a chain has them.
    ///
    /// - Throws: ``WireError`` for a field out of bounds.
    public func encoded() throws(WireError) -> [UInt8] {
        var writer = ByteWriter(capacity: 512 + records.count * 1_400)
        try write(to: &writer)
        return writer.bytes
    }

    func write(to writer: inout ByteWriter) throws(WireError) {
        writer.write(base)
        writer.write(digest)
        let front = try front.encoded()
        writer.write(UInt32(clamping: front.count))
        writer.write(front)
        writer.write(UInt32(clamping: gone.count))
        for id in gone { writer.write(id.rawValue) }
        writer.write(UInt32(clamping: records.count))
        for record in records { try record.write(to: &writer) }
        writer.write(UInt8(clamping: signatures.count))
        for signature in signatures {
            writer.write(signature.index)
            writer.write(signature.bytes)
        }
    }

    private static func readCount(
        _ reader: inout ByteReader,
        leastByteCount: Int
    ) throws(WireError) -> Int {
        let count = Int(try reader.read(UInt32.self))
        guard count <= reader.remainingByteCount / leastByteCount else {
            throw .truncated(
                neededByteCount: count * leastByteCount,
                foundByteCount: reader.remainingByteCount
            )
        }
        return count
    }
}

/// Diffs that follow one another, from a document somebody holds to the newest one.
///
/// Layout: `count u8 | diffs`, at most ``maximumCount``.
public struct ConsensusDiffChain: Hashable, Sendable {
    /// Diffs a chain may have: those of the last 24 documents.
    public static let maximumCount = 24

    /// The diffs, the oldest first; each begins where the one before ends.
    public let diffs: [ConsensusDiff]

    /// Takes over diffs that follow one another.
    public init(_ diffs: [ConsensusDiff]) {
        self.diffs = diffs
    }

    /// Reads a whole chain.
    ///
    /// - Throws: ``WireError`` also where diffs do not follow one another.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let count = Int(try reader.read(UInt8.self))
        guard count <= Self.maximumCount else { throw .invalid(field: "diff count") }
        var diffs: [ConsensusDiff] = []
        for _ in 0..<count { diffs.append(try ConsensusDiff(from: &reader)) }
        try reader.finish()
        guard zip(diffs, diffs.dropFirst()).allSatisfy({ $0.digest == $1.base }) else {
            throw .invalid(field: "diff chain")
        }
        self.diffs = diffs
    }

    /// The chain's bytes.
    ///
    /// - Throws: ``WireError`` for more than ``maximumCount`` diffs or one that breaks a bound.
    public func encoded() throws(WireError) -> [UInt8] {
        guard diffs.count <= Self.maximumCount else { throw .invalid(field: "diff count") }
        var writer = ByteWriter()
        writer.write(UInt8(truncatingIfNeeded: diffs.count))
        for diff in diffs { try diff.write(to: &writer) }
        return writer.bytes
    }
}
