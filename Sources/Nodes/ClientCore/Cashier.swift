import Base
import Circuits
import CryptoPrimitives
import DequeModule
import Tickets
import Wire

/// What a client's control plane does about pay: keeps the wallet, pays every hop of every circuit
/// that is used just ahead of what it carries, and leaves those that do not give what they are paid.
///
/// Sans-IO, part of ``ClientControl``, which drains ``nextStep()`` after each call. Nothing is shown
/// to a hop before the disk knows of it. Bounds: those of circuits, one purse for each guard.
/// Spec: PROTOCOL.md §A.5, §A.7.
struct Cashier: ~Copyable {
    /// Time a circuit waits for vouchers before it is given up.
    static let lackLimit: TimeSpan = .seconds(10)
    /// Time a hop has to count what it was paid.
    static let countLimit: TimeSpan = .seconds(3)
    /// Time by which the reports of one round may be apart.
    static let wayTime: TimeSpan = .milliseconds(100)
    static let queueTimeLimit: TimeSpan = .milliseconds(100)
    static let judgeInterval: TimeSpan = .seconds(4)
    static let judgeCells: UInt64 = 256
    static let askInterval: TimeSpan = .milliseconds(300)
    private static let keepInterval: TimeSpan = .seconds(30)
    /// Numbers of stores that are not the wallet's.
    private static let ownNumbers: UInt64 = 1 << 63

    /// Something for the control plane to do.
    enum Step {
        case say(CircuitID, HopIndex, ControlMessage)
        /// Leave the circuit; the hop is to blame where one is named.
        case fail(CircuitID, HopIndex?, String)
        /// Every hop has taken a voucher.
        case standing(CircuitID)
        case work(WalletWork)
        case errand(TicketErrand)
        case notice(Wallet.Notice)
    }

    var wallet: Wallet?
    var tickets: TicketNetwork?
    var parameters = NetworkParameters()
    var random: RandomGenerator
    var payments: [CircuitID: CircuitPayment] = [:]
    var guards: [NodeID: GuardVoucher] = [:]
    var reputation: RelayReputation
    var steps: Deque<Step> = []
    private var nextNumber = Cashier.ownNumbers
    private var keepAt: Instant = .distantFuture
    private var stock = VoucherStock()

    init(
        wallet: consuming Wallet?,
        reputation: RelayReputation,
        random: consuming RandomGenerator
    ) {
        self.wallet = wallet
        self.reputation = reputation
        self.random = random
        drainWallet()
    }

    // MARK: Outputs

    mutating func nextStep() -> Step? {
        steps.popFirst()
    }

    var nextDeadline: Instant {
        var deadline = min(keepAt, stock.nextDeadline)
        switch wallet {
        case .some(let wallet): deadline = min(deadline, wallet.nextDeadline)
        case .none: break
        }
        for payment in payments.values where !payment.isStanding {
            deadline = min(deadline, payment.begun + Self.lackLimit)
        }
        return deadline
    }

    /// Whether circuits must be paid for.
    func isRequired(at wall: WallTime) -> Bool {
        parameters.paymentsRequired && tickets?.sellsVouchers(at: wall) == true
    }

    /// Whether there is a wallet at all.
    var hasWallet: Bool {
        switch wallet {
        case .some: true
        case .none: false
        }
    }

    /// Whether the circuit may carry packets: every hop has taken a voucher, or none wants one.
    func mayCarry(_ id: CircuitID) -> Bool {
        payments[id]?.isStanding ?? true
    }

    /// Whether the circuit is paid for.
    func pays(_ id: CircuitID) -> Bool {
        payments[id] != nil
    }

    /// What was paid to each hop of a circuit; `nil` where it is not paid for.
    func report(of id: CircuitID) -> CircuitPayReport? {
        guard let payment = payments[id] else { return nil }
        return CircuitPayReport(
            paidTicks: payment.hops.map(\.payer.paidTicks),
            lacking: payment.hops.filter(\.isLacking).map(\.relay)
        )
    }

