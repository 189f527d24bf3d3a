public import Base

/// What the authorities agree on for one interval: the body of the directory document.
///
/// Layout (§E.2), big-endian: `version u8 = 1 | netid 32 | valid_after u32 | fresh_until u32 |
/// valid_until u32 | parameters | mint section length u32 | prev_digest 32 | log_size u32 |
/// log_root 32 | record count u32 | records`, times in seconds since 1970, records strictly
/// ascending by relay_id. One value has one encoding.
public struct Consensus: Hashable, Sendable {
    /// The network it is for.
    public var network: NetworkID
    /// When it begins to hold.
    public var validAfter: WallTime
    /// When a newer one is due.
    public var freshUntil: WallTime
    /// When it stops to hold.
    public var validUntil: WallTime
    /// The network's parameters.
    public var parameters: NetworkParameters
    /// The mints, their keys and totals; empty where the network has none.
    public var mints = MintSection()
    /// The digest of the document before this one; zero for the first.
    public var previousDigest: Bytes32
    /// Documents in the transparency log, this one not among them.
    public var logSize: UInt32
    /// The log's root over those documents.
    public var logRoot: Bytes32
    /// The relays, strictly ascending by identity; at most 100,000.
    public var relays: [RelayRecord]

    /// Makes a consensus; ``encoded()`` checks it.
    public init(
        network: NetworkID,
        validAfter: WallTime,
        freshUntil: WallTime,
        validUntil: WallTime,
        parameters: NetworkParameters,
        previousDigest: Bytes32,
        logSize: UInt32,
        logRoot: Bytes32,
        relays: [RelayRecord],
        mints: MintSection = MintSection()
    ) {
        self.network = network
        self.mints = mints
        self.validAfter = validAfter
        self.freshUntil = freshUntil
        self.validUntil = validUntil
        self.parameters = parameters
        self.previousDigest = previousDigest
        self.logSize = logSize
        self.logRoot = logRoot
        self.relays = relays
    }
}

extension Consensus {
    /// Relays a document may list.
    public static let maximumRelayCount = 100_000

    /// The most bytes a body takes: about 207 MB.
    public static let maximumByteCount =
        fixedByteCount + NetworkParameters.maximumByteCount + MintSection.maximumByteCount
        + maximumRelayCount * RelayRecord.maximumByteCount

    /// Reads a whole body.
    ///
    /// Sets no memory aside for a count before the bytes for that many records are there.
    /// - Throws: ``WireError`` for anything ``encoded()`` would not write.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        guard bytes.count <= Self.maximumByteCount else {
            throw .tooLarge(
                field: "consensus",
                value: UInt64(bytes.count),
                limit: UInt64(Self.maximumByteCount)
            )
        }
        var reader = ByteReader(bytes)
        let version = try reader.read(UInt8.self)
        guard version == Self.version else {
            throw .unknown(field: "consensus version", value: UInt64(version))
        }
        network = NetworkID(try reader.readBytes32())
        validAfter = WallTime(seconds: UInt64(try reader.read(UInt32.self)))
        freshUntil = WallTime(seconds: UInt64(try reader.read(UInt32.self)))
        validUntil = WallTime(seconds: UInt64(try reader.read(UInt32.self)))
        parameters = try NetworkParameters(from: &reader)
        let mintByteCount = Int(try reader.read(UInt32.self))
        guard mintByteCount <= MintSection.maximumByteCount else {
            throw .tooLarge(
                field: "mint section",
                value: UInt64(mintByteCount),
                limit: UInt64(MintSection.maximumByteCount)
            )
        }
        mints = try MintSection(parsing: try reader.read(byteCount: mintByteCount))
        previousDigest = try reader.readBytes32()
        logSize = try reader.read()
        logRoot = try reader.readBytes32()
        relays = try Self.readRelays(&reader)
        try reader.finish()
        try validate()
    }

    /// The body's bytes, whose SHA-256 the authorities sign.
    ///
    /// - Throws: ``WireError`` when a field is out of bounds or the records are out of order.
    public func encoded() throws(WireError) -> [UInt8] {
        try validate()
        var writer = ByteWriter(capacity: 512 + relays.count * 1400)
        writer.write(Self.version)
        writer.write(network.rawValue)
        for time in [validAfter, freshUntil, validUntil] {
            guard let seconds = UInt32(exactly: time.seconds) else {
                throw .tooLarge(field: "time", value: time.seconds, limit: UInt64(UInt32.max))
            }
            writer.write(seconds)
        }
        try parameters.write(to: &writer)
        let mintBytes = try mints.encoded()
        writer.write(UInt32(clamping: mintBytes.count))
        writer.write(mintBytes)
        writer.write(previousDigest)
        writer.write(logSize)
        writer.write(logRoot)
        writer.write(UInt32(truncatingIfNeeded: relays.count))
        for relay in relays { try relay.write(to: &writer) }
        return writer.bytes
    }

    private static func readRelays(_ reader: inout ByteReader) throws(WireError) -> [RelayRecord] {
        let count = Int(try reader.read(UInt32.self))
        try validate(relayCount: count)
        guard count <= reader.remainingByteCount / RelayRecord.minimumByteCount else {
            throw .truncated(
                neededByteCount: count * RelayRecord.minimumByteCount,
                foundByteCount: reader.remainingByteCount
            )
        }
        var relays: [RelayRecord] = []
        relays.reserveCapacity(count)
        for _ in 0..<count { relays.append(try RelayRecord(from: &reader)) }
        return relays
    }

    private func validate() throws(WireError) {
        try Self.validate(relayCount: relays.count)
        guard validAfter < freshUntil, freshUntil <= validUntil else {
            throw .invalid(field: "times")
        }
        guard (logSize == 0) == (previousDigest == .zero) else {
            throw .invalid(field: "prev_digest")
        }
        for (earlier, later) in zip(relays, relays.dropFirst()) where earlier.id >= later.id {
            throw .invalid(field: "record order")
        }
    }

    private static func validate(relayCount: Int) throws(WireError) {
        guard relayCount <= maximumRelayCount else {
            throw .tooLarge(
                field: "record count",
                value: UInt64(relayCount),
                limit: UInt64(maximumRelayCount)
            )
        }
    }

    private static let version: UInt8 = 1
    private static let fixedByteCount = 1 + 32 + 3 * 4 + 4 + 32 + 4 + 32 + 4
}
