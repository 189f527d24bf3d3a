import Base
import EventLoop
import Glibc
import UDPTransport
import Wire

/// What one receive brought.
struct ReceivedBatch {
    /// Runs it can be asked for.
    let runCount: Int
    /// Bytes that wait behind it, the kernel's overhead included.
    let waitingByteCount: Int
}

/// The UDP sockets of a packet thread, one for each address family.
struct PacketSockets: ~Copyable {
    private var v4: UDPSocket?
    private var v6: UDPSocket?
    /// Trains of one family, where a batch has both.
    private var selected = DatagramTrains()
    private var runs = ReceivedRuns(capacity: ArenaLayout.receiveSlotCount)
    /// Datagrams for a family without a socket.
    private(set) var unroutable: UInt64 = 0

    /// Opens a socket for each of the addresses; at most one of each family.
    init(_ addresses: [SocketAddress], options: UDPOptions) throws(IOError) {
        v4 = nil
        v6 = nil
        for address in addresses {
            if address.ip.isV4 {
                v4 = try UDPSocket(bindingTo: address, options: options)
            } else {
                var options = options
                options.isV6Only = true
                v6 = try UDPSocket(bindingTo: address, options: options)
            }
        }
    }

    /// Opens a socket of each family this machine's kernel has, at ports the kernel chooses.
    init(ofAnyPort options: UDPOptions) throws(IOError) {
        let any4 = SocketAddress(ip: IPAddress(v4: 0), port: 0)
        let any6 = SocketAddress(ip: IPAddress(high: 0, low: 0), port: 0)
        v4 = try UDPSocket(bindingTo: any4, options: options)
        var options = options
        options.isV6Only = true
        do throws(IOError) {
            v6 = try UDPSocket(bindingTo: any6, options: options)
        } catch {
            // A kernel that was started without IPv6: IPv4 serves.
            guard error.code == EAFNOSUPPORT else { throw error }
            v6 = nil
        }
    }

    /// Lets the sockets of further packet threads bind the same addresses.
    func sharePorts() throws(IOError) {
        try v4?.sharePort()
        try v6?.sharePort()
    }

    /// Steers what comes to the addresses among `count` packet threads, in the order of their
    /// binding: by the session's number, which names the shard, or for handshakes, which any shard
    /// passes on, by the one the sender chose.
    func steer(count: Int) throws(IOError) {
        let (session, proposed) = (Datagram.sessionOffset, LinkInitiation.sessionOffset)
        try v4?.steer(byWordAt: session, orAt: proposed, count: count)
        try v6?.steer(byWordAt: session, orAt: proposed, count: count)
    }

    /// Watches the sockets; events carry the token of their family.
    func watch(
        with poller: inout Poller,
        v4Token: UInt64,
        v6Token: UInt64
    ) throws(IOError) {
        switch v4 {
        case .some(let socket): try poller.add(socket.descriptor, token: v4Token)
        case .none: break
        }
        switch v6 {
        case .some(let socket): try poller.add(socket.descriptor, token: v6Token)
        case .none: break
        }
    }

    /// Receives one batch of one socket; `nil` when nothing waits.
    ///
    /// The runs stay valid until the next call.
    mutating func receive(
        _ bytes: inout MutableRawSpan,
        isV6: Bool
    ) throws(IOError) -> ReceivedBatch? {
        runs.removeAll()
        let slots = 0..<ArenaLayout.receiveSlotCount
        let used =
            isV6
            ? try v6?.receive(into: &bytes, slots: slots, runs: &runs)
            : try v4?.receive(into: &bytes, slots: slots, runs: &runs)
        guard let used, used > 0 else { return nil }
        // A batch with room left has emptied the queue: no need to ask.
        guard used == slots.count else {
            return ReceivedBatch(runCount: runs.count, waitingByteCount: 0)
        }
        let queue = isV6 ? try v6?.receiveQueue() : try v4?.receiveQueue()
        return ReceivedBatch(runCount: runs.count, waitingByteCount: queue?.byteCount ?? 0)
    }

    /// Run `index` of the last batch.
    ///
    /// - Precondition: `index` is below the batch's count.
    func run(_ index: Int) -> DatagramRun {
        let run = runs[index]
        return DatagramRun(
            source: run.source,
            offset: run.offset,
            byteCount: run.byteCount,
            segmentByteCount: run.segmentByteCount
        )
    }

    /// Sends what `trains` lay out in the arena.
    mutating func send(_ trains: borrowing DatagramTrains, from bytes: RawSpan, now: Instant) {
        guard !trains.isEmpty else { return }
        // Nearly always all go by one family, and then the trains go as they are.
        let isAnyV4 = trains.trains.contains { $0.destination.ip.isV4 }
        let isAnyV6 = trains.trains.contains { !$0.destination.ip.isV4 }
        guard isAnyV4 && isAnyV6 else {
            return send(trains, isV6: isAnyV6, from: bytes, now: now)
        }
        for isV6 in [false, true] {
            selected.removeAll()
            for train in trains.trains where train.destination.ip.isV4 != isV6 {
                for place in train.range { selected.append(trains.offsets[place]) }
                selected.endTrain(to: train.destination)
            }
            if isV6 {
                unroutable += Self.send(selected, by: &v6, from: bytes, now: now)
            } else {
                unroutable += Self.send(selected, by: &v4, from: bytes, now: now)
            }
        }
    }

    private mutating func send(
        _ trains: borrowing DatagramTrains,
        isV6: Bool,
        from bytes: RawSpan,
        now: Instant
    ) {
        if isV6 {
            unroutable += Self.send(trains, by: &v6, from: bytes, now: now)
        } else {
            unroutable += Self.send(trains, by: &v4, from: bytes, now: now)
        }
    }

    /// Sends by a socket; how many datagrams had none.
    private static func send(
        _ trains: borrowing DatagramTrains,
        by socket: inout UDPSocket?,
        from bytes: RawSpan,
        now: Instant
    ) -> UInt64 {
        let isSent: Void? = socket?.send(
            trains,
            datagramByteCount: Datagram.byteCount,
            from: bytes,
            now: now
        )
        return isSent == nil ? UInt64(trains.offsets.count) : 0
    }
}