    /// Relays of `ids` for which there is no voucher; with `hasRested`, none that was bought long
    /// enough ago.
    func unpayable(_ ids: [NodeID], hasRested: Bool, at wall: WallTime) -> Set<NodeID> {
        switch wallet {
        case .some(let wallet):
            let payable = wallet.payable(at: wall, hasRested: hasRested)
            return Set(ids.filter { !payable.contains($0) })
        case .none: return []
        }
    }

    /// Whether all hops of a circuit could be paid now, the guard being the first of `relays`.
    func canPay(_ relays: [NodeID], at wall: WallTime) -> Bool {
        guard isRequired(at: wall), let first = relays.first else { return false }
        let open = guards[first]?.open
        let isOpen = open.map { isUsable($0, at: wall) } ?? false
        switch wallet {
        case .some(let wallet):
            let payable = wallet.payable(at: wall)
            return
                (isOpen || payable.contains(first)
                || wallet.resumable(for: first, at: wall) != nil)
                && relays.dropFirst().allSatisfy(payable.contains)
        case .none: return false
        }
    }

    // MARK: Wallet

    /// Looks at the wallet, or changes it; `nil` where there is none.
    mutating func withWallet<R>(_ body: (inout Wallet) -> R) -> R? {
        guard var taken = wallet.take() else { return nil }
        let result = body(&taken)
        wallet = consume taken
        drainWallet()
        return result
    }

    private mutating func drainWallet() {
        while let step = wallet?.nextStep() {
            switch step {
            case .store(let number, let writes): steps.append(.errand(.store(number, writes)))
            case .work(let work): steps.append(.work(work))
            case .ask(let number, let mint, let request):
                steps.append(.errand(.ask(number, mint: mint, request)))
            case .notice(let notice):
                steps.append(.notice(notice))
            }
        }
    }

    mutating func finish(_ outcome: WalletWork.Outcome, now: Instant, wall: WallTime) {
        _ = withWallet { $0.finish(outcome, now: now, at: wall) }
        tendLacking(now: now, wall: wall)
    }

    mutating func answered(_ number: UInt64, _ reply: MintReply?, now: Instant, wall: WallTime) {
        _ = withWallet { wallet in
            if let reply {
                wallet.receive(reply, to: number, now: now, at: wall)
            } else {
                wallet.failed(number, now: now)
            }
        }
    }

    /// Learns whether what bears this number is on disk.
    mutating func stored(_ number: UInt64, isDone: Bool, now: Instant, wall: WallTime) {
        guard number < Self.ownNumbers else { return }
        guard isDone else { return storeFailed(number, now: now) }
        _ = withWallet { $0.stored(number, now: now, at: wall) }
        for relay in guards.keys.sorted() {
            if guards[relay]?.stage == .taking(number) { guards[relay]?.stage = .ready }
            if let reserving = guards[relay]?.reserving, reserving.number == number {
                guards[relay]?.reserving = nil
                guards[relay]?.open?.noteReserved(reserving.mark)
            }
        }
        for id in payments.keys.sorted() {
            for offset in 0..<3 {
                if payments[id]?.hops[offset].stage == .taking(number) {
                    show(id, offset)
                } else if let reserving = payments[id]?.hops[offset].reserving,
                    reserving.number == number
                {
                    payments[id]?.hops[offset].reserving = nil
                    payments[id]?.hops[offset].open?.noteReserved(reserving.mark)
                }
            }
            tend(id, now: now, wall: wall)
        }
    }

    /// Nothing is shown that is not on disk: what waited for it is given up.
    private mutating func storeFailed(_ number: UInt64, now: Instant) {
        for relay in guards.keys.sorted()
        where guards[relay]?.stage == .taking(number)
            || guards[relay]?.reserving?.number == number
        {
            guards[relay] = nil
        }
        for id in payments.keys.sorted() {
            let waits =
                payments[id]?.hops.contains {
                    $0.stage == .taking(number) || $0.reserving?.number == number
                } ?? false
            if waits { steps.append(.fail(id, nil, "the wallet cannot be written")) }
        }
    }

    // MARK: Network

