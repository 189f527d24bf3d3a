public import Base

/// What is asked of a mint, before it is sealed (§A.8): `kind u8 | ...`.
public enum MintRequest: Hashable, Sendable {
    /// How an account stands. `acct 32 | minute u32 | signature 64`, label `order` over `0 | acct | minute`.
    case inquiry(account: Bytes32, minute: UInt32, signature: [UInt8])
    /// An order, the certificates of earlier ones the mint may lack, and this mint's blinded list.
    case order(MintOrder, certificates: [OrderCertificate], blinded: [[UInt8]])
    /// Certificates the mint may lack.
    case certificates([OrderCertificate])
    /// What clients paid a relay.
    case deposit(relay: NodeID, rows: [PayOpen])
    /// Money given to an account.
    case grant(MintGrant)
    /// New vouchers for what was never spent of an old one.
    case reclaim(MintReclaim, blinded: [[UInt8]])

    /// Reads a whole request.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        guard bytes.count <= TicketLimits.exchangeByteCount else {
            throw .tooLarge(
                field: "mint request",
                value: UInt64(bytes.count),
                limit: UInt64(TicketLimits.exchangeByteCount)
            )
        }
        var reader = ByteReader(bytes)
        let kind = try reader.read(UInt8.self)
        switch kind {
        case 0:
            self = .inquiry(
                account: try reader.readBytes32(),
                minute: try reader.read(),
                signature: try reader.read(byteCount: 64)
            )
        case 1:
            let length = Int(try reader.read(UInt16.self))
            guard length <= MintOrder.maximumByteCount else { throw .invalid(field: "order") }
            let order = try MintOrder(parsing: try reader.read(byteCount: length))
            let certificates = try Self.readCertificates(&reader)
            self = .order(
                order,
                certificates: certificates,
                blinded: try Self.readBlinded(&reader)
            )
        case 2: self = .certificates(try Self.readCertificates(&reader))
        case 3:
            let relay = NodeID(try reader.readBytes32())
            self = .deposit(relay: relay, rows: try Self.readRows(&reader))
        case 4: self = .grant(try MintGrant(from: &reader))
        case 5:
            let reclaim = try MintReclaim(from: &reader)
            self = .reclaim(reclaim, blinded: try Self.readBlinded(&reader))
        default: throw .unknown(field: "mint request", value: UInt64(kind))
        }
        try reader.finish()
    }

    /// The request's bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .inquiry(let account, let minute, let signature):
            writer.write(UInt8(0))
            writer.write(account)
            writer.write(minute)
            writer.write(signature)
        case .order(let order, let certificates, let blinded):
            writer.write(UInt8(1))
            let bytes = order.encoded
            writer.write(UInt16(clamping: bytes.count))
            writer.write(bytes)
            Self.write(certificates, to: &writer)
            Self.write(blinded: blinded, to: &writer)
        case .certificates(let certificates):
            writer.write(UInt8(2))
            Self.write(certificates, to: &writer)
        case .deposit(let relay, let rows):
            writer.write(UInt8(3))
            writer.write(relay.rawValue)
            Self.write(rows, to: &writer)
        case .grant(let grant):
            writer.write(UInt8(4))
            grant.write(to: &writer)
        case .reclaim(let reclaim, let blinded):
            writer.write(UInt8(5))
            reclaim.write(to: &writer)
            Self.write(blinded: blinded, to: &writer)
        }
        return writer.bytes
    }

    /// What an account signs to ask how it stands.
    public static func inquiryBody(account: Bytes32, minute: UInt32) -> [UInt8] {
        var writer = ByteWriter(capacity: 37)
        writer.write(UInt8(0))
        writer.write(account)
        writer.write(minute)
        return writer.bytes
    }

    private static func readCertificates(
        _ reader: inout ByteReader
    ) throws(WireError) -> [OrderCertificate] {
        let count = Int(try reader.read(UInt8.self))
        guard count <= TicketLimits.certificateCount else {
            throw .invalid(field: "certificate count")
        }
        var certificates: [OrderCertificate] = []
        for _ in 0..<count { certificates.append(try OrderCertificate(from: &reader)) }
        return certificates
    }

    private static func write(_ certificates: [OrderCertificate], to writer: inout ByteWriter) {
        writer.write(UInt8(clamping: certificates.count))
        for certificate in certificates { certificate.write(to: &writer) }
    }

    private static func readBlinded(_ reader: inout ByteReader) throws(WireError) -> [[UInt8]] {
        let count = Int(try reader.read(UInt16.self))
        guard count <= TicketLimits.orderCount else { throw .invalid(field: "blinded count") }
        var blinded: [[UInt8]] = []
        for _ in 0..<count { blinded.append(try reader.read(byteCount: 256)) }
        return blinded
    }

    private static func write(blinded: [[UInt8]], to writer: inout ByteWriter) {
        writer.write(UInt16(clamping: blinded.count))
        for message in blinded { writer.write(message) }
    }

    private static func readRows(_ reader: inout ByteReader) throws(WireError) -> [PayOpen] {
        let count = Int(try reader.read(UInt8.self))
        guard count <= TicketLimits.depositCount else { throw .invalid(field: "deposit count") }
        var rows: [PayOpen] = []
        for _ in 0..<count {
            let voucher = try VoucherProof(counted: &reader)
            rows.append(PayOpen(voucher: voucher, place: try ChainPlace(from: &reader)))
        }
        return rows
    }

    private static func write(_ rows: [PayOpen], to writer: inout ByteWriter) {
        writer.write(UInt8(clamping: rows.count))
        for row in rows {
            row.voucher.write(to: &writer, isCounted: true)
            row.place.write(to: &writer)
        }
    }
}

