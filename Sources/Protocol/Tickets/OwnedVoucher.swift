public import Base
import CryptoPrimitives
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
    /// Until when circuits that can choose take other relays: that it was bought would tell who pays.
    public var restsUntil = WallTime(seconds: 0)

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
        restsUntil = WallTime(seconds: try reader.read())
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
        writer.write(restsUntil.seconds)
        writer.write(UInt8(clamping: signatures.count))
        for signature in signatures { writer.write(signature) }
    }
}
