public import Base

/// What a mint says of itself to everybody: where it is, its keys, and its totals.
///
/// Layout (§A.9): `version u8 = 1 | netid 32 | index u8 | key 32 | published u32 s | sealing key 32 |
/// address count u8 | addresses (length u8 | 6 or 18 bytes) | epoch count u8 | count x (epoch u32 | 4 x
/// (length u16 | DER)) | total count u8 | count x (epoch u32 | 4 x (issued u32 | deposited u64 |
/// reclaimed u64)) | burnt u64 | signature 64`, label `mint`. Lists by denomination code.
public struct MintAnnouncement: Hashable, Sendable {
    /// The network.
    public var network: NetworkID
    /// The mint's index.
    public var index: UInt8
    /// Its Ed25519 key.
    public var key: Bytes32
    /// When it signed this.
    public var published: WallTime
    /// The X25519 key requests to it are sealed to.
    public var sealingKey: Bytes32
    /// Where it answers, TCP.
    public var addresses: [SocketAddress]
    /// Its keys, ascending by epoch.
    public var epochs: [EpochKeys]
    /// What it counted, ascending by epoch.
    public var totals: [EpochTotals]
    /// Hundredths of ticks it burnt.
    public var burnt: UInt64
    /// Its signature, 64 bytes; empty until it is signed.
    public var signature: [UInt8] = []

    /// The keys of one epoch: SubjectPublicKeyInfo by denomination code.
    public struct EpochKeys: Hashable, Sendable {
        /// The epoch.
        public var epoch: UInt32
        /// One key for each denomination.
        public var keys: [[UInt8]]

        /// Takes both over.
        public init(epoch: UInt32, keys: [[UInt8]]) {
            self.epoch = epoch
            self.keys = keys
        }
    }

    /// Counts of one epoch's vouchers, by denomination code.
    public struct EpochTotals: Hashable, Sendable {
        /// The epoch the vouchers are of.
        public var epoch: UInt32
        /// Vouchers signed.
        public var issued: [UInt32]
        /// Ticks deposited.
        public var deposited: [UInt64]
        /// Ticks given back.
        public var reclaimed: [UInt64]

        /// Counts of nothing yet.
        public init(epoch: UInt32) {
            self.epoch = epoch
            let count = Denomination.allCases.count
            issued = Array(repeating: 0, count: count)
            deposited = Array(repeating: 0, count: count)
            reclaimed = Array(repeating: 0, count: count)
        }
    }

    /// Makes an announcement to be signed.
    public init(
        network: NetworkID,
        index: UInt8,
        key: Bytes32,
        published: WallTime,
        sealingKey: Bytes32,
        addresses: [SocketAddress],
        epochs: [EpochKeys],
        totals: [EpochTotals],
        burnt: UInt64
    ) {
        self.network = network
        self.index = index
        self.key = key
        self.published = published
        self.sealingKey = sealingKey
        self.addresses = addresses
        self.epochs = epochs
        self.totals = totals
        self.burnt = burnt
    }

    /// The most bytes an announcement takes.
    public static let maximumByteCount = 8_300
    private static let epochLimit = 6
    private static let totalLimit = 8

    /// Reads a whole announcement.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        guard bytes.count <= Self.maximumByteCount else {
            throw .tooLarge(
                field: "announcement",
                value: UInt64(bytes.count),
                limit: UInt64(Self.maximumByteCount)
            )
        }
        var reader = ByteReader(bytes)
        let version = try reader.read(UInt8.self)
        guard version == 1 else {
            throw .unknown(field: "announcement version", value: UInt64(version))
        }
        network = NetworkID(try reader.readBytes32())
        index = try reader.read()
        key = try reader.readBytes32()
        published = WallTime(seconds: UInt64(try reader.read(UInt32.self)))
        sealingKey = try reader.readBytes32()
        addresses = []
        for _ in 0..<(try reader.readCount(limit: 4)) {
            addresses.append(try Self.readAddress(&reader))
        }
        epochs = []
        for _ in 0..<(try reader.readCount(limit: Self.epochLimit)) {
            epochs.append(try EpochKeys(from: &reader))
        }
        totals = []
        for _ in 0..<(try reader.readCount(limit: Self.totalLimit)) {
            totals.append(try EpochTotals(from: &reader))
        }
        burnt = try reader.read()
        signature = try reader.read(byteCount: 64)
        try reader.finish()
        try validate()
    }

    /// The bytes the mint signs.
    ///
    /// - Throws: ``WireError`` for lists out of order or bounds.
    public func body() throws(WireError) -> [UInt8] {
        try validate()
        var writer = ByteWriter(capacity: 4_096)
        writer.write(UInt8(1))
        writer.write(network.rawValue)
        writer.write(index)
        writer.write(key)
        writer.write(UInt32(clamping: published.seconds))
        writer.write(sealingKey)
        writer.write(UInt8(clamping: addresses.count))
        for address in addresses { Self.write(address, to: &writer) }
        writer.write(UInt8(clamping: epochs.count))
        for epoch in epochs { epoch.write(to: &writer) }
        writer.write(UInt8(clamping: totals.count))
        for total in totals { total.write(to: &writer) }
        writer.write(burnt)
        return writer.bytes
    }

    /// All bytes.
    ///
    /// - Throws: ``WireError`` for lists out of order or bounds.
    public func encoded() throws(WireError) -> [UInt8] {
        try body() + signature
    }

    private func validate() throws(WireError) {
        guard addresses.count <= 4, epochs.count <= Self.epochLimit,
            totals.count <= Self.totalLimit
        else { throw .invalid(field: "announcement counts") }
        for (first, second) in zip(epochs, epochs.dropFirst()) where first.epoch >= second.epoch {
            throw .invalid(field: "epoch order")
        }
        for (first, second) in zip(totals, totals.dropFirst()) where first.epoch >= second.epoch {
            throw .invalid(field: "total order")
        }
    }

    private static func readAddress(_ reader: inout ByteReader) throws(WireError) -> SocketAddress {
        let length = try reader.read(UInt8.self)
        switch length {
        case 6:
            let ip = IPAddress(v4: try reader.read(UInt32.self))
            return SocketAddress(ip: ip, port: try reader.read())
        case 18:
            let ip = IPAddress(high: try reader.read(), low: try reader.read())
            guard !ip.isV4 else { throw .invalid(field: "mint address") }
            return SocketAddress(ip: ip, port: try reader.read())
        default: throw .invalid(field: "mint address")
        }
    }

    private static func write(_ address: SocketAddress, to writer: inout ByteWriter) {
        if let v4 = address.ip.v4 {
            writer.write(UInt8(6))
            writer.write(v4)
        } else {
            writer.write(UInt8(18))
            writer.write(address.ip.high)
            writer.write(address.ip.low)
        }
        writer.write(address.port)
    }
}

