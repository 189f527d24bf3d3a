import Base
import ControlAPI
import EventLoop
import Logging
import NodeConfiguration
import RelayCore

/// Keeps a relay within what its operator allows: quota, hours, draining; and tells how it goes.
///
/// Looks at the counters each second. Where nothing more is to be carried it has new circuits refused
/// and, after the time for draining, ends those that stand.
actor RelayKeeper {
    private static let look: Duration = .seconds(1)
    /// Looks between two texts for those who watch: no counter is told sooner.
    private static let looksOfText = 10
    private static let heartbeat: TimeSpan = .seconds(3_600)
    private static let storeInterval: TimeSpan = .seconds(30)

    private var line: RelayConfiguration.Line
    private let shards: [Mailbox<RelayLoopMessage>]
    private let control: Mailbox<RelayControlMessage>
    private let path: String
    private let isExit: Bool
    private let logger: Logger
    private let started: Instant
    private var account: TrafficAccount
    private var isAsked = false
    private var state = RelayLineReport.State.serving
    private var endsDue: Instant?
    private var readings: RelayReadings?
    private var rates: [(time: Instant, sent: UInt64, received: UInt64)] = []
    private var looks = 0
    private var nextHeartbeat: Instant
    private var nextStore: Instant
    private var cannotStore = false
    private(set) var text = ""
    private var task: Task<Void, Never>?

    /// Makes the keeper of a relay whose threads have these mailboxes.
    init(
        _ configuration: RelayConfiguration,
        shards: [Mailbox<RelayLoopMessage>],
        control: Mailbox<RelayControlMessage>,
        logger: Logger,
        now: Instant
    ) {
        line = configuration.line
        self.shards = shards
        self.control = control
        self.logger = logger
        path = "\(configuration.stateFolder)/traffic.state"
        isExit = configuration.exit.isEnabled
        started = now
        nextHeartbeat = now + Self.heartbeat
        nextStore = now + Self.storeInterval
        account = StateFolder.read(path).flatMap { TrafficAccount(parsing: $0) } ?? TrafficAccount()
    }

    /// Begins to look.
    ///
    /// - Parameter extra: adds what others count to the text of each moment.
    func begin(extra: @escaping @Sendable (inout RelayMetrics) async -> Void) async {
        await self.look(extra: extra)
        task = Task {
            while !Task.isCancelled {
                try? await Task.sleep(for: Self.look)
                await self.look(extra: extra)
            }
        }
    }

    /// Takes other limits from now on.
    func setLine(_ line: RelayConfiguration.Line) {
        guard line != self.line else { return }
        self.line = line
        let limits = LineLimits(line)
        let budget = LineBudget(limits, shardCount: shards.count)
        for shard in shards {
            shard.insist(.limits(limits.ofShard(of: shards.count), budget))
        }
    }

    /// Takes no new circuits from now on and ends those that stand after `seconds`, or serves again.
    func drain(_ isDraining: Bool, within seconds: Int) {
        isAsked = isDraining
        judge(now: MonotonicClock.now(), wait: .seconds(UInt64(seconds)))
    }

    /// Ends in order: waits for circuits to end by themselves, as long as the file says.
    func stop() async {
        task?.cancel()
        control.insist(.accept(false))
        let end = MonotonicClock.now() + line.drainTime
        while MonotonicClock.now() < end,
            let readings = await RelayReadings.take(shards: shards, control: control),
            readings.control.circuits > 0
        {
            try? await Task.sleep(for: .milliseconds(50))
        }
        if let readings = await RelayReadings.take(shards: shards, control: control) {
            count(readings)
        }
        store()
    }

    /// Whether the threads answered when they were last asked.
    var isAlive: Bool {
        readings.map { MonotonicClock.now() - $0.time < .seconds(10) } ?? false
    }

    /// Returns once all threads have answered; hangs where one does not.
    func proveAlive() async {
        while !Task.isCancelled {
            let readings = await RelayReadings.take(shards: shards, control: control)
            guard readings == nil else { return }
            // A mailbox that is full takes no question: whoever empties it may be behind, or stuck.
            try? await Task.sleep(for: Self.look)
        }
    }

    /// Why no new circuits are taken; `nil` where they are.
    var whyNotServing: String? {
        switch state {
        case .serving: nil
        case .draining: "it drains, as its operator asked"
        case .quotaUsedUp: "the quota is used up until \(LocalClock.text(periodEnd))"
        case .closed: "this is not one of its hours"
        }
    }

    /// How it goes, for status.
    func report() -> RelayLineReport? {
        guard let readings else { return nil }
        let quota = quota
        return RelayLineReport(
            state: state,
            bytesSent: readings.sentBytes,
            bytesReceived: readings.receivedBytes,
            bitRateSent: bitRate(\.sent),
            bitRateReceived: bitRate(\.received),
            limitSent: line.sentBitRate,
            limitReceived: line.receivedBitRate,
            bytesWaiting: readings.shards.waitingBytes,
            quota: quota.map {
                RelayLineReport.Quota(
                    usedBytes: account.used(of: $0),
                    limitBytes: $0.byteLimit,
                    ends: periodEnd.seconds
                )
            },
            memoryBytes: ProcessReadings.now().residentBytes
        )
    }

    // MARK: Looking

    private func look(extra: @Sendable (inout RelayMetrics) async -> Void) async {
        guard let readings = await RelayReadings.take(shards: shards, control: control) else {
            return
        }
        count(readings)
        let now = readings.time
        judge(now: now, wait: line.drainTime)
        if let due = endsDue, now >= due {
            endsDue = nil
            control.insist(.endCircuits)
        }
        if now >= nextStore {
            nextStore = now + Self.storeInterval
            store()
        }
        if looks.isMultiple(of: Self.looksOfText) {
            var metrics = RelayMetrics(readings, process: .now(), up: now - started)
            metrics.isServing = state == .serving
            metrics.isExit = isExit
            metrics.quota = quota.map { (account.used(of: $0), $0.byteLimit) }
            await extra(&metrics)
            text = metrics.text
            if now >= nextHeartbeat {
                nextHeartbeat = now + Self.heartbeat
                logger.notice("\(metrics.heartbeat)")
            }
        }
        looks += 1
    }

    private func count(_ readings: RelayReadings) {
        let before = self.readings
        self.readings = readings
        if let quota {
            account.count(
                sent: readings.sentBytes - (before?.sentBytes ?? 0),
                received: readings.receivedBytes - (before?.receivedBytes ?? 0),
                for: quota,
                at: WallClock.now()
            )
        }
        rates.append((readings.time, readings.sentBytes, readings.receivedBytes))
        while let first = rates.first, readings.time - first.time > .seconds(10) {
            rates.removeFirst()
        }
    }

    private func bitRate(
        _ bytes: KeyPath<(time: Instant, sent: UInt64, received: UInt64), UInt64>
    ) -> UInt64 {
        guard let first = rates.first, let last = rates.last, last.time > first.time else {
            return 0
        }
        let count = last[keyPath: bytes] - first[keyPath: bytes]
        return UInt64(Double(count) * 8 / (last.time - first.time).seconds)
    }

    /// Sees whether circuits are to be taken, and has that done where it has changed.
    private func judge(now: Instant, wait: TimeSpan) {
        let wall = WallClock.now()
        let next: RelayLineReport.State
        if isAsked {
            next = .draining
        } else if let quota, account.isUsedUp(quota) {
            next = .quotaUsedUp
        } else if !OpenHours(line).contains(minute: LocalClock.minuteOfDay(wall)) {
            next = .closed
        } else {
            next = .serving
        }
        guard next != state else { return }
        let served = state == .serving
        state = next
        guard let whyNotServing else {
            endsDue = nil
            control.insist(.accept(true))
            logger.notice("circuits are taken again")
            return
        }
        logger.notice("no new circuits are taken: \(whyNotServing)")
        guard served else { return }
        control.insist(.accept(false))
        // A quota that is used up leaves nothing to wait with.
        endsDue = next == .quotaUsedUp ? now : now + wait
    }

    private var quota: TrafficQuota? {
        TrafficQuota(line)
    }

    private var periodEnd: WallTime {
        quota.map { $0.period.end(from: account.start) } ?? WallTime(seconds: 0)
    }

    private func store() {
        guard quota != nil else { return }
        do {
            try StateFolder.write(account.encoded, to: path)
            if cannotStore { logger.notice("\(path) is written again") }
            cannotStore = false
        } catch {
            guard !cannotStore else { return }
            cannotStore = true
            logger.error(
                "\(path) cannot be written, so a restart would forget what was carried: \(error)"
            )
        }
    }
}

extension LineLimits {
    /// What a configuration says.
    init(_ line: RelayConfiguration.Line) {
        self.init(
            sentPerSecond: line.sentBitRate.map { $0 / 8 },
            receivedPerSecond: line.receivedBitRate.map { $0 / 8 },
            waitingByteLimit: Int(clamping: line.memory)
        )
    }
}

extension TrafficQuota {
    /// What a configuration says; `nil` where it sets none.
    init?(_ line: RelayConfiguration.Line) {
        guard let limit = line.quota else { return nil }
        let period: Period =
            switch line.quotaPeriod {
            case .day: .day
            case .week: .week
            case .month: .month(firstDay: line.quotaDay)
            }
        let counted: Counted =
            switch line.quotaCounts {
            case .sum: .sum
            case .larger: .larger
            case .sent: .sent
            case .received: .received
            }
        self.init(byteLimit: limit, period: period, counted: counted)
    }
}

extension OpenHours {
    /// What a configuration says.
    init(_ line: RelayConfiguration.Line) {
        self.init(line.hours.map { Span(from: $0.lowerBound, to: $0.upperBound % 1_440) })
    }
}
