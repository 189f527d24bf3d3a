import Base
import Circuits
import Tickets
import Wire

// The guard is paid by vouchers that live across circuits.
extension Cashier {
    mutating func receiveFromGuard(
        _ result: PayResult,
        of id: CircuitID,
        _ payment: CircuitPayment,
        now: Instant,
        wall: WallTime
    ) {
        let relay = payment.hops[0].relay
        guard var purse = guards[relay], purse.busy == id else { return }
        purse.busy = nil
        let isShowing = purse.stage == .showing
        let isHeldOff = isShowing && result.status != .taken && !result.status.isFault
        if isHeldOff {
            // Not now: the guard has not taken it, and is shown the same one another time.
            purse.stage = .ready
            purse.isHeld = true
            if result.status == .epoch { giveUpNext(of: &purse) }
        }
        guards[relay] = purse
        if isHeldOff {
            if !pays(purse, at: wall) { refused(result.status, by: .first, of: id, at: wall) }
            return
        }
        switch result.status {
        case .taken:
            if isShowing {
                payments[id]?.hops[0].payer.notePaid(1)
                guards[relay]?.stage = .standing
            }
            payments[id]?.hops[0].isStanding = true
        case .seen where isShowing:
            // Opened over a circuit that is gone, and its answer with it.
            guards[relay]?.stage = .standing
        case .unknown, .invalid, .epoch, .keys, .full:
            // It was taken before: the guard may have lost its book, or its clock is ahead. Once.
            let isFirst = !isShowing && !payment.hops[0].wasRefused
            dropGuardVouchers(relay)
            guard isFirst else { return refused(result.status, by: .first, of: id, at: wall) }
            payments[id]?.hops[0].wasRefused = true
        case .seen:
            dropGuardVouchers(relay)
            return refused(result.status, by: .first, of: id, at: wall)
        }
        for other in payments.keys.sorted() where payments[other]?.hops[0].relay == relay {
            tend(other, now: now, wall: wall)
        }
    }

    mutating func dropGuardVouchers(_ relay: NodeID) {
        guard let purse = guards.removeValue(forKey: relay) else { return }
        for voucher in [purse.open, purse.coming].compactMap(\.self) {
            _ = withWallet { $0.settle(voucher.name, spent: voucher.index, isRefused: true) }
        }
    }

    /// Pays the guard by the voucher that lives across circuits, and makes the next one ready.
    mutating func tendGuard(_ id: CircuitID, owed: UInt64, now: Instant, wall: WallTime) {
        guard let relay = payments[id]?.hops[0].relay, guards[relay]?.busy == nil,
            owed > 0 || guards[relay]?.stage == .ready
        else { return }
        // Taken out, so that its chain is changed where it lies.
        var purse = guards.removeValue(forKey: relay) ?? GuardVoucher()
        if purse.stage == .ready, let next = purse.coming, !isUsable(next, at: wall) {
            giveUpNext(of: &purse)
        }
        if owed > 0 {
            useNext(of: &purse, now: now, wall: wall)
            if pays(purse, at: wall) { attach(&purse, to: id, owed: owed, now: now) }
            let isEarly = pays(purse, at: wall)
            if !isEarly || (purse.open?.isNearEnd == true && !purse.isHeld) {
                prepareForGuard(relay, &purse, now: now, wall: wall)
                // One that the guard knows already pays at once.
                if purse.busy == nil, purse.stage == .standing {
                    useNext(of: &purse, now: now, wall: wall)
                    attach(&purse, to: id, owed: owed, now: now)
                }
            }
            let isLacking = purse.stage == .lacking && !pays(purse, at: wall)
            payments[id]?.hops[0].stage = isLacking ? .lacking : .none
        }
        // After what is owed: the guard looks at a voucher for longer than at a tick.
        let isHeld = purse.isHeld && pays(purse, at: wall)
        if purse.busy == nil, purse.stage == .ready, !isHeld, let message = purse.coming?.open() {
            purse.stage = .showing
            purse.busy = id
            steps.append(.say(id, .first, .payOpen(message)))
        }
        guards[relay] = purse
    }

