public import Base
import CryptoPrimitives
public import Wire

/// Why a voucher, or a tick on it, is not taken.
public enum VoucherFault: Error, Hashable, Sendable {
    /// Vouchers of the epoch are not taken now.
    case epoch(UInt32)
    /// The consensus names no such set, or lacks a key of it.
    case keys
    /// The number of signatures is not that of the set.
    case signatureCount(Int)
    /// A signature is not by its mint over this voucher for this relay.
    case signature
    /// The place is not on the chain, or beyond its end.
    case chain
    /// It was opened before.
    case seen
    /// Nobody opened it here.
    case unknown
}

/// The signatures of one voucher to be verified: key work, made off line (§A.5.3).
///
/// About 14 microseconds for each signature, and one hash for each tick.
public struct VoucherCheck: Sendable {
    /// The voucher's name.
    public let name: Bytes32
    /// What was shown.
    public let open: PayOpen
    private let message: [UInt8]
    private let keys: [BlindRSA.PublicKey]

    /// Looks at everything that costs nothing.
    ///
    /// - Throws: ``VoucherFault`` for a wrong set, a missing key, or a place beyond the chain.
    public init(_ open: PayOpen, relay: NodeID, in tickets: TicketNetwork) throws(VoucherFault) {
        let voucher = open.voucher
        guard open.place.index <= voucher.denomination.tickCount else { throw .chain }
        guard voucher.setVersion <= tickets.setVersion else { throw .keys }
        let signers = tickets.designated(epoch: voucher.epoch, version: voucher.setVersion)
        guard voucher.signatures.count == signers.count else {
            throw .signatureCount(voucher.signatures.count)
        }
        var keys: [BlindRSA.PublicKey] = []
        for signer in signers {
            guard
                let key = tickets.key(of: signer, epoch: voucher.epoch, voucher.denomination)
            else { throw .keys }
            keys.append(key)
        }
        let content = voucher.content(network: tickets.network, relay: relay)
        message = content.encoded
        name = content.name
        self.open = open
        self.keys = keys
    }

    /// Verifies signatures, then the chain: it may be long, and nobody has a long one for nothing.
    ///
    /// - Throws: ``VoucherFault/signature``, ``VoucherFault/chain``.
    public func run() throws(VoucherFault) {
        // Each signature is by another mint's key: one that comes twice is wrong at one place.
        for (key, signature) in zip(keys, open.voucher.signatures)
        where !key.isValid(signature, of: message) {
            throw .signature
        }
        let root = ChainPlace(index: 0, value: open.voucher.root)
        guard PaymentChain.leads(open.place, to: root) else { throw .chain }
    }
}
