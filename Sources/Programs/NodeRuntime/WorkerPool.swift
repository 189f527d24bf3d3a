import EventLoop
import Synchronization

/// Threads that do key work, so that neither packets nor the control plane wait for it.
///
/// Jobs are handed out in turn; results go where `work` sends them, from whichever thread made them.
/// A control plane waits for each of its jobs, and bounds how many there are: none is refused here.
final class WorkerPool<Job: Sendable>: Sendable {
    private enum Message: Sendable {
        case job(Job)
        case stop
    }

    private let mailboxes: [Mailbox<Message>]
    private let jobsInWork: Counter
    private let turn = Atomic(0)

    private final class Counter: Sendable {
        let value = Atomic(0)
    }

    /// Starts `count` threads that do `work`.
    ///
    /// - Throws: ``IOError`` when the system has no room for threads.
    init(
        name: String,
        count: Int,
        work: @escaping @Sendable (Job) -> Void
    ) throws(IOError) {
        let jobsInWork = Counter()
        var mailboxes: [Mailbox<Message>] = []
        for index in 0..<count {
            let wakeup = try Wakeup()
            let mailbox = Mailbox<Message>(capacity: 1, wakeup: wakeup)
            mailboxes.append(mailbox)
            // The thread ends by its last message and needs no join.
            _ = try LoopThread.start(name: "\(name)-key\(index)") {
                Self.run(mailbox, wakeup) { job in
                    work(job)
                    jobsInWork.value.subtract(1, ordering: .relaxed)
                }
            }
        }
        self.mailboxes = mailboxes
        self.jobsInWork = jobsInWork
    }

    /// Hands jobs out, or gives the only one back where no other is in work.
    ///
    /// A control plane does that one itself: to change threads twice takes as long as the work, and
    /// a circuit takes the time of each of its hops.
    func submit(_ jobs: [Job]) -> Job? {
        if jobs.count == 1, jobsInWork.value.load(ordering: .relaxed) == 0 { return jobs[0] }
        for job in jobs { delegate(job) }
        return nil
    }

    /// Hands a job to a worker, however short it is: the caller does nothing else meanwhile.
    func delegate(_ job: Job) {
        jobsInWork.value.add(1, ordering: .relaxed)
        let turn = turn.add(1, ordering: .relaxed).oldValue
        mailboxes[turn % mailboxes.count].insist(.job(job))
    }

    /// Lets every worker end after what it has.
    func stop() {
        for mailbox in mailboxes { mailbox.insist(.stop) }
    }

    private static func run(
        _ mailbox: Mailbox<Message>,
        _ wakeup: Wakeup,
        _ work: (Job) -> Void
    ) {
        guard var poller = try? Poller(), (try? poller.add(wakeup.descriptor, token: 0)) != nil
        else { return }
        var messages: [Message] = []
        while true {
            _ = wakeup.drain()
            mailbox.drain(into: &messages)
            for message in messages {
                switch message {
                case .job(let job): work(job)
                case .stop: return
                }
            }
            guard messages.isEmpty else { continue }
            guard (try? poller.wait(until: nil, now: MonotonicClock.now())) != nil else { return }
        }
    }
}
