public import Base
public import Wire

// What a client asks of its wallet while it pays.
extension Wallet {
    /// Whether a voucher nobody was shown is there for this relay.
    public func has(_ denomination: Denomination, for relay: NodeID, at wall: WallTime) -> Bool {
        pick(denomination, for: relay, at: wall) != nil
    }

    /// Takes a voucher to show to its relay; asks for one where there is none.
    ///
    /// Another one is not bought because this was the last: the mints would see when it is shown. It
    /// is never given out again. What ``Step/store(_:_:)`` bears under the number must be on disk
    /// before it is shown; then its first stride may be.
    public mutating func take(
        _ denomination: Denomination,
        for relay: NodeID,
        asGuard isAtGuard: Bool = false,
        at wall: WallTime
    ) -> (voucher: OwnedVoucher, stored: UInt64)? {
        guard let name = pick(denomination, for: relay, at: wall),
            var voucher = vouchers[name]
        else {
            want(denomination, for: relay, isUrgent: true)
            return nil
        }
        voucher.spent = 1
        voucher.isAtGuard = isAtGuard
        vouchers[name] = voucher
        marks[name] = min(denomination.stride, denomination.tickCount)
        return (voucher, store([write(voucher)]))
    }

    func pick(
        _ denomination: Denomination,
        for relay: NodeID,
        at wall: WallTime
    ) -> Bytes32? {
        guard let tickets else { return nil }
        var best: (epoch: UInt32, rests: UInt64, name: Bytes32)?
        for (name, voucher) in vouchers
        where voucher.spent == nil && voucher.content.denomination == denomination
            && voucher.content.relay == relay
            && tickets.isAccepted(voucher.content.epoch, at: wall)
        {
            let candidate = (voucher.content.epoch, voucher.restsUntil.seconds, name)
            if let known = best, known <= candidate { continue }
            best = candidate
        }
        return best?.name
    }

    /// Notes how far a voucher was spent.
    public mutating func note(spent index: UInt32, of name: Bytes32) {
        guard let voucher = vouchers[name], index > voucher.spent ?? 0 else { return }
        vouchers[name]?.spent = min(index, voucher.content.denomination.tickCount)
    }

    /// Puts on disk how far vouchers were spent.
    public mutating func keepSpent() {
        let writes = owned.filter { $0.spent != nil }.map { write($0) }
        if !writes.isEmpty { _ = store(writes) }
    }

    /// Takes the first voucher there is of `order` to show to its relay; asks for some where there is
    /// none, but for no bulk one.
    ///
    /// What bears the number must be on disk before it is shown.
    public mutating func takeFirst(
        of order: [Denomination],
        for relay: NodeID,
        asGuard isAtGuard: Bool = false,
        at wall: WallTime
    ) -> (voucher: OwnedVoucher, stored: UInt64)? {
        for denomination in order where has(denomination, for: relay, at: wall) {
            return take(denomination, for: relay, asGuard: isAtGuard, at: wall)
        }
        // The one that is wanted, and the smallest: little money buys it.
        if let first = order.first(where: { $0 != .bulk }) {
            want(first, for: relay, isUrgent: true)
        }
        want(.trial, for: relay, isUrgent: true)
        return nil
    }

    /// Notes that a voucher may be shown up to `mark` once what bears the number is on disk.
    ///
    /// - Returns: `nil` for a voucher that is not here any more.
    public mutating func reserve(_ name: Bytes32, upTo mark: UInt32) -> UInt64? {
        guard let voucher = vouchers[name] else { return nil }
        marks[name] = min(mark, voucher.content.denomination.tickCount)
        return store([write(voucher)])
    }

    /// Notes that a voucher is spent no further, and how far it was.
    ///
    /// - Parameter isRefused: whether its guard does not have it: then it is never resumed there.
    public mutating func settle(_ name: Bytes32, spent index: UInt32, isRefused: Bool = false) {
        marks[name] = nil
        note(spent: index, of: name)
        if isRefused { vouchers[name]?.isAtGuard = false }
        if let voucher = vouchers[name] { _ = store([write(voucher)]) }
    }

