public import Base
import CryptoPrimitives
import Wire

// How vouchers come: what is to be bought, blinded, on disk, asked for and finished.
extension Wallet {
    mutating func begin(in tickets: TicketNetwork, now: Instant, at wall: WallTime) {
        let epoch = tickets.epoch(at: wall)
        let isReady = tickets.designated(epoch: epoch, version: tickets.setVersion).allSatisfy {
            tickets.key(of: $0, epoch: epoch, .trial) != nil
        }
        guard isReady, vouchers.count < Self.voucherLimit else {
            pauseUntil = now + Self.retry
            return
        }
        wants = wants.filter {
            pick($0.denomination, for: $0.relay, at: wall) == nil
                && ($0.denomination != .bulk || affordsBulk(1))
        }
        urgent = urgent.filter { relay in wants.contains { $0.relay == relay } }
        if let first = wants.min() {
            let denomination = first.denomination
            let relays = wants.filter { $0.denomination == denomination }.map(\.relay)
            let waitedFor = relays.filter(urgent.contains).sorted()
            let others = relays.filter { !urgent.contains($0) }.sorted()
            startOrder(
                denomination,
                waitedFor + others,
                urgent: urgent,
                epoch: epoch,
                in: tickets,
                at: wall
            )
        } else {
            startClaim(epoch: epoch, in: tickets, at: wall)
        }
    }

    mutating func startOrder(
        _ denomination: Denomination,
        _ wanted: [NodeID],
        urgent: Set<NodeID>,
        epoch: UInt32,
        in tickets: TicketNetwork,
        at wall: WallTime
    ) {
        var relays = Array(wanted.prefix(TicketLimits.orderCount))
        let batch = batchCount(denomination, for: relays, in: tickets)
        if denomination == .large { busyRelays.subtract(relays) }
        // Wanted anew while the flow is as fast, and not again where this order comes to nothing.
        if denomination == .bulk { wants = wants.filter { $0.denomination != .bulk } }
        if denomination == .trial {
            for relay in candidates where relays.count < batch && !relays.contains(relay) {
                relays.append(relay)
            }
        }
        // A full batch tells the mints nothing of what was wanted.
        var place = 0
        let base = relays
        while relays.count < batch {
            relays.append(base[place % base.count])
            place += 1
        }
        if let balance {
            let price = Credits(ticks: UInt64(denomination.tickCount)).hundredths
            let affordable = Int(clamping: balance.hundredths / price)
            relays = Array(relays.prefix(max(1, affordable)))
        }
        let new = relays.map { relay in
            var voucher = OwnedVoucher(
                network: network,
                epoch: epoch,
                denomination: denomination,
                relay: relay,
                random: &random
            )
            if !urgent.contains(relay) { voucher.restsUntil = drawRest(in: tickets, at: wall) }
            return voucher
        }
        draft = (.order(epoch: epoch, denomination), new)
        blind(new, epoch: epoch, in: tickets)
    }

    func batchCount(
        _ denomination: Denomination,
        for relays: [NodeID],
        in tickets: TicketNetwork
    ) -> Int {
        switch denomination {
        case .trial, .small: Int(clamping: tickets.parameters.voucherBatch)
        // Some for as long as a purchase takes, where they are used up fast.
        case .large: relays.contains(where: busyRelays.contains) ? 8 : 2
        // None beyond those wanted: so much is stranded where the flow ends.
        case .bulk: 1
        }
    }

    /// When a voucher bought now has rested: 5 to 60 minutes of an epoch of seven days, and in
    /// proportion of others.
    mutating func drawRest(in tickets: TicketNetwork, at wall: WallTime) -> WallTime {
        let ofWeek = 300 + random.next(below: 3_300)
        return wall + ofWeek * UInt64(tickets.parameters.ticketEpochSeconds) / (7 * 86_400)
    }

    mutating func startClaim(
        epoch: UInt32,
        in tickets: TicketNetwork,
        at wall: WallTime
    ) {
        guard !candidates.isEmpty,
            let old = owned.first(where: {
                tickets.isReclaimed($0.content.epoch, at: wall) && $0.left >= 16
            })
        else { return }
        let new = Denomination.change(for: old.left).enumerated().map { index, denomination in
            OwnedVoucher(
                network: network,
                epoch: epoch,
                denomination: denomination,
                relay: candidates[index % candidates.count],
                random: &random
            )
        }
        draft = (.claim(old.content.name, spent: old.spent ?? 0, epoch: epoch), new)
        blind(new, epoch: epoch, in: tickets)
    }

    mutating func blind(
        _ new: [OwnedVoucher],
        epoch: UInt32,
        in tickets: TicketNetwork
    ) {
        let keys = (0..<tickets.mintCount).map {
            tickets.keys(of: UInt8(clamping: $0), epoch: epoch)
        }
        stage = .blinding
        steps.append(.work(.blind(new, keys: keys)))
    }

    // MARK: Inputs