    mutating func setNetwork(_ consensus: Consensus, now: Instant, wall: WallTime) {
        parameters = consensus.parameters
        tickets = TicketNetwork(consensus, known: tickets)
        stock.setNetwork(parameters, isPossible: tickets != nil && hasWallet, now: now)
        guard let tickets else { return }
        _ = withWallet { wallet in
            wallet.setTickets(tickets)
            wallet.advance(to: now, at: wall)
        }
    }

    /// Relays the wallet should hold vouchers for.
    mutating func setRelays(guards: [NodeID], middles: [NodeID], exits: [NodeID]) {
        stock.setRelays(guards: guards, middles: middles, exits: exits, random: &random)
        let candidates = stock.candidates
        _ = withWallet { $0.setCandidates(candidates) }
    }

    // MARK: Circuits

    /// Begins to pay for a circuit: it is used from now on.
    ///
    /// - Parameter carriesUser: whether it carries what a user does; else its end shows nothing of
    ///   that, and its guard's voucher is not filled.
    mutating func begin(
        _ id: CircuitID,
        _ relays: [NodeID],
        windows: [UInt16],
        carriesUser: Bool,
        now: Instant,
        wall: WallTime
    ) {
        guard payments[id] == nil, relays.count == 3, isRequired(at: wall) else { return }
        payments[id] = CircuitPayment(
            relays,
            parameters: parameters,
            headStarts: (0..<3).map { _ in random.next(below: 4) },
            windows: windows,
            carriesUser: carriesUser,
            now: now
        )
        if keepAt == .distantFuture { keepAt = now + Self.keepInterval }
        tend(id, now: now, wall: wall)
    }

    /// Ends what is paid for a circuit.
    ///
    /// - Parameter isOrderly: whether the client ends it, and nothing was wrong with it: then each
    ///   voucher that ends with it is filled to its class, and the guard's with its last circuit.
    /// - Returns: what the hops are to be told before it ends.
    mutating func end(_ id: CircuitID, isOrderly: Bool) -> [(hop: HopIndex, ControlMessage)] {
        guard let payment = payments.removeValue(forKey: id) else { return [] }
        let isFilled = isOrderly && payment.blamed == nil
        var messages: [(hop: HopIndex, ControlMessage)] = []
        for offset in 1...2 {
            guard let hop = HopIndex(offset: offset) else { continue }
            let known = payment.hops[offset]
            let taken = [known.open, known.stage == .standing ? known.coming : nil]
            for var voucher in taken.compactMap(\.self) {
                // What is not reserved is not shown: the class is then missed by a little.
                if isFilled, let top = voucher.topUp() {
                    messages.append((hop, .payTick(top.place)))
                }
                _ = withWallet { $0.settle(voucher.name, spent: voucher.index) }
            }
            if known.stage != .standing, let shown = known.coming {
                _ = withWallet { $0.settle(shown.name, spent: shown.index) }
            }
        }
        let relay = payment.hops[0].relay
        if guards[relay]?.busy == id {
            guards[relay]?.busy = nil
            // Whether the guard has it is told by showing it again.
            if guards[relay]?.stage == .showing { guards[relay]?.stage = .ready }
        }
        if isFilled, payment.carriesUser, let attach = fillGuardVoucher(of: relay) {
            messages.append((.first, .payAttach(attach)))
        }
        return messages
    }

    /// Takes the client's own counts of a circuit.
    mutating func counted(_ id: CircuitID, _ counts: HopCounts, now: Instant, wall: WallTime) {
        guard payments[id] != nil else { return }
        payments[id]?.note(counts)
        askForJudge(id, now: now)
        tend(id, now: now, wall: wall)
    }

