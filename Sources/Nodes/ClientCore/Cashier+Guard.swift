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
        guard guards[relay]?.busy == id else { return }
        guards[relay]?.busy = nil
        switch result.status {
        case .taken:
            if guards[relay]?.isShown == false { payments[id]?.hops[0].payer.notePaid(1) }
            guards[relay]?.isShown = true
            payments[id]?.hops[0].stage = .standing
        case .seen where guards[relay]?.isShown == false:
            // Opened over a circuit that is gone, and its answer with it.
            guards[relay]?.isShown = true
        case .unknown, .invalid, .epoch:
            // It was taken before: the guard may have lost its book, or its clock is ahead. Once.
            let isFirst = guards[relay]?.isShown == true && !payment.hops[0].wasRefused
            dropGuardVoucher(relay)
            guard isFirst else { return refused(result.status, by: .first, of: id, at: wall) }
            payments[id]?.hops[0].wasRefused = true
        case .seen, .keys, .full:
            dropGuardVoucher(relay)
            return refused(result.status, by: .first, of: id, at: wall)
        }
        for other in payments.keys.sorted() where payments[other]?.hops[0].relay == relay {
            tend(other, now: now, wall: wall)
        }
    }

    mutating func dropGuardVoucher(_ relay: NodeID) {
        guard let open = guards.removeValue(forKey: relay)?.open else { return }
        _ = withWallet { $0.settle(open.name, spent: open.index) }
    }

    /// Pays the guard by the voucher that lives across circuits.
    mutating func tendGuard(_ id: CircuitID, owed: UInt64, now: Instant, wall: WallTime) {
        guard owed > 0, let relay = payments[id]?.hops[0].relay else { return }
        var purse = guards[relay] ?? GuardVoucher()
        if case .taking = purse.stage { return }
        guard purse.busy == nil else { return }
        let isOver = purse.open.map { $0.left == 0 || !isAccepted($0, at: wall) } ?? true
        if isOver {
            guard let next = takeForGuard(relay, after: purse.open, wall: wall) else {
                if payments[id]?.hops[0].stage != .standing {
                    payments[id]?.hops[0].stage = .lacking
                }
                return
            }
            purse = next
            guards[relay] = purse
            if case .taking = purse.stage { return }
        }
        defer { guards[relay] = purse }
        if purse.isShown {
            if let paid = purse.open?.advance(by: owed), let name = purse.open?.name {
                payments[id]?.hops[0].payer.notePaid(paid.ticks)
                payments[id]?.hops[0].lastPaid = now
                if let open = purse.open { noteSpent(open) }
                if payments[id]?.hops[0].stage != .standing {
                    payments[id]?.hops[0].stage = .showing
                }
                purse.busy = id
                steps.append(
                    .say(id, .first, .payAttach(PayAttach(voucher: name, place: paid.place)))
                )
            }
            if purse.reserving == nil, let open = purse.open,
                let mark = open.wantedReserve(for: owed), let number = reserve(open.name, mark)
            {
                purse.reserving = (number, mark)
            }
        } else if let message = purse.open?.open() {
            purse.busy = id
            if payments[id]?.hops[0].stage != .standing { payments[id]?.hops[0].stage = .showing }
            steps.append(.say(id, .first, .payOpen(message)))
        }
    }

    /// A guard's next voucher: one it has taken before this start, or a new one.
    mutating func takeForGuard(
        _ relay: NodeID,
        after old: OpenVoucher?,
        wall: WallTime
    ) -> GuardVoucher? {
        if let old { _ = withWallet { $0.settle(old.name, spent: old.index) } }
        var next = GuardVoucher()
        if let known = withWallet({ $0.resumable(for: relay, at: wall) }) ?? nil,
            known.content.name != old?.name
        {
            next.open = OpenVoucher(resuming: known)
            next.isShown = true
            return next
        }
        let order: [Denomination] = [.large, .small, .trial]
        let taken = withWallet { wallet in
            wallet.takeFirst(of: order, for: relay, asGuard: true, at: wall)
        }
        guard let taken = taken ?? nil else { return nil }
        if old != nil { stockAhead(relay, at: wall) }
        next.open = OpenVoucher(taken: taken.voucher)
        next.stage = .taking(taken.stored)
        return next
    }

    /// Fills a guard's voucher to its class, unless a circuit over it goes on.
    mutating func fillGuardVoucher(of relay: NodeID) -> PayAttach? {
        guard !payments.values.contains(where: { $0.hops[0].relay == relay && $0.carriesUser }),
            var purse = guards[relay], purse.isShown, purse.busy == nil,
            let top = purse.open?.topUp(), let open = purse.open
        else { return nil }
        guards[relay] = purse
        noteSpent(open)
        return PayAttach(voucher: open.name, place: top.place)
    }
}
