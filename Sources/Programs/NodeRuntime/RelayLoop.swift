import Base
import CryptoPrimitives
import EventLoop
import Flows
import Links
import RelayCore

/// What a relay's packet thread hears from the control thread.
enum RelayLoopMessage: Sendable {
    /// Do this.
    case command(RelayCommand)
    /// Tell what was counted.
    case report(@Sendable (RelayLoopReport) -> Void)
    /// End.
    case stop
}

/// What a relay's packet thread counted.
struct RelayLoopReport: Sendable {
    var counters: RelayCounters
    var linkDrops: [UInt64]
    var leases: Int
    var circuits: Int
}

/// The packet thread of a relay: owns sockets, TUN device and shard.
struct RelayLoop: ~Copyable {
    private static let socketToken: UInt64 = 1
    private static let tunnelToken: UInt64 = 2
    private static let wakeupToken: UInt64 = 3
    /// Cells that may still be made before packets of the TUN device are read: one super-packet.
    private static let tunnelReserve = 64

    var shard: RelayShard
    var sockets: PacketSockets
    var tunnel: TunnelPort?
    let mailbox: Mailbox<RelayLoopMessage>
    let wakeup: Wakeup
    let deliver: @Sendable ([RelayEvent]) -> Void

    /// Runs until it is told to stop.
    ///
    /// - Throws: ``IOError`` when a socket or the TUN device is unusable.
    consuming func run() throws(IOError) {
        var poller = try Poller()
        try sockets.watch(with: &poller, token: Self.socketToken)
        if let descriptor = tunnel?.descriptor {
            try poller.add(descriptor, token: Self.tunnelToken)
        }
        try poller.add(wakeup.descriptor, token: Self.wakeupToken)
        var memory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)
        var span = memory.mutableSpan
        var bytes = unsafe span.mutableBytes
        var messages: [RelayLoopMessage] = []
        while true {
            let now = MonotonicClock.now()
            var isBusy = try pump(&bytes, now: now)
            _ = wakeup.drain()
            mailbox.drain(into: &messages)
            for message in messages {
                isBusy = true
                switch message {
                case .command(let command):
                    if shard.remainingCapacity < Self.tunnelReserve { try flush(&bytes, now: now) }
                    shard.perform(command, bytes: &bytes, now: now)
                case .report(let answer): answer(report())
                case .stop: return
                }
            }
            if shard.nextDeadline <= now {
                shard.advance(to: now, bytes: &bytes)
                isBusy = true
            }
            if isBusy {
                try flush(&bytes, now: now)
                let events = shard.takeEvents()
                if !events.isEmpty { deliver(events) }
                continue
            }
            let deadline = shard.nextDeadline
            _ = try poller.wait(until: deadline == .distantFuture ? nil : deadline, now: now)
        }
    }

    /// Moves what waits at sockets and TUN device; false when nothing did.
    private mutating func pump(_ bytes: inout MutableRawSpan, now: Instant) throws(IOError) -> Bool
    {
        var isBusy = false
        for isV6 in [false, true] {
            let hasReceived = try sockets.receive(&bytes, isV6: isV6) { bytes, run in
                shard.receive(&bytes, run: run, now: now)
            }
            guard hasReceived else { continue }
            isBusy = true
            try flush(&bytes, now: now)
        }
        while shard.remainingCapacity >= Self.tunnelReserve,
            let count = try tunnel?.read(&bytes) ?? nil
        {
            isBusy = true
            shard.receiveFromTunnel(&bytes, byteCount: count, now: now)
        }
        return isBusy
    }

    private mutating func flush(_ bytes: inout MutableRawSpan, now: Instant) throws(IOError) {
        shard.finishBatch(&bytes, now: now)
        if let writes = shard.tunnelWrites, !writes.isEmpty {
            try tunnel?.write(writes, from: bytes.bytes)
        }
        sockets.send(shard.links.output, from: bytes.bytes, now: now)
        shard.clearOutput()
    }

    private func report() -> RelayLoopReport {
        RelayLoopReport(
            counters: shard.counters,
            linkDrops: shard.links.drops,
            leases: shard.leaseCount,
            circuits: shard.circuitCount
        )
    }
}