extension MintAnnouncement.EpochKeys {
    init(from reader: inout ByteReader) throws(WireError) {
        epoch = try reader.read()
        keys = []
        for _ in Denomination.allCases {
            let length = Int(try reader.read(UInt16.self))
            guard length <= 320 else { throw .invalid(field: "mint key") }
            keys.append(try reader.read(byteCount: length))
        }
    }

    func write(to writer: inout ByteWriter) {
        writer.write(epoch)
        for key in keys.prefix(Denomination.allCases.count) {
            writer.write(UInt16(clamping: key.count))
            writer.write(key)
        }
    }
}

extension MintAnnouncement.EpochTotals {
    init(from reader: inout ByteReader) throws(WireError) {
        self.init(epoch: try reader.read())
        for index in issued.indices {
            issued[index] = try reader.read()
            deposited[index] = try reader.read()
            reclaimed[index] = try reader.read()
        }
    }

    func write(to writer: inout ByteWriter) {
        writer.write(epoch)
        for index in issued.indices {
            writer.write(issued[index])
            writer.write(deposited[index])
            writer.write(reclaimed[index])
        }
    }
}

extension ByteReader {
    /// Reads a count of one byte, of at most `limit`.
    mutating func readCount(limit: Int) throws(WireError) -> Int {
        let count = Int(try read(UInt8.self))
        guard count <= limit else {
            throw .tooLarge(field: "count", value: UInt64(count), limit: UInt64(limit))
        }
        return count
    }
}

/// Announcements of several mints, ascending by index: the mint section of votes and consensuses.
///
/// Layout (§E.2): `count u8 | count x (length u16 | announcement)`; nothing at all where no mint is.
public struct MintSection: Hashable, Sendable {
    /// The announcements, ascending by index, not verified.
    public var announcements: [MintAnnouncement]

    /// The most bytes a section takes.
    public static let maximumByteCount =
        1 + TicketLimits.mintCount * (2 + MintAnnouncement.maximumByteCount)

    /// Takes announcements in any order.
    public init(_ announcements: [MintAnnouncement] = []) {
        self.announcements = announcements.sorted { $0.index < $1.index }
    }

    /// Reads a whole section.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        announcements = []
        guard !bytes.isEmpty else { return }
        var reader = ByteReader(bytes)
        let count = try reader.readCount(limit: TicketLimits.mintCount)
        guard count > 0 else { throw .invalid(field: "mint count") }
        for _ in 0..<count {
            let length = Int(try reader.read(UInt16.self))
            announcements.append(
                try MintAnnouncement(parsing: try reader.read(byteCount: length))
            )
        }
        try reader.finish()
        for (first, second) in zip(announcements, announcements.dropFirst())
        where first.index >= second.index {
            throw .invalid(field: "mint order")
        }
    }

    /// The section's bytes.
    ///
    /// - Throws: ``WireError`` for too many mints or an announcement out of bounds.
    public func encoded() throws(WireError) -> [UInt8] {
        guard !announcements.isEmpty else { return [] }
        guard announcements.count <= TicketLimits.mintCount else {
            throw .invalid(field: "mint count")
        }
        var writer = ByteWriter(capacity: 4_096 * announcements.count)
        writer.write(UInt8(clamping: announcements.count))
        for announcement in announcements {
            let bytes = try announcement.encoded()
            writer.write(UInt16(clamping: bytes.count))
            writer.write(bytes)
        }
        return writer.bytes
    }
}
