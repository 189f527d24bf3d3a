public import CryptoPrimitives
import Wire

/// Key work of a wallet.
public enum WalletWork: Sendable {
    /// Blind vouchers for every mint, each by its keys by denomination code; half a millisecond for
    /// each of both.
    case blind([OwnedVoucher], keys: [[BlindRSA.PublicKey]?])
    /// Take the blinding off and verify; keys and `signatures` by mint of the set, then keys by
    /// denomination code and signatures by voucher.
    case finalize([OwnedVoucher], keys: [[BlindRSA.PublicKey]], [[BlindRSA.Opener]], [[[UInt8]]])

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
            for keys in keys {
                var messages: [[UInt8]] = []
                var inverses: [BlindRSA.Opener] = []
                if let keys {
                    for voucher in vouchers {
                        let key = keys[voucher.content.denomination.index]
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
                for (place, keys) in keys.enumerated() {
                    let key = keys[vouchers[index].content.denomination.index]
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
