import Base
import Directory
import EventLoop
import Logging
import RelayCore
import Store
import Synchronization
import Tickets
import Wire

/// What a relay's control thread has for money: the book's disk, deposits on their way to mints, and
/// clients' requests it hands on.
struct RelayPayments: Sendable {
    /// What the control thread hears of it.
    enum Message: Sendable {
        /// A list of records was written, or could not be.
        case stored(StoreError?)
        /// A mint has answered a deposit; `nil` where it has not.
        case answered(UInt64, MintReply?)
        /// A mint has answered a request that was handed on, or has not.
        case forwarded(UInt64, RelayControl.MintOutcome)
        /// Tell what was earned.
        case earnings(@Sendable (Earnings) -> Void)
    }

    /// What was earned, and what stands in the way.
    struct Earnings: Sendable {
        var earnings: VoucherBook.Earnings
        /// The same by the day since 1970 clients paid, ascending.
        var days: [(day: UInt32, earnings: VoucherBook.Earnings)]
        var burnPerMille: UInt32?
        /// What is wrong, by who: mints by index, the disk.
        var problems: [String: String]
    }

    private var queue: RecordQueue
    private let forwarder = MintForwarder()
    private let post = MintPost()
    private let problems = DepositProblems()
    private let tell: @Sendable (Message) -> Void
    private let logger: Logger
    private var tickets: TicketNetwork?
    private var toldProblem: String?

    /// Puts the parts together; `tell` brings messages to the control thread.
    ///
    /// - Throws: ``IOError`` where there is no room for a thread.
    init(
        _ store: RecordStore,
        logger: Logger,
        tell: @escaping @Sendable (Message) -> Void
    ) throws(IOError) {
        queue = try RecordQueue(store, failure: .forgets) { tell(.stored($0)) }
        self.logger = logger
        self.tell = tell
    }

    /// Takes a newer view of the network.
    mutating func setView(_ view: NetworkView) {
        forwarder.note(view)
        tickets = TicketNetwork(view.consensus, known: tickets)
    }

    /// Takes what came of something.
    mutating func handle(
        _ message: Message,
        with control: inout RelayControl,
        now: Instant,
        wall: WallTime
    ) {
        switch message {
        case .stored(let error):
            if let outcome = queue.finish(error, now: now) {
                control.stored(outcome.number, isDone: outcome.isDone, now: now, wall: wall)
            }
            tellProblem()
        case .answered(let number, let reply):
            control.answered(number, reply, now: now, wall: wall)
        case .forwarded(let token, let outcome):
            control.finishMintRequest(token, outcome, now: now)
        case .earnings(let answer):
            var known = problems.all
            if let problem = queue.problem { known["disk"] = problem }
            answer(
                Earnings(
                    earnings: control.earnings,
                    days: control.earningsByDay,
                    burnPerMille: tickets?.parameters.burnPerMille,
                    problems: known
                )
            )
        }
    }

    /// Does what the control plane asks for.
    mutating func drain(_ control: inout RelayControl) {
        while let errand = control.nextErrand() {
            switch errand {
            case .store(let number, let writes): queue.add(number, writes)
            case .ask(let number, let mint, let request): ask(number, mint, request)
            }
        }
        while let request = control.nextMintRequest() {
            forwarder.forward(request) { [tell] in tell(.forwarded(request.token, $0)) }
        }
    }

    private func ask(_ number: UInt64, _ mint: UInt8, _ request: MintRequest) {
        guard let tickets else { return tell(.answered(number, nil)) }
        Task { [post, problems, tell] in
            do throws(MintPostError) {
                let reply = try await post.ask(request, of: mint, in: tickets)
                if case .refused(let reason, _) = reply {
                    problems.note("refuses: \(reason.name)", of: mint)
                } else {
                    problems.note(nil, of: mint)
                }
                tell(.answered(number, reply))
            } catch {
                problems.note("\(error)", of: mint)
                tell(.answered(number, nil))
            }
        }
    }

    private mutating func tellProblem() {
        guard queue.problem != toldProblem else { return }
        toldProblem = queue.problem
        if let toldProblem {
            // Circuits that are paid for go on; new vouchers wait for the disk.
            logger.critical("what clients pay cannot be written: \(toldProblem)")
        } else {
            logger.notice("what clients pay is written again")
        }
    }

    /// Lets the thread end after what it has.
    func stop() {
        queue.stop()
    }
}

/// What went wrong with the last deposit at each mint.
private final class DepositProblems: Sendable {
    private let known = Mutex<[String: String]>([:])

    func note(_ problem: String?, of mint: UInt8) {
        known.withLock { $0["mint \(mint)"] = problem }
    }

    var all: [String: String] { known.withLock { $0 } }
}
