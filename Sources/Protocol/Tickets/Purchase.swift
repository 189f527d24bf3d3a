public import Base
public import CryptoPrimitives
public import Wire

/// Vouchers on their way: what was blinded, for whom, and under which order or claim.
///
/// On disk before anything of it is sent: whatever happens afterwards, the same bytes are sent again.
public struct Purchase: Sendable {
    /// What pays for the vouchers.
    public enum Payment: Hashable, Sendable {
        /// The account, by an order.
        case order(MintOrder)
        /// What was left of an old voucher, with this name.
        case claim(MintReclaim, Bytes32)
    }

    /// What pays for them.
    public var payment: Payment
    /// The vouchers, without signatures.
    public var vouchers: [OwnedVoucher]
    /// Blinded messages, by mint and voucher.
    public var blinded: [[[UInt8]]]
    /// What takes the blinding off, by mint and voucher.
    public var openers: [[BlindRSA.Opener]]

    /// The request for one mint.
    func request(for mint: UInt8, certificates: [OrderCertificate]) -> MintRequest {
        switch payment {
        case .order(let order):
            .order(
                order,
                certificates: certificates,
                blinded: isTransfer ? [] : blinded[Int(mint)]
            )
        case .claim(let claim, _): .reclaim(claim, blinded: blinded[Int(mint)])
        }
    }

    /// Whether it is money for another account, and brings no vouchers.
    var isTransfer: Bool {
        if case .order(let order) = payment, case .transfer = order.content { true } else { false }
    }

    /// Whether there is something to ask of the mint: one without keys at the time is not asked.
    func canAsk(_ mint: UInt8) -> Bool {
        isTransfer || (blinded.indices.contains(Int(mint)) && !blinded[Int(mint)].isEmpty)
    }

    /// What a mint's vote is over.
    var digest: Bytes32 {
        switch payment {
        case .order(let order): SHA256.digest(order.encoded)
        case .claim(let claim, _): SHA256.digest(claim.encoded)
        }
    }

    /// The epoch of the vouchers.
    var epoch: UInt32 {
        switch payment {
        case .order(let order):
            if case .withdraw(let epoch, _, _, _) = order.content { epoch } else { 0 }
        case .claim(let claim, _): claim.epoch
        }
    }

    init(
        payment: Payment,
        vouchers: [OwnedVoucher],
        blinded: [[[UInt8]]],
        openers: [[BlindRSA.Opener]]
    ) {
        self.payment = payment
        self.vouchers = vouchers
        self.blinded = blinded
        self.openers = openers
    }

    init(parsing bytes: [UInt8], network: NetworkID) throws(WireError) {
        var reader = ByteReader(bytes)
        let kind = try reader.read(UInt8.self)
        let length = Int(try reader.read(UInt32.self))
        let paid = try reader.read(byteCount: length)
        if kind == 1 {
            payment = .order(try MintOrder(parsing: paid))
        } else {
            let name = try reader.readBytes32()
            guard case .reclaim(let claim, _) = try MintRequest(parsing: paid) else {
                throw .invalid(field: "claim")
            }
            payment = .claim(claim, name)
        }
        let count = Int(try reader.read(UInt8.self))
        vouchers = []
        for _ in 0..<count {
            vouchers.append(try OwnedVoucher(from: &reader, network: network))
        }
        let mints = Int(try reader.read(UInt8.self))
        blinded = []
        openers = []
        for _ in 0..<mints {
            var messages: [[UInt8]] = []
            var inverses: [BlindRSA.Opener] = []
            // A mint without keys at the time has neither.
            let has = try reader.read(UInt8.self) == 1
            for _ in 0..<(has ? count : 0) {
                messages.append(try reader.read(byteCount: 256))
                inverses.append(BlindRSA.Opener(bytes: try reader.read(byteCount: 256)))
            }
            blinded.append(messages)
            openers.append(inverses)
        }
        try reader.finish()
    }

    var encoded: [UInt8] {
        var writer = ByteWriter(capacity: 4_096 + vouchers.count * 2_500)
        switch payment {
        case .order(let order):
            writer.write(UInt8(1))
            writer.write(UInt32(clamping: order.encoded.count))
            writer.write(order.encoded)
        case .claim(let claim, let name):
            writer.write(UInt8(2))
            let bytes = MintRequest.reclaim(claim, blinded: []).encoded
            writer.write(UInt32(clamping: bytes.count))
            writer.write(bytes)
            writer.write(name)
        }
        writer.write(UInt8(clamping: vouchers.count))
        for voucher in vouchers { voucher.write(to: &writer) }
        writer.write(UInt8(clamping: blinded.count))
        for (messages, inverses) in zip(blinded, openers) {
            writer.write(UInt8(messages.isEmpty ? 0 : 1))
            for (message, inverse) in zip(messages, inverses) {
                writer.write(message)
                writer.write(inverse.bytes)
            }
        }
        return writer.bytes
    }
}
