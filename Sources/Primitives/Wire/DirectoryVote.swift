public import Base

/// What one authority says of the network for one interval: the body of a vote.
///
/// Layout (§E.1), big-endian: `version u8 = 1 | netid 32 | valid_after u32 | author u8 | parameters |
/// log length u16 | log | entry count u32 | entries`, entries strictly ascending by relay_id, and
/// the mint section behind them where there is a mint. The log is the state of the author's log of
/// documents. One value has one encoding.
public struct DirectoryVote: Hashable, Sendable {
    /// The network it is for.
    public var network: NetworkID
    /// When the document that is voted on begins to hold.
    public var validAfter: WallTime
    /// The index of the authority whose vote it is.
    public var author: UInt8
    /// The parameters it wants.
    public var parameters: NetworkParameters
    /// The newest announcements of mints it knows.
    public var mints = MintSection()
    /// The state of its log of documents, as the log writes it; at most 1,068 bytes.
    public var log: [UInt8]
    /// The relays it would list, strictly ascending by identity; at most 100,000.
    public var entries: [Entry]

    /// One relay as the author sees it.
    ///
    /// Layout, 80 bytes: `relay_id 32 | descriptor digest 32 | published u32 minute | flags u16 |
    /// country 2 | AS u32 | measured u32`.
    public struct Entry: Hashable, Sendable {
        /// The relay.
        public var id: NodeID
        /// SHA-256 of its signed descriptor.
        public var descriptor: Bytes32
        /// The minute since 1970 in which the descriptor was signed.
        public var publishedMinute: UInt32
        /// What the author holds it fit for.
        public var flags: RelayFlags
        /// The country of its address; `nil` when unknown.
        public var country: CountryCode?
        /// The autonomous system of its address; 0 when unknown.
        public var autonomousSystem: UInt32
        /// What the author measured, in kilobits a second; 0 for nothing.
        public var measuredKilobits: UInt32

        /// Makes an entry.
        public init(
            id: NodeID,
            descriptor: Bytes32,
            publishedMinute: UInt32,
            flags: RelayFlags,
            country: CountryCode? = nil,
            autonomousSystem: UInt32 = 0,
            measuredKilobits: UInt32 = 0
        ) {
            self.id = id
            self.descriptor = descriptor
            self.publishedMinute = publishedMinute
            self.flags = flags
            self.country = country
            self.autonomousSystem = autonomousSystem
            self.measuredKilobits = measuredKilobits
        }

        init(from reader: inout ByteReader) throws(WireError) {
            id = NodeID(try reader.readBytes32())
            descriptor = try reader.readBytes32()
            publishedMinute = try reader.read()
            flags = RelayFlags(rawValue: try reader.read())
            country = try reader.readCountry()
            autonomousSystem = try reader.read()
            measuredKilobits = try reader.read()
        }

        func write(to writer: inout ByteWriter) {
            writer.write(id.rawValue)
            writer.write(descriptor)
            writer.write(publishedMinute)
            writer.write(flags.rawValue)
            writer.writeCountry(country)
            writer.write(autonomousSystem)
            writer.write(measuredKilobits)
        }

        static let byteCount = 80
    }

    /// Makes a vote; ``encoded()`` checks it.
    public init(
        network: NetworkID,
        validAfter: WallTime,
        author: UInt8,
        parameters: NetworkParameters,
        log: [UInt8],
        entries: [Entry],
        mints: MintSection = MintSection()
    ) {
        self.network = network
        self.mints = mints
        self.validAfter = validAfter
        self.author = author
        self.parameters = parameters
        self.log = log
        self.entries = entries
    }
}

extension DirectoryVote {
    /// The most bytes a vote takes: about 8 MB.
    public static let maximumByteCount =
        1 + 32 + 4 + 1 + NetworkParameters.maximumByteCount + 2 + maximumLogByteCount + 4
        + Consensus.maximumRelayCount * Entry.byteCount + MintSection.maximumByteCount

    /// The most bytes the state of a log takes: size, last digest and 32 hashes.
    public static let maximumLogByteCount = 4 + 32 + 32 * 32

    /// Reads a whole vote.
    ///
    /// Sets no memory aside for a count before the bytes for that many entries are there.
    /// - Throws: ``WireError`` for anything ``encoded()`` would not write.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        guard bytes.count <= Self.maximumByteCount else {
            throw .tooLarge(
                field: "vote",
                value: UInt64(bytes.count),
                limit: UInt64(Self.maximumByteCount)
            )
        }
        var reader = ByteReader(bytes)
        let version = try reader.read(UInt8.self)
        guard version == Self.version else {
            throw .unknown(field: "vote version", value: UInt64(version))
        }
        network = NetworkID(try reader.readBytes32())
        validAfter = WallTime(seconds: UInt64(try reader.read(UInt32.self)))
        author = try reader.read()
        parameters = try NetworkParameters(from: &reader)
        let logByteCount = Int(try reader.read(UInt16.self))
        guard logByteCount <= Self.maximumLogByteCount else {
            throw .tooLarge(
                field: "log",
                value: UInt64(logByteCount),
                limit: UInt64(Self.maximumLogByteCount)
            )
        }
        log = try reader.read(byteCount: logByteCount)
        let count = Int(try reader.read(UInt32.self))
        guard count <= Consensus.maximumRelayCount else {
            throw .tooLarge(
                field: "entry count",
                value: UInt64(count),
                limit: UInt64(Consensus.maximumRelayCount)
            )
        }
        guard count * Entry.byteCount <= reader.remainingByteCount else {
            throw .truncated(
                neededByteCount: count * Entry.byteCount,
                foundByteCount: reader.remainingByteCount
            )
        }
        entries = []
        entries.reserveCapacity(count)
        for _ in 0..<count { entries.append(try Entry(from: &reader)) }
        // A network without mints has votes as the first version wrote them.
        mints = try MintSection(parsing: reader.readRemaining())
        try validate()
    }

    /// The vote's bytes, whose SHA-256 authorities sign.
    ///
    /// - Throws: ``WireError`` when a field is out of bounds or the entries are out of order.
    public func encoded() throws(WireError) -> [UInt8] {
        try validate()
        guard let seconds = UInt32(exactly: validAfter.seconds) else {
            throw .tooLarge(field: "time", value: validAfter.seconds, limit: UInt64(UInt32.max))
        }
        var writer = ByteWriter(capacity: 512 + entries.count * Entry.byteCount)
        writer.write(Self.version)
        writer.write(network.rawValue)
        writer.write(seconds)
        writer.write(author)
        try parameters.write(to: &writer)
        writer.write(UInt16(truncatingIfNeeded: log.count))
        writer.write(log)
        writer.write(UInt32(truncatingIfNeeded: entries.count))
        for entry in entries { entry.write(to: &writer) }
        writer.write(try mints.encoded())
        return writer.bytes
    }

    private func validate() throws(WireError) {
        guard entries.count <= Consensus.maximumRelayCount else {
            throw .invalid(field: "entry count")
        }
        guard log.count <= Self.maximumLogByteCount else { throw .invalid(field: "log") }
        for (earlier, later) in zip(entries, entries.dropFirst()) where earlier.id >= later.id {
            throw .invalid(field: "entry order")
        }
    }

    private static let version: UInt8 = 1
}