    /// A voucher this guard has taken before, with something left on it, but none of `excluded`.
    public func resumable(
        for relay: NodeID,
        except excluded: [Bytes32] = [],
        at wall: WallTime
    ) -> OwnedVoucher? {
        guard let tickets else { return nil }
        let known = vouchers.values.filter {
            $0.isAtGuard && $0.content.relay == relay && $0.left > 0
                && !excluded.contains($0.content.name)
                && tickets.isAccepted($0.content.epoch, at: wall)
        }
        return known.min {
            ($0.content.epoch, $0.content.root) < ($1.content.epoch, $1.content.root)
        }
    }

    /// Relays there is a voucher for that nobody was shown, and that a circuit may begin with.
    ///
    /// - Parameter hasRested: only those whose voucher was bought long enough ago.
    public func payable(at wall: WallTime, hasRested: Bool = false) -> Set<NodeID> {
        guard let tickets else { return [] }
        let fresh = vouchers.values.filter {
            $0.spent == nil && $0.content.denomination != .bulk
                && tickets.isAccepted($0.content.epoch, at: wall)
                && (!hasRested || $0.restsUntil <= wall)
        }
        return Set(fresh.map(\.content.relay))
    }

    /// Asks for large vouchers for a relay that is being paid a lot, unless there is one; for a bulk
    /// one too where the relay uses them up fast and the account has the money.
    ///
    /// - Parameter taken: the voucher the relay is to be shown next.
    public mutating func stockAhead(
        _ relay: NodeID,
        after taken: Denomination,
        isFast: Bool,
        at wall: WallTime
    ) {
        if isFast { stockBulk(relay, at: wall) }
        guard !has(.large, for: relay, at: wall) else { return }
        // After a bulk one there is time to buy.
        if taken != .bulk,
            vouchers.values.contains(where: {
                $0.content.relay == relay && $0.content.denomination == .large && $0.spent != nil
            })
        {
            busyRelays.insert(relay)
        }
        want(.large, for: relay, isUrgent: true)
    }

    private mutating func stockBulk(_ relay: NodeID, at wall: WallTime) {
        guard !has(.bulk, for: relay, at: wall) else { return }
        // An order the account is too poor for would hold up others.
        guard balance != nil else { return inquireAgain(at: wall) }
        let others = wants.count { $0.denomination == .bulk && $0.relay != relay }
        if affordsBulk(others + 1) { want(.bulk, for: relay) }
    }

    /// Whether the account is known to pay for so many bulk vouchers, and as much again.
    func affordsBulk(_ count: Int) -> Bool {
        let price = Credits(ticks: UInt64(count) * UInt64(Denomination.bulk.tickCount))
        return balance.map { $0 >= price + price } ?? false
    }

    /// Asks for a voucher where none of this kind is left.
    public mutating func stock(_ denomination: Denomination, for relay: NodeID, at wall: WallTime) {
        if !has(denomination, for: relay, at: wall) { want(denomination, for: relay) }
    }
}

extension Wallet.Notice: CustomStringConvertible {
    /// What happened, for people.
    public var description: String {
        switch self {
        case .bought(let count, let denomination):
            "\(count) voucher\(count == 1 ? "" : "s") of \(denomination.tickCount) ticks came"
        case .poor(let balance):
            "the account has \(balance) ticks, too few for what is wanted"
        case .tagged(let mint):
            "mint \(mint) signs with a key it did not publish: nothing it signs is taken"
        case .locked(let sequence):
            "another order \(sequence) of this account stands: the wallet was copied"
        case .reclaimed(let ticks): "\(ticks) ticks of old vouchers came back"
        case .transferred(let amount, let account):
            "\(amount) ticks went to account \(account.hex)"
        }
    }
}
