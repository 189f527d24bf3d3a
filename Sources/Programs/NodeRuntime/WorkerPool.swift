import EventLoop

/// Threads that do key work, so that neither packets nor the control plane wait for it.
///
/// Jobs are handed out in turn; results go to `deliver`, from whichever thread made them. A control
/// plane waits for each of its jobs, and bounds how many there are: none is refused here.
final class WorkerPool<Job: Sendable>: Sendable {
    private enum Message: Sendable {
        case job(Job)
        case stop
    }

    private let mailboxes: [Mailbox<Message>]

    /// Starts `count` threads that do `work`.
    ///
    /// - Throws: ``IOError`` when the system has no room for threads.
    init(
        name: String,
        count: Int,
        work: @escaping @Sendable (Job) -> Void
    ) throws(IOError) {
        var mailboxes: [Mailbox<Message>] = []
        for index in 0..<count {
            let wakeup = try Wakeup()
            let mailbox = Mailbox<Message>(capacity: 1, wakeup: wakeup)
            mailboxes.append(mailbox)
            // The thread ends by its last message and needs no join.
            _ = try LoopThread.start(name: "\(name)-key\(index)") {
                Self.run(mailbox, wakeup, work)
            }
        }
        self.mailboxes = mailboxes
    }

    /// Hands a job out.
    func submit(_ job: Job, turn: Int) {
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
