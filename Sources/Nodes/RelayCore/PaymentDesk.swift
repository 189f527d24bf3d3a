import Base
import Circuits
import CryptoPrimitives
import DequeModule
import Tickets
import Wire

/// What a relay's control plane does about pay: takes vouchers and ticks, says what each circuit may
/// use, reports what it counted, hands in what it earned.
///
/// Sans-IO, part of ``RelayControl``, which drains ``nextStep()`` after each call. Key work and the
/// disk are asked for; nothing is served for a voucher before it is on disk. Bounds: one account for
/// each circuit, ``checkLimit`` vouchers in check, one store under way. Spec: PROTOCOL.md §A.5.
struct PaymentDesk: ~Copyable {
    /// Vouchers in check at a time.
    static let checkLimit = 256
    /// Cells of a circuit nobody has paid for.
    static let freeCells: UInt64 = 32
    /// Payments that come to nothing after which a circuit ends.
    private static let refusalLimit = 3
    /// The shortest time between two reports nobody asked for.
    private static let reportInterval: TimeSpan = .milliseconds(100)
    /// Time after which ticks are put on disk.
    private static let keepInterval: TimeSpan = .seconds(5)

    /// Something for the control plane to do.
    enum Step {
        case say(CircuitID, ControlMessage)
        case allow(CircuitID, CellAllowance)
        case count(CircuitID)
        case violate(CircuitID)
        case verify(CircuitID, VoucherCheck)
        case errand(TicketErrand)
    }

    private struct Account {
        var isRequired: Bool
        var tickCells: UInt32
        let hop: HopIndex
        var contact: FirstContact?
        var paidTicks: UInt64 = 0
        /// Cells an authority's pass is good for.
        var passCells: UInt64 = 0
        /// The voucher a tick is for.
        var newest: Bytes32?
        /// The one before it: a client shows the next before it has used up the last.
        var previous: Bytes32?
        var refusals = 0
        var isAsked = false
        var reportedAt: Instant = .zero
    }

    /// A voucher that waits for the disk.
    private struct Arrival {
        var circuit: CircuitID
        var name: Bytes32
        var ticks: UInt32
    }

    private let relay: NodeID
    private let network: NetworkID
    private var random: RandomGenerator
    private var tickets: TicketNetwork?
    private var parameters = NetworkParameters()
    private var book: VoucherBook
    private var accounts: [CircuitID: Account] = [:]
    private var checksInWork = 0
    private var passes = PassRegister()
    private var contacts = FirstContactLimiter()
    private var deposits: DepositRound
    private var steps: Deque<Step> = []
    private var nextNumber: UInt64 = 1
    // At most one store is under way; what comes meanwhile goes with the next.
    private var storing: (number: UInt64, writes: [RecordWrite], arrivals: [Arrival])?
    private var arrivals: [Arrival] = []
    private var unsaved: [RecordWrite] = []
    private var keepAt: Instant = .distantFuture
    /// Whether the last store came to nothing.
    private(set) var cannotStore = false

    init(
        relay: NodeID,
        network: NetworkID,
        book: VoucherBook,
        random: consuming RandomGenerator
    ) {
        self.relay = relay
        self.network = network
        self.book = book
        self.random = random
        deposits = DepositRound()
    }

    // MARK: Outputs

    mutating func nextStep() -> Step? {
        steps.popFirst()
    }

    var nextDeadline: Instant {
        min(keepAt, deposits.nextDeadline)
    }

    /// What was earned so far.
    var earnings: VoucherBook.Earnings {
        book.earnings
    }

    /// What was earned by the vouchers of each day since 1970, ascending.
    var earningsByDay: [(day: UInt32, earnings: VoucherBook.Earnings)] {
        book.earningsByDay
    }

    // MARK: Network

    /// Takes the mints and parameters of a newer consensus.
    mutating func setNetwork(_ consensus: Consensus, now: Instant) {
        parameters = consensus.parameters
        tickets = TicketNetwork(consensus, known: tickets)
        let seconds = UInt64(max(1, parameters.depositSeconds))
        deposits.plan(every: seconds, isPossible: tickets != nil, now: now, random: &random)
    }

    /// Takes the keys whose passes count, by index.
    mutating func setAuthorities(_ keys: [UInt8: Bytes32]) {
        passes.authorities = keys
    }

    // MARK: Circuits

    /// Whether a circuit of first contact may be made now.
    mutating func admitsContact(from source: FirstContactLimiter.Source, now: Instant) -> Bool {
        contacts.admit(source, now: now)
    }

    private func isRequired(at wall: WallTime) -> Bool {
        parameters.paymentsRequired && tickets?.sellsVouchers(at: wall) == true
    }

    /// Ticks a circuit made now is served beyond what it has paid; 0 where nobody pays.
    func windowTicks(at wall: WallTime) -> UInt16 {
        isRequired(at: wall) ? UInt16(clamping: HopPayer.credit) : 0
    }

