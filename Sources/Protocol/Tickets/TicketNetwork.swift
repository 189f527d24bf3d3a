public import Base
public import CryptoPrimitives
public import Wire

/// The mints of a network as one consensus shows them, and the lifetimes of what they sign.
///
/// Spec: §A.3, §A.4. With n mints f = (n - 1) / 3 may be bad; t = 2f + 1 sign every voucher.
public struct TicketNetwork: Sendable {
    /// One mint.
    public struct Mint: Sendable {
        /// Its Ed25519 key, which votes.
        public let key: Bytes32
        /// What requests to it are sealed to.
        public let sealingKey: Bytes32
        /// Where it answers.
        public let addresses: [SocketAddress]
        /// Its keys by epoch, each time by denomination code.
        let keys: [UInt32: [BlindRSA.PublicKey]]
    }

    /// The network.
    public let network: NetworkID
    /// What the consensus says of payments.
    public let parameters: NetworkParameters
    /// The mints that announced themselves, by index.
    public let mints: [UInt8: Mint]

    /// Reads the mints of a consensus.
    ///
    /// - Parameter known: an earlier value, whose parsed keys are used again.
    /// - Returns: `nil` where it names none. Mints with a key that is none are left out.
    public init?(_ consensus: Consensus, known: TicketNetwork? = nil) {
        self.init(
            network: consensus.network,
            parameters: consensus.parameters,
            announcements: consensus.mints.announcements,
            known: known
        )
    }

    /// Takes announcements that are believed.
    public init?(
        network: NetworkID,
        parameters: NetworkParameters,
        announcements: [MintAnnouncement],
        known: TicketNetwork? = nil
    ) {
        guard !announcements.isEmpty else { return nil }
        self.network = network
        self.parameters = parameters
        var mints: [UInt8: Mint] = [:]
        for announcement in announcements {
            var keys: [UInt32: [BlindRSA.PublicKey]] = [:]
            let before = known?.mints[announcement.index]?.keys ?? [:]
            for epoch in announcement.epochs {
                if let old = before[epoch.epoch], old.map(\.der) == epoch.keys {
                    keys[epoch.epoch] = old
                } else {
                    keys[epoch.epoch] = try? epoch.keys.map { der throws(CryptoError) in
                        try BlindRSA.PublicKey(der: der)
                    }
                }
            }
            mints[announcement.index] = Mint(
                key: announcement.key,
                sealingKey: announcement.sealingKey,
                addresses: announcement.addresses,
                keys: keys
            )
        }
        self.mints = mints
    }

    // MARK: Sets

    /// All mints there are, whether or not they announced themselves.
    public var mintCount: Int {
        Int(parameters.mintCount)
    }

    /// Mints that may be bad without harm.
    public var toleratedFaultCount: Int {
        (mintCount - 1) / 3
    }

    /// Mints whose votes make a certificate, and that sign a voucher.
    public var threshold: Int {
        2 * toleratedFaultCount + 1
    }

    /// The mints that sign the vouchers of `epoch` by the set with `version`, ascending.
    ///
    /// All but the f from index `(epoch + version) * f mod n` on: none is shut out for ever.
    public func designated(epoch: UInt32, version: UInt8) -> [UInt8] {
        let (n, f) = (mintCount, toleratedFaultCount)
        let first = (Int(epoch) + Int(version)) * f % n
        let absent = Set((0..<f).map { (first + $0) % n })
        let present = (0..<n).filter { !absent.contains($0) }
        return present.prefix(threshold).map { UInt8(clamping: $0) }
    }

    /// The version of the set in use now.
    public var setVersion: UInt8 {
        UInt8(clamping: parameters.mintSetVersion)
    }

    /// The key of a mint; `nil` where the consensus has none.
    public func key(
        of mint: UInt8,
        epoch: UInt32,
        _ denomination: Denomination
    ) -> BlindRSA.PublicKey? {
        keys(of: mint, epoch: epoch)?[denomination.index]
    }

    /// The keys of a mint by denomination code; `nil` where the consensus lacks one.
    public func keys(of mint: UInt8, epoch: UInt32) -> [BlindRSA.PublicKey]? {
        guard let keys = mints[mint]?.keys[epoch], keys.count == Denomination.allCases.count else {
            return nil
        }
        return keys
    }

    // MARK: Time

    /// The epoch at `wall`.
    public func epoch(at wall: WallTime) -> UInt32 {
        UInt32(clamping: wall.seconds / UInt64(max(1, parameters.ticketEpochSeconds)))
    }

    /// When `epoch` begins.
    public func start(of epoch: UInt32) -> WallTime {
        WallTime(seconds: UInt64(epoch) * UInt64(parameters.ticketEpochSeconds))
    }

    /// Whether mints issue vouchers of `epoch` at `wall`: in it, and the next one's from its last
    /// seventh on, when its keys are published.
    public func isIssued(_ epoch: UInt32, at wall: WallTime) -> Bool {
        let now = self.epoch(at: wall)
        if epoch == now { return true }
        let lead = UInt64(parameters.ticketEpochSeconds) / 7
        return epoch == now &+ 1 && self.epoch(at: wall + lead) == epoch
    }

