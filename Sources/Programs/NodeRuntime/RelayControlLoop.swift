import Base
import CryptoPrimitives
import Directory
import EventLoop
import Logging
import RelayCore

/// What a relay's control thread hears.
enum RelayControlMessage: Sendable {
    /// The packet thread of a shard reports.
    case events([RelayEvent], from: Int)
    /// Key work is done.
    case outcome(RelayJob.Outcome)
    /// The directory has changed.
    case directory(NetworkView, DirectoryShelf)
    /// Use these circuit keys from now on, the newest first.
    case circuitKeys([XWing.PrivateKey])
    /// Something about money.
    case payments(RelayPayments.Message)
    /// Take new circuits from now on, or refuse them.
    case accept(Bool)
    /// End all circuits.
    case endCircuits
    /// Tell what was counted.
    case counts(@Sendable (RelayControlCounts) -> Void)
    /// End, and say so once everything is stored.
    case stop(@Sendable () -> Void)
}

/// What a relay's control plane counted.
struct RelayControlCounts: Sendable {
    var counters: RelayControl.Counters
    var links: Int
    var circuits: Int
    var leases: Int
}

/// The control thread of a relay: owns the control plane.
struct RelayControlLoop: ~Copyable {
    var control: RelayControl
    let memory: ReplayFile
    let pool: WorkerPool<RelayJob>
    let mailbox: Mailbox<RelayControlMessage>
    let wakeup: Wakeup
    let shards: [Mailbox<RelayLoopMessage>]
    var payments: RelayPayments
    let keyLog: KeyLog?
    let logger: Logger

    /// Runs until it is told to stop.
    ///
    /// - Throws: ``IOError`` when the thread cannot wait for messages.
    consuming func run() throws(IOError) {
        var poller = try Poller()
        try poller.add(wakeup.descriptor, token: 0)
        var messages: [RelayControlMessage] = []
        while true {
            let now = MonotonicClock.now()
            let wall = WallClock.now()
            _ = wakeup.drain()
            mailbox.drain(into: &messages)
            for message in messages {
                switch message {
                case .events(let events, let shard):
                    for event in events {
                        control.receive(event, from: shard, now: now, wall: wall)
                    }
                case .outcome(let outcome):
                    control.finish(outcome, now: now, wall: wall)
                case .directory(let view, let shelf):
                    control.setView(view, now: now)
                    payments.setView(view)
                    control.setShelf(shelf)
                case .circuitKeys(let keys):
                    control.setCircuitKeys(keys)
                case .payments(let message):
                    payments.handle(message, with: &control, now: now, wall: wall)
                case .counts(let answer):
                    answer(counts())
                case .accept(let accepts):
                    control.isAccepting = accepts
                case .endCircuits:
                    control.endCircuits(now: now)
                case .stop(let done):
                    control.isAccepting = false
                    control.endCircuits(now: now)
                    control.sayGoodbye()
                    passCommands()
                    pool.stop()
                    payments.stop()
                    memory.store(control.replayMarks, logger: logger)
                    done()
                    return
                }
            }
            if control.nextDeadline <= now { control.advance(to: now, wall: wall) }
            drain()
            guard messages.isEmpty else { continue }
            _ = try poller.wait(until: control.nextDeadline, now: now)
        }
    }

    /// Hands the shards what the control plane wants of them.
    private mutating func passCommands() {
        // Together: an answer to the first must not find the others still to be done.
        var commands = [[RelayCommand]](repeating: [], count: shards.count)
        while let told = control.nextCommand() { commands[told.shard].append(told.command) }
        for (shard, commands) in zip(shards, commands) where !commands.isEmpty {
            if let keyLog { for command in commands { keyLog.note(command) } }
            // As many as events, links and circuits call for; a lost one is never made good.
            shard.insist(.commands(commands))
        }
    }

    private mutating func drain() {
        while true {
            passCommands()
            payments.drain(&control)
            var jobs: [RelayJob] = []
            while let job = control.nextJob() { jobs.append(job) }
            guard let job = pool.submit(jobs) else { return }
            control.finish(job.run(), now: MonotonicClock.now(), wall: WallClock.now())
        }
    }

    private func counts() -> RelayControlCounts {
        RelayControlCounts(
            counters: control.counters,
            links: control.linkCount,
            circuits: control.circuitCount,
            leases: control.leaseCount
        )
    }
}
