import Base
import CryptoPrimitives
import EventLoop
import Tickets
import Wire

/// Four mints, a wallet and a relay's book, timed on one processor.
struct PaymentBench {
    /// What is measured.
    enum Figure: String, CaseIterable {
        case verify = "relay: a voucher of three signatures"
        case tick = "relay: a tick in its book"
        case hash = "relay: the hash of a tick"
        case sign = "mint: blind signatures"
        case blind = "client: blinding one signature"
        case finish = "client: finishing one signature"

        var unit: String { self == .sign ? "1/s" : "us" }
    }

    private static let epochSeconds: UInt64 = 600
    private let network = NetworkID(.zero)
    private let relay = NodeID(.zero)
    private let wall = WallTime(seconds: epochSeconds * 3_000_000 + 60)
    private let keys: [BlindRSA.PrivateKey]
    private let publicKeys: [BlindRSA.PublicKey]
    private let tickets: TicketNetwork

    /// Draws the mints' keys, which takes some seconds.
    init() throws {
        let keys = try (0..<4).map { _ in try BlindRSA.PrivateKey() }
        let publicKeys = try keys.map { try $0.publicKey() }
        let (network, wall) = (network, wall)
        var parameters = NetworkParameters.lab
        parameters.ticketEpochSeconds = UInt32(Self.epochSeconds)
        let epoch = UInt32(wall.seconds / Self.epochSeconds)
        let announcements = publicKeys.enumerated().map { index, key in
            MintAnnouncement(
                network: network,
                index: UInt8(index),
                key: .zero,
                published: wall,
                sealingKey: .zero,
                addresses: [],
                epochs: [.init(epoch: epoch, keys: Denomination.allCases.map { _ in key.der })],
                totals: [],
                burnt: 0
            )
        }
        let tickets = TicketNetwork(
            network: network,
            parameters: parameters,
            announcements: announcements
        )
        guard let tickets else { preconditionFailure("there are mints") }
        self.keys = keys
        self.publicKeys = publicKeys
        self.tickets = tickets
    }

    /// Makes and takes so many vouchers; what each step cost.
    func run(vouchers count: Int) throws -> [(Figure, Double)] {
        let epoch = tickets.epoch(at: wall)
        let set = tickets.designated(epoch: epoch, version: 0).map(Int.init)
        var spent: [Figure: UInt64] = [:]
        var opens: [(open: PayOpen, chain: PaymentChain)] = []
        for number in 0..<count {
            let tail = Bytes32([UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 32))
            let chain = PaymentChain(tail: tail ?? .zero, count: Denomination.large.tickCount)
            let content = VoucherContent(
                network: network,
                epoch: epoch,
                denomination: .large,
                relay: relay,
                root: chain.root,
                reclaimCommitment: .zero
            )
            var signatures: [[UInt8]] = []
            for mint in set {
                let begun = MonotonicClock.now()
                let (blinded, opener) = try publicKeys[mint].blind(content.encoded)
                let isBlind = MonotonicClock.now()
                let blindSignature = try keys[mint].blindSign(blinded)
                let isSigned = MonotonicClock.now()
                signatures.append(
                    try publicKeys[mint].finalize(
                        blindSignature,
                        of: content.encoded,
                        with: opener
                    )
                )
                spent[.blind, default: 0] += (isBlind - begun).nanoseconds
                spent[.sign, default: 0] += (isSigned - isBlind).nanoseconds
                spent[.finish, default: 0] += (MonotonicClock.now() - isSigned).nanoseconds
            }
            let proof = VoucherProof(
                epoch: epoch,
                denomination: .large,
                setVersion: 0,
                root: chain.root,
                reclaimCommitment: .zero,
                signatures: signatures
            )
            opens.append((PayOpen(voucher: proof, place: chain.place(1)), chain))
        }
        let (verified, ticked) = try take(opens)
        spent[.verify] = verified
        let signatureCount = count * set.count
        return [
            (.verify, Double(verified) / 1e3 / Double(count)),
            (.tick, Double(ticked) / 1e3 / Double(count * 1_023)),
            (.hash, Self.hashing()),
            (.sign, Double(signatureCount) / (Double(spent[.sign] ?? 1) / 1e9)),
            (.blind, Double(spent[.blind] ?? 0) / 1e3 / Double(signatureCount)),
            (.finish, Double(spent[.finish] ?? 0) / 1e3 / Double(signatureCount)),
        ]
    }

    /// Takes vouchers and all their ticks as a relay does; the nanoseconds of both.
    private func take(
        _ opens: [(open: PayOpen, chain: PaymentChain)]
    ) throws -> (verified: UInt64, ticked: UInt64) {
        var book = VoucherBook()
        var names: [Bytes32] = []
        let begun = MonotonicClock.now()
        for (open, _) in opens {
            let check = try book.begin(open, relay: relay, in: tickets, at: wall)
            try check.run()
            book.finish(check, isValid: true)
            names.append(check.name)
        }
        let verified = MonotonicClock.now() - begun
        // What its client hashes is no work of the relay's.
        let shown = opens.map { voucher in
            var chain = voucher.chain
            return (2...chain.count).map { chain.walk(to: $0) }
        }
        let taken = MonotonicClock.now()
        for (name, places) in zip(names, shown) {
            for place in places { _ = try book.pay(name, place) }
        }
        return (verified.nanoseconds, (MonotonicClock.now() - taken).nanoseconds)
    }

    /// Microseconds of one hash of a chain.
    private static func hashing() -> Double {
        let begun = MonotonicClock.now()
        _ = PaymentChain(tail: .zero, count: 10_000)
        return Double((MonotonicClock.now() - begun).nanoseconds) / 1e3 / 10_000
    }
}
