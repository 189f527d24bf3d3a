public import Base

/// An account's order to the mints: one for each of its sequence numbers, for ever.
///
/// Layout (§A.3): `kind u8 | acct 32 | seq u64 | ...`, then an Ed25519 signature 64 by the account;
/// withdraw (1): `epoch u32 | denom u8 | count u16 | n x SHA-256 of mint i's blinded list`;
/// transfer (2): `to 32 | amount u64`.
public struct MintOrder: Hashable, Sendable {
    /// What is ordered.
    public enum Content: Hashable, Sendable {
        /// Vouchers, by the digests of the lists each mint is to sign; the list of mint i at place i.
        case withdraw(epoch: UInt32, denomination: Denomination, count: Int, lists: [Bytes32])
        /// Money for another account.
        case transfer(to: Bytes32, amount: Credits)
    }

    /// The account's key.
    public var account: Bytes32
    /// Its number among the account's orders, from 0 without gaps.
    public var sequence: UInt64
    /// What is ordered.
    public var content: Content
    /// The account's signature over all before it, 64 bytes; empty until it is signed.
    public var signature: [UInt8] = []

    /// Makes an order to be signed.
    public init(account: Bytes32, sequence: UInt64, content: Content) {
        self.account = account
        self.sequence = sequence
        self.content = content
    }

    /// What the order takes from the account.
    public var cost: Credits {
        switch content {
        case .withdraw(_, let denomination, let count, _):
            Credits(ticks: UInt64(denomination.tickCount) * UInt64(count))
        case .transfer(_, let amount): amount
        }
    }

    /// Reads a whole order, signature included.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let kind = try reader.read(UInt8.self)
        account = try reader.readBytes32()
        sequence = try reader.read()
        switch kind {
        case 1:
            let epoch = try reader.read(UInt32.self)
            let (denomination, version) = try Denomination.split(try reader.read(UInt8.self))
            guard version == 0 else { throw .invalid(field: "denomination") }
            let count = Int(try reader.read(UInt16.self))
            guard (1...TicketLimits.orderCount).contains(count) else {
                throw .invalid(field: "count")
            }
            let left = reader.remainingByteCount - 64
            guard left > 0, left.isMultiple(of: 32), left / 32 <= TicketLimits.mintCount else {
                throw .invalid(field: "lists")
            }
            var lists: [Bytes32] = []
            for _ in 0..<left / 32 { lists.append(try reader.readBytes32()) }
            content = .withdraw(
                epoch: epoch,
                denomination: denomination,
                count: count,
                lists: lists
            )
        case 2:
            let to = try reader.readBytes32()
            content = .transfer(to: to, amount: Credits(hundredths: try reader.read()))
        default: throw .unknown(field: "order kind", value: UInt64(kind))
        }
        signature = try reader.read(byteCount: 64)
        try reader.finish()
    }

    /// The bytes the account signs.
    public var body: [UInt8] {
        var writer = ByteWriter(capacity: 240)
        switch content {
        case .withdraw(let epoch, let denomination, let count, let lists):
            writer.write(UInt8(1))
            writer.write(account)
            writer.write(sequence)
            writer.write(epoch)
            writer.write(denomination.rawValue)
            writer.write(UInt16(clamping: count))
            for list in lists { writer.write(list) }
        case .transfer(let to, let amount):
            writer.write(UInt8(2))
            writer.write(account)
            writer.write(sequence)
            writer.write(to)
            writer.write(amount.hundredths)
        }
        return writer.bytes
    }

    /// All bytes, whose SHA-256 the mints vote for.
    public var encoded: [UInt8] {
        body + signature
    }

    /// The most bytes an order takes.
    public static let maximumByteCount = 48 + 32 * TicketLimits.mintCount + 64
}

/// A mint's vote for an order, over the order's SHA-256 with label `vote`.
public struct MintVote: Hashable, Sendable {
    /// The mint.
    public var mint: UInt8
    /// Its signature, 64 bytes.
    public var signature: [UInt8]

