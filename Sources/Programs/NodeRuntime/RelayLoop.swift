import Base
import CryptoPrimitives
import EventLoop
import Flows
import Links
import RelayCore
import Wire

/// What a relay's packet thread hears from the control thread.
enum RelayLoopMessage: Sendable {
    /// Do this, all of it before anything that comes from outside.
    case commands([RelayCommand])
    /// These came to another shard and belong to this one.
    case handedOver([HandOver.Content])
    /// Keep to these limits from now on, with cells of this budget.
    case limits(LineLimits, LineBudget)
    /// Tell what was counted.
    case report(@Sendable (RelayLoopReport) -> Void)
    /// End.
    case stop
}

/// What a relay's packet thread counted.
struct RelayLoopReport: Sendable {
    var counters: RelayCounters
    var linkDrops: [UInt64]
    var circuits: Int
    var waitingBytes: Int
    /// Cells kept until their slots.
    var heldCells = 0

    /// Adds what another thread of the relay counted.
    mutating func add(_ other: RelayLoopReport) {
        counters.add(other.counters)
        linkDrops = zip(linkDrops, other.linkDrops).map { $0 + $1 }
        circuits += other.circuits
        waitingBytes += other.waitingBytes
        heldCells += other.heldCells
    }
}

/// A packet thread of a relay: owns sockets, a queue of the TUN device, and a shard.
struct RelayLoop: ~Copyable {
    private static let v4Token: UInt64 = 1
    private static let v6Token: UInt64 = 2
    private static let tunnelToken: UInt64 = 3
    private static let wakeupToken: UInt64 = 4
    /// Cells that may still be made before packets of the TUN device are read: one super-packet.
    private static let tunnelReserve = 64

    var shard: RelayShard
    var sockets: PacketSockets
    var tunnel: TunnelPort?
    let mailbox: Mailbox<RelayLoopMessage>
    let wakeup: Wakeup
    /// The mailboxes of all packet threads, by shard.
    let shards: [Mailbox<RelayLoopMessage>]
    let deliver: @Sendable ([RelayEvent]) -> Void

