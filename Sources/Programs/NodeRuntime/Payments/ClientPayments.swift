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

/// What a client's control thread has for money: the wallet's disk, its questions to mints, and those
/// who look at it.
///
/// The wallet itself lives in the ``ClientControl`` once there is one, and waits here until then.
struct ClientPayments: ~Copyable {
    /// What the control thread hears of it.
    enum Message: Sendable {
        /// A list of records was written, or could not be.
        case stored(StoreError?)
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
        var payees: Payees?
        /// What the wallet said, the newest last, each with its number.
        var notices: [(number: UInt64, notice: Wallet.Notice)]
        /// Why the wallet cannot be written; `nil` where it can.
        var problem: String?
        /// What was said about pay so far.
        var payTraffic: PayTraffic
    }

    private static let noticesKept = 32

    private var waiting: Wallet?
    private let records: [StoredRecord]
    private var errands = MintErrands()
    private var queue: RecordQueue
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
        logger: Logger,
        random: consuming RandomGenerator,
        tell: @escaping @Sendable (Message) -> Void
    ) throws {
        let records = try files.store.records()
        let queue = try RecordQueue(files.store, failure: .retries) { tell(.stored($0)) }
        let wallet = try Wallet(
            network: network,
            key: files.key,
            records: records,
            random: random
        )
        // Nothing fails from here on: a value that cannot be copied is made at once or not at all.
        waiting = consume wallet
        self.records = records
        self.queue = queue
        self.logger = logger
    }

    /// Takes the wallet out, for the control plane that begins.
    mutating func takeWallet() -> Wallet? {
        waiting.take()
    }

    /// What was on the disk at the start.
    var storedRecords: [StoredRecord] { records }

    /// When ``tend(with:now:wall:)`` has something to do.
    var nextDeadline: Instant {
        min(errands.nextDeadline, queue.nextDeadline)
    }

    /// Takes a newer view of the network.
    mutating func setView(_ view: NetworkView) {
        self.view = view
        guard let tickets = TicketNetwork(view.consensus, known: tickets) else { return }
        self.tickets = tickets
        errands.setTickets(tickets)
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
            if let outcome = queue.finish(error, now: now) {
                control?.stored(outcome.number, isDone: outcome.isDone, now: now, wall: wall)
            }
            tellProblem()
        case .wallet(let body):
            let look = WalletLook(
                now: now,
                wall: wall,
                tickets: tickets,
                view: view,
                payees: payees(control),
                notices: notices,
                problem: queue.problem,
                payTraffic: control?.payTraffic ?? PayTraffic()
            )
            if var wallet = waiting.take() {
                body(&wallet, look)
                waiting = consume wallet
            } else {
                _ = control?.withWallet(now: now, wall: wall) { wallet in
                    body(&wallet, look)
                    wallet.advance(to: now, at: wall)
                }
            }
        }
    }

    /// Takes a part of a mint's answer.
    mutating func take(_ part: MintAnswerPart, of circuit: CircuitID, from hop: HopIndex) {
        errands.take(part, of: circuit, from: hop)
    }

    /// Does what is due and what the control plane asks for, until nothing is left to do at once.
    mutating func tend(with control: inout ClientControl?, now: Instant, wall: WallTime) {
        queue.advance(to: now)
        repeat {
            errands.tend(with: &control, now: now, wall: wall)
            while let (number, reply) = errands.nextFinished() {
                control?.answered(number, reply, now: now, wall: wall)
            }
        } while drain(&control, now: now)
    }

    /// Takes the control plane's errands; gives whether there were any.
    private mutating func drain(_ control: inout ClientControl?, now: Instant) -> Bool {
        var isChanged = false
        while let errand = control?.nextErrand() {
            isChanged = true
            switch errand {
            case .store(let number, let writes): queue.add(number, writes)
            case .ask(let number, let mint, let request):
                errands.begin(number, mint: mint, request, now: now)
            }
        }
        return isChanged
    }

    private func payees(_ control: borrowing ClientControl?) -> Payees? {
        guard let view else { return nil }
        switch control {
        case .some(let control):
            return Payees(guards: control.paths.guards, middles: control.paths.middles, view: view)
        case .none: return nil
        }
    }

    /// Takes what the wallet says unasked.
    mutating func note(_ notice: Wallet.Notice) {
        noticeCount += 1
        if notices.count >= Self.noticesKept { notices.removeFirst() }
        notices.append((noticeCount, notice))
        switch notice {
        case .tagged, .locked: logger.critical("\(notice)")
        case .poor: logger.notice("\(notice)")
        case .bought, .reclaimed, .transferred: logger.info("\(notice)")
        }
    }

    private mutating func tellProblem() {
        guard queue.problem != toldProblem else { return }
        toldProblem = queue.problem
        if let toldProblem {
            logger.critical("the wallet cannot be written: \(toldProblem)")
        } else {
            logger.notice("the wallet is written again")
        }
    }

    /// Lets the thread end after what it has.
    func stop() {
        queue.stop()
    }
}