    /// Takes a hop's answer to a voucher.
    mutating func receive(
        _ result: PayResult,
        from hop: HopIndex,
        of id: CircuitID,
        now: Instant,
        wall: WallTime
    ) {
        guard let payment = payments[id] else { return }
        if hop == .first {
            receiveFromGuard(result, of: id, payment, now: now, wall: wall)
        } else {
            guard payment.hops[hop.offset].stage == .showing else { return }
            guard result.status == .taken else {
                let known = payment.hops[hop.offset]
                guard !result.status.isFault, let open = known.open, isUsable(open, at: wall),
                    let refused = known.coming
                else { return refused(result.status, by: hop, of: id, at: wall) }
                _ = withWallet { $0.settle(refused.name, spent: refused.index) }
                payments[id]?.hops[hop.offset].coming = nil
                payments[id]?.hops[hop.offset].stage = .none
                payments[id]?.hops[hop.offset].isHeld = true
                return
            }
            payments[id]?.hops[hop.offset].stage = .standing
            payments[id]?.hops[hop.offset].isStanding = true
            payments[id]?.hops[hop.offset].payer.notePaid(1)
        }
        noteStanding(id)
        tend(id, now: now, wall: wall)
    }

    mutating func refused(
        _ status: PayResult.Status,
        by hop: HopIndex,
        of id: CircuitID,
        at wall: WallTime
    ) {
        if status.isFault, let relay = payments[id]?.hops[hop.offset].relay {
            reputation.note(relay, isGood: false, at: wall)
        }
        fail(id, hop, "hop \(hop.rawValue) does not take a voucher (\(status))")
    }

    mutating func fail(_ id: CircuitID, _ hop: HopIndex?, _ reason: String) {
        steps.append(.fail(id, hop, reason))
    }

    mutating func noteStanding(_ id: CircuitID) {
        guard let payment = payments[id], !payment.isStanding,
            payment.hops.allSatisfy(\.isStanding)
        else { return }
        payments[id]?.isStanding = true
        steps.append(.standing(id))
    }

    // MARK: Paying

    mutating func tendLacking(now: Instant, wall: WallTime) {
        for id in payments.keys.sorted()
        where payments[id]?.hops.contains(where: { $0.stage == .lacking }) == true {
            tend(id, now: now, wall: wall)
        }
    }

    /// Pays each hop what it is owed.
    mutating func tend(_ id: CircuitID, now: Instant, wall: WallTime) {
        // Nothing of it is held meanwhile, so that it is changed where it lies.
        guard let owed = payments[id]?.hops[0].payer.owed else { return }
        tendGuard(id, owed: owed, now: now, wall: wall)
        for offset in 1...2 {
            guard let owed = payments[id]?.hops[offset].payer.owed else { return }
            tend(id, offset, owed: owed, now, wall)
        }
    }

    mutating func tend(
        _ id: CircuitID,
        _ offset: Int,
        owed: UInt64,
        _ now: Instant,
        _ wall: WallTime
    ) {
        guard owed > 0, let hop = HopIndex(offset: offset) else { return }
        guard pays(id, offset, now: now, wall: wall) else {
            return prepare(id, offset, now: now, wall: wall)
        }
        let paid = payments[id]?.hops[offset].open?.advance(by: owed)
        guard let open = payments[id]?.hops[offset].open else { return }
        if let paid {
            payments[id]?.hops[offset].payer.notePaid(paid.ticks)
            payments[id]?.hops[offset].lastPaid = now
            noteSpent(open)
            steps.append(.say(id, hop, .payTick(paid.place)))
        }
        let isReserving = payments[id]?.hops[offset].reserving != nil
        if !isReserving, let mark = open.wantedReserve(for: owed),
            let number = reserve(open.name, mark)
        {
            payments[id]?.hops[offset].reserving = (number, mark)
        }
        if open.isNearEnd, payments[id]?.hops[offset].isHeld == false {
            prepare(id, offset, now: now, wall: wall)
        }
    }

    /// Whether a voucher pays a hop now; turns to the one that was made ready once the last is used
    /// up.
    private mutating func pays(
        _ id: CircuitID,
        _ offset: Int,
        now: Instant,
        wall: WallTime
    ) -> Bool {
        guard let known = payments[id]?.hops[offset] else { return false }
        if let open = known.open, isUsable(open, at: wall) { return true }
        guard known.stage == .standing, var next = known.coming else { return false }
        if let old = known.open { _ = withWallet { $0.settle(old.name, spent: old.index) } }
        next.begin(at: now)
        payments[id]?.hops[offset].open = next
        payments[id]?.hops[offset].coming = nil
        payments[id]?.hops[offset].stage = .none
        payments[id]?.hops[offset].isHeld = false
        payments[id]?.hops[offset].reserving = nil
        return isUsable(next, at: wall)
    }