/// A claim to what was never spent of a voucher, by its holder (§A.4).
///
/// Layout: `relay_id 32 | proof count u8 | proof | reclaim secret 32 | idx u32 | epoch u32 | count u16 |
/// list count u8 | lists`: new trial vouchers of the epoch, blinded for each mint as in an order.
public struct MintReclaim: Hashable, Sendable {
    /// The relay the voucher paid.
    public var relay: NodeID
    /// The voucher.
    public var voucher: VoucherProof
    /// What only its holder knows.
    public var secret: Bytes32
    /// Ticks that were spent.
    public var spent: UInt32
    /// The epoch of the new vouchers.
    public var epoch: UInt32
    /// How many new vouchers: those ``Denomination/change(for:)`` makes of what is left.
    public var count: Int
    /// SHA-256 of the blinded list of each mint.
    public var lists: [Bytes32]

    /// Puts a claim together.
    public init(
        relay: NodeID,
        voucher: VoucherProof,
        secret: Bytes32,
        spent: UInt32,
        epoch: UInt32,
        count: Int,
        lists: [Bytes32]
    ) {
        self.relay = relay
        self.voucher = voucher
        self.secret = secret
        self.spent = spent
        self.epoch = epoch
        self.count = count
        self.lists = lists
    }

    init(from reader: inout ByteReader) throws(WireError) {
        relay = NodeID(try reader.readBytes32())
        voucher = try VoucherProof(counted: &reader)
        secret = try reader.readBytes32()
        spent = try reader.read()
        epoch = try reader.read()
        count = Int(try reader.read(UInt16.self))
        guard count <= TicketLimits.orderCount else { throw .invalid(field: "count") }
        let listCount = Int(try reader.read(UInt8.self))
        guard listCount <= TicketLimits.mintCount else { throw .invalid(field: "lists") }
        lists = []
        for _ in 0..<listCount { lists.append(try reader.readBytes32()) }
    }