    /// Whether mints still finish orders of `epoch` at `wall`: one epoch longer than they are issued,
    /// so that an order some have voted for is not lost at the epoch's end.
    public func isFinished(_ epoch: UInt32, at wall: WallTime) -> Bool {
        isIssued(epoch, at: wall) || self.epoch(at: wall) == epoch &+ 1
    }

    /// Whether relays take vouchers of `epoch` at `wall`: in it and the one after, and, for clocks
    /// that differ, before it begins.
    public func isAccepted(_ epoch: UInt32, at wall: WallTime) -> Bool {
        let now = UInt64(self.epoch(at: wall))
        return (UInt64(epoch)...UInt64(epoch) + 1).contains(now) || isIssued(epoch, at: wall)
    }

    /// Whether relays take further ticks on vouchers of `epoch` at `wall`: a seventh of an epoch
    /// longer than they take vouchers, so that none ends under a circuit's feet.
    public func isTicked(_ epoch: UInt32, at wall: WallTime) -> Bool {
        let grace = UInt64(parameters.ticketEpochSeconds) / 7
        return isAccepted(epoch, at: wall)
            || isAccepted(epoch, at: WallTime(seconds: wall.seconds - min(grace, wall.seconds)))
    }

    /// Whether vouchers can be had at `wall`: all mints of the set have published their keys.
    ///
    /// A network that cannot sell any asks for none.
    public func sellsVouchers(at wall: WallTime) -> Bool {
        let epoch = epoch(at: wall)
        return designated(epoch: epoch, version: setVersion).allSatisfy {
            keys(of: $0, epoch: epoch) != nil
        }
    }

    /// Whether deposits of `epoch` are taken at `wall`: until two epochs after it have ended.
    public func isDeposited(_ epoch: UInt32, at wall: WallTime) -> Bool {
        wall < start(of: epoch &+ 3)
    }

    /// Whether what is left of vouchers of `epoch` is given back at `wall`.
    public func isReclaimed(_ epoch: UInt32, at wall: WallTime) -> Bool {
        wall >= start(of: epoch &+ 3) + UInt64(parameters.ticketEpochSeconds) * 2 / 7
    }

    /// What a relay gets for `ticks` after the burn.
    public func credit(for ticks: UInt32) -> Credits {
        let kept = 1_000 - UInt64(min(1_000, parameters.burnPerMille))
        return Credits(hundredths: UInt64(ticks) * 100 * kept / 1_000)
    }

    // MARK: Signatures

    /// Whether enough mints voted for the order of `certificate`, and the account signed it.
    public func isValid(_ certificate: OrderCertificate) -> Bool {
        guard isSigned(certificate.order) else { return false }
        let digest = SHA256.digest(certificate.order.encoded)
        let count = certificate.votes.count { vote in
            isValid(vote: vote.signature, by: vote.mint, of: digest)
        }
        return count >= threshold
    }

    /// Whether the account signed `order`.
    public func isSigned(_ order: MintOrder) -> Bool {
        Ed25519.isValid(
            order.signature,
            of: order.body,
            by: order.account,
            label: .order,
            network: network.rawValue
        )
    }

    /// Whether `signature` is the vote of `mint` for the order with this digest.
    public func isValid(vote signature: [UInt8], by mint: UInt8, of digest: Bytes32) -> Bool {
        guard let key = mints[mint]?.key else { return false }
        return Ed25519.isValid(
            signature,
            of: digest.bytes,
            by: key,
            label: .vote,
            network: network.rawValue
        )
    }
}

extension MintAnnouncement {
    /// Whether the mint signed it.
    public var isSigned: Bool {
        guard let body = try? body() else { return false }
        return Ed25519.isValid(
            signature,
            of: body,
            by: key,
            label: .mint,
            network: network.rawValue
        )
    }

    /// Signs it as the mint with `key`.
    ///
    /// - Throws: ``WireError`` for lists out of bounds.
    public mutating func sign(with key: Ed25519.SigningKey) throws(WireError) {
        signature = key.sign(try body(), label: .mint, network: network.rawValue)
    }
}

extension MintGrant {
    /// Whether at least `threshold` of `admins`, by index, signed it.
    public func isValid(network: NetworkID, admins: [Bytes32], threshold: Int) -> Bool {
        let count = signatures.count { signature in
            guard Int(signature.mint) < admins.count else { return false }
            return Ed25519.isValid(
                signature.signature,
                of: body,
                by: admins[Int(signature.mint)],
                label: .grant,
                network: network.rawValue
            )
        }
        return count >= threshold
    }

    /// Adds the signature of the admin with `index`.
    public mutating func sign(as index: UInt8, with key: Ed25519.SigningKey, network: NetworkID) {
        signatures.removeAll { $0.mint == index }
        signatures.append(
            MintVote(
                mint: index,
                signature: key.sign(body, label: .grant, network: network.rawValue)
            )
        )
        signatures.sort { $0.mint < $1.mint }
    }
}
