import Base
import Circuits
import ClientCore
import EventLoop
import Flows
import Links

/// What a client's packet thread hears from the control thread.
enum ClientLoopMessage: Sendable {
    /// Do this.
    case command(ClientCommand)
    /// Open a TUN device for a tunnel, and tell what came of it.
    case openTunnel(TunnelID, name: String, @Sendable (Result<OpenedTunnel, IOError>) -> Void)
    /// Close the TUN device of a tunnel.
    case closeTunnel(TunnelID)
    /// Tell what was counted, in all and for these circuits.
    case report([CircuitID], @Sendable (ClientLoopReport) -> Void)
    /// End.
    case stop
}

/// What a client's packet thread counted.
struct ClientLoopReport: Sendable {
    var counters: ClientCounters
    var traffic: [CircuitTraffic?]
}

/// A TUN device that was opened.
struct OpenedTunnel: Sendable {
    var name: String
    var offload: TunCoalescer.Offload
}

/// The packet thread of a client: owns sockets, TUN devices and shard.
struct ClientLoop: ~Copyable {
    private static let socketToken: UInt64 = 1
    private static let wakeupToken: UInt64 = 2
    private static let tunnelToken: UInt64 = 3
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
        try sockets.watch(with: &poller, token: Self.socketToken)
        try poller.add(wakeup.descriptor, token: Self.wakeupToken)
        var memory = [UInt8](repeating: 0, count: ArenaLayout.byteCount)
        var span = memory.mutableSpan
        var bytes = unsafe span.mutableBytes
        var messages: [ClientLoopMessage] = []
        while true {
            let now = MonotonicClock.now()
            var isBusy = try pump(&bytes, poller: &poller, now: now)
            _ = wakeup.drain()
            mailbox.drain(into: &messages)
            for message in messages {
                isBusy = true
                switch message {
                case .command(let command):
                    if shard.remainingCapacity < Self.tunnelReserve { try flush(&bytes, now: now) }
                    shard.perform(command, bytes: &bytes, now: now)
                case .openTunnel(let tunnel, let name, let answer):
                    answer(open(tunnel, name: name, poller: &poller))
                case .closeTunnel(let tunnel):
                    close(tunnel, poller: &poller)
                case .report(let circuits, let answer):
                    answer(report(circuits))
                case .stop:
                    try flush(&bytes, now: now)
                    return
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

    private mutating func pump(
        _ bytes: inout MutableRawSpan,
        poller: inout Poller,
        now: Instant
    ) throws(IOError) -> Bool {
        var isBusy = false
        for isV6 in [false, true] {
            let hasReceived = try sockets.receive(&bytes, isV6: isV6) { bytes, run in
                shard.receive(&bytes, run: run, now: now)
            }
            guard hasReceived else { continue }
            isBusy = true
            try flush(&bytes, now: now)
        }
        for slot in 0..<ports.endIndex where ports.contains(slot) {
            let tunnel = ports[slot].tunnel
            do throws(IOError) {
                while shard.remainingCapacity >= Self.tunnelReserve,
                    let count = try ports[slot].device.read(&bytes)
                {
                    isBusy = true
                    shard.receiveFromTunnel(&bytes, tunnel: tunnel, byteCount: count, now: now)
                }
            } catch {
                // It went away with its namespace, or somebody removed it.
                close(tunnel, poller: &poller)
                interfaceGone(tunnel)
            }
        }
        return isBusy
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
        sockets.send(shard.links.output, from: bytes.bytes, now: now)
        shard.clearOutput()
    }

    private mutating func open(
        _ tunnel: TunnelID,
        name: String,
        poller: inout Poller
    ) -> Result<OpenedTunnel, IOError> {
        do throws(IOError) {
            let device = try TunnelPort(name: name)
            let opened = OpenedTunnel(name: device.name, offload: device.offload)
            try poller.add(
                device.descriptor,
                token: Self.tunnelToken + UInt64(tunnel.rawValue)
            )
            _ = ports.insert(Port(tunnel: tunnel, device: device))
            return .success(opened)
        } catch {
            return .failure(error)
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