    /// Takes the outcome of key work.
    public mutating func finish(_ outcome: WalletWork.Outcome, now: Instant, at wall: WallTime) {
        switch outcome {
        case .failed:
            draft = nil
            pauseUntil = now + Self.retry
        case .blinded(let new, let blinded, let openers):
            guard let draft else { return }
            self.draft = nil
            let lists = blinded.map { SHA256.digest($0.flatMap(\.self)) }
            let payment: Purchase.Payment
            switch draft.payment {
            case .order(let epoch, let denomination):
                var order = MintOrder(
                    account: account,
                    sequence: sequence,
                    content: .withdraw(
                        epoch: epoch,
                        denomination: denomination,
                        count: new.count,
                        lists: lists
                    )
                )
                order.signature = key.sign(order.body, label: .order, network: network.rawValue)
                payment = .order(order)
            case .claim(let name, let spent, let epoch):
                guard let old = vouchers[name] else { return }
                payment = .claim(
                    MintReclaim(
                        relay: old.content.relay,
                        voucher: old.proof,
                        secret: old.reclaimSecret,
                        spent: spent,
                        epoch: epoch,
                        count: new.count,
                        lists: lists
                    ),
                    name
                )
            }
            let made = Purchase(
                payment: payment,
                vouchers: new,
                blinded: blinded,
                openers: openers
            )
            purchase = made
            answers = PurchaseAnswers()
            stage = .storing(
                store([RecordWrite(table: Table.purchase, key: [0], value: made.encoded)])
            )
        case .finalized(let made, let place):
            finishPurchase(made, badSigner: place, now: now)
        }
    }

    /// Learns that what bears this number is on disk.
    public mutating func stored(_ number: UInt64, now: Instant, at wall: WallTime) {
        switch stage {
        case .storing(number):
            stage = .asking
            guard let tickets else { return }
            askAll(in: tickets, now: now)
        case .keeping(number):
            stage = .blinding
            advance(to: now, at: wall)
        default: return
        }
    }

    mutating func askAll(in tickets: TicketNetwork, now: Instant) {
        guard let purchase else { return }
        let set = voters(for: purchase, in: tickets)
        for mint in set where answers.replies[mint] == nil && answers.retryAt[mint] ?? .zero <= now
        {
            let isAsked = questions.values.contains {
                if case .purchase(mint) = $0 { true } else { false }
            }
            guard !isAsked, purchase.canAsk(mint) else { continue }
            answers.retryAt[mint] = now + Self.retry
            ask(
                mint,
                .purchase(mint: mint),
                purchase.request(for: mint, certificates: certificates(for: mint))
            )
        }
        finalizeIfComplete(set, in: tickets)
    }

    func certificates(for mint: UInt8) -> [OrderCertificate] {
        guard sequence > 0 else { return [] }
        let first = answers.lacking[mint] ?? sequence - 1
        return (first..<max(first, sequence)).prefix(TicketLimits.certificateCount)
            .compactMap { certificates[$0] }
    }

    mutating func abandon(now: Instant, pause: TimeSpan) {
        purchase = nil
        answers = PurchaseAnswers()
        pauseUntil = now + pause
        _ = store([RecordWrite(table: Table.purchase, key: [0], value: nil)])
    }

    mutating func finalizeIfComplete(_ set: [UInt8], in tickets: TicketNetwork) {
        guard let purchase, case .asking = stage else { return }
        guard !purchase.isTransfer else { return finishTransfer(purchase, in: tickets) }
        guard set.allSatisfy({ answers.replies[$0] != nil }) else { return }
        let keys = set.compactMap { tickets.keys(of: $0, epoch: purchase.epoch) }
        guard keys.count == set.count else { return }
        stage = .finishing
        var vouchers = purchase.vouchers
        for index in vouchers.indices { vouchers[index].setVersion = tickets.setVersion }
        steps.append(
            .work(
                .finalize(
                    vouchers,
                    keys: keys,
                    set.map { purchase.openers[Int($0)] },
                    set.map { answers.replies[$0] ?? [] }
                )
            )
        )
    }

    mutating func finishPurchase(_ made: [OwnedVoucher]?, badSigner: Int, now: Instant) {
        guard let purchase, let tickets, case .finishing = stage else { return }
        guard let made else {
            let set = tickets.designated(epoch: purchase.epoch, version: tickets.setVersion)
            let mint = badSigner < set.count ? set[badSigner] : 0
            steps.append(.notice(.tagged(mint: mint)))
            answers.replies[mint] = nil
            answers.retryAt[mint] = now + Self.moneyRetry
            stage = .asking
            return
        }
        var writes = [RecordWrite(table: Table.purchase, key: [0], value: nil)]
        let ticks = made.reduce(0) { $0 + UInt64($1.content.denomination.tickCount) }
        switch purchase.payment {
        case .order(let order):
            let certificate = OrderCertificate(
                order: order,
                votes: answers.votes.map { MintVote(mint: $0.key, signature: $0.value) }
            )
            certificates[sequence] = certificate
            writes.append(
                RecordWrite(
                    table: Table.certificate,
                    key: NumberKey.key(sequence),
                    value: certificate.encoded
                )
            )
            sequence += 1
            sums.bought += ticks
            for mint in tickets.mints.keys.sorted() {
                ask(mint, .certificate, .certificates([certificate]))
            }
            steps.append(
                .notice(.bought(made.count, made.first?.content.denomination ?? .trial))
            )
        case .claim(let claim, let name):
            sums.spent += UInt64(claim.spent)
            sums.givenBack += UInt64(claim.voucher.denomination.tickCount - claim.spent)
            sums.reclaimed += ticks
            vouchers[name] = nil
            writes.append(RecordWrite(table: Table.voucher, key: name.bytes, value: nil))
            steps.append(.notice(.reclaimed(ticks: ticks)))
        }
        for voucher in made {
            vouchers[voucher.content.name] = voucher
            writes.append(write(voucher))
        }
        noteCost(of: purchase)
        self.purchase = nil
        answers = PurchaseAnswers()
        writes.append(standing)
        stage = .keeping(store(writes))
    }
}