    /// Opens the account of a circuit; what it may use, or `nil` where nothing is counted.
    mutating func open(
        _ id: CircuitID,
        hop: HopIndex,
        isContact: Bool,
        now: Instant,
        wall: WallTime
    ) -> CellAllowance? {
        let isRequired = isRequired(at: wall)
        let account = Account(
            isRequired: isRequired,
            tickCells: hop == .third ? parameters.exitTickCells : parameters.tickCells,
            hop: hop,
            contact: isContact ? FirstContact(begun: now) : nil
        )
        if isContact { contacts.begin() }
        accounts[id] = account
        return isRequired ? allowance(account, now: now) : nil
    }

    /// Counts a circuit as an exit's from now on, wherever in it this relay stands.
    mutating func noteExit(_ id: CircuitID, now: Instant) {
        guard accounts[id]?.isRequired == true,
            accounts[id]?.tickCells != parameters.exitTickCells
        else { return }
        accounts[id]?.tickCells = parameters.exitTickCells
        allow(id, now: now)
    }

    mutating func close(_ id: CircuitID) {
        guard let account = accounts.removeValue(forKey: id) else { return }
        if account.contact != nil { contacts.end() }
    }

    /// Takes what a shard counted.
    mutating func counted(_ id: CircuitID, _ counts: CellCounts, now: Instant) {
        guard let account = accounts[id] else { return }
        if account.contact != nil { allow(id, now: now) }
        guard
            account.isAsked || counts.isUnpaid || now - account.reportedAt >= Self.reportInterval
        else { return }
        accounts[id]?.isAsked = false
        accounts[id]?.reportedAt = now
        let report = HopReport(
            paidTicks: UInt32(truncatingIfNeeded: account.paidTicks),
            forwardIn: UInt32(truncatingIfNeeded: counts.forwardIn),
            forwardOut: UInt32(truncatingIfNeeded: counts.forwardOut),
            backwardIn: UInt32(truncatingIfNeeded: counts.backwardIn),
            backwardOut: UInt32(truncatingIfNeeded: counts.backwardOut),
            queueDrops: UInt16(clamping: counts.queueDrops),
            queueDelay: counts.queueDelay
        )
        steps.append(.say(id, .report(report)))
    }

    // MARK: Messages

    mutating func receive(_ open: PayOpen, over id: CircuitID, wall: WallTime) {
        guard accounts[id] != nil else { return }
        guard let tickets else { return refuse(id, .keys) }
        guard checksInWork < Self.checkLimit, !cannotStore else { return answer(id, .full) }
        do throws(VoucherFault) {
            let check = try book.begin(open, relay: relay, in: tickets, at: wall)
            checksInWork += 1
            steps.append(.verify(id, check))
        } catch {
            refuse(id, error.status)
        }
    }

    /// Takes the outcome of a check: one that is good waits for the disk.
    mutating func finish(_ id: CircuitID, _ check: VoucherCheck, isValid: Bool) {
        checksInWork -= 1
        book.finish(check, isValid: isValid)
        guard isValid else { return refuse(id, .invalid) }
        unsaved += book.takeWrites()
        arrivals.append(
            Arrival(circuit: id, name: check.name, ticks: check.open.place.index)
        )
        store()
    }

    mutating func receive(_ place: ChainPlace, over id: CircuitID, now: Instant, wall: WallTime) {
        guard let account = accounts[id], let newest = account.newest else {
            return refuse(id, .unknown)
        }
        // A place below what is paid on a voucher is none of it, and costs no hash.
        if let previous = account.previous, let paid = book.paid(previous), paid < place.index,
            pay(previous, place, over: id, now: now, wall: wall)
        {
            return
        }
        guard pay(newest, place, over: id, now: now, wall: wall) else {
            return refuse(id, .invalid)
        }
    }

    mutating func receive(
        _ attach: PayAttach,
        over id: CircuitID,
        now: Instant,
        wall: WallTime
    ) {
        guard let account = accounts[id] else { return }
        // Elsewhere than at the guard it would link a client's circuits.
        guard account.hop == .first else { return steps.append(.violate(id)) }
        guard book.paid(attach.voucher) != nil else { return refuse(id, .unknown) }
        guard pay(attach.voucher, attach.place, over: id, now: now, wall: wall) else {
            return refuse(id, .invalid)
        }
        accounts[id]?.newest = attach.voucher
        answer(id, .taken)
    }

    mutating func receiveReportAsk(over id: CircuitID) {
        guard accounts[id] != nil else { return }
        accounts[id]?.isAsked = true
        steps.append(.count(id))
    }

    mutating func receive(_ pass: PayPass, over id: CircuitID, now: Instant, wall: WallTime) {
        guard let account = accounts[id] else { return }
        guard passes.take(pass, relay: relay, network: network, at: wall) else {
            return refuse(id, .invalid)
        }
        accounts[id]?.passCells =
            account.passCells + UInt64(parameters.measureCells) * 2 + PassRegister.spareCells
        allow(id, now: now)
        answer(id, .taken)
    }