    /// Takes both over.
    public init(mint: UInt8, signature: [UInt8]) {
        self.mint = mint
        self.signature = signature
    }

    init(from reader: inout ByteReader) throws(WireError) {
        mint = try reader.read()
        signature = try reader.read(byteCount: 64)
    }

    func write(to writer: inout ByteWriter) {
        writer.write(mint)
        writer.write(signature)
    }
}

/// An order that enough mints voted for: it stands, whatever else was signed under its number.
///
/// Layout (§A.3): `order length u16 | order | count u8 | count x (index u8 | vote 64)`, ascending.
public struct OrderCertificate: Hashable, Sendable {
    /// The order.
    public var order: MintOrder
    /// The votes, ascending by mint, not verified.
    public var votes: [MintVote]

    /// Puts a certificate together.
    public init(order: MintOrder, votes: [MintVote]) {
        self.order = order
        self.votes = votes.sorted { $0.mint < $1.mint }
    }

    /// Reads a whole certificate.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        try self.init(from: &reader)
        try reader.finish()
    }

    init(from reader: inout ByteReader) throws(WireError) {
        let length = Int(try reader.read(UInt16.self))
        guard length <= MintOrder.maximumByteCount else {
            throw .tooLarge(
                field: "order",
                value: UInt64(length),
                limit: UInt64(MintOrder.maximumByteCount)
            )
        }
        order = try MintOrder(parsing: try reader.read(byteCount: length))
        let count = Int(try reader.read(UInt8.self))
        guard count <= TicketLimits.mintCount else { throw .invalid(field: "votes") }
        votes = []
        for _ in 0..<count { votes.append(try MintVote(from: &reader)) }
        for (first, second) in zip(votes, votes.dropFirst()) where first.mint >= second.mint {
            throw .invalid(field: "vote order")
        }
    }

    func write(to writer: inout ByteWriter) {
        let bytes = order.encoded
        writer.write(UInt16(clamping: bytes.count))
        writer.write(bytes)
        writer.write(UInt8(clamping: votes.count))
        for vote in votes { vote.write(to: &writer) }
    }

    /// The certificate's bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        write(to: &writer)
        return writer.bytes
    }
}

/// Money given to an account by enough admins: a sale, an invitation, a faucet.
///
/// Layout (§A.4): `id 32 | acct 32 | amount u64 | count u8 | count x (index u8 | signature 64)`,
/// ascending; label `grant` over the first 72 bytes.
public struct MintGrant: Hashable, Sendable {
    /// Its name: a grant counts once.
    public var id: Bytes32
    /// The account it goes to.
    public var account: Bytes32
    /// How much.
    public var amount: Credits
    /// Signatures by index of the admin, ascending, not verified.
    public var signatures: [MintVote] = []

    /// Makes a grant to be signed.
    public init(id: Bytes32, account: Bytes32, amount: Credits) {
        self.id = id
        self.account = account
        self.amount = amount
    }

    /// The bytes admins sign.
    public var body: [UInt8] {
        var writer = ByteWriter(capacity: 72)
        writer.write(id)
        writer.write(account)
        writer.write(amount.hundredths)
        return writer.bytes
    }

    /// Reads a whole grant.
    public init(parsing bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        try self.init(from: &reader)
        try reader.finish()
    }

    init(from reader: inout ByteReader) throws(WireError) {
        id = try reader.readBytes32()
        account = try reader.readBytes32()
        amount = Credits(hundredths: try reader.read())
        let count = Int(try reader.read(UInt8.self))
        guard count <= TicketLimits.mintCount else { throw .invalid(field: "grant signatures") }
        for _ in 0..<count { signatures.append(try MintVote(from: &reader)) }
        for (first, second) in zip(signatures, signatures.dropFirst())
        where first.mint >= second.mint {
            throw .invalid(field: "grant signature order")
        }
    }

    func write(to writer: inout ByteWriter) {
        writer.write(body)
        writer.write(UInt8(clamping: signatures.count))
        for signature in signatures { signature.write(to: &writer) }
    }

    /// The grant's bytes.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        write(to: &writer)
        return writer.bytes
    }
}