    func write(to writer: inout ByteWriter) {
        writer.write(relay.rawValue)
        voucher.write(to: &writer, isCounted: true)
        writer.write(secret)
        writer.write(spent)
        writer.write(epoch)
        writer.write(UInt16(clamping: count))
        writer.write(UInt8(clamping: lists.count))
        for list in lists { writer.write(list) }
    }

    /// The claim's bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        write(to: &writer)
        return writer.bytes
    }
}

/// A mint's answer, before it is sealed (§A.8): `status u8 | ...`.
public enum MintReply: Hashable, Sendable {
    /// How an account stands: `0 | seq u64 | certified u64 | balance u64`.
    case account(next: UInt64, certified: UInt64, balance: Credits)
    /// A vote and, for vouchers, one blind signature each: `1 | vote 64 | count u16 | signatures`.
    case vote(signature: [UInt8], blindSignatures: [[UInt8]])
    /// Taken: `2 | count u8 | count x idx u32`; for each row of a deposit the index on record.
    case taken([UInt32])
    /// Refused for good or for now: `3 | reason u8 | detail u64`.
    case refused(MintRefusal, detail: UInt64 = 0)

    /// Reads a whole answer.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let status = try reader.read(UInt8.self)
        switch status {
        case 0:
            self = .account(
                next: try reader.read(),
                certified: try reader.read(),
                balance: Credits(hundredths: try reader.read())
            )
        case 1:
            let signature = try reader.read(byteCount: 64)
            let count = Int(try reader.read(UInt16.self))
            guard count <= TicketLimits.orderCount else { throw .invalid(field: "count") }
            var blind: [[UInt8]] = []
            for _ in 0..<count { blind.append(try reader.read(byteCount: 256)) }
            self = .vote(signature: signature, blindSignatures: blind)
        case 2:
            let count = Int(try reader.read(UInt8.self))
            guard count <= TicketLimits.depositCount else { throw .invalid(field: "count") }
            var indexes: [UInt32] = []
            for _ in 0..<count { indexes.append(try reader.read()) }
            self = .taken(indexes)
        case 3:
            let code = try reader.read(UInt8.self)
            guard let reason = MintRefusal(rawValue: code) else {
                throw .unknown(field: "refusal", value: UInt64(code))
            }
            self = .refused(reason, detail: try reader.read())
        default: throw .unknown(field: "mint answer", value: UInt64(status))
        }
        try reader.finish()
    }

    /// The answer's bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .account(let next, let certified, let balance):
            writer.write(UInt8(0))
            writer.write(next)
            writer.write(certified)
            writer.write(balance.hundredths)
        case .vote(let signature, let blind):
            writer.write(UInt8(1))
            writer.write(signature)
            writer.write(UInt16(clamping: blind.count))
            for signature in blind { writer.write(signature) }
        case .taken(let indexes):
            writer.write(UInt8(2))
            writer.write(UInt8(clamping: indexes.count))
            for index in indexes { writer.write(index) }
        case .refused(let reason, let detail):
            writer.write(UInt8(3))
            writer.write(reason.rawValue)
            writer.write(detail)
        }
        return writer.bytes
    }
}

/// Why a mint refuses.
public enum MintRefusal: UInt8, Sendable {
    /// It cannot be read, or a signature in it is wrong.
    case malformed = 0
    /// Another order stands under the number; the detail is the number.
    case conflict = 1
    /// Certificates of earlier orders are missing; the detail is the first number it lacks.
    case needsCertificates = 2
    /// The account has less; the detail is its balance in hundredths.
    case balance = 3
    /// The mint signs no vouchers of that epoch now, or is not in the designated set.
    case notSigning = 4
    /// The epoch's deposits have ended, or its reclaims have not begun.
    case outOfTime = 5
    /// The voucher was reclaimed, or more was deposited than the claim says; the detail is its index.
    case spent = 6
    /// The blinded list is not the one the order names.
    case wrongList = 7
    /// The ledger cannot be written now.
    case unavailable = 8
    /// The same account is being served already.
    case busy = 9
}