    /// Takes further ticks; false where the place is not on the voucher's chain, or it is too late.
    private mutating func pay(
        _ name: Bytes32,
        _ place: ChainPlace,
        over id: CircuitID,
        now: Instant,
        wall: WallTime
    ) -> Bool {
        guard let before = book.paid(name), let epoch = book.epoch(of: name),
            tickets?.isTicked(epoch, at: wall) == true
        else { return false }
        do throws(VoucherFault) {
            let after = try book.pay(name, place)
            accounts[id]?.paidTicks += UInt64(after - before)
        } catch {
            return false
        }
        if keepAt == .distantFuture { keepAt = now + Self.keepInterval }
        allow(id, now: now)
        return true
    }

    private mutating func refuse(_ id: CircuitID, _ status: PayResult.Status) {
        guard accounts[id] != nil else { return }
        accounts[id]?.refusals += 1
        if accounts[id]?.refusals == Self.refusalLimit { return steps.append(.violate(id)) }
        answer(id, status)
    }

    private mutating func answer(_ id: CircuitID, _ status: PayResult.Status) {
        guard let account = accounts[id] else { return }
        let paid = UInt32(truncatingIfNeeded: account.paidTicks)
        steps.append(.say(id, .payResult(PayResult(status: status, paidTicks: paid))))
    }

    // MARK: Allowances

    private mutating func allow(_ id: CircuitID, now: Instant) {
        guard let account = accounts[id], account.isRequired else { return }
        steps.append(.allow(id, allowance(account, now: now)))
    }

    private func allowance(_ account: Account, now: Instant) -> CellAllowance {
        var limit = account.contact?.cellLimit(at: now) ?? Self.freeCells
        if account.paidTicks > 0 {
            limit = (account.paidTicks + HopPayer.credit) * UInt64(account.tickCells)
        }
        let isContact = account.contact != nil && account.paidTicks == 0
        return CellAllowance(
            cellLimit: limit + account.passCells,
            tickCells: isContact ? FirstContact.reportCells : account.tickCells,
            reportInterval: isContact ? .zero : Self.reportInterval,
            carriesPackets: account.paidTicks > 0 || account.passCells > 0
        )
    }

    // MARK: Disk

    private mutating func store() {
        guard storing == nil, !unsaved.isEmpty else { return }
        let number = drawNumber()
        storing = (number, unsaved, arrivals)
        steps.append(.errand(.store(number, unsaved)))
        unsaved = []
        arrivals = []
    }

    /// Learns whether what bears this number is on disk.
    mutating func stored(_ number: UInt64, isDone: Bool, now: Instant) {
        guard let done = storing, done.number == number else { return }
        storing = nil
        cannotStore = !isDone
        for arrival in done.arrivals {
            guard isDone else {
                answer(arrival.circuit, .full)
                continue
            }
            guard var account = accounts[arrival.circuit] else { continue }
            account.paidTicks += UInt64(arrival.ticks)
            account.previous = account.newest
            account.newest = arrival.name
            accounts[arrival.circuit] = account
            allow(arrival.circuit, now: now)
            answer(arrival.circuit, .taken)
        }
        guard isDone else {
            // The vouchers are known as seen; what they paid is written when the disk takes it.
            unsaved = done.writes + unsaved
            keepAt = now + Self.keepInterval
            return
        }
        store()
    }

    // MARK: Time and deposits

    mutating func advance(to now: Instant, wall: WallTime) {
        if keepAt <= now {
            keepAt = .distantFuture
            unsaved += book.takeTickWrites()
            store()
        }
        guard let tickets, deposits.isDue(now: now, random: &random) else { return }
        book.expire(in: tickets, at: wall)
        // What is handed in is on disk then: after a crash the mints know of no more than the book.
        unsaved += book.takeTickWrites() + book.takeWrites()
        store()
        for mint in tickets.mints.keys.sorted() { deposit(with: mint) }
    }

    private mutating func deposit(with mint: UInt8) {
        let rows = book.rows(for: mint)
        guard !rows.isEmpty else { return }
        let number = drawNumber()
        deposits.begin(number, mint: mint, rows: rows)
        steps.append(
            .errand(.ask(number, mint: mint, .deposit(relay: relay, rows: rows)))
        )
    }

    /// Takes a mint's answer to a deposit; `nil` where there was none: the next round tries again.
    mutating func answered(_ number: UInt64, _ reply: MintReply?, now: Instant) {
        guard let (mint, rows) = deposits.end(number), let tickets,
            case .taken(let indexes)? = reply, indexes.count == rows.count
        else { return }
        let isComplete = zip(rows, indexes).allSatisfy { $0.place.index <= $1 }
        book.note(indexes, of: rows, from: mint, relay: relay, in: tickets)
        if keepAt == .distantFuture { keepAt = now + Self.keepInterval }
        // What a mint does not take now it is not asked to take again in this round.
        if isComplete { deposit(with: mint) }
    }

    private mutating func drawNumber() -> UInt64 {
        defer { nextNumber += 1 }
        return nextNumber
    }
}

extension VoucherFault {
    /// What a client is told of it.
    fileprivate var status: PayResult.Status {
        switch self {
        case .epoch: .epoch
        case .keys: .keys
        case .signatureCount, .signature, .chain: .invalid
        case .seen: .seen
        case .unknown: .unknown
        }
    }
}