    /// Runs until it is told to stop.
    ///
    /// - Throws: ``IOError`` when a socket or the TUN device is unusable.
    consuming func run() throws(IOError) {
        var poller = try Poller()
        try sockets.watch(with: &poller, v4Token: Self.v4Token, v6Token: Self.v6Token)
        if let descriptor = tunnel?.descriptor {
            try poller.add(descriptor, token: Self.tunnelToken)
        }
        try poller.add(wakeup.descriptor, token: Self.wakeupToken)
        var memory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)
        var span = memory.mutableSpan
        var bytes = unsafe span.mutableBytes
        var messages: [RelayLoopMessage] = []
        var now = MonotonicClock.now()
        var civilDue = now
        while true {
            let deadline = min(shard.nextDeadline, readDue)
            let eventCount = try poller.wait(
                until: deadline == .distantFuture ? nil : deadline,
                now: now
            )
            now = MonotonicClock.now()
            if now >= civilDue {
                shard.setCivilTime(nanoseconds: WallClock.nanosecondsSince1970(), now: now)
                civilDue = now + civilInterval
            }
            for index in 0..<eventCount {
                switch poller.event(at: index).token {
                case Self.v4Token: try receive(&bytes, isV6: false, now: now)
                case Self.v6Token: try receive(&bytes, isV6: true, now: now)
                case Self.tunnelToken: try readTunnel(&bytes, poller: &poller, now: now)
                default:
                    _ = wakeup.drain()
                    mailbox.drain(into: &messages)
                    guard try perform(messages, &bytes, now: now) else { return }
                }
            }
            if readDue <= now { try readTunnel(&bytes, poller: &poller, now: now) }
            if shard.nextDeadline <= now {
                shard.advance(to: now, bytes: &bytes)
                try flush(&bytes, now: now)
            }
            let events = shard.takeEvents()
            if !events.isEmpty { deliver(events) }
            passOn(shard.takeHandOvers())
        }
    }

    /// Does what the control thread wants; false when that is to end.
    private mutating func perform(
        _ messages: [RelayLoopMessage],
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) throws(IOError) -> Bool {
        for message in messages {
            switch message {
            case .commands(let commands):
                for command in commands {
                    if shard.remainingCapacity < Self.tunnelReserve { try flush(&bytes, now: now) }
                    shard.perform(command, bytes: &bytes, now: now)
                }
            case .handedOver(let contents):
                try receive(contents, &bytes, now: now)
            case .limits(let limits, let budget):
                shard.setLimits(limits, sharing: budget, now: now)
            case .report(let answer):
                answer(report())
            case .stop:
                try flush(&bytes, now: now)
                return false
            }
        }
        try flush(&bytes, now: now)
        return true
    }

    /// Moves what waits at the TUN device, as much as one batch holds.
    private mutating func readTunnel(
        _ bytes: inout MutableRawSpan,
        poller: inout Poller,
        now: Instant
    ) throws(IOError) {
        while shard.remainingCapacity >= Self.tunnelReserve,
            let count = try tunnel?.read(&bytes) ?? nil
        {
            shard.receiveFromTunnel(&bytes, byteCount: count, now: now)
        }
        try tunnel?.noteBatch(with: &poller, token: Self.tunnelToken, now: now)
        try flush(&bytes, now: now)
    }

    /// When the TUN device is to be read though no event tells of packets.
    private var readDue: Instant {
        switch tunnel {
        case .some(let port): port.readDue
        case .none: .distantFuture
        }
    }

    /// Moves one batch of what waits at a socket.
    private mutating func receive(
        _ bytes: inout MutableRawSpan,
        isV6: Bool,
        now: Instant
    ) throws(IOError) {
        guard let batch = try sockets.receive(&bytes, isV6: isV6) else { return }
        shard.noteReceiveQueue(byteCount: batch.waitingByteCount, now: now)
        for index in 0..<batch.runCount {
            shard.receive(&bytes, run: sockets.run(index), now: now)
        }
        try flush(&bytes, now: now)
    }

    /// Gives to other shards what belongs to them; what they have no room for is lost, as on a wire.
    private func passOn(_ handOvers: [HandOver]) {
        guard !handOvers.isEmpty else { return }
        var contents = [[HandOver.Content]](repeating: [], count: shards.count)
        for handOver in handOvers { contents[handOver.shard].append(handOver.content) }
        for (shard, contents) in zip(shards, contents) where !contents.isEmpty {
            _ = shard.post(.handedOver(contents), weight: contents.count)
        }
    }

    /// Takes what other shards hand over.
    private mutating func receive(
        _ contents: [HandOver.Content],
        _ bytes: inout MutableRawSpan,
        now: Instant
    ) throws(IOError) {
        try flush(&bytes, now: now)
        var place = ArenaLayout.receive.lowerBound
        for content in contents {
            if shard.remainingCapacity < Self.tunnelReserve
                || place + Datagram.byteCount > ArenaLayout.receive.upperBound
            {
                try flush(&bytes, now: now)
                place = ArenaLayout.receive.lowerBound
            }
            switch content {
            case .datagram(let datagram, let source):
                bytes.copy(datagram, to: place)
                let run = DatagramRun(
                    source: source,
                    offset: place,
                    byteCount: datagram.count,
                    segmentByteCount: datagram.count
                )
                shard.receive(&bytes, run: run, now: now)
                place += datagram.count
            case .packet(let packet):
                bytes.copy(packet, to: ArenaLayout.tunnelInput.lowerBound)
                shard.receiveFromTunnel(&bytes, byteCount: packet.count, now: now)
            }
        }
        try flush(&bytes, now: now)
    }

    private mutating func flush(_ bytes: inout MutableRawSpan, now: Instant) throws(IOError) {
        shard.finishBatch(&bytes, now: now)
        if let writes = shard.tunnelWrites, !writes.isEmpty {
            try tunnel?.write(writes, from: bytes.bytes)
        }
        sockets.send(shard.links.output.trains, from: bytes.bytes, now: now)
        shard.clearOutput()
    }

    private func report() -> RelayLoopReport {
        RelayLoopReport(
            counters: shard.counters,
            linkDrops: shard.links.drops,
            circuits: shard.circuitCount,
            waitingBytes: shard.waitingByteCount,
            heldCells: shard.heldCellCount
        )
    }
}
