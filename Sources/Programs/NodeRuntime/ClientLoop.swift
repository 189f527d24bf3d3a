import Base
import Circuits
import ClientCore
import EventLoop
import Flows
import Links

/// What a client's packet thread hears from the control thread.
enum ClientLoopMessage: Sendable {
    /// Do this, all of it before anything that comes from outside.
    case commands([ClientCommand])
    /// Open a TUN device for a tunnel, and tell what came of it.
    case openTunnel(TunnelID, TunnelSource, @Sendable (TunnelOpening) -> Void)
    /// Close the TUN device of a tunnel.
    case closeTunnel(TunnelID)
    /// Tell what was counted, in all and for these circuits.
    case report([CircuitID], @Sendable (ClientLoopReport) -> Void)
    /// End.
    case stop
}

/// Time after which a packet thread that wakes looks at the civil clock again.
let civilInterval: TimeSpan = .milliseconds(100)

/// What a client's packet thread counted.
struct ClientLoopReport: Sendable {
    var counters: ClientCounters
    var traffic: [CircuitTraffic?]
}

/// Where the TUN device of a tunnel comes from.
enum TunnelSource: Sendable {
    /// It is made, in the daemon's own network, under this name.
    case made(name: String)
    /// Somebody else made it, in another network.
    case handedOver(DeviceHandover)
}

/// What came of opening a TUN device.
enum TunnelOpening: Sendable {
    /// It is there.
    case opened(OpenedTunnel)
    /// The kernel refused it.
    case refused(IOError)
    /// There are as many as there may be.
    case full
}

/// A TUN device that was opened.
struct OpenedTunnel: Sendable {
    var name: String
    var offload: TunCoalescer.Offload
}

/// The packet thread of a client: owns sockets, TUN devices and shard.
struct ClientLoop: ~Copyable {
    private static let v4Token: UInt64 = 1
    private static let v6Token: UInt64 = 2
    private static let wakeupToken: UInt64 = 3
    /// Tokens from this on are those of TUN devices.
    private static let tunnelToken: UInt64 = 4
    /// Cells that may still be made before packets of a TUN device are read: one super-packet.
    private static let tunnelReserve = 64

    struct Port: ~Copyable {
        let tunnel: TunnelID
        var device: TunnelPort
    }

