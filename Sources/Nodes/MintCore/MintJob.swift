import Base
public import CryptoPrimitives
public import Tickets
import Wire

/// Key work of a mint: leaves the machine, runs anywhere, comes back as ``Outcome``.
public enum MintJob: Sendable {
    /// Sign blinded messages, each with the key at its place; half a millisecond each.
    case sign(ticket: UInt64, keys: [BlindRSA.PrivateKey], [[UInt8]])
    /// Verify vouchers; 45 microseconds each.
    case check(ticket: UInt64, [VoucherCheck])
    /// Draw the keys of an epoch, one for each denomination; most of a second.
    case makeKeys(epoch: UInt32)

    /// What a job came to.
    public enum Outcome: Sendable {
        /// The blind signatures; `nil` where one of the messages is none.
        case signed(ticket: UInt64, [[UInt8]]?)
        /// Whether each voucher is valid.
        case checked(ticket: UInt64, [Bool])
        /// The keys, by denomination code; `nil` where the system gave no randomness.
        case keys(epoch: UInt32, [BlindRSA.PrivateKey]?)
    }

    /// Does the work.
    public func run() -> Outcome {
        switch self {
        case .sign(let ticket, let keys, let messages):
            let signatures = try? zip(keys, messages).map { pair throws(CryptoError) in
                try pair.0.blindSign(pair.1)
            }
            return .signed(ticket: ticket, signatures)
        case .check(let ticket, let checks):
            let results = checks.map { check in
                do throws(VoucherFault) {
                    try check.run()
                    return true
                } catch {
                    return false
                }
            }
            return .checked(ticket: ticket, results)
        case .makeKeys(let epoch):
            let keys = try? Denomination.allCases.map { _ throws(CryptoError) in
                try BlindRSA.PrivateKey()
            }
            return .keys(epoch: epoch, keys)
        }
    }
}