    /// Takes the voucher that comes next for a hop, unless one is on its way: a small one first.
    private mutating func prepare(
        _ id: CircuitID,
        _ offset: Int,
        now: Instant,
        wall: WallTime
    ) {
        guard let known = payments[id]?.hops[offset],
            known.stage == .none || known.stage == .lacking
        else { return }
        let isFast = known.open?.isFast(at: now) ?? false
        let order = VoucherChoice.order(
            after: known.openedCount,
            isGuard: false,
            isFast: isFast
        )
        let relay = known.relay
        let taken = withWallet { $0.takeFirst(of: order, for: relay, at: wall) } ?? nil
        guard let taken else {
            payments[id]?.hops[offset].stage = .lacking
            return
        }
        // Who carries this much is likely to carry more: the next one is there before it is needed.
        if known.openedCount > 0 {
            stockAhead(relay, after: taken.voucher, isFast: isFast, at: wall)
        }
        payments[id]?.hops[offset].coming = OpenVoucher(taken: taken.voucher)
        payments[id]?.hops[offset].openedCount += 1
        payments[id]?.hops[offset].stage = .taking(taken.stored)
    }

    /// Sees to it that a large voucher is there for a relay that is paid a lot, and a bulk one where
    /// that goes fast.
    mutating func stockAhead(
        _ relay: NodeID,
        after taken: OwnedVoucher,
        isFast: Bool,
        at wall: WallTime
    ) {
        _ = withWallet {
            $0.stockAhead(relay, after: taken.content.denomination, isFast: isFast, at: wall)
        }
    }

    /// Shows a hop the voucher that is on disk as shown.
    private mutating func show(_ id: CircuitID, _ offset: Int) {
        guard let hop = HopIndex(offset: offset),
            let message = payments[id]?.hops[offset].coming?.open()
        else { return }
        payments[id]?.hops[offset].stage = .showing
        steps.append(.say(id, hop, .payOpen(message)))
    }

    mutating func noteSpent(_ open: OpenVoucher) {
        _ = withWallet { $0.note(spent: open.index, of: open.name) }
    }

    mutating func reserve(_ name: Bytes32, _ mark: UInt32) -> UInt64? {
        withWallet { $0.reserve(name, upTo: mark) } ?? nil
    }

    /// Whether a voucher pays for something more.
    func isUsable(_ open: OpenVoucher, at wall: WallTime) -> Bool {
        open.left > 0 && tickets?.isAccepted(open.voucher.content.epoch, at: wall) == true
    }

    // MARK: Time

    mutating func advance(to now: Instant, wall: WallTime) {
        if keepAt <= now {
            keepAt = payments.isEmpty ? .distantFuture : now + Self.keepInterval
            let writes = reputation.takeWrites()
            if !writes.isEmpty {
                steps.append(.errand(.store(nextNumber, writes)))
                nextNumber += 1
            }
        }
        let wants = stock.takeWants(now: now, random: &random)
        _ = withWallet { wallet in
            for want in wants { wallet.stock(want.denomination, for: want.relay, at: wall) }
            wallet.advance(to: now, at: wall)
        }
        for id in payments.keys.sorted() {
            guard let payment = payments[id], !payment.isStanding,
                now >= payment.begun + Self.lackLimit
            else { continue }
            let lacking = payment.hops.filter(\.isLacking).map(\.relay)
            let reason =
                lacking.first.map { "the wallet has no voucher for \($0)" }
                ?? "a hop does not answer to its voucher"
            fail(id, nil, reason)
        }
        tendLacking(now: now, wall: wall)
    }
}

extension PayResult.Status {
    /// Whether it says that something is wrong; what a relay that is busy or behind says does not.
    var isFault: Bool {
        switch self {
        case .invalid, .seen, .unknown: true
        case .taken, .epoch, .keys, .full: false
        }
    }
}
