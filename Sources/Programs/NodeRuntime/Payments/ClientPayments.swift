import Base
import Circuits
import ClientCore
import CryptoPrimitives
import Directory
import EventLoop
import Logging
import Store
import Tickets
import Wire

/// What a client's control thread has for money: the wallet's disk, its questions to mints, and when
/// it buys ahead.
struct ClientPayments: ~Copyable {
    /// What the control thread hears of it.
    enum Message: Sendable {
        /// A list of records was written, or could not be.
        case stored(StoreError?)
        /// Key work is done.
        case worked(WalletWork.Outcome)
        /// Look at the wallet or give it an order.
        case wallet(@Sendable (inout Wallet, WalletLook) -> Void)
    }

    /// What stands beside the wallet when somebody looks at it.
    struct WalletLook: Sendable {
        var now: Instant
        var wall: WallTime
        /// The mints; `nil` before a consensus names any.
        var tickets: TicketNetwork?
        var view: NetworkView?
        /// Relays the client's circuits may take.
        var payees: RefillSchedule.Payees?
        /// What the wallet said, the newest last, each with its number.
        var notices: [(number: UInt64, notice: Wallet.Notice)]
        /// Why the wallet cannot be written; `nil` where it can.
        var problem: String?
    }

    private static let noticesKept = 32

    private var wallet: Wallet
    private var errands: MintErrands
    private var records: RecordQueue
    private var refill: RefillSchedule
    private let workers: WorkerPool<WalletWork>
    private let logger: Logger
    private var tickets: TicketNetwork?
    private var view: NetworkView?
    private var notices: [(number: UInt64, notice: Wallet.Notice)] = []
    private var noticeCount: UInt64 = 0
    private var toldProblem: String?

    /// Puts the parts together; `tell` brings messages to the control thread.
    ///
    /// - Throws: ``StoreError``, ``WireError`` for a wallet that cannot be read, ``IOError``.
    init(
        _ files: WalletFiles,
        network: NetworkID,
        refillMean: TimeSpan,
        logger: Logger,
        random: consuming RandomGenerator,
        now: Instant,
        tell: @escaping @Sendable (Message) -> Void
    ) throws {
        var random = random
        let stored = try files.store.records()
        let records = try RecordQueue(files.store) { tell(.stored($0)) }
        let workers = try WorkerPool<WalletWork>(name: "umbel-wallet", count: 1) {
            tell(.worked($0.run()))
        }
        let wallet = try Wallet(
            network: network,
            key: files.key,
            records: stored,
            random: random.split()
        )
        // Nothing fails from here on: a value that cannot be copied is made at once or not at all.
        self.wallet = wallet
        errands = MintErrands()
        self.records = records
        self.workers = workers
        self.logger = logger
        refill = RefillSchedule(mean: refillMean, random: random.split(), now: now)
    }

    /// When ``tend(with:now:wall:)`` has something to do.
    var nextDeadline: Instant {
        var deadline = min(wallet.nextDeadline, errands.nextDeadline)
        deadline = min(deadline, records.nextDeadline)
        return isPaying ? min(deadline, refill.nextRefill) : deadline
    }

    private var isPaying: Bool {
        tickets != nil && view?.parameters.paymentsRequired == true
    }

    /// Takes a newer view of the network.
    mutating func setView(_ view: NetworkView) {
        self.view = view
        guard let tickets = TicketNetwork(view.consensus, known: tickets) else { return }
        self.tickets = tickets
        errands.setTickets(tickets)
        wallet.setTickets(tickets)
    }

    /// Takes what came of something.
    mutating func handle(
        _ message: Message,
        with control: inout ClientControl?,
        now: Instant,
        wall: WallTime
    ) {
        switch message {
        case .stored(let error):
            if let number = records.finish(error, now: now) {
                wallet.stored(number, now: now, at: wall)
            }
            tellProblem()
        case .worked(let outcome): wallet.finish(outcome, now: now, at: wall)
        case .wallet(let body):
            let look = WalletLook(
                now: now,
                wall: wall,
                tickets: tickets,
                view: view,
                payees: payees(control),
                notices: notices,
                problem: records.problem
            )
            body(&wallet, look)
            wallet.advance(to: now, at: wall)
        }
    }

    /// Takes a part of a mint's answer.
    mutating func take(_ part: MintAnswerPart, of circuit: CircuitID, from hop: HopIndex) {
        errands.take(part, of: circuit, from: hop)
    }

    /// Does what is due, until nothing is left to do at once.
    mutating func tend(with control: inout ClientControl?, now: Instant, wall: WallTime) {
        records.advance(to: now)
        if isPaying, refill.isDue(now: now), let payees = payees(control) {
            wallet.setCandidates(payees.candidates)
            for (denomination, relay) in payees.wanted
            where !wallet.has(denomination, for: relay, at: wall) {
                wallet.want(denomination, for: relay)
            }
        }
        if wallet.nextDeadline <= now { wallet.advance(to: now, at: wall) }
        repeat {
            drain(now: now)
            errands.tend(with: &control, now: now, wall: wall)
            while let (number, reply) = errands.nextFinished() {
                if let reply {
                    wallet.receive(reply, to: number, now: now, at: wall)
                } else {
                    wallet.failed(number, now: now)
                }
            }
        } while drain(now: now)
    }

    /// Does the wallet's steps; gives whether there were any.
    @discardableResult
    private mutating func drain(now: Instant) -> Bool {
        var isChanged = false
        while let step = wallet.nextStep() {
            isChanged = true
            switch step {
            case .store(let number, let writes): records.add(number, writes)
            case .work(let work): workers.delegate(work)
            case .ask(let number, let mint, let request):
                errands.begin(number, mint: mint, request, now: now)
            case .notice(let notice): note(notice)
            }
        }
        return isChanged
    }

    private func payees(_ control: borrowing ClientControl?) -> RefillSchedule.Payees? {
        guard let view else { return nil }
        switch control {
        case .some(let control):
            return RefillSchedule.Payees(
                guards: control.paths.guards,
                middles: control.paths.middles,
                view: view
            )
        case .none: return nil
        }
    }

    private mutating func note(_ notice: Wallet.Notice) {
        noticeCount += 1
        if notices.count >= Self.noticesKept { notices.removeFirst() }
        notices.append((noticeCount, notice))
        switch notice {
        case .tagged(let mint):
            logger.critical("mint \(mint) signs with a key it did not publish: not taken")
        case .locked:
            logger.critical("another order of this account stands: the wallet was copied")
        case .poor(let balance): logger.notice("the account has \(balance) ticks: too little")
        case .bought, .reclaimed, .transferred: break
        }
    }

    private mutating func tellProblem() {
        guard records.problem != toldProblem else { return }
        toldProblem = records.problem
        if let toldProblem {
            logger.critical("the wallet cannot be written: \(toldProblem)")
        } else {
            logger.notice("the wallet is written again")
        }
    }

    /// Lets the threads end after what they have.
    func stop() {
        records.stop()
        workers.stop()
    }
}