    /// Whether the voucher the guard has pays for something more.
    private func pays(_ purse: GuardVoucher, at wall: WallTime) -> Bool {
        purse.open.map { isUsable($0, at: wall) } ?? false
    }

    /// Gives up the voucher that comes next, which the guard does not have.
    private mutating func giveUpNext(of purse: inout GuardVoucher) {
        guard let next = purse.coming else { return }
        _ = withWallet { $0.settle(next.name, spent: next.index, isRefused: true) }
        purse.coming = nil
        purse.stage = .none
    }

    /// Turns to the voucher that was made ready once the last is used up.
    private mutating func useNext(of purse: inout GuardVoucher, now: Instant, wall: WallTime) {
        guard !pays(purse, at: wall) else { return }
        guard purse.stage == .standing, let next = purse.coming else { return }
        if let old = purse.open { _ = withWallet { $0.settle(old.name, spent: old.index) } }
        purse.open = next
        purse.open?.begin(at: now)
        purse.coming = nil
        purse.stage = .none
        purse.isHeld = false
        purse.reserving = nil
    }

    /// Pays what is owed from the voucher the guard has.
    private mutating func attach(
        _ purse: inout GuardVoucher,
        to id: CircuitID,
        owed: UInt64,
        now: Instant
    ) {
        guard let name = purse.open?.name else { return }
        if let paid = purse.open?.advance(by: owed) {
            payments[id]?.hops[0].payer.notePaid(paid.ticks)
            payments[id]?.hops[0].lastPaid = now
            if let open = purse.open { noteSpent(open) }
            purse.busy = id
            steps.append(.say(id, .first, .payAttach(PayAttach(voucher: name, place: paid.place))))
        }
        if purse.reserving == nil, let mark = purse.open?.wantedReserve(for: owed),
            let number = reserve(name, mark)
        {
            purse.reserving = (number, mark)
        }
    }

    /// Takes a guard's next voucher, unless one is on its way: one it has taken before this start,
    /// or a new one.
    private mutating func prepareForGuard(
        _ relay: NodeID,
        _ purse: inout GuardVoucher,
        now: Instant,
        wall: WallTime
    ) {
        guard purse.stage == .none || purse.stage == .lacking else { return }
        let known = [purse.open?.name].compactMap(\.self)
        let resumed = withWallet { $0.resumable(for: relay, except: known, at: wall) } ?? nil
        if let resumed {
            purse.coming = OpenVoucher(resuming: resumed)
            purse.openedCount += 1
            purse.stage = .standing
            return
        }
        let isFast = purse.open?.isFast(at: now) ?? false
        let order = VoucherChoice.order(after: purse.openedCount, isGuard: true, isFast: isFast)
        let taken = withWallet { wallet in
            wallet.takeFirst(of: order, for: relay, asGuard: true, at: wall)
        }
        guard let taken = taken ?? nil else {
            purse.stage = .lacking
            return
        }
        if purse.open != nil {
            stockAhead(relay, after: taken.voucher, isFast: isFast, at: wall)
        }
        purse.coming = OpenVoucher(taken: taken.voucher)
        purse.openedCount += 1
        purse.stage = .taking(taken.stored)
    }

    /// Fills a guard's voucher to its class, unless a circuit over it goes on.
    mutating func fillGuardVoucher(of relay: NodeID) -> PayAttach? {
        guard !payments.values.contains(where: { $0.hops[0].relay == relay && $0.carriesUser }),
            var purse = guards[relay], purse.busy == nil,
            let top = purse.open?.topUp(), let open = purse.open
        else { return nil }
        guards[relay] = purse
        noteSpent(open)
        return PayAttach(voucher: open.name, place: top.place)
    }
}
