import Base
import EventLoop
import Links
import UDPTransport

/// The UDP sockets of a packet thread, one for each address family.
struct PacketSockets: ~Copyable {
    private var v4: UDPSocket?
    private var v6: UDPSocket?
    private var v4Trains = Self.trains()
    private var v6Trains = Self.trains()
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

    private static func trains() -> DatagramTrains {
        DatagramTrains(datagramByteCount: 1_392, datagramCapacity: 1_024, trainCapacity: 512)
    }

    /// Watches the sockets; events carry `token`.
    func watch(with poller: inout Poller, token: UInt64) throws(IOError) {
        switch v4 {
        case .some(let socket): try poller.add(socket.descriptor, token: token)
        case .none: break
        }
        switch v6 {
        case .some(let socket): try poller.add(socket.descriptor, token: token)
        case .none: break
        }
    }

    /// Receives one batch of one socket and hands each run to `body`; false when nothing waits.
    mutating func receive(
        _ bytes: inout MutableRawSpan,
        isV6: Bool,
        _ body: (inout MutableRawSpan, DatagramRun) -> Void
    ) throws(IOError) -> Bool {
        runs.removeAll()
        let slots = 0..<ArenaLayout.receiveSlotCount
        let used =
            isV6
            ? try v6?.receive(into: &bytes, slots: slots, runs: &runs)
            : try v4?.receive(into: &bytes, slots: slots, runs: &runs)
        guard let used, used > 0 else { return false }
        for index in 0..<runs.count {
            let run = runs[index]
            body(
                &bytes,
                DatagramRun(
                    source: run.source,
                    offset: run.offset,
                    byteCount: run.byteCount,
                    segmentByteCount: run.segmentByteCount
                )
            )
        }
        return true
    }

    /// Sends what `output` has laid out.
    mutating func send(_ output: borrowing DatagramOutput, from bytes: RawSpan, now: Instant) {
        for train in output.trains {
            let isV4 = train.destination.ip.isV4
            for place in train.range {
                let offset = Int(output.offsets[place])
                let fits =
                    isV4
                    ? v4Trains.append(offset, to: train.destination)
                    : v6Trains.append(offset, to: train.destination)
                guard !fits else { continue }
                flush(from: bytes, now: now)
                _ =
                    isV4
                    ? v4Trains.append(offset, to: train.destination)
                    : v6Trains.append(offset, to: train.destination)
            }
        }
        flush(from: bytes, now: now)
    }

    private mutating func flush(from bytes: RawSpan, now: Instant) {
        if !v4Trains.isEmpty {
            if v4?.send(v4Trains, from: bytes, now: now) == nil {
                unroutable += UInt64(v4Trains.datagramCount)
            }
            v4Trains.removeAll()
        }
        if !v6Trains.isEmpty {
            if v6?.send(v6Trains, from: bytes, now: now) == nil {
                unroutable += UInt64(v6Trains.datagramCount)
            }
            v6Trains.removeAll()
        }
    }
}
