public import Base
public import CryptoPrimitives
public import Wire

/// A voucher with the secrets that spend it and that take back what is left of it.
public struct OwnedVoucher: Hashable, Sendable {
    /// What the mints signed.
    public var content: VoucherContent
    /// The chain's end, w_N.
    public var tail: Bytes32
    /// What reclaims the rest.
    public var reclaimSecret: Bytes32
    /// Version of the set that signed.
    public var setVersion: UInt8 = 0
    /// The signatures, in the order of their mints; empty before they are there.
    public var signatures: [[UInt8]] = []
    /// Ticks spent as far as is known; `nil` while nobody was shown it.
    public var spent: UInt32?
    /// Whether it was shown to a guard, where it lives across circuits.
    public var isAtGuard = false

    /// Draws the secrets of a voucher.
    init(
        network: NetworkID,
        epoch: UInt32,
        denomination: Denomination,
        relay: NodeID,
        random: inout RandomGenerator
    ) {
        tail = random.bytes32()
        reclaimSecret = random.bytes32()
        let chain = PaymentChain(tail: tail, count: denomination.tickCount)
        content = VoucherContent(
            network: network,
            epoch: epoch,
            denomination: denomination,
            relay: relay,
            root: chain.root,
            reclaimCommitment: ReclaimCommitment.make(reclaimSecret)
        )
    }

    /// The chain of its ticks; one hash for each.
    public var chain: PaymentChain {
        PaymentChain(tail: tail, count: content.denomination.tickCount)
    }

    /// What a relay or a mint is shown.
    public var proof: VoucherProof {
        VoucherProof(
            epoch: content.epoch,
            denomination: content.denomination,
            setVersion: setVersion,
            root: content.root,
            reclaimCommitment: content.reclaimCommitment,
            signatures: signatures
        )
    }

    /// Ticks that were not spent.
    public var left: UInt32 {
        content.denomination.tickCount - min(content.denomination.tickCount, spent ?? 0)
    }

    init(from reader: inout ByteReader, network: NetworkID) throws(WireError) {
        let epoch = try reader.read(UInt32.self)
        let (denomination, version) = try Denomination.split(try reader.read(UInt8.self))
        setVersion = version
        content = VoucherContent(
            network: network,
            epoch: epoch,
            denomination: denomination,
            relay: NodeID(try reader.readBytes32()),
            root: try reader.readBytes32(),
            reclaimCommitment: try reader.readBytes32()
        )
        tail = try reader.readBytes32()
        reclaimSecret = try reader.readBytes32()
        let spent = try reader.read(UInt32.self)
        self.spent = spent == .max ? nil : spent
        isAtGuard = try reader.read(UInt8.self) == 1
        let count = Int(try reader.read(UInt8.self))
        for _ in 0..<count { signatures.append(try reader.read(byteCount: 256)) }
    }

    func write(to writer: inout ByteWriter) {
        writer.write(content.epoch)
        writer.write(content.denomination.rawValue | setVersion << 4)
        writer.write(content.relay.rawValue)
        writer.write(content.root)
        writer.write(content.reclaimCommitment)
        writer.write(tail)
        writer.write(reclaimSecret)
        writer.write(spent ?? .max)
        writer.write(UInt8(isAtGuard ? 1 : 0))
        writer.write(UInt8(clamping: signatures.count))
        for signature in signatures { writer.write(signature) }
    }
}

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

/// Key work of a wallet.
public enum WalletWork: Sendable {
    /// Blind vouchers for every mint; half a millisecond for each of both.
    case blind([OwnedVoucher], keys: [BlindRSA.PublicKey?])
    /// Take the blinding off and verify; `signatures` by mint of the set, then voucher.
    case finalize([OwnedVoucher], keys: [BlindRSA.PublicKey], [[BlindRSA.Opener]], [[[UInt8]]])

    /// What it came to.
    public enum Outcome: Sendable {
        /// Blinded messages and openers, by mint and voucher; `nil` where a key cannot blind.
        case blinded([OwnedVoucher], [[[UInt8]]], [[BlindRSA.Opener]])
        /// The vouchers with their signatures; `nil`, and the place of the mint that signed by
        /// another key than the one it published.
        case finalized([OwnedVoucher]?, badSigner: Int)
        /// A published key cannot be used.
        case failed
    }

    /// Does the work.
    public func run() -> Outcome {
        switch self {
        case .blind(let vouchers, let keys):
            var blinded: [[[UInt8]]] = []
            var openers: [[BlindRSA.Opener]] = []
            for key in keys {
                var messages: [[UInt8]] = []
                var inverses: [BlindRSA.Opener] = []
                if let key {
                    for voucher in vouchers {
                        guard let result = try? key.blind(voucher.content.encoded) else {
                            return .failed
                        }
                        messages.append(result.blinded)
                        inverses.append(result.opener)
                    }
                }
                blinded.append(messages)
                openers.append(inverses)
            }
            return .blinded(vouchers, blinded, openers)
        case .finalize(var vouchers, let keys, let openers, let signatures):
            for index in vouchers.indices {
                vouchers[index].signatures = []
                let message = vouchers[index].content.encoded
                for (place, key) in keys.enumerated() {
                    guard
                        let signature = try? key.finalize(
                            signatures[place][index],
                            of: message,
                            with: openers[place][index]
                        )
                    else { return .finalized(nil, badSigner: place) }
                    vouchers[index].signatures.append(signature)
                }
            }
            return .finalized(vouchers, badSigner: 0)
        }
    }
}