    var shard: ClientShard
    var sockets: PacketSockets
    var ports = Slab<Port>(limit: ClientShard.tunnelLimit)
    let mailbox: Mailbox<ClientLoopMessage>
    let wakeup: Wakeup
    let deliver: @Sendable ([ClientEvent]) -> Void
    /// Told of TUN devices whose interface went away.
    let interfaceGone: @Sendable (TunnelID) -> Void

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
        var messages: [ClientLoopMessage] = []
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
                case Self.v4Token:
                    try receive(&bytes, isV6: false, now: now)
                case Self.v6Token:
                    try receive(&bytes, isV6: true, now: now)
                case Self.wakeupToken:
                    _ = wakeup.drain()
                    mailbox.drain(into: &messages)
                    guard try perform(messages, &bytes, poller: &poller, now: now) else { return }
                case let token:
                    let tunnel = TunnelID(
                        rawValue: UInt32(truncatingIfNeeded: token - Self.tunnelToken)
                    )
                    try readTunnel(tunnel, &bytes, poller: &poller, now: now)
                }
            }
            if readDue <= now { try readDueTunnels(&bytes, poller: &poller, now: now) }
            if shard.nextDeadline <= now {
                shard.advance(to: now, bytes: &bytes)
                try flush(&bytes, now: now)
            }
            let events = shard.takeEvents()
            if !events.isEmpty { deliver(events) }
        }
    }

    /// Does what the control thread wants; false when that is to end.
    private mutating func perform(
        _ messages: [ClientLoopMessage],
        _ bytes: inout MutableRawSpan,
        poller: inout Poller,
        now: Instant
    ) throws(IOError) -> Bool {
        for message in messages {
            switch message {
            case .commands(let commands):
                for command in commands {
                    if shard.remainingCapacity < Self.tunnelReserve { try flush(&bytes, now: now) }
                    shard.perform(command, bytes: &bytes, now: now)
                }
            case .openTunnel(let tunnel, let source, let answer):
                answer(open(tunnel, source, poller: &poller))
            case .closeTunnel(let tunnel):
                close(tunnel, poller: &poller)
            case .report(let circuits, let answer):
                answer(report(circuits))
            case .stop:
                try flush(&bytes, now: now)
                return false
            }
        }
        try flush(&bytes, now: now)
        return true
    }

    /// Moves what waits at a TUN device, as much as one batch holds.
    private mutating func readTunnel(
        _ tunnel: TunnelID,
        _ bytes: inout MutableRawSpan,
        poller: inout Poller,
        now: Instant
    ) throws(IOError) {
        for slot in 0..<ports.endIndex where ports.contains(slot) && ports[slot].tunnel == tunnel {
            do throws(IOError) {
                while shard.remainingCapacity >= Self.tunnelReserve,
                    let count = try ports[slot].device.read(&bytes)
                {
                    shard.receiveFromTunnel(&bytes, tunnel: tunnel, byteCount: count, now: now)
                }
                let token = Self.tunnelToken + UInt64(tunnel.rawValue)
                try ports[slot].device.noteBatch(with: &poller, token: token, now: now)
            } catch {
                // It went away with its namespace, or somebody removed it.
                close(tunnel, poller: &poller)
                interfaceGone(tunnel)
            }
        }
        try flush(&bytes, now: now)
    }

    /// When a TUN device is to be read though no event tells of packets.
    private var readDue: Instant {
        var due = Instant.distantFuture
        for slot in 0..<ports.endIndex where ports.contains(slot) {
            due = min(due, ports[slot].device.readDue)
        }
        return due
    }

    private mutating func readDueTunnels(
        _ bytes: inout MutableRawSpan,
        poller: inout Poller,
        now: Instant
    ) throws(IOError) {
        for slot in 0..<ports.endIndex
        where ports.contains(slot) && ports[slot].device.readDue <= now {
            try readTunnel(ports[slot].tunnel, &bytes, poller: &poller, now: now)
        }
    }

    /// Moves one batch of what waits at a socket.
    private mutating func receive(
        _ bytes: inout MutableRawSpan,
        isV6: Bool,
        now: Instant
    ) throws(IOError) {
        guard let batch = try sockets.receive(&bytes, isV6: isV6) else { return }
        shard.noteReceiveQueue(byteCount: batch.waitingByteCount)
        for index in 0..<batch.runCount {
            shard.receive(&bytes, run: sockets.run(index), now: now)
        }
        try flush(&bytes, now: now)
    }

    private mutating func flush(_ bytes: inout MutableRawSpan, now: Instant) throws(IOError) {
        shard.finishBatch(&bytes, now: now)
        for slot in 0..<ports.endIndex where ports.contains(slot) {
            guard let writes = shard.tunnelWrites(of: ports[slot].tunnel), !writes.isEmpty else {
                continue
            }
            // An interface that is gone is found out by its reader.
            do throws(IOError) {
                try ports[slot].device.write(writes, from: bytes.bytes)
            } catch {
                continue
            }
        }
        sockets.send(shard.links.output.trains, from: bytes.bytes, now: now)
        shard.clearOutput()
    }

    private mutating func open(
        _ tunnel: TunnelID,
        _ source: TunnelSource,
        poller: inout Poller
    ) -> TunnelOpening {
        guard !ports.isFull else { return .full }
        do throws(IOError) {
            let device =
                switch source {
                case .made(let name): try TunnelPort(name: name)
                case .handedOver(let handover): try TunnelPort(adopting: handover.take())
                }
            let opened = OpenedTunnel(name: device.name, offload: device.offload)
            try poller.add(
                device.descriptor,
                token: Self.tunnelToken + UInt64(tunnel.rawValue)
            )
            _ = ports.insert(Port(tunnel: tunnel, device: device))
            return .opened(opened)
        } catch {
            return .refused(error)
        }
    }

    private mutating func close(_ tunnel: TunnelID, poller: inout Poller) {
        for slot in 0..<ports.endIndex where ports.contains(slot) {
            guard ports[slot].tunnel == tunnel else { continue }
            let port = ports.remove(at: slot)
            // Closing the descriptor ends the watch too, whether or not this succeeds.
            try? poller.remove(port.device.descriptor)
        }
    }

    private func report(_ circuits: [CircuitID]) -> ClientLoopReport {
        ClientLoopReport(
            counters: shard.counters,
            traffic: circuits.map { shard.traffic(of: $0) }
        )
    }
}
