import Base
import ClientCore
import EventLoop
import Links

/// What the probing thread hears.
enum ProbeMessage: Sendable {
    /// Do this and tell how it went.
    case probe(ProbeControl.Plan, @Sendable (ProbeControl.Outcome) -> Void)
    /// End.
    case stop
}

/// The probing thread of an authority: owns sockets, shard and prober.
struct ProbeLoop: ~Copyable {
    private static let v4Token: UInt64 = 1
    private static let v6Token: UInt64 = 2
    private static let wakeupToken: UInt64 = 3

    var control: ProbeControl
    var shard: ClientShard
    var sockets: PacketSockets
    let mailbox: Mailbox<ProbeMessage>
    let wakeup: Wakeup
    private var waiting: [(ProbeControl.Plan, @Sendable (ProbeControl.Outcome) -> Void)] = []
    private var answers: [UInt64: @Sendable (ProbeControl.Outcome) -> Void] = [:]
    private var nextToken: UInt64 = 1

    init(
        control: consuming ProbeControl,
        shard: consuming ClientShard,
        sockets: consuming PacketSockets,
        mailbox: Mailbox<ProbeMessage>,
        wakeup: Wakeup
    ) {
        self.control = control
        self.shard = shard
        self.sockets = sockets
        self.mailbox = mailbox
        self.wakeup = wakeup
    }

    /// Runs until it is told to stop.
    ///
    /// - Throws: ``IOError`` when a socket is unusable.
    consuming func run() throws(IOError) {
        var poller = try Poller()
        try sockets.watch(with: &poller, v4Token: Self.v4Token, v6Token: Self.v6Token)
        try poller.add(wakeup.descriptor, token: Self.wakeupToken)
        var memory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)
        var span = memory.mutableSpan
        var bytes = unsafe span.mutableBytes
        var messages: [ProbeMessage] = []
        while true {
            let now = MonotonicClock.now()
            var isBusy = false
            for isV6 in [false, true] {
                guard let batch = try sockets.receive(&bytes, isV6: isV6) else { continue }
                isBusy = true
                for index in 0..<batch.runCount {
                    shard.receive(&bytes, run: sockets.run(index), now: now)
                }
            }
            _ = wakeup.drain()
            mailbox.drain(into: &messages)
            for message in messages {
                switch message {
                case .probe(let plan, let answer): waiting.append((plan, answer))
                case .stop: return
                }
            }
            isBusy = isBusy || !messages.isEmpty
            if shard.nextDeadline <= now { shard.advance(to: now, bytes: &bytes) }
            if control.nextDeadline <= now { control.advance(to: now) }
            work(&bytes, now: now)
            guard !isBusy else { continue }
            let deadline = min(shard.nextDeadline, control.nextDeadline)
            _ = try poller.wait(until: deadline == .distantFuture ? nil : deadline, now: now)
        }
    }

    private mutating func work(_ bytes: inout MutableRawSpan, now: Instant) {
        while control.hasRoom, !waiting.isEmpty {
            let (plan, answer) = waiting.removeFirst()
            answers[nextToken] = answer
            control.begin(plan, token: nextToken, now: now, minute: WallClock.now().minute)
            nextToken += 1
        }
        repeat {
            for event in shard.takeEvents() { control.receive(event, now: now) }
            while let command = control.nextCommand() {
                if shard.remainingCapacity < Self.reserve { flush(&bytes, now: now) }
                shard.perform(command, bytes: &bytes, now: now)
            }
            flush(&bytes, now: now)
        } while hasEvents()
        while let outcome = control.nextResult() {
            answers.removeValue(forKey: outcome.token)?(outcome)
        }
    }

    /// Whether commands led to events at once, such as a link that found no room.
    private mutating func hasEvents() -> Bool {
        let events = shard.takeEvents()
        let now = MonotonicClock.now()
        for event in events { control.receive(event, now: now) }
        return !events.isEmpty
    }

    private mutating func flush(_ bytes: inout MutableRawSpan, now: Instant) {
        shard.finishBatch(&bytes, now: now)
        sockets.send(shard.links.output.trains, from: bytes.bytes, now: now)
        shard.clearOutput()
    }

    private static let reserve = 16
}
